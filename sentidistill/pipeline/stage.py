"""What every stage shares: how it starts, how it fails, where its metrics go."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import runs

WIDTH = 160
# What a terminal or a reader would obey: escapes, and marks that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def run(main: Callable[..., None], *arguments: str) -> None:
    """Call `main` as a command: one clear message and exit code 1 for a fault of the input.

    A stage of the pipeline says first which one it is and how long the rest will take, and notes at the end what it
    took.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "sentence_transformers", "datasets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The progress bars of libraries would drown our own lines in a DVC log.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    started = time.monotonic()
    try:
        name = runs.name_of(sys.argv[0], arguments)
        if name and (place := runs.place(name, cache_root())):
            logging.info(place)
        main(*arguments)
        if name:
            runs.write(cache_root(), name, round(time.monotonic() - started, 1))
    except SentiDistillError as error:
        sys.exit(f"error: {without_controls(str(error))}")
    except KeyboardInterrupt:
        sys.exit("interrupted; finished teacher answers are kept, run the same command again to continue")


def cache_root() -> Path:
    """`.cache` of the repository; of the parent repository inside `dvc exp run --queue` and `--temp`."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache"


def finish(name: str, metrics: dict[str, Any]) -> None:
    """Write `metrics/{name}.json` and show the same figures as a table."""
    records.write_json(f"metrics/{name}.json", metrics)
    table = Table("figure", "value", title=name)
    for key, value in _leaves(metrics):
        table.add_row(visible(key), visible(value))
    Console(stderr=True).print(table)


def without_controls(text: str) -> str:
    """`text`, which a model, a server or a file may have given, without characters that act on who shows it."""
    return _CONTROL.sub("\ufffd", text)


def visible(value: Any) -> Text:
    """`value` for a cell of a table in the terminal, as it is: its brackets are no markup."""
    return Text(without_controls(str(value)))


def console() -> Console:
    """Where a command prints its tables: as wide as the terminal, and wide where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
