"""Answers that are paid for once: a content-addressed store in one SQLite file.

SQLite's transactions make it safe against a killed process, several writers and a full disk. It
needs a file system with working locks, as every local disk has.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import Response

WAIT_SECONDS = 120
FILE = "responses.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS answers
    (key TEXT PRIMARY KEY, model TEXT NOT NULL, failed INTEGER NOT NULL, response TEXT NOT NULL, digest TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates
    (model TEXT NOT NULL, work TEXT NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
     completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (model, work));
"""


@dataclass(frozen=True)
class Entry:
    """One stored answer. `model` is the identity of the model; `digest` guards key, model and response."""

    key: str
    model: str
    response: str
    digest: str

    @classmethod
    def of(cls, key: str, model: str, response: Response) -> "Entry":
        text = response.to_json()
        return cls(key, model, text, _digest(key, model, text))

    def parsed(self) -> Response:
        """Raises `ValueError` where the entry is not what was stored, or of another version of responses."""
        if self.digest != _digest(self.key, self.model, self.response):
            raise ValueError("the digest does not match")
        return Response.from_json(self.response)


@dataclass(frozen=True)
class Rate:
    """What the last uncached piece of work of a kind took."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class Cache:
    """Answers by key in the SQLite file at `path`; `Path(":memory:")` keeps them in memory."""

    def __init__(self, path: Path):
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=WAIT_SECONDS)
            # A flipped bit must not keep the rest from being read: what it made of a text, the digest finds out.
            self._database.text_factory = lambda content: content.decode("utf-8", "replace")
            with self._database:
                self._database.executescript(_TABLES)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SentiDistillError(f"{self.path}: {error.strerror}") from error
        except sqlite3.OperationalError as error:
            raise SentiDistillError(
                f"{self.path}: {error}; what was stored before is safe. Make room or wait for the other writer, "
                "then run the same command again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise SentiDistillError(
                f"{self.path}: not a usable cache ({error}); restore it from a copy or an export, or move it away"
            ) from error

    def get(self, key: str) -> Response | None:
        """The answer that is stored under `key`. Raises `ValueError` where it is damaged or of another version."""
        with self._explained():
            query = "SELECT key, model, response, digest FROM answers WHERE key = ?"
            row = self._database.execute(query, (key,)).fetchone()
        return None if row is None else Entry(*row).parsed()

    def put(self, model: str, responses: Mapping[str, Response], *, replace: bool = False) -> None:
        """Store all of `responses` (by key) of `model` or, if the process dies or the disk is full, none.

        An answer that is there already is kept, unless it is an error or `replace` is set.
        """
        self.add((Entry.of(key, model, response) for key, response in responses.items()), replace=replace)

    def add(self, entries: Iterable[Entry], *, replace: bool = False) -> None:
        """As `put`, for entries as `entries()` gives them."""
        rows = [
            (entry.key, entry.model, int(entry.parsed().error is not None), entry.response, entry.digest)
            for entry in entries
        ]
        kept = "" if replace else "WHERE answers.failed"
        with self._explained(), self._database:
            self._database.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET model = excluded.model, "
                f"failed = excluded.failed, response = excluded.response, digest = excluded.digest {kept}",
                rows,
            )

    def remove(self, keys: Iterable[str]) -> None:
        with self._explained(), self._database:
            self._database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def entries(self) -> Iterator[Entry]:
        """Everything that is stored, in key order."""
        with self._explained():
            for row in self._database.execute("SELECT key, model, response, digest FROM answers ORDER BY key"):
                yield Entry(*row)

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if nothing."""
        with self._explained():
            return [row[0] for row in self._database.execute("PRAGMA integrity_check") if row[0] != "ok"]

    def set_rate(self, model: str, work: str, rate: Rate) -> None:
        with self._explained(), self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?, ?, ?)", (model, work, *asdict(rate).values())
            )

    def rates(self, model: str) -> dict[str, Rate]:
        """How fast `model` last was, by kind of work."""
        query = "SELECT work, requests, prompt_tokens, completion_tokens, seconds FROM rates WHERE model = ?"
        with self._explained():
            return {row[0]: Rate(*row[1:]) for row in self._database.execute(query, (model,))}

    def close(self) -> None:
        self._database.close()
