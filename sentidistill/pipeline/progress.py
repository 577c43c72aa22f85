"""Progress of long work: a rich bar on a terminal, a plain line now and then elsewhere."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 20.0


class Tracker:
    """Counts finished items of one piece of work: those cached (`hits`), those recorded, and those that failed."""

    def __init__(self, label: str, total: int, bar: Progress):
        self._label, self._total, self._bar = label, total, bar
        self._counts: Counter[str] = Counter()
        self._task = bar.add_task(label, total=total, rate="")
        self._started = self._shown = time.monotonic()

    def advance(self, n: int = 1, *, hits: int = 0, recorded: int = 0, failures: int = 0) -> None:
        self._counts.update(done=n, cached=hits, recorded=recorded, failed=failures)
        done, now = self._counts["done"], time.monotonic()
        # Of new items alone: those that are cached or recorded take no time.
        rate = (done - self._counts["cached"] - self._counts["recorded"]) / max(now - self._started, 1e-9)
        kinds = [f"{self._counts[kind]} {kind}" for kind in ("recorded", "cached", "failed")]
        counts = ", ".join([f"{rate:.1f}/s", *kinds[0 if self._counts["recorded"] else 1 :]])
        self._bar.update(self._task, completed=done, rate=counts)
        if self._bar.disable and (now - self._shown >= PLAIN_SECONDS or done >= self._total):
            self._shown = now
            left = (self._total - done) / rate if rate > 0 else 0.0
            line = f"{self._label}: {done}/{self._total}, {counts}, {left:.0f} s left"
            self._bar.console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def track(label: str, total: int) -> Iterator[Tracker]:
    """Yield a `Tracker`; its state is shown until the block ends."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Tracker(label, total, bar)
