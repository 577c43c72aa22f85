"""The generation cache from the command line: python -m sentidistill.commands.cache stats|verify|export|import

An export is JSON Lines (gzipped where the name ends in .gz), one answer a line, in key order:
{"digest": "9c1f...", "key": "03ab...", "model": "5f1c...", "response": "{\\"text\\": ...}"}
Whoever imports it replays the run without the model: runtime.cache: read.
"""

import argparse
import gzip
import os
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Literal

from rich.table import Table

from sentidistill.errors import SentiDistillError
from sentidistill.inference.opening import cache_path
from sentidistill.inference.store import Cache, DamagedCache, Entry, salvage
from sentidistill.pipeline import stage
from sentidistill.sources import models


def _opened(path: Path, mode: Literal["rb", "wb"], gzipped: bool) -> IO[bytes]:
    if gzipped:
        return gzip.open(path, mode)  # type: ignore[return-value]  # it reads and writes as a file does
    return path.open(mode)


def stats(cache: Cache) -> None:
    """A table of what is stored, by model."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in cache.entries():
        try:
            one = entry.parsed()
            found = {"errors": one.error is not None, "prompt tokens": one.prompt_tokens}
            found["completion tokens"] = one.completion_tokens
        except ValueError:
            found = {"damaged": 1}
        totals[entry.model].update(answers=1, **found)
    roles = {models.identity(path.parent): path.parent.name for path in sorted(Path("models").glob("*/origin.json"))}
    columns = ("answers", "damaged", "errors", "prompt tokens", "completion tokens")
    table = Table("model", "is now", *columns, title=f"{cache.path}, {cache.path.stat().st_size / 1e6:.1f} MB")
    for model, figures in sorted(totals.items()):
        table.add_row(stage.visible(model), roles.get(model, ""), *(f"{figures[column]:,}" for column in columns))
    stage.console().print(table)


def verify(path: Path, drop: bool) -> None:
    """Check the file and every answer in it; with `drop`, keep the whole ones alone."""
    try:
        with closing(Cache(path)) as cache:
            cache.check()
            damaged, total = [], 0
            for entry in cache.entries():
                total += 1
                try:
                    entry.parsed()
                except ValueError as error:
                    damaged.append(entry.key)
                    print(f"{entry.key}: {error}")
            if damaged and not drop:
                raise SentiDistillError(
                    f"{path}: {len(damaged)} of {total} answers are damaged; `verify --drop` removes them"
                )
            if cache.remove(damaged) < len(damaged):
                raise DamagedCache(f"{path}: its damaged answers cannot be removed one by one")
    except DamagedCache as error:
        if not drop:
            raise
        number, aside = salvage(path)
        print(f"{error}\n{number} whole answers are kept; the others will be asked again. The old file is {aside}")
        return
    if damaged:
        print(f"{len(damaged)} damaged answers removed; they will be asked again")
    print(f"{total - len(damaged)} answers are as they were stored")


def export(cache: Cache, path: Path, model: str | None) -> None:
    """Write all answers, or those of `model`, to `path`; an older file there is replaced at the end.

    Raises `SentiDistillError` for a damaged answer, as it could not be imported, for a model of which there is none,
    and where `path` is a folder or the store itself.
    """
    known = {entry.model for entry in cache.entries()}
    if model is not None and model not in known:
        raise SentiDistillError(f"no answers of a model {model!r}; known are {', '.join(sorted(known))}, as in `stats`")
    if path.is_dir() or (path.exists() and path.samefile(cache.path)):
        raise SentiDistillError(f"{path} is a folder, or the store itself; name a file to write")
    temporary = path.with_name(f".{path.name}.tmp")
    number = 0
    try:
        with _opened(temporary, "wb", path.suffix == ".gz") as file:
            for entry in cache.entries():
                if model in (None, entry.model):
                    entry.parsed()
                    file.write(f"{entry.to_line()}\n".encode())
                    number += 1
        os.replace(temporary, path)
    except ValueError as error:
        raise SentiDistillError(
            f"{cache.path}: answer {entry.key} is damaged ({error}); `verify --drop` removes what is damaged"
        ) from error
    except OSError as error:
        raise SentiDistillError(f"{path}: {error.strerror}; nothing was written") from error
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{number} answers written to {path}")


def import_(cache: Cache, path: Path) -> None:
    """Add the answers of an export, all or none; answers that are there already are kept.

    Raises `SentiDistillError` naming the line that is torn or damaged.
    """
    number = 0

    def entries() -> Iterator[Entry]:
        nonlocal number
        with _opened(path, "rb", path.suffix == ".gz") as file:
            for line in file:
                number += 1
                yield Entry.of_line(line.decode())

    try:
        cache.add(entries())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SentiDistillError(
            f"{path}, line {number}: {error}; nothing was imported, get a whole copy of the file"
        ) from error
    print(f"{number} answers read from {path}")


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sentidistill.commands.cache", description="The store of model answers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("stats", help="what is stored, by model")
    checking = commands.add_parser("verify", help="check every stored answer")
    checking.add_argument("--drop", action="store_true", help="keep the whole answers alone; end other runs first")
    writing = commands.add_parser("export", help="write answers to a file that others can import")
    writing.add_argument("file", type=Path, help="name of the file; gzipped if it ends in .gz")
    writing.add_argument("--model", help="only of this model, by its name in `stats`")
    reading = commands.add_parser("import", help="add the answers of an exported file")
    reading.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    path = cache_path(stage.cache_root())
    if options.command == "verify":
        verify(path, options.drop)
        return
    with closing(Cache(path)) as cache:
        if options.command == "stats":
            stats(cache)
        elif options.command == "export":
            export(cache, options.file, options.model)
        else:
            import_(cache, options.file)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
