"""A model that is asked through the cache: what was answered once is not asked again."""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from sentidistill.config import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.progress import track
from sentidistill.teacher.base import Engine, Reader, Request, Response, stream
from sentidistill.teacher.cache import Cache, Rate

Mode = Literal["read-write", "read", "refresh"]


class CachedTeacher:
    """Answers from `cache`; what is missing there is asked, and stored as soon as it is answered.

    The engine is opened at the first request that the cache does not hold, so a run whose answers are
    all there needs no model. A killed run loses what is under way in the engine, no more.

    Mode "read-write" asks again what ended in an error; "read" never asks: it gives stored errors, and
    ends with an error for what is not stored; "refresh" asks everything and replaces what is stored.
    """

    def __init__(self, reader: Reader, open_engine: Callable[[], Engine], cache: Cache, mode: Mode = "read-write"):
        self._reader, self._open_engine, self._cache, self._mode = reader, open_engine, cache, mode

    @property
    def prompt_format(self) -> PromptFormat:
        return self._reader.prompt_format

    @cached_property
    def _engine(self) -> Engine:
        return self._open_engine()

    def look_up(self, requests: Sequence[Request]) -> tuple[list[str], dict[str, Response], dict[str, Request]]:
        """(key of each request, what is stored by key, what has to be asked by key).

        What has to be asked is in the order of the prompts' text, so that an engine finds prefixes to share.
        """
        texts = [self._reader.cache_key(request) for request in requests]
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        found: dict[str, Response] = {}
        if self._mode != "refresh":
            found = {key: response for key in set(keys) if (response := self._cache.get(key)) is not None}
        if self._mode == "read-write":
            found = {key: response for key, response in found.items() if response.error is None}
        missing = {text: (key, request) for text, key, request in zip(texts, keys, requests) if key not in found}
        return keys, found, dict(missing[text] for text in sorted(missing))

    def generate(self, requests: Sequence[Request], label: str = "teacher") -> list[Response]:
        """One response for each request, in order."""
        keys, found, missing = self.look_up(requests)
        if missing and self._mode == "read":
            raise SentiDistillError(
                f"{label}: {len(missing)} of {len(set(keys))} answers are not in the cache {self._cache.path}, and "
                "runtime.cache is 'read'; import them, or set it to 'read-write' to ask the model"
            )
        hits = sum(key in found for key in keys)
        order = list(missing)
        with track(label, total=hits + len(order)) as progress:
            if hits:
                progress.advance(hits, hits=hits)
            if order:
                found |= self._ask([missing[key] for key in order], order, label, progress.advance)
        # An answer that was stored under a higher limit is no answer under this one.
        return [self._reader.refusal(found[key].prompt_tokens) or found[key] for key in keys]

    def _ask(
        self, requests: Sequence[Request], keys: Sequence[str], label: str, advance: Callable[..., None]
    ) -> dict[str, Response]:
        answers: dict[str, Response] = {}
        engine = self._engine
        started = time.monotonic()
        for finished in stream(engine, self._reader, requests):
            new = {keys[place]: response for place, response in finished}
            self._cache.put(self._reader.identity, new, replace=self._mode == "refresh")
            # Read again: where another process was first, its answer is the one that counts for both.
            answers |= {key: self._cache.get(key) for key in new}
            advance(len(new), failures=sum(response.error is not None for response in new.values()))
        assert len(answers) == len(keys), "an engine gives one response for each request"
        tokens = [sum(getattr(r, kind) for r in answers.values()) for kind in ("prompt_tokens", "completion_tokens")]
        self._cache.set_rate(
            self._reader.identity, label, Rate(len(answers), *tokens, round(time.monotonic() - started, 3))
        )
        return answers
