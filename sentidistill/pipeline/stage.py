"""The common part of all stages: how they start and fail, and where their metrics go."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import graph, interrupts, runs

WIDTH = 160
# Folders of .cache that stages write to while they run, and what lies there.
KEPT = {
    "generations": "the answers that came are stored",
    "difficulty": "the scores that are done are stored",
    "downloads": "what was fetched is kept",
    "gguf": "what was fetched is kept",
}
# Characters that a terminal or a text viewer obeys: escapes, and marks that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call `main` as a command: one clear message and exit code 1 for a fault of the input, a file or the disk.

    A stage of the pipeline says first which one it is and how long the rest will take, and notes at the end what it
    took. An interrupt ends it with one line, which says what is stored.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "sentence_transformers", "datasets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The progress bars of libraries would drown our own lines in a DVC log.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name = runs.name_of(sys.argv[0], arguments)
    interrupts.listen(partial(_how_to_go_on, name, time.time()))
    started = time.monotonic()
    try:
        if Path(sys.argv[0]).parent.name in ("stages", "commands") and not {"-h", "--help"} & {*arguments}:
            _check_folder()
        if name and (place := runs.place(name, cache_root())):
            logging.info(place)
            _remove_unfinished(name)
        main(*arguments)
        if name:
            runs.write(cache_root(), name, round(time.monotonic() - started, 1))
        interrupts.over()
    except SentiDistillError as error:
        sys.exit(f"error: {without_controls(records.with_remedy(str(error)))}")
    except BrokenPipeError:  # what was printed to has ended, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if (fault := records.file_fault(error)) is None:
            raise
        sys.exit(f"error: {without_controls(fault)}")


def _check_folder() -> None:
    """Raises `SentiDistillError` with the place of the repository where the current folder is another."""
    if Path("params.yaml").exists() or Path("dvc.yaml").exists():
        return
    own = Path(__file__).resolve().parents[2]
    found = [folder for folder in (*Path.cwd().parents, own) if Path(folder, "dvc.yaml").exists()]
    place = found[0] if found else "a clone of it"
    raise SentiDistillError(f"{Path.cwd()} is not the repository; run the command in {place}")


def _how_to_go_on(name: str | None, since: float) -> str:
    """The line of an interrupted command: what it has stored since the time `since`, and what to do."""
    if name is None:
        return "interrupted; run the same command again, which goes on with what is stored"
    if name == "train_student":
        whole = any((cache_root() / "train").glob("*/checkpoint-*/whole"))
        kept = {"training goes on at its last checkpoint" if whole else "no checkpoint yet, so training starts anew"}
    else:
        kept = {what for folder, what in KEPT.items() if _written(cache_root() / folder, since)}
    return f"interrupted; {', '.join(sorted(kept)) or 'nothing was to be stored yet'}: run the same command again"


def _written(folder: Path, since: float) -> bool:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a file that lies there for a moment
            if path.is_file() and path.stat().st_mtime >= since:
                return True
    return False


def _remove_unfinished(name: str) -> None:
    """A stage that was killed may have left parts of files among its outputs, and others read whole folders."""
    (one,) = (one for one in graph.load() if one.name == name)
    for out in map(Path, (*one.outs, *one.metrics)):
        for folder in (out.parent, *((out, *out.rglob("*/")) if out.is_dir() else ())):
            records.remove_unfinished(folder)


def cache_root() -> Path:
    """`.cache` of the repository; of the parent repository inside `dvc exp run --queue` and `--temp`."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache"


def show(title: str, figures: Mapping[str, Any]) -> None:
    """`figures` as a table in the log of the stage."""
    table = Table("figure", "value", title=title)
    for key, value in leaves(figures):
        table.add_row(visible(key), visible(value))
    Console(stderr=True).print(table)


def finish(name: str, metrics: dict[str, Any]) -> None:
    """Write `metrics/{name}.json` and show the same figures as a table."""
    records.write_json(f"metrics/{name}.json", metrics)
    show(name, metrics)


def without_controls(text: str) -> str:
    """`text`, perhaps of a model, a server or a file, without characters that a terminal or viewer obeys."""
    return _CONTROL.sub("\ufffd", text)


def visible(value: Any) -> Text:
    """`value` for a cell of a table in the terminal, shown as it is: its brackets are no markup."""
    return Text(without_controls(str(value)))


def console() -> Console:
    """Where a command prints its tables: as wide as the terminal, and wide where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that is no mapping itself."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
