"""The commits and experiments of DVC in a table that fits a terminal: `make runs`. All of `dvc exp show` is wider.

For each: the params that differ from the commit that it starts from, and the student's mean scores.
"""

from collections.abc import Mapping
from typing import Any

import yaml
from rich.console import Console
from rich.table import Column, Table

from sentidistill.commands.compare import Revision, changed
from sentidistill.pipeline import stage
from sentidistill.pipeline.stage import leaves, visible

WIDTH = 120
SCORES = {"macro-F1": "", "calibrated": "calibrated."}  # what the names of their figures begin with


def settings(revision: str) -> dict[str, Any]:
    """The params of a commit by their dotted keys."""
    return dict(leaves(yaml.safe_load(Revision(revision).text("params.yaml"))))


def score(row: Mapping[str, Any], name: str) -> str:
    """The student's score and, in brackets, its gain over its base; "" where the run has none (yet)."""
    value, gain = (row.get(f"{SCORES[name]}{figure}") for figure in ("macro_f1.student", "gain.mean"))
    return "" if value is None else f"{value:.1f}" + ("" if gain is None else f" ({gain:+.1f})")


def table(rows: list[dict[str, Any]]) -> Table:
    """`rows` are those of `dvc.api.exp_show`: a commit, and below it the experiments that start from it."""
    shown = Table(
        Column("run", no_wrap=True), "other params", *SCORES, "state", title="Runs: scores, and gains over the base"
    )
    base: dict[str, Any] = {}
    for row in rows:
        if row["rev"] == "workspace":
            continue
        params = settings(row["rev"])
        if row["typ"] == "baseline":
            base = params
        other = "\n".join(f"{key}={after}" for key, _, after in changed(base, params))
        name = str(row.get("Experiment") or row["rev"])
        scores = [score(row, one) if row.get("State") not in ("Queued", "Running", "Failed") else "" for one in SCORES]
        shown.add_row(visible(name), visible(other), *scores, str(row.get("State") or ""))
    return shown


def main() -> None:
    import dvc.api

    found = stage.console()
    (found if found.is_terminal else Console(width=WIDTH)).print(table(dvc.api.exp_show()))


if __name__ == "__main__":
    stage.run(main)
