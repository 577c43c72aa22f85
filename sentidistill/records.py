"""JSONL and JSON files: stable bytes, atomic writes, errors that name the line and remedies for full disks."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

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


# Errors of a file system, in words, with their remedies.
FAULTS = {
    errno.ENOSPC: ("no space left", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room"),
    errno.EFBIG: ("larger than a file may be here", "raise the limit (ulimit -f), or use another file system,"),
    errno.EROFS: ("the file system is read-only", "make it writable"),
    errno.EACCES: ("no permission", "give it to yourself"),
    errno.EPERM: ("not permitted", "give yourself the right to it"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n)"),
    errno.EIO: ("the disk fails", "use another one"),
    errno.ENOTDIR: ("a file where a folder has to be", "move it away"),
    errno.EEXIST: ("a file where a folder has to be", "move it away"),
    errno.EISDIR: ("a folder where a file has to be", "move it away"),
    errno.ENOENT: ("not there", "put it there or, where it is an output, have `dvc repro` make it,"),
}
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.EIO)
OF_FOLDERS = {".safetensors", ".json", ".jinja", ".model", ".bin"}  # kinds of files of a model
AGAIN = "and run the same command again"
# How libraries that are not written in Python write the error's number.
NUMBER = re.compile(r"(?:os error|errno) (\d+)", re.IGNORECASE)
# Words of libraries that give no number, or a wrong one: a file could not be written.
NO_NUMBER = re.compile(
    r"inline_container\.cc|PytorchStreamWriter|\d+ requested and \d+ written|No usable temporary directory"
    r"|disk I/O error|database or disk is full"  # sqlite's, as within DVC
)


def file_fault(error: BaseException) -> str | None:
    """The fault of a file or disk and the remedy, in a line; None if `error` is about something else.

    If the error names no path, the fullest of the disks that are written to is named.
    """
    number = getattr(error, "errno", None)
    if number is None and (found := NUMBER.search(str(error))):
        number = int(found[1])
    if NO_NUMBER.search(str(error)):
        number = _full_or_limited()
    path = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if number not in FAULTS or (path is None and number not in OF_DISKS):
        return None
    words, remedy = FAULTS[number]
    return f"{path or _fullest()}: {words}; {remedy} {AGAIN}"


def with_remedy(text: str) -> str:
    """`text`, of an error, with the remedy added if it holds a file system's word and no remedy."""
    remedies = (remedy for number, (_, remedy) in FAULTS.items() if os.strerror(number) in text)
    remedy = next(remedies, None)
    return text if remedy is None or AGAIN in text else f"{text}; {remedy} {AGAIN}"


def _full_or_limited() -> int:
    import resource

    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    return errno.EFBIG if limited else errno.ENOSPC


def _fullest() -> Path:
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))  # tempfile.gettempdir() would have to write there to tell
    return min(
        (path for path in (Path.cwd(), temporary) if path.exists()), key=lambda path: shutil.disk_usage(path).free
    )


@contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, such that a reader of `path` sees the old file or the new one, never a part.

    Raises `SentiDistillError` with the remedy where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise SentiDistillError(file_fault(error) or f"{path}: cannot be written ({error})") from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content`, whole or not at all. Raises `SentiDistillError` with the remedy where it cannot be written."""
    with _written_whole(Path(path)) as file:
        file.write(content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write to, which takes the place of the folder `path` at the end; before, nothing is changed there.

    Files that no program of ours makes, such as notes, are kept.
    """
    new, old = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old.tmp")
    if old.exists() and not path.exists():  # killed between the two renames
        old.rename(path)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        for file in path.rglob("*"):
            kept = new / file.relative_to(path)
            if file.is_file() and file.suffix not in OF_FOLDERS and not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, kept)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        new.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of killed writers from `folder`; files of writers that still run stay."""
    for path in folder.glob(".*.tmp"):
        number = path.suffixes[-2:][0].removeprefix(".")
        if number.isdigit() and not _runs(int(number)):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # somebody else's, or no number of a process
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write in UTF-8; halves of surrogate pairs, which a model or server may send, become question marks."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[Record]) -> None:
    """Write a row at a time, as many rows may not fit in memory twice."""
    with _written_whole(Path(path)) as file:
        for row in rows:
            line = json.dumps(row.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
            file.write(f"{line}\n".encode("utf-8", "replace"))


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


def stream_jsonl(path: str | Path, schema: type[R]) -> Iterator[R]:
    """The rows of `path` as `schema`, one after the other; a bad line raises an error with its number."""
    try:
        with open(path, "rb") as file:
            yield from parse_jsonl((line.removesuffix(b"\n") for line in file), schema, path)
    except OSError as error:
        raise SentiDistillError(f"{path}: cannot be read ({error})") from error


def read_jsonl(path: str | Path, schema: type[R]) -> list[R]:
    """All rows of `stream_jsonl` at once."""
    return list(stream_jsonl(path, schema))


def parse_jsonl(lines: Iterable[bytes | str], schema: type[R], path: str | Path) -> Iterator[R]:
    """Rows of the `lines` of a file; `path` names it in the error that a bad line raises."""
    for number, line in enumerate(lines, 1):
        try:
            yield schema.model_validate_json(line)
        except ValidationError as error:
            raise SentiDistillError(
                f"{path}, line {number}: not a {schema.__name__} ({first_problem(error)}); rerun the stage that writes "
                "this file"
            ) from error


@dataclass(frozen=True)
class Table(Generic[R]):
    """A file between stages, declared once beside its rows: its path from the project's root, and the type of a row."""

    path: str
    row: type[R]

    def read(self) -> list[R]:
        """The rows; a bad line raises an error with its number."""
        return read_jsonl(self.path, self.row)

    def write(self, rows: Iterable[R]) -> None:
        write_jsonl(self.path, rows)
