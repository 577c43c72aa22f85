"""Files of texts, read a row at a time: CSV, TSV, JSON Lines and Parquet. Whatever the size, memory stays the same."""

import codecs
import csv
import gzip
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sentidistill.errors import SentiDistillError

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
SEPARATORS = ",;\t|"
HEAD = 100  # rows that are looked at before all others: what is wrong there is wrong with the file
MAX_CHARS = 2**24  # of a line, and of a cell of a CSV file
MAX_NAMES, MAX_NAME = 20, 40  # columns that an error names, and characters of each


class Row(NamedTuple):
    """A row, or what is wrong with it. `place` says where it stands: "line 7"."""

    place: str
    values: dict[str, Any] | None
    fault: str | None = None


@dataclass(frozen=True)
class Source:
    """A file whose texts are in the column `field`. All but Parquet may be compressed, as in .csv.gz.

    The separator of a CSV file is any of the usual ones. `setting` and `recode` are what errors advise where the column
    is another, and where the encoding is.
    """

    path: Path
    field: str
    encoding: str = "utf-8-sig"
    setting: str = "name the right one by --text-field"
    recode: str = "name another, such as --encoding cp1252"

    @property
    def _kind(self) -> str:
        path = self.path.with_suffix("") if self._packed else self.path
        return path.suffix.lower()

    @property
    def _packed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def columns(self) -> list[str]:
        """Names of the columns; of JSON Lines, the keys of the first objects.

        Raises `SentiDistillError` where the file cannot be read or the text's column is not there.
        """
        with closing(self.rows()) as rows:
            head = list(itertools.islice(rows, HEAD))
        if not head:
            raise SentiDistillError(f"{self.path}: no rows in it")
        readable = [row.values for row in head if row.values]
        if not readable:
            raise SentiDistillError(f"{self.path}, {head[0].place}: {head[0].fault or 'nothing in it'}")
        if not any(self.field in values or at(values, self.field) is not None for values in readable):
            raise SentiDistillError(
                f"{self.path}: no column {self.field!r}; it has {names(readable[0])}; {self.setting}"
                + (". The first line has to name the columns" if self._kind in (".csv", ".tsv") else "")
            )
        return list(dict.fromkeys(name for values in readable for name in values))

    def rows(self) -> Generator[Row, None, None]:
        """All rows that are not blank. What is wrong with one row is said there, and ends nothing.

        Raises `SentiDistillError` for what is wrong with the file: another kind or encoding, damage, one long line.
        """
        readers = {".csv": self._csv, ".tsv": self._csv, ".jsonl": self._jsonl, ".parquet": self._parquet}
        if self._kind not in readers or (self._packed and self._kind == ".parquet"):
            raise SentiDistillError(
                f"{self.path}: unknown kind of file; use one of {', '.join(KINDS)}, or .gz behind the first three"
            )
        try:
            yield from readers[self._kind]()
        except (OSError, EOFError, zlib.error) as error:
            raise SentiDistillError(f"{self.path}: cannot be read ({error})") from error
        except (UnicodeError, LookupError) as error:
            raise SentiDistillError(
                f"{self.path}: not in the encoding {self.encoding} ({error}); {self.recode}"
            ) from error

    def _lines(self, newline: str) -> Generator[tuple[int, str, str | None], None, None]:
        """(number, line, fault); lines end at `newline`, or at any of the usual ends where that is ""."""
        opened = gzip.open if self._packed else open
        with opened(self.path, "rb") as file:
            if self.encoding.startswith("utf-8") and file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise SentiDistillError(
                    f"{self.path}: in UTF-16, not in UTF-8; {self.recode.replace('cp1252', 'utf-16')}"
                )
        with opened(self.path, "rt", encoding=self.encoding, errors="surrogateescape", newline=newline) as file:
            number = 0
            while line := file.readline(MAX_CHARS):
                number += 1
                if len(line) == MAX_CHARS and not line.endswith("\n"):
                    raise SentiDistillError(f"{self.path}, line {number}: more than {MAX_CHARS:,} characters in a line")
                fault = self._undecoded(line)
                if fault and number <= HEAD:
                    raise SentiDistillError(f"{self.path}, line {number}: {fault}")
                yield number, line, fault

    def _undecoded(self, line: str) -> str | None:
        try:
            line.encode()
        except UnicodeEncodeError as error:
            byte = ord(line[error.start]) & 0xFF
            return f"not in the encoding {self.encoding} (byte 0x{byte:02x}); {self.recode}"
        return None

    def _csv(self) -> Generator[Row, None, None]:
        csv.field_size_limit(MAX_CHARS)
        undecoded: list[str] = []

        def texts(lines: Iterator[tuple[int, str, str | None]]) -> Iterator[str]:
            for _, line, fault in lines:
                if fault:
                    undecoded.append(fault)
                yield line

        with closing(self._lines("")) as lines:
            whole = texts(lines)
            head = list(itertools.islice(whole, HEAD))
            separator = "\t" if self._kind == ".tsv" else _separator(head)
            reader = csv.reader(itertools.chain(head, whole), delimiter=separator, strict=True)
            columns: list[str] | None = None
            while True:
                start = reader.line_num + 1
                undecoded.clear()
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    place = f"line {start}" if start == reader.line_num else f"lines {start} to {reader.line_num}"
                    fault = f"no CSV ({error}); a quotation mark within quotation marks is doubled"
                    if columns is None:
                        raise SentiDistillError(f"{self.path}, {place}: {fault}") from error
                    yield Row(place, None, fault)
                    continue
                if cells is None:
                    return
                blank = len(cells) < 2 and not "".join(cells).strip()
                if blank and not (cells and columns and len(columns) == 1):  # there it is a text, an empty one
                    continue
                if columns is None:
                    columns = _with_places(cells)
                    try:
                        _once([(name, None) for name in columns])
                    except ValueError as error:
                        raise SentiDistillError(f"{self.path}: {error}; rename one") from error
                    continue
                problem = undecoded[0] if undecoded else None
                if len(cells) < len(columns) or any(cells[len(columns) :]):
                    problem = problem or (
                        f"has not as many cells as there are columns ({len(cells)} for {len(columns)}); a cell that "
                        "holds a separator stands in quotation marks"
                    )
                yield Row(f"line {start}", dict(zip(columns, cells + [""] * len(columns))), problem)

    def _jsonl(self) -> Generator[Row, None, None]:
        for number, line, fault in self._lines("\n"):
            if not line.strip("\ufeff \t\r\n"):
                continue
            row = None
            try:
                row = None if fault else json.loads(line, object_pairs_hook=_once)
                if not isinstance(row, dict):
                    fault, row = fault or 'no object, such as {"text": "..."}', None
            except (ValueError, RecursionError) as error:
                fault = f"no JSON ({error})"
            yield Row(f"line {number}", row, fault)

    def _parquet(self) -> Generator[Row, None, None]:
        import pyarrow
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(self.path)
            _once([(name, None) for name in file.schema_arrow.names])
            batches = file.iter_batches(batch_size=1000)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                yield Row(f"row {number}", row)
        except pyarrow.ArrowException as error:
            raise SentiDistillError(f"{self.path}: not a Parquet file, or damaged ({error})") from error
        except (ValueError, OverflowError) as error:  # such as of a date that Python has not
            raise SentiDistillError(
                f"{self.path}: cannot be read ({error}); rename such a column, or write its values as texts"
            ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of names and values. Raises `ValueError` for a name that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise ValueError(f"two columns are called {_short(twice)}")
    return found


def at(values: dict[str, Any], field: str) -> Any:
    """What a row has under `field`. "user.name" is also the name within the object under "user"."""
    if field in values:
        return values[field]
    found: Any = values
    for name in field.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def names(values: dict[str, Any]) -> str:
    """The names of a row's columns as an error shows them, also of those within objects."""
    found: list[str] = []
    for name, value in values.items():
        found += [f"{name}.{inner}" for inner in value] if isinstance(value, dict) and value else [name]
    more = [f"and {len(found) - MAX_NAMES} more"] if len(found) > MAX_NAMES else []
    return ", ".join([*map(_short, found[:MAX_NAMES]), *more])


def _short(name: str) -> str:
    shown = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
    return shown if shown.isprintable() and shown.strip() == shown != "" else repr(shown)


def _with_places(names: Sequence[str]) -> list[str]:
    """The columns of a first line; where several have no name, each of these is called by its place, "column 3"."""
    return [name or f"column {place}" if names.count("") > 1 else name for place, name in enumerate(names, 1)]


def _separator(head: Sequence[str]) -> str:
    """The separator by which most of the first rows have as many cells as the first one."""
    best, found = (0.0, 1), ","
    for separator in SEPARATORS:
        rows: list[list[str]] = []
        try:
            rows.extend(row for row in csv.reader(head, delimiter=separator) if row)
        except csv.Error:  # such as of a cell beyond the limit: its line is named when it is read
            pass
        width = len(rows[0]) if rows else 1
        alike = sum(len(row) == width for row in rows) / max(len(rows), 1)
        if width > 1 and (alike, width) > best:
            best, found = (alike, width), separator
    return found
