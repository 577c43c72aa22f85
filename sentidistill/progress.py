"""Progress of long work: a rich bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 20.0


class Tracker:
    """Counts finished items of one piece of work: those cached (`hits`), those recorded, and those that failed."""

    def __init__(self, label: str, total: int, report):
        self.label, self.total, self._report = label, total, report
        self.done = self.hits = self.recorded = self.failures = 0
        self.started = time.monotonic()

    def advance(self, n: int = 1, *, hits: int = 0, recorded: int = 0, failures: int = 0) -> None:
        self.done += n
        self.hits += hits
        self.recorded += recorded
        self.failures += failures
        self._report(self)

    @property
    def rate(self) -> float:
        """New (neither cached nor recorded) items per second."""
        return (self.done - self.hits - self.recorded) / max(time.monotonic() - self.started, 1e-9)

    def counts(self) -> str:
        recorded = f"{self.recorded} recorded, " if self.recorded else ""
        return f"{self.rate:.1f}/s, {recorded}{self.hits} cached, {self.failures} failed"

    def line(self) -> str:
        left = (self.total - self.done) / self.rate if self.rate > 0 else 0.0
        return f"{self.label}: {self.done}/{self.total}, {self.counts()}, {left:.0f} s left"


@contextmanager
def track(label: str, total: int) -> Iterator[Tracker]:
    """Yield a `Tracker`; its state is shown until the block ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def plain(tracker: Tracker) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_SECONDS or tracker.done >= tracker.total:
                last = time.monotonic()
                console.print(tracker.line(), soft_wrap=True, highlight=False, markup=False)

        yield Tracker(label, total, plain)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total, rate="")

        def bar(tracker: Tracker) -> None:
            progress.update(task, completed=tracker.done, rate=tracker.counts())

        yield Tracker(label, total, bar)
