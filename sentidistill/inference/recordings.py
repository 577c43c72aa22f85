"""Answers in git, in recordings/NAME/STAGE.jsonl.gz: whoever has the repository replays the run without the teacher.

A row: {"key": "03ab...", "response": {"completion_tokens": 41, "finish_reason": "stop", "prompt_tokens": 310,
"text": "1. **Joy** ...", "version": 1}}
A key holds everything that an answer depends on, so a recorded answer stays right whenever its key is asked for.
`default` holds the answers of the default run; experiments can have folders of their own.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import RESPONSE_VERSION, Response, loads
from sentidistill.records import write_bytes

FOLDER = Path("recordings")
DEFAULT = "default"
VARIABLE = "SENTIDISTILL_RECORDINGS"


@dataclass(frozen=True)
class Row:
    """A recorded answer and its place. `values` become a response only on demand, as most of them are never needed."""

    path: Path
    line: int
    key: str
    values: Any

    def response(self) -> Response:
        try:
            return Response.from_values(self.values)
        except ValueError as error:
            raise _damaged(self.path, self.line, error) from error


class Recordings:
    """Recorded answers by key: those in all files of `folder`'s folders, read at the first look-up.

    If two files answer one key, the default run's answer counts; after that, the answer of the first folder by name.
    """

    def __init__(self, folder: Path = FOLDER):
        self._folder = folder

    @cached_property
    def _rows(self) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for path in sorted(self._folder.glob("*/*.jsonl.gz"), key=lambda path: (path.parent.name != DEFAULT, path)):
            for row in rows(path):
                found.setdefault(row.key, row)
        return found

    def get(self, key: str) -> Response | None:
        row = self._rows.get(key)
        return None if row is None else row.response()


def switched_on() -> bool:
    """Whether recorded answers count: the environment variable SENTIDISTILL_RECORDINGS is not "off".

    It is no setting of params.yaml, so that `make live` and an experiment's queue can switch them off in no file.
    """
    value = os.environ.get(VARIABLE, "on")
    if value not in ("on", "off"):
        raise SentiDistillError(f"the environment variable {VARIABLE} is {value!r}; set it to on or off")
    return value == "on"


def path_of(name: str, stage: str) -> Path:
    return FOLDER / name / f"{stage}.jsonl.gz"


def rows(path: Path) -> Iterator[Row]:
    """The answers in a file. Those of another version of responses are left out, and so they are asked again.

    Raises `SentiDistillError` with the file and the line where it is damaged.
    """
    number = 1
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                row = loads(line)
                if not isinstance(row["key"], str):
                    raise ValueError("a key that is no text")
                if row["response"]["version"] == RESPONSE_VERSION:
                    yield Row(path, number, row["key"], row["response"])
                number += 1
    except (OSError, EOFError, zlib.error, TypeError, KeyError, ValueError) as error:
        raise _damaged(path, number, error) from error


def _damaged(path: Path, line: int, error: Exception) -> SentiDistillError:
    return SentiDistillError(
        f"{path}, line {line}: damaged ({error}); get it back with `git checkout {path}`, or do without recorded "
        f"answers: {VARIABLE}=off"
    )


def write(path: Path, answers: Mapping[str, Response]) -> None:
    """Write `answers` in the order of their keys. A file that holds the same is left as it is.

    So equal answers are equal bytes, even where another zlib packs them otherwise.
    """
    rows = [f'{{"key": {json.dumps(key)}, "response": {answers[key].to_json()}}}\n' for key in sorted(answers)]
    content = "".join(rows).encode()
    try:
        if gzip.decompress(path.read_bytes()) == content:
            return
    except (OSError, EOFError, zlib.error):
        pass  # not there, or damaged
    write_bytes(path, gzip.compress(content, mtime=0))
