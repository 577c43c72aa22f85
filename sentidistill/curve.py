"""Does selection pay? Student quality by rate and strategy: `make curve`, or

    python -m sentidistill.curve queue    queue the runs that are not there yet
    python -m sentidistill.curve wait     run them one after the other, and wait
    python -m sentidistill.curve table    plots/curve.csv, plots/curve.png and a table of the runs that are done

Each run is a DVC experiment of its own, such as

    dvc exp run --queue --name curve-soft-10-1 -S select_samples.strategy=soft -S select_samples.rate=0.1
        -S select_samples.seed=1 -S train_student.seed=1
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sentidistill import records, stage
from sentidistill.errors import SentiDistillError
from sentidistill.report import figures

RATES = (0.1, 0.25, 0.5)
STRATEGIES = ("soft", "random")
SEEDS = (1, 2)
NOT_DONE = ("Queued", "Running", "Failed")
POLL = 10.0  # seconds between two looks at the queue


@dataclass(frozen=True)
class Run:
    strategy: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"curve-{self.strategy}-{round(100 * self.rate)}-{self.seed}"

    def command(self) -> list[str]:
        settings = {
            "select_samples.strategy": self.strategy,
            "select_samples.rate": self.rate,
            "select_samples.seed": self.seed,
            "train_student.seed": self.seed,
        }
        changes = [part for key, value in settings.items() for part in ("-S", f"{key}={value}")]
        return ["dvc", "exp", "run", "--queue", "--name", self.name, *changes]


def runs() -> list[Run]:
    """Every rate with every strategy and seed, cheapest first; the whole pool once for each seed."""
    part = [Run(strategy, rate, seed) for rate in RATES for seed in SEEDS for strategy in STRATEGIES]
    return [*part, *(Run("random", 1.0, seed) for seed in SEEDS)]


def summary(found: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each run: strategy, rate, seed, kept samples, macro-F1 and its interval.

    `found` are rows as `dvc.api.exp_show` gives them, which have other metrics until a run is done.
    """
    by_name = {row["Experiment"]: row for row in found if row.get("Experiment") and row.get("State") not in NOT_DONE}
    done = [(run, by_name[run.name]) for run in runs() if run.name in by_name]
    return pd.DataFrame(
        [
            {
                "strategy": run.strategy if run.rate < 1 else "all",
                "rate": run.rate,
                "seed": run.seed,
                "kept": int(row["kept"]),
                "kept_tokens": int(row["kept_tokens"]),
                "macro_f1": row["macro_f1.student"],
                "low": row["student.low"],
                "high": row["student.high"],
            }
            for run, row in done
        ]
    )


def by_point(table: pd.DataFrame) -> pd.DataFrame:
    """The seeds of each point together: their number, mean and range, and the mean ends of the intervals."""
    grouped = table.groupby(["rate", "strategy"], sort=True)
    points = grouped.agg(
        seeds=("seed", "size"),
        kept=("kept", "mean"),
        mean=("macro_f1", "mean"),
        least=("macro_f1", "min"),
        most=("macro_f1", "max"),
        low=("low", "mean"),
        high=("high", "mean"),
    )
    return points.round(2).reset_index()


def markdown(points: pd.DataFrame) -> str:
    lines = [
        "| rate | strategy | samples | seeds | macro-F1 | range over seeds | 95 % over records |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {100 * one.rate:.0f} % | {one.strategy} | {one.kept:.0f} | {one.seeds} | {one.mean:.1f} | "
        f"{one.least:.1f} to {one.most:.1f} | {one.low:.1f} to {one.high:.1f} |"
        for one in points.itertuples()
    ]
    return "\n".join(lines)


def experiments() -> list[dict[str, Any]]:
    import dvc.api

    return [row for row in dvc.api.exp_show() if str(row.get("Experiment") or "").startswith("curve-")]


def queue() -> None:
    """Queue what is neither done nor queued. Raises where the pipeline itself is not up to date."""
    status = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=True).stdout
    if status.strip() != "{}":
        raise SentiDistillError("curve: the pipeline is not up to date; run `make repro` and commit first")
    known = {row["Experiment"] for row in experiments()}
    waiting = subprocess.run(["dvc", "queue", "status"], capture_output=True, text=True, check=True).stdout
    for run in runs():
        if run.name not in known and run.name not in waiting:
            subprocess.run(run.command(), check=True)


def wait() -> None:
    """Start the queue and wait for its end; a failed run is named."""
    subprocess.run(["dvc", "queue", "start"], check=True)
    last = ""
    while True:
        shown = subprocess.run(["dvc", "queue", "status"], capture_output=True, text=True, check=True).stdout
        states = [line.split()[-1] for line in shown.splitlines() if "curve-" in line]
        line = ", ".join(f"{states.count(state)} {state.lower()}" for state in sorted(set(states)))
        if line != last:
            print(line, flush=True)
            last = line
        if not {"Queued", "Running"} & set(states):
            break
        time.sleep(POLL)
    if "Failed" in states:
        raise SentiDistillError("curve: a run failed; `dvc queue status` names it, `dvc queue logs NAME` says why")


def table() -> None:
    found = experiments()
    rows = summary(found)
    if rows.empty:
        raise SentiDistillError("curve: no run is done yet; start with `make curve`")
    points = by_point(rows)
    records.write_text("plots/curve.csv", rows.to_csv(index=False))
    figures.rate_curve(points, Path("plots/curve.png"))
    print(markdown(points))


def main(step: str = "") -> None:
    steps = {"queue": queue, "wait": wait, "table": table}
    if step not in steps:
        raise SentiDistillError(f"curve: {step!r} is none of {', '.join(steps)}")
    steps[step]()


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
