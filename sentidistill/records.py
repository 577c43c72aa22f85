"""JSONL and JSON files: stable bytes, atomic writes, errors that name the line."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sentidistill.errors import SentiDistillError


class Record(BaseModel):
    """Base of every row that a stage writes: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Record)


def content_id(*parts: Any) -> str:
    """First 16 hex digits of the SHA-256 of `parts` as canonical JSON."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """In UTF-8; halves of surrogate pairs, which a model or server may send, become question marks."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Record]) -> None:
    lines = (json.dumps(row.model_dump(mode="json"), ensure_ascii=False, sort_keys=True) for row in rows)
    write_text(path, "".join(line + "\n" for line in lines))


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SentiDistillError(f"{path}: {error}") from error


def first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{problem['msg']} at {'.'.join(map(str, problem['loc'])) or 'the line'}"


def lines_of(text: str) -> list[str]:
    """Lines of a JSONL file. They end at \\n alone: texts hold U+2028 and its kind, at which `splitlines` would cut."""
    return text.removesuffix("\n").split("\n") if text else []


def read_jsonl(path: str | Path, schema: type[R]) -> list[R]:
    """Rows of `path` as `schema`; a bad line raises an error with its number."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SentiDistillError(f"{path}: cannot be read ({error})") from error
    return parse_jsonl(text, schema, path)


def parse_jsonl(text: str, schema: type[R], path: str | Path) -> list[R]:
    """Rows of the `text` of a file; `path` names it in the error that a bad line raises."""
    rows = []
    for number, line in enumerate(lines_of(text), 1):
        try:
            rows.append(schema.model_validate_json(line))
        except ValidationError as error:
            raise SentiDistillError(
                f"{path}, line {number}: not a {schema.__name__} ({first_problem(error)}); rerun the stage that writes "
                "this file"
            ) from error
    return rows


@dataclass(frozen=True)
class Table(Generic[R]):
    """A file between stages, declared once beside its rows: its path from the project's root, and what a row is."""

    path: str
    row: type[R]

    def read(self) -> list[R]:
        """The rows; a bad line raises an error with its number."""
        return read_jsonl(self.path, self.row)

    def write(self, rows: Iterable[R]) -> None:
        write_jsonl(self.path, rows)
