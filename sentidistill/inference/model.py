"""A model whose answers are kept: a request that was answered once, here or in a recorded run, is not asked again."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeGuard

from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import Engine, Reader, Request, Response, stream
from sentidistill.inference.store import Cache, Rate
from sentidistill.pipeline.progress import track

Mode = Literal["read-write", "read", "refresh"]
log = logging.getLogger(__name__)


class Answers(Protocol):
    """A store of answers, looked up by key."""

    def get(self, key: str) -> Response | None: ...


@dataclass(frozen=True)
class LookUp:
    """What is known of some requests. `keys` are the keys of the requests, in order; the other fields go by key.

    `damaged` are keys whose stored answer cannot be used, and `missing` what has to be asked, in the order of the
    prompts' text, so that an engine finds beginnings to share.
    """

    keys: list[str]
    cached: dict[str, Response]
    recorded: dict[str, Response]
    damaged: set[str]
    missing: dict[str, Request]

    @property
    def found(self) -> dict[str, Response]:
        return self.cached | self.recorded


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class CachedTeacher:
    """Answers from `cache` or else from `recordings`; a request that is in neither is asked, and its answer is stored
    in the cache at once.

    The engine is opened at the first request that has to be asked, so a run whose answers are all there needs no
    model and no tokenizer. A killed run loses only the requests that are under way in the engine.

    Mode "read-write" asks again if the stored answer is an error, unless the prompt is still too long. "read" never
    asks: it gives stored errors, and raises an error if an answer is missing. "refresh" asks everything, even
    recorded requests, and replaces the stored answers.
    """

    # Whether nothing is asked. Then a missing answer is no failure, and no call is kept.
    rehearses = False

    def __init__(
        self,
        reader: Reader,
        open_engine: Callable[[], Engine],
        cache: Cache,
        mode: Mode = "read-write",
        recordings: Answers | None = None,
    ):
        self._reader, self._open_engine, self._cache, self._mode = reader, open_engine, cache, mode
        self._recordings: Answers = recordings or {}
        self.recorded = self.cached = self.asked = self.damaged = 0
        self.asking_seconds = 0.0

    @property
    def prompt_format(self) -> PromptFormat:
        return self._reader.prompt_format

    @cached_property
    def _engine(self) -> Engine:
        return self._open_engine()

    def key(self, request: Request) -> str:
        return _hashed(self._reader.cache_key(request))

    def look_up(self, requests: Sequence[Request]) -> LookUp:
        texts = [self._reader.cache_key(request) for request in requests]
        keys = [_hashed(text) for text in texts]
        cached: dict[str, Response] = {}
        recorded: dict[str, Response] = {}
        damaged = set()
        for key, request in dict(zip(keys, requests)).items() if self._mode != "refresh" else ():
            for answers, known in ((self._cache, cached), (self._recordings, recorded)):
                try:
                    if self._counts(response := answers.get(key)):
                        known[key] = response.answering(request)
                        break
                except ValueError:
                    damaged.add(key)
        missing = {
            text: (key, request)
            for text, key, request in zip(texts, keys, requests)
            if key not in cached and key not in recorded
        }
        return LookUp(keys, cached, recorded, damaged, dict(missing[text] for text in sorted(missing)))

    def _counts(self, response: Response | None) -> TypeGuard[Response]:
        if response is None or response.error is None or self._mode == "read":
            return response is not None
        return self._reader.refusal(response.prompt_tokens) is not None

    def generate(self, requests: Sequence[Request], label: str = "teacher") -> list[Response]:
        """One response for each request, in order."""
        known = self.look_up(requests)
        keys, missing = known.keys, known.missing
        damaged = len(known.damaged & set(missing))
        if missing and self._mode == "read":
            note = f", {damaged} of them as they are damaged or of another version," if damaged else ""
            raise SentiDistillError(
                f"{label}: {len(missing)} of {len(set(keys))} answers{note} are neither recorded nor in the cache "
                f"{self._cache.path}, and runtime.cache is 'read'; import them, or set it to 'read-write' to ask the "
                "model"
            )
        if damaged:
            log.warning("%s: %d stored answers are damaged or of another version, and asked again", label, damaged)
        recorded, cached = (sum(key in some for key in keys) for some in (known.recorded, known.cached))
        found = known.found
        with track(label, total=recorded + cached + len(missing)) as progress:
            if found:
                progress.advance(recorded + cached, hits=cached, recorded=recorded)
            if missing:
                self._cache.remove(known.damaged)
                found |= self._ask(list(missing.values()), list(missing), label, progress.advance)
        self.recorded += recorded
        self.cached += cached
        self.damaged += damaged
        return [self._within_limit(found[key]) for key in keys]

    def _within_limit(self, response: Response) -> Response:
        """An answer that was stored under a higher limit is no answer under this one."""
        return self._reader.refusal(response.prompt_tokens) or response

    def judged(self, request: Request, usable: bool) -> None:
        """Called with whether the answer to `request` could be used; for those who watch, as a spot check does."""

    def _ask(
        self, requests: Sequence[Request], keys: Sequence[str], label: str, advance: Callable[..., None]
    ) -> dict[str, Response]:
        answers: dict[str, Response] = {}
        opened = time.monotonic()
        engine = self._engine
        started = time.monotonic()
        for finished in stream(engine, self._reader, requests):
            new = {keys[place]: response.checked(requests[place]) for place, response in finished}
            self._cache.put(self._reader.identity, new, replace=self._mode == "refresh")
            # Read again: if another process was first, its answer counts for both.
            answers |= {key: self._cache.get(key) or response for key, response in new.items()}
            advance(len(new), failures=sum(response.error is not None for response in new.values()))
        assert len(answers) == len(keys), "an engine gives one response for each request"
        ended = time.monotonic()
        self.asked += len(answers)
        self.asking_seconds += ended - opened
        read, written = (sum(getattr(r, of) for r in answers.values()) for of in ("prompt_tokens", "completion_tokens"))
        self._cache.set_rate(self._reader.identity, label, Rate(len(answers), read, written, round(ended - started, 3)))
        return answers
