"""Files of texts in, files of predictions out, a chunk at a time: whatever the size, memory stays the same."""

import csv
import io
import itertools
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentidistill import records
from sentidistill.errors import SentiDistillError

CHUNK = 1000  # rows that are predicted and stored at once
SEPARATORS = ",;\t|"
READS, WRITES = (".csv", ".tsv", ".jsonl", ".parquet"), (".csv", ".jsonl")
FIELD_LIMIT = 2**27  # characters of a cell of a CSV file; the library's own limit is 131,072


@dataclass(frozen=True)
class Source:
    """A file of texts: CSV with any of the usual separators, JSON Lines or Parquet; texts are in the column `field`."""

    path: Path
    field: str
    encoding: str = "utf-8-sig"

    def columns(self) -> list[str]:
        """Names of the columns of the file; of JSON Lines, the keys of its first object.

        Raises `SentiDistillError` where the file cannot be read or the text's column is not there.
        """
        if self.path.suffix.lower() not in READS:
            raise SentiDistillError(f"{self.path}: unknown kind of file; use one of {', '.join(READS)}")
        with closing(self.rows()) as rows:
            row, fault = next(rows, (None, None))
        if row is None:
            raise SentiDistillError(f"{self.path}: {fault or 'no rows in it'}")
        if self.field not in row:
            raise SentiDistillError(
                f"{self.path}: no column {self.field!r}; it has {', '.join(row)}; name the right one by --text-field"
            )
        return list(row)

    def rows(self) -> Generator[tuple[dict[str, Any] | None, str | None], None, None]:
        """(row, None), or (None, fault) for a row that cannot be read; a file that ends in the middle ends there."""
        readers = {".jsonl": self._jsonl, ".parquet": self._parquet}
        try:
            yield from readers.get(self.path.suffix.lower(), self._csv)()
        except OSError as error:
            raise SentiDistillError(f"{self.path}: cannot be read ({error})") from error
        except UnicodeError as error:
            raise SentiDistillError(
                f"{self.path}: not in the encoding {self.encoding} ({error}); name another, such as --encoding cp1252"
            ) from error

    def _csv(self) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
        csv.field_size_limit(FIELD_LIMIT)
        with open(self.path, encoding=self.encoding, newline="") as file:
            head = file.readline()
            separator = max(SEPARATORS, key=head.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=separator)
            for row in reader:
                if None in row or None in row.values():
                    fault = f"line {reader.line_num} has not as many cells as there are columns"
                    row.pop(None, None)
                    yield {name: value or "" for name, value in row.items()}, fault
                else:
                    yield row, None

    def _jsonl(self) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
        with open(self.path, encoding=self.encoding, newline="\n") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    yield None, f"line {number} is no JSON ({error})"
                    continue
                yield (row, None) if isinstance(row, dict) else (None, f"line {number} is no object")

    def _parquet(self) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
        import pyarrow
        import pyarrow.parquet

        try:
            for batch in pyarrow.parquet.ParquetFile(self.path).iter_batches(batch_size=CHUNK):
                yield from ((row, None) for row in batch.to_pylist())
        except pyarrow.ArrowInvalid as error:
            raise SentiDistillError(f"{self.path}: not a Parquet file ({error})") from error


def write(
    source: Source,
    out: Path,
    names: Sequence[str],
    predict: Callable[[list[str]], list[dict[str, Any]]],
    key: Sequence[Any],
    advance: Callable[..., None],
) -> int:
    """Write the rows of `source` with the columns `names`, which `predict` gives for a text, and return their number.

    Equal texts of a chunk are predicted once. A row that cannot be read, or has no text, gets a word in the column
    "error" and ends nothing. What is done lies beside `out` until all is: killed and run again with the same `key`, it
    goes on there, and ends with the same bytes. `advance` is told of the rows that are done.
    """
    if out.suffix.lower() not in WRITES:
        raise SentiDistillError(f"{out}: unknown kind of file; write one of {', '.join(WRITES)}")
    columns = source.columns()
    if taken := [name for name in (*names, "error") if name in columns]:
        raise SentiDistillError(f"{source.path}: its column {taken[0]!r} has the name of one that is added; rename it")
    part, state = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.part.json")
    stat = source.path.stat()
    key = records.content_id(str(source), stat.st_size, stat.st_mtime_ns, [*names], *key)
    done = records.read_json(state) if state.exists() and part.exists() else {}
    if done.get("key") != key:
        done = {"key": key, "rows": 0, "bytes": 0}
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "r+b" if done["bytes"] else "w+b") as file:
        file.truncate(done["bytes"])
        file.seek(done["bytes"])
        if done["rows"]:
            advance(done["rows"], hits=done["rows"])
        rows = itertools.islice(source.rows(), done["rows"], None)
        while chunk := list(itertools.islice(rows, CHUNK)):
            found = _predicted(chunk, source.field, names, predict)
            header = done["rows"] == 0
            file.write(
                _lines(found, [*columns, *names, "error"], out.suffix.lower(), header).encode("utf-8", "replace")
            )
            file.flush()
            done = {"key": key, "rows": done["rows"] + len(chunk), "bytes": file.tell()}
            records.write_json(state, done)
            advance(len(chunk), failures=sum(bool(row["error"]) for row in found))
    os.replace(part, out)
    state.unlink()
    return done["rows"]


def _predicted(
    chunk: Sequence[tuple[dict[str, Any] | None, str | None]],
    field: str,
    names: Sequence[str],
    predict: Callable[[list[str]], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    faults = [fault or _fault(row[field] if row and field in row else None) for row, fault in chunk]
    texts = [row[field] for (row, _), fault in zip(chunk, faults) if row and not fault]
    different = list(dict.fromkeys(texts))
    known = dict(zip(different, predict(different)))
    nothing = dict.fromkeys(names, "")
    return [
        {**(row or {}), **nothing, **({"error": "", **known[row[field]]} if row and not fault else {"error": fault})}
        for (row, _), fault in zip(chunk, faults)
    ]


def _fault(text: Any) -> str | None:
    if not isinstance(text, str):
        return "no text"
    return None if text.strip() else "empty text"


def _lines(rows: Sequence[dict[str, Any]], columns: Sequence[str], kind: str, header: bool) -> str:
    if kind == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue()
