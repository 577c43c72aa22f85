"""Teacher answers that are paid for once: a content-addressed store, and a teacher that looks there first."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sentidistill.errors import SentiDistillError
from sentidistill.progress import track
from sentidistill.teacher.base import Request, Response, Teacher


class Cache:
    """Responses by key in one SQLite file, written in transactions, safe for several processes."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, response TEXT)")
        except sqlite3.DatabaseError as error:
            raise SentiDistillError(f"{path}: not a usable cache ({error}); move it away and rerun") from error

    def get(self, key: str) -> Response | None:
        row = self._database.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        values = json.loads(row[0])
        return Response(**{**values, "choice_logprobs": tuple(values["choice_logprobs"])})

    def put(self, responses: dict[str, Response]) -> None:
        """Store all of `responses` or, if the process dies, none; an answer already there is kept."""
        rows = [(key, json.dumps(asdict(response))) for key, response in responses.items()]
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO responses VALUES (?, ?)", rows)

    def close(self) -> None:
        self._database.close()


class CachedTeacher:
    """A teacher that answers from `cache` and stores new answers chunk by chunk.

    A killed run loses at most the chunk in flight. Chunks hold neighbours in the order of the
    prompts' text, so that the engine finds prefixes to share in each.
    """

    def __init__(self, teacher: Teacher, cache: Cache, chunk: int):
        self._teacher, self._cache, self._chunk = teacher, cache, chunk

    def generate(self, requests: Sequence[Request], label: str = "teacher") -> list[Response]:
        texts = [self._teacher.cache_key(request) for request in requests]
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        found = {key: response for key in set(keys) if (response := self._cache.get(key)) is not None}
        missing = {key: (text, request) for key, text, request in zip(keys, texts, requests) if key not in found}
        order = sorted(missing, key=lambda key: (missing[key][0], key))
        hits = sum(key in found for key in keys)
        with track(label, total=hits + len(order)) as progress:
            if hits:
                progress.advance(hits, hits=hits)
            for start in range(0, len(order), self._chunk):
                chunk = order[start : start + self._chunk]
                answers = self._teacher.generate([missing[key][1] for key in chunk])
                assert len(answers) == len(chunk), "a teacher gives one response for each request"
                new = dict(zip(chunk, answers))
                self._cache.put(new)
                found |= new
                progress.advance(len(chunk), failures=sum(answer.error is not None for answer in answers))
        return [found[key] for key in keys]
