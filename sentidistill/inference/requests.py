"""Requests to a model and its responses, in one form for all engines."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sentidistill.config.prompting import PromptFormat
from sentidistill.prompts import Prompt, answer_ids, end_ids, messages, render, transcript

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of every key. It changes when keys are made otherwise, or when prompts become token ids in another way.
KEY_VERSION = 1
# Part of every stored response. It changes with the fields of `Response` and what they mean.
RESPONSE_VERSION = 1
# A log-probability may be above 0 by rounding alone.
ROUNDING = 1e-4
# No model reads or writes so many tokens, and a database holds the sum of many such numbers.
MOST_TOKENS = 2**40
# Settings of sampling that no request has, at their values without effect. vLLM's server takes what it is not told from
# the model's generation_config.
NEUTRAL = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "min_p": 0.0}


@dataclass(frozen=True)
class Request:
    """One call: with `choices`, the likeliest of them is chosen; otherwise an answer is sampled.

    With `json_schema`, the answer is JSON that obeys it (unless `max_new_tokens` cuts it off).
    `attempt` tells repeated calls with the same prompt apart: each gets its own random numbers.
    """

    prompt: Prompt
    choices: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 64
    frequency_penalty: float = 0.0
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    seed: int = 0
    attempt: int = 0

    def __post_init__(self):
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "stop", tuple(self.stop))

    def settings(self) -> dict[str, Any]:
        """The settings that the answer depends on besides the prompt and the model.

        Settings that are not set are left out, so that a new kind of setting changes no old key. Settings without
        effect are left out too: all sampling if choices are scored, and random numbers if the likeliest token is taken.
        """
        if self.choices:
            return {"choices": list(self.choices)}
        names = ["frequency_penalty", "max_new_tokens", "stop"]
        if self.temperature and self.top_k > 1:
            names += ["temperature", "top_p", "top_k", "seed", "attempt"]
        values = {name: getattr(self, name) for name in names}
        return values if self.json_schema is None else {**values, "json_schema": self.json_schema}

    def random_seed(self) -> int:
        """A 64-bit seed of this request's own, so that its answer does not depend on its neighbours."""
        text = json.dumps({"prompt": asdict(self.prompt), **self.settings()}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


Tokens = Annotated[int, Field(ge=0, le=MOST_TOKENS)]
Logprob = Annotated[float, Field(le=ROUNDING)]


@dataclass(frozen=True)
class Response:
    """The answer to one request.

    `choice_logprobs` are summed natural log-probabilities, one per choice, and `text` is then the
    likeliest choice; they are empty where a server does not give them. `finish_reason` is "stop" (end
    token or stop string), "length", "choice" or "error"; an error says why in `error` and has no text.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text: str
    finish_reason: Literal["stop", "length", "choice", "error"]
    prompt_tokens: Tokens
    completion_tokens: Tokens
    choice_logprobs: tuple[Logprob, ...] = ()
    error: str | None = None

    @classmethod
    def failed(cls, reason: str, prompt_tokens: int = 0) -> "Response":
        return cls("", "error", prompt_tokens, 0, error=reason)

    def to_json(self) -> str:
        """The response as it is stored, in one line; what has its default is left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values = {name: value for name, value in values.items() if value not in ((), None)}
        return json.dumps({"version": RESPONSE_VERSION, **values}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Response":
        """What `to_json` wrote. Raises `ValueError` for anything else."""
        return cls.from_values(loads(text))

    @classmethod
    def from_values(cls, values: Any) -> "Response":
        """As `from_json`, for what its JSON holds: another version, missing, unknown and wrong values are refused."""
        if not isinstance(values, dict):
            raise ValueError("not a response")
        # Responses that were stored before there were versions are of the first version.
        if (version := values.get("version", 1)) != RESPONSE_VERSION:
            raise ValueError(f"a response of version {version}, this is version {RESPONSE_VERSION}")
        values = {name: value for name, value in values.items() if name != "version"}
        try:
            text = json.dumps(values, ensure_ascii=False)
            # Halves of surrogate pairs, which a model or server may send, are joined or replaced.
            response = _CHECKED.validate_json(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        except ValidationError as error:
            problem = error.errors()[0]
            raise ValueError(f"not a response ({'.'.join(map(str, problem['loc']))}: {problem['msg']})") from error
        if (response.error is None) == (response.finish_reason == "error"):
            raise ValueError("an error has a reason, and nothing else has one")
        return response

    def checked(self, request: Request) -> "Response":
        """The response if it can be stored and answers `request`; else one that failed, and says why."""
        try:
            return self.from_json(self.to_json()).answering(request)
        except (TypeError, ValueError) as error:
            return self.failed(f"the engine gave no usable response: {error}")

    def answering(self, request: Request) -> "Response":
        """The response. Raises `ValueError` where it is an answer to another kind of request."""
        if self.error is not None:
            return self
        if (self.finish_reason == "choice") != bool(request.choices):
            raise ValueError(f"finish_reason {self.finish_reason!r} for {len(request.choices)} choices")
        if request.choices and self.text not in request.choices:
            raise ValueError(f"{self.text[:100]!r} is none of the choices")
        if len(self.choice_logprobs) not in (0, len(request.choices)):
            raise ValueError(f"{len(self.choice_logprobs)} log-probabilities of {len(request.choices)} choices")
        return self


_CHECKED = TypeAdapter(Response)


def loads(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` for other texts, and for JSON that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@dataclass(frozen=True)
class Job:
    """A request with its token ids; they are empty for a server that tokenises by itself.

    A choice is scored with its end, which is any one of `end_ids`: without it no answer could be likelier than its own
    beginning (10 and 1).
    """

    request: Request
    prompt_ids: list[int]
    choice_ids: list[list[int]]
    end_ids: list[int]

    def new_tokens(self) -> int:
        """The most tokens that follow the prompt."""
        return max(map(len, self.choice_ids)) if self.choice_ids else self.request.max_new_tokens

    def beyond(self, positions: int | None) -> Response | None:
        """The answer where the prompt and what follows it need more than the model's `positions`; None: no limit."""
        needed = len(self.prompt_ids) + self.new_tokens()
        if positions is None or needed <= positions:
            return None
        return Response.failed(
            f"the prompt and its answer may have {needed} tokens, the model has {positions} positions; "
            "lower max_prompt_tokens or max_new_tokens",
            len(self.prompt_ids),
        )


class Engine(Protocol):
    """Runs a model: transformers, vLLM, a server, or actors that hold one of these."""

    def stream(self, jobs: Sequence[Job]) -> Iterator[list[tuple[int, Response]]]:
        """(place in `jobs`, response), one for each job, in lists as they are finished.

        A request that cannot be answered gets a response with an error. An exception means that no
        more can be answered at all; it is raised after what was finished has been yielded.
        """


class Reader:
    """How requests become keys and token ids for one model.

    `identity` tells the model from any other. With `messages_only`, a server gets chat messages and turns
    them into text by itself. `tokenizer` opens the model's own when a request has to be asked: a key needs none.
    """

    def __init__(
        self,
        identity: str,
        prompt_format: PromptFormat,
        max_prompt_tokens: int,
        tokenizer: "Callable[[], PreTrainedTokenizerBase] | None" = None,
        extra_body: dict[str, Any] | None = None,
        messages_only: bool = False,
    ):
        self.identity, self._format, self._max_prompt_tokens = identity, prompt_format, max_prompt_tokens
        self._open_tokenizer, self._extra_body, self._messages_only = tokenizer, extra_body, messages_only

    @cached_property
    def _tokenizer(self) -> "PreTrainedTokenizerBase":
        assert self._open_tokenizer is not None, "wanted only where tokens are counted"
        return self._open_tokenizer()

    @cached_property
    def _end_ids(self) -> list[int]:
        return end_ids(self._tokenizer, self._format)

    @property
    def prompt_format(self) -> PromptFormat:
        return self._format

    @property
    def counts_tokens(self) -> bool:
        return self._open_tokenizer is not None

    def cache_key(self, request: Request) -> str:
        """Text that holds everything the answer to `request` depends on, and nothing else."""
        served = self._messages_only or not self.counts_tokens
        as_text = self._format == "transcript" and not served
        return json.dumps(
            {
                "version": KEY_VERSION,
                "model": self.identity,
                "format": "messages" if served else self._format,
                "prompt": transcript(request.prompt) if as_text else messages(request.prompt),
                **request.settings(),
                **({"extra_body": self._extra_body} if self._extra_body else {}),
            },
            sort_keys=True,
        )

    def job(self, request: Request) -> Job:
        if not self.counts_tokens:
            return Job(request, [], [], [])
        prompt_ids = render(request.prompt, self._tokenizer, self._format).prompt_ids
        choices = [answer_ids(choice, self._tokenizer, self._format) for choice in request.choices]
        return Job(request, prompt_ids, choices, self._end_ids if choices else [])

    def refusal(self, prompt_tokens: int) -> Response | None:
        """The answer to a prompt that is too long to be sent."""
        if prompt_tokens <= self._max_prompt_tokens:
            return None
        return Response.failed(
            f"the prompt has {prompt_tokens} tokens, max_prompt_tokens is {self._max_prompt_tokens}", prompt_tokens
        )


def stream(engine: Engine, reader: Reader, requests: Sequence[Request]) -> Iterator[list[tuple[int, Response]]]:
    """(place in `requests`, response) as they are finished; prompts that do not fit come first and are not sent."""
    jobs = [reader.job(request) for request in requests]
    refusals = [reader.refusal(len(job.prompt_ids)) for job in jobs]
    if refused := [(place, response) for place, response in enumerate(refusals) if response is not None]:
        yield refused
    sent = [place for place, response in enumerate(refusals) if response is None]
    for finished in engine.stream([jobs[place] for place in sent]):
        yield [(sent[index], response) for index, response in finished]


def answer(engine: Engine, reader: Reader, requests: Sequence[Request]) -> list[Response]:
    """One response for each request, in order."""
    answers = dict(pair for finished in stream(engine, reader, requests) for pair in finished)
    return [answers[place] for place in range(len(requests))]
