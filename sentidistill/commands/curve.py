"""Does selection pay? Student quality by rate and strategy: `make curve`, or

    python -m sentidistill.commands.curve queue    queue the runs that are not there yet
    python -m sentidistill.commands.curve wait     run them one after the other, and wait
    python -m sentidistill.commands.curve table [COMMIT]
                                          plots/curve.csv, plots/curve.png and tables of the runs that are done,
                                          of those that were queued at COMMIT if HEAD has moved since

Each run is a DVC experiment of its own, such as

    dvc exp run --queue --name curve-soft-10-1 -S select_samples.strategy=soft -S select_samples.rate=0.1
        -S select_samples.seed=1 -S train_student.seed=1
"""

import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sentidistill import config, records
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import suite
from sentidistill.evaluation.metrics import Estimate, mean
from sentidistill.evaluation.suite import Column, Outcome
from sentidistill.evaluation.tasks import EvaluationTask, tasks_of
from sentidistill.pipeline import stage
from sentidistill.report import figures

RATES = (0.1, 0.25, 0.5)
STRATEGIES = ("soft", "random")
SEEDS = (1, 2)
NOT_DONE = ("Queued", "Running", "Failed")
POLL = 10.0  # seconds between two looks at the queue
LOOKS = 12  # in a row that find no worker, after which there is none: a busy one may answer late

Tested = dict[EvaluationTask, list[Outcome]]


@dataclass(frozen=True)
class Run:
    strategy: str
    rate: float
    seed: int

    @property
    def point(self) -> tuple[str, float]:
        """(strategy, rate); a strategy has no say where all is kept."""
        return self.strategy if self.rate < 1 else "all", self.rate

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


def done(found: list[dict[str, Any]]) -> list[tuple[Run, dict[str, Any]]]:
    """Runs with their rows. `found` are those of `dvc.api.exp_show`, which have other metrics until a run is done."""
    by_name = {row["Experiment"]: row for row in found if row.get("Experiment") and row.get("State") not in NOT_DONE}
    return [(run, by_name[run.name]) for run in runs() if run.name in by_name]


def summary(found: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each run that is done: strategy, rate, seed, kept samples, macro-F1 and its interval."""
    metrics = {"macro_f1": "macro_f1.student", "low": "student.low", "high": "student.high"}
    return pd.DataFrame(
        {"strategy": run.point[0], "rate": run.rate, "seed": run.seed}
        | {name: int(row[name]) for name in ("kept", "kept_tokens")}
        | {name: row[key] for name, key in metrics.items()}
        for run, row in done(found)
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


def differences(predictions: dict[Run, Tested], column: Column, samples: int) -> pd.DataFrame:
    """Points of mean macro-F1 between strategies, seeds taken together; paired bootstrap over the test records.

    `predictions` are of label tasks, every run's for the same records. The interval does not hold what another seed
    would change. Empty where the models gave no scores and `column` is "calibrated".
    """
    of_point: dict[tuple[str, float], list[Estimate]] = {}
    for run, rows in predictions.items():
        found = (suite.estimate(task, (), outcomes, samples, column) for task, outcomes in rows.items())
        by_task = [one for one in found if one is not None]
        if len(by_task) < len(rows):
            return pd.DataFrame()
        of_point.setdefault(run.point, []).append(mean(by_task))
    pairs = [(("soft", rate), other) for rate in RATES for other in (("random", rate), ("all", 1.0))]
    return pd.DataFrame(
        {"rate": one[1], "one": one[0], "other": other[0]}
        | (mean(of_point[one]) - mean(of_point[other])).rounded("mean")
        for one, other in pairs
        if {one, other} <= of_point.keys()
    )


def markdown_differences(plain: pd.DataFrame, calibrated: pd.DataFrame) -> str:
    def cells(table: pd.DataFrame) -> list[str]:
        return [f"{one.mean:+.1f} ({one.low:+.1f} to {one.high:+.1f})" for one in table.itertuples()]

    lines = ["| rate | difference | macro-F1 | calibrated |", "|---|---|---|---|"]
    lines += [
        f"| {100 * one.rate:.0f} % | {one.one} - {one.other} | {cell} | {other} |"
        for one, cell, other in zip(plain.itertuples(), cells(plain), cells(calibrated) or [""] * len(plain))
    ]
    return "\n".join(lines)


def experiments(commit: str | None = None) -> list[dict[str, Any]]:
    import dvc.api

    shown = dvc.api.exp_show(revs=commit)
    return [row for row in shown if str(row.get("Experiment") or "").startswith("curve-")]


def predictions_of(revision: str) -> Tested:
    import dvc.api

    params = config.load()
    tasks = tasks_of(params.prepare_benchmark)
    found = {}
    for name in params.evaluate.tasks:
        if name not in SENTIBENCH:
            path = f"data/predictions/student/{name}.jsonl"
            lines = records.lines_of(dvc.api.read(path, rev=revision))
            found[tasks[name]] = list(records.parse_jsonl(lines, Outcome, path))
    return found


def output(*command: str) -> str:
    """What `dvc` prints. Raises `SentiDistillError` with what it says where it fails."""
    result = subprocess.run(["dvc", *command], capture_output=True, text=True)
    if result.returncode:
        raise SentiDistillError(f"curve: `dvc {' '.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


@dataclass(frozen=True)
class Queue:
    """What `dvc queue status` says: the state of each of our runs by its name, and the number of workers."""

    states: dict[str, str]
    workers: int

    @classmethod
    def of(cls, status: str) -> "Queue":
        names = {run.name for run in runs()}
        rows = [line.split() for line in status.splitlines()]
        states = {row[1]: row[-1] for row in rows if len(row) > 2 and row[1] in names}
        (counts,) = re.findall(r"Worker status: (\d+) active, (\d+) idle", status)
        return cls(states, sum(map(int, counts)))

    def named(self, *states: str) -> list[str]:
        """The runs in one of `states`."""
        return sorted(name for name, state in self.states.items() if state in states)


def queue() -> None:
    """Queue what is neither done nor queued; what failed, again. Raises where the pipeline is not up to date."""
    if output("status", "--json").strip() != "{}":
        raise SentiDistillError("curve: the pipeline is not up to date; run `make repro` and commit first")
    found = Queue.of(output("queue", "status"))
    if failed := found.named("Failed"):
        output("queue", "remove", *failed)
    known = {row["Experiment"] for row in experiments()} | found.states.keys() - set(failed)
    for run in runs():
        if run.name not in known:
            print(output(*run.command()[1:]), end="", flush=True)


def start() -> None:
    """Start the queue's worker, unless there is one."""
    # The worker would hold a pipe open, and its reader would wait for its end.
    if subprocess.run(["dvc", "queue", "start"]).returncode:
        raise SentiDistillError("curve: `dvc queue start` failed, as said above")


def wait() -> None:
    """Start the queue and wait for its end. Raises with the runs that failed, or that no worker does any more."""
    start()
    last, looks = "", 0
    while (found := Queue.of(output("queue", "status"))).named("Queued", "Running"):
        states = Counter(found.states.values())
        line = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
        if line != last:
            print(line, flush=True)
            last = line
        looks = 0 if found.workers else looks + 1
        if looks == LOOKS:
            left = " ".join(found.named("Running"))
            command = f"run `dvc queue kill {left}`, then `make curve`" if left else "run `make curve`"
            raise SentiDistillError(f"curve: the queue's worker has ended before its runs; {command} again")
        time.sleep(POLL)
    if failed := found.named("Failed"):
        raise SentiDistillError(
            f"curve: failed: {', '.join(failed)}; `dvc queue logs NAME` says why, `make curve` runs them again"
        )


def table(commit: str | None = None) -> None:
    found = experiments(commit)
    rows = summary(found)
    if rows.empty:
        raise SentiDistillError(
            "curve: no run is done yet at this commit; start with `make curve`, or name the commit it was started at: "
            "`python -m sentidistill.commands.curve table COMMIT`"
        )
    points = by_point(rows)
    records.write_text("plots/curve.csv", rows.to_csv(index=False))
    figures.rate_curve(points, Path("plots/curve.png"))
    print(markdown(points))
    predictions = {run: predictions_of(row["rev"]) for run, row in done(found)}
    samples = config.load().evaluate.bootstrap_samples
    plain, calibrated = (differences(predictions, column, samples) for column in ("output", "calibrated"))
    if len(plain):
        print(f"\n{markdown_differences(plain, calibrated)}")


def main(step: str = "", *commit: str) -> None:
    steps = {"queue": queue, "wait": wait, "table": table}
    if step not in steps:
        raise SentiDistillError(f"curve: {step!r} is none of {', '.join(steps)}")
    steps[step](*commit)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
