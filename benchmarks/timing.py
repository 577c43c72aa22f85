"""Times of what is measured side by side, and what their ratios come to."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping


def in_turn(rounds: int, calls: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each call in each round, in turn, so that all meet the same machine. The caller has warmed up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - started)
    return found


def rates(seconds: Mapping[str, list[float]], number: int) -> str:
    """Of each call, the median of how many of a `number` it does a second."""
    return ", ".join(f"{name} {number / statistics.median(times):.1f}" for name, times in seconds.items())


def faster(seconds: Mapping[str, list[float]], name: str, other: str) -> str:
    """How many times as fast as `other` a call is."""
    return f"{name} to {other}: {spread(b / a for a, b in zip(seconds[name], seconds[other]))}"


def spread(ratios: Iterable[float]) -> str:
    """Median, least and greatest."""
    ordered = sorted(ratios)
    return f"{statistics.median(ordered):.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"
