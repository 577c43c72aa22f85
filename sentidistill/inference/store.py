"""Answers that are paid for once: a content-addressed store in one SQLite file.

SQLite's transactions make it safe against a killed process, several writers and a full disk. It needs a file system
with working locks, as every local disk has. SQLite does not check the bytes that it reads, so each entry has a digest
that says whether it is whole.
"""

import hashlib
import itertools
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import Response, loads

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


_COLUMNS = "key, model, response, digest, failed"
REMEDY = "`python -m sentidistill.commands.cache verify --drop` keeps what is whole"


class DamagedCache(SentiDistillError):
    """SQLite cannot read the file, or a part of it."""


@dataclass(frozen=True)
class Entry:
    """One stored answer. `model` is the identity of the model; `digest` guards key, model and response.

    `failed`: whether the file marks the answer as an error, which may be replaced; None if it is in no file yet.
    """

    key: str
    model: str
    response: str
    digest: str
    failed: int | None = None

    @classmethod
    def of(cls, key: str, model: str, response: Response) -> "Entry":
        text = response.to_json()
        return cls(key, model, text, _digest(key, model, text))

    @classmethod
    def of_line(cls, line: str) -> "Entry":
        """What `to_line` wrote. Raises `ValueError` for anything else."""
        values = loads(line)
        if not isinstance(values, dict) or set(values) != set(_EXPORTED):
            raise ValueError(f"not an object with {', '.join(_EXPORTED)}")
        if not all(isinstance(one, str) for one in values.values()):
            raise ValueError("a value that is no text")
        return cls(**values)

    def to_line(self) -> str:
        return json.dumps({name: getattr(self, name) for name in _EXPORTED}, ensure_ascii=False)

    def parsed(self) -> Response:
        """The response. Raises `ValueError` if the entry was changed, or is of another version of responses."""
        if self.digest != _digest(self.key, self.model, self.response):
            raise ValueError("the digest does not match")
        response = Response.from_json(self.response)
        if self.failed not in (None, int(response.error is not None)):
            raise ValueError("an error and a good answer are mixed up")
        return response


_EXPORTED = ("digest", "key", "model", "response")


@dataclass(frozen=True)
class Rate:
    """Time and size of the last uncached piece of work of a kind."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _text(value: Any) -> str:
    """What stands in the file: whatever a flipped bit has made of a text or of its type, the digest finds out."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _entry(row: tuple) -> Entry:
    key, model, response, digest = map(_text, row[:4])
    return Entry(key, model, response, digest, row[4])


_SAFE = "what was stored before is safe"
_DAMAGED = DamagedCache, f"not a usable cache. {REMEDY}, or restore the file from a copy or an export"
# By kind of error.
_REMEDIES = {
    **dict.fromkeys(
        (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
        (SentiDistillError, f"{_SAFE}. Make room on the disk, then run the same command again"),
    ),
    **dict.fromkeys(
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL),
        (SentiDistillError, f"{_SAFE}. Wait for the other run to end, then run the same command again"),
    ),
    **dict.fromkeys(
        (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
        (SentiDistillError, f"{_SAFE}. Make the file and its folder writable, then run the same command again"),
    ),
    sqlite3.SQLITE_ERROR: (
        DamagedCache,
        f"its tables are not those of this version of SentiDistill. {REMEDY}, or move the file away",
    ),
}


class Cache:
    """Answers by key in the SQLite file at `path`; `Path(":memory:")` keeps them in memory."""

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SentiDistillError(f"{path}: {error.strerror}") from error
        with self._explained():
            self._database = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self._database.text_factory = bytes
            tables = [name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if not tables or b"answers" in tables:
                self._database.executescript(_TABLES)
            self._database.execute(f"SELECT {_COLUMNS} FROM answers LIMIT 0")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, MemoryError, OverflowError) as error:
            # The lower byte is the kind of error.
            kind, remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", -1) & 0xFF, _DAMAGED)
            raise kind(f"{self.path}: {error}; {remedy}") from error

    def get(self, key: str) -> Response | None:
        """The answer that is stored under `key`. Raises `ValueError` where it is damaged or of another version."""
        with self._explained():
            row = self._database.execute(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if (entry := _entry(row)).key != key:
            raise ValueError("the key does not match")
        return entry.parsed()

    def put(self, model: str, responses: Mapping[str, Response], *, replace: bool = False) -> None:
        """Store all of `responses` (by key) of `model` or, if the process dies or the disk is full, none.

        An answer that is there already is kept, unless it is an error or `replace` is set.
        """
        self.add((Entry.of(key, model, response) for key, response in responses.items()), replace=replace)

    def add(self, entries: Iterable[Entry], *, replace: bool = False) -> None:
        """As `put`, for entries as `entries()` gives them. Raises `ValueError` at the first that is not whole."""
        rows = (
            (entry.key, entry.model, int(entry.parsed().error is not None), entry.response, entry.digest)
            for entry in entries
        )
        kept = "" if replace else "WHERE answers.failed"
        with self._explained(), self._database:
            self._database.executemany(
                "INSERT INTO answers (key, model, failed, response, digest) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET model = excluded.model, failed = excluded.failed, "
                f"response = excluded.response, digest = excluded.digest {kept}",
                rows,
            )

    def remove(self, keys: Iterable[str]) -> int:
        """Remove the answers to `keys`, and return how many were found: a flipped bit may have put one out of order."""
        with self._explained(), self._database:
            return self._database.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys]).rowcount

    def entries(self) -> Iterator[Entry]:
        """Everything that is stored, whole or not, in key order."""
        with self._explained():
            for row in self._database.execute(f"SELECT {_COLUMNS} FROM answers ORDER BY key"):
                yield _entry(row)

    def check(self) -> None:
        """Raises `DamagedCache` with the first thing that SQLite finds wrong with the file."""
        with self._explained():
            (found,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if found != b"ok":
            raise DamagedCache(f"{self.path}: {_text(found)}; {REMEDY}")

    def readable(self) -> Iterator[Entry]:
        """Entries of a damaged file, some of them more than once: from both ends, and at many places between."""
        ranges = [("", "\U0010ffff"), *((f"{one:02x}", f"{one:02x}\U0010ffff") for one in range(256))]
        for first, last in ranges:
            for order in ("ASC", "DESC"):
                query = f"SELECT {_COLUMNS} FROM answers WHERE key BETWEEN ? AND ? ORDER BY key {order}"
                try:
                    yield from map(_entry, self._database.execute(query, (first, last)))
                except (sqlite3.Error, MemoryError, OverflowError):
                    continue

    def set_rate(self, model: str, work: str, rate: Rate) -> None:
        with self._explained(), self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?, ?, ?)", (model, work, *asdict(rate).values())
            )

    def rates(self, model: str) -> dict[str, Rate]:
        """How fast `model` last was, by kind of work. What is no number any more is left out."""
        query = "SELECT work, requests, prompt_tokens, completion_tokens, seconds FROM rates WHERE model = ?"
        with self._explained():
            rows = self._database.execute(query, (model,)).fetchall()
        return {_text(work): Rate(*numbers) for work, *numbers in rows if all(map(_is_amount, numbers))}

    def close(self) -> None:
        self._database.close()


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def salvage(path: Path) -> tuple[int, Path]:
    """Put the whole answers of the damaged file at `path` into a new one in its place.

    Returns their number and where the damaged file is now. No other process may use it meanwhile.
    """
    new = path.with_name(f"{path.name}.new")
    numbered = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(one for one in numbered if not one.exists())
    new.unlink(missing_ok=True)
    _fill_up(path)
    with closing(Cache(new)) as cache:
        try:
            with closing(Cache(path)) as damaged:
                # A right digest proves an entry whole, even if the file marks it as an error.
                found = (replace(entry, failed=None) for entry in damaged.readable())
                cache.add(entry for entry in found if _is_whole(entry))
        except DamagedCache:
            pass  # not even its tables can be read
        number = sum(1 for _ in cache.entries())
    os.replace(path, aside)
    # Of no use without the file that it belongs to, and harmful beside another.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    os.replace(new, path)
    return number, aside


def _fill_up(path: Path) -> None:
    """Fill a file that was cut off with zeros, as SQLite reads nothing of one that is shorter than its header says."""
    with open(path, "r+b") as file:
        head = file.read(32)
        page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:], "big")
        if head.startswith(b"SQLite format 3\0") and file.seek(0, os.SEEK_END) < page * pages:
            file.truncate(page * pages)


def _is_whole(entry: Entry) -> bool:
    try:
        entry.parsed()
    except ValueError:
        return False
    return True
