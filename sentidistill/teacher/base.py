"""What a teacher is asked and what it answers, whatever engine runs it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from sentidistill.prompts import Prompt


@dataclass(frozen=True)
class Request:
    """One call. With `choices`, each is scored as the answer; otherwise an answer is sampled.

    `attempt` tells repeated calls with the same prompt apart: each gets its own random numbers.
    """

    prompt: Prompt
    choices: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 64
    frequency_penalty: float = 0.0
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    seed: int = 0
    attempt: int = 0

    def random_seed(self) -> int:
        """A seed of this request's own, so that its answer does not depend on its neighbours."""
        text = json.dumps(asdict(self), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


@dataclass(frozen=True)
class Response:
    """The answer to one request.

    `choice_logprobs` are summed natural log-probabilities, one per choice, and `text` is then the
    likeliest choice. `finish_reason` is "stop" (end token or stop string), "length", "choice" or
    "error"; an error says why in `error` and has no text.
    """

    text: str
    finish_reason: Literal["stop", "length", "choice", "error"]
    prompt_tokens: int
    completion_tokens: int
    choice_logprobs: tuple[float, ...] = ()
    error: str | None = None


class Teacher(Protocol):
    def cache_key(self, request: Request) -> str:
        """Text that holds everything the answer to `request` depends on."""

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; a bad request gets an error, never an exception."""
