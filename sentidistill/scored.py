"""Files of texts in, files of predictions out, a chunk at a time, so memory does not grow with the file."""

import csv
import fcntl
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.sources.tables import MAX_CHARS, Row, Source, at

CHUNK = 256  # rows that are predicted and stored at once: half a minute of one slow core
MOST_KNOWN = 50_000  # texts whose predictions are remembered: some 20 MB
ROW_GROUP = 10_000  # rows of a Parquet file that are held at once
NOTED = ("rows", "errors", "bytes")  # of the part that is finished
WRITES = (".csv", ".jsonl", ".parquet")
Known = dict[str, dict[str, Any]]  # predictions by the digest of their text


def write(
    source: Source,
    out: Path,
    names: Mapping[str, type],
    predict: Callable[[list[str]], list[dict[str, Any]]],
    key: Sequence[Any],
    advance: Callable[..., None],
) -> tuple[int, int]:
    """Write the rows of `source` with the columns `names`, which `predict` gives for a text.

    `names` are those of texts (str) and numbers (float). Returns the number of rows, and of those with an error.

    Equal texts are predicted once, as long as there are no more than `MOST_KNOWN` different ones. A row that cannot be
    read, or has no text, gets its fault in the column "error", and the next rows are predicted. Finished rows lie in a
    file beside `out` until all are finished. After a kill, a run with the same `key` continues there, and ends with the
    same bytes. `advance` is told of the rows that are done.
    Raises `SentiDistillError` where `out` is the file of `source`, or another run is writing it.
    """
    kind = out.suffix.lower()
    if kind not in WRITES:
        raise SentiDistillError(f"{out}: unknown kind of file; write one of {', '.join(WRITES)}")
    if out.exists() and out.samefile(source.path):
        raise SentiDistillError(
            f"{out}: the texts are in it, and a row that cannot be read would be lost; name another file"
        )
    columns = _columns(source)
    if taken := [name for name in (*names, "error") if name in columns]:
        raise SentiDistillError(f"{source.path}: its column {taken[0]!r} has the name of one that is added; rename it")
    part, state = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
    stat = source.path.stat()
    key = records.content_id(str(source), stat.st_size, stat.st_mtime_ns, columns, [*names], *key)
    out.parent.mkdir(parents=True, exist_ok=True)
    known: Known = {}
    with open(part, "a+b") as file:
        _hold(file, out)
        done = _done(state)
        if done.get("key") != key or part.stat().st_size < done["bytes"]:
            done = {"key": key, "rows": 0, "errors": 0, "bytes": 0}
        file.truncate(done["bytes"])
        for row, predicted in zip(source.rows(), _finished(part, kind)):
            if not predicted["error"]:
                _remember(known, at(row.values or {}, source.field), {name: predicted[name] for name in names})
        if done["rows"]:
            advance(done["rows"], hits=done["rows"])
        rows = itertools.islice(source.rows(), done["rows"], None)
        while chunk := list(itertools.islice(rows, CHUNK)):
            found = _predicted(chunk, source.field, names, predict, known)
            header = done["rows"] == 0
            # A Parquet file cannot be added to: until all is done, the predictions alone are kept, as JSON Lines.
            written = [*names, "error"] if kind == ".parquet" else [*columns, *names, "error"]
            file.write(_lines(found, written, kind, header).encode("utf-8", "replace"))
            file.flush()
            errors = sum(bool(row["error"]) for row in found)
            done |= {"rows": done["rows"] + len(chunk), "errors": done["errors"] + errors, "bytes": file.tell()}
            records.write_json(state, done)
            advance(len(chunk), failures=errors)
        if kind == ".parquet":
            whole = out.with_name(f"{out.name}.part.parquet")
            _write_parquet(source, columns, names, part, whole)
            os.replace(whole, out)
            part.unlink()
        else:
            os.replace(part, out)
        state.unlink(missing_ok=True)
    return done["rows"], done["errors"]


def _done(state: Path) -> dict[str, Any]:
    """What a killed run has noted; nothing where that is not there, or is torn."""
    try:
        found = json.loads(state.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(type(found.get(one)) is int for one in NOTED) else {}


def _columns(source: Source) -> list[str]:
    """Of the file; of JSON Lines, the keys of all its objects."""
    columns = source.columns()
    if source.path.name.lower().removesuffix(".gz").endswith(".jsonl"):
        return list(dict.fromkeys(itertools.chain(columns, *(row.values or {} for row in source.rows()))))
    if source.path.suffix.lower() == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_schema(source.path).names
    return columns


def _hold(part: IO[bytes], out: Path) -> None:
    """Keep others from writing `part`, until it is closed."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(part.fileno()), os.stat(part.name)):  # else the other run has ended just now
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise SentiDistillError(f"{out}: another run is writing it; wait for its end, or name another file by --out")


def _predicted(
    chunk: Sequence[Row],
    field: str,
    names: Mapping[str, type],
    predict: Callable[[list[str]], list[dict[str, Any]]],
    known: Known,
) -> list[dict[str, Any]]:
    texts = [at(row.values or {}, field) for row in chunk]
    faults = [f"{row.place} {row.fault}" if row.fault else _fault(text) for row, text in zip(chunk, texts)]
    found = {text: known.get(records.content_id(text)) for text, fault in zip(texts, faults) if not fault}
    new = [text for text, prediction in found.items() if prediction is None]
    for text, prediction in zip(new, predict(new) if new else []):
        found[text] = prediction
        if "error" not in prediction:
            _remember(known, text, prediction)
    nothing = dict.fromkeys(names, "")
    return [
        {**(row.values or {}), **nothing, **({"error": fault} if fault else {"error": "", **(found[text] or {})})}
        for row, text, fault in zip(chunk, texts, faults)
    ]


def _remember(known: Known, text: str, prediction: dict[str, Any]) -> None:
    if len(known) < MOST_KNOWN:
        known.setdefault(records.content_id(text), prediction)


def _finished(part: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The rows in `part`, the numbers in a CSV file as texts."""
    csv.field_size_limit(MAX_CHARS)
    with open(part, encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines) if kind == ".csv" else map(json.loads, lines)


def _fault(text: Any) -> str | None:
    if not isinstance(text, str):
        return "no text"
    return None if text.strip() else "empty text"


def _lines(rows: Sequence[dict[str, Any]], columns: Sequence[str], kind: str, header: bool) -> str:
    if kind == ".parquet":
        rows = [{name: row[name] for name in columns} for row in rows]
    if kind != ".csv":
        return "".join(json.dumps(_finite(row), ensure_ascii=False, default=str) + "\n" for row in rows)
    cells = [list(columns)] if header else []
    cells += [[_cell(row.get(name)) for name in columns] for row in rows]
    return "".join(map(_csv_line, cells))


def _finite(value: Any) -> Any:
    """None for what is no number, as JSON knows none."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


def _csv_line(cells: Sequence[Any]) -> str:
    """Ended by a line feed. The writer is told of both characters, or it would leave a carriage return unquoted."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _write_parquet(source: Source, columns: Sequence[str], names: Mapping[str, type], found: Path, out: Path) -> None:
    """Write the rows of `source` beside the predictions in `found`. A Parquet file's columns keep their types; those of
    any other are texts."""
    import pyarrow
    import pyarrow.parquet

    typed = source.path.suffix.lower() == ".parquet"
    texts = pyarrow.schema([(name, pyarrow.string()) for name in columns])
    old = pyarrow.parquet.read_schema(source.path) if typed else texts
    kinds = {str: pyarrow.string(), float: pyarrow.float64()}
    added = [pyarrow.field(name, kinds[kind]) for name, kind in {**names, "error": str}.items()]
    schema = pyarrow.schema([*old, *added])
    with open(found, encoding="utf-8") as lines, pyarrow.parquet.ParquetWriter(out, schema) as writer:
        rows = (
            {
                **{name: value if typed else _text(value) for name, value in (row.values or {}).items()},
                **{name: None if value == "" else value for name, value in json.loads(line).items()},
            }
            for row, line in zip(source.rows(), lines)
        )
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def _text(value: Any) -> str | None:
    text = value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False)
    return text and text.encode("utf-8", "replace").decode()
