"""`make test-faults`: every test here has the marker `faults`, and what all of them found is a table at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.tally import COLUMNS, Tally

TALLIES: list[Tally] = []


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture(scope="module")
def tally(request) -> Iterator[Tally]:
    """Counts of the module's part; the module's PART names it."""
    TALLIES.append(Tally(request.module.PART))
    return TALLIES[-1]


def pytest_terminal_summary(terminalreporter):
    if not TALLIES:
        return
    terminalreporter.section("faults")
    for cells in (("part", *COLUMNS), ("---", *["---:"] * len(COLUMNS)), *map(_cells, TALLIES)):
        terminalreporter.write_line(f"| {' | '.join(cells)} |")


def _cells(one: Tally) -> tuple[str, ...]:
    return one.part, *(str(one.counts[column]) for column in COLUMNS)
