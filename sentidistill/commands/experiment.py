"""An experiment of experiments/*.yaml, from its question to its answer: `make experiment NAME=economy`, or

    python -m sentidistill.commands.experiment economy [--kept]

Every arm with every seed is a DVC experiment of its own, which DVC's queue runs beside the workspace. What came of it
is kept in experiments/NAME/, which is in git. So the same command goes on after a kill, and in another clone.
Writes experiments/NAME.json (all figures), NAME.md, NAME.png and docs/ablations.md.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sentidistill import records, yaml_files
from sentidistill.commands import ablations
from sentidistill.commands.ablations import COLUMNS, FOLDER, more_seeds
from sentidistill.commands.trials import Kept, Trial, keep_done, kept, output, scores, settings_of, take_over, values_of
from sentidistill.config.experiment import Experiment
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.metrics import Estimate
from sentidistill.evaluation.verdicts import difference
from sentidistill.pipeline import stage
from sentidistill.report import figures

POLL = 30.0  # seconds between two looks at the queue, each of which takes seconds of a core
LOOKS = 2  # in a row that find no worker, after which there is none: one that was just started may not be seen yet


def read(name: str) -> Experiment:
    """experiments/NAME.yaml. Raises `SentiDistillError` where it is not there, or it or an arm's settings are wrong."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in known:
        raise SentiDistillError(f"no experiment {name!r}; NAME is one of {', '.join(known)}")
    experiment: Experiment = yaml_files.read(FOLDER / f"{name}.yaml", Experiment)
    settings: dict[str, str] = {}
    for arm in experiment.arms:
        values = values_of(Trial(name, arm, 1, tuple(experiment.settings(arm, 1))))
        if not values["evaluate"]["calibration_texts"]:
            raise SentiDistillError(f"experiments/{name}.yaml: needs evaluate.calibration_texts above 0 in params.yaml")
        twin = settings.setdefault(json.dumps(settings_of(values), sort_keys=True), arm)
        if twin != arm:
            raise SentiDistillError(f"experiments/{name}.yaml: the arms {twin} and {arm} have the same settings")
    return experiment


@dataclass(frozen=True)
class Queue:
    """What `dvc queue status` says: (name, state) of each task of ours."""

    tasks: list[tuple[str, str]]

    @classmethod
    def of(cls, status: str, trials: Sequence[Trial]) -> "Queue":
        names = {one.name for one in trials}
        rows = [line.split() for line in status.splitlines()]
        return cls([(row[1], row[-1]) for row in rows if len(row) > 2 and row[1] in names])

    def named(self, *states: str) -> list[str]:
        """The runs in one of `states`."""
        return sorted({name for name, state in self.tasks if state in states})


def look(trials: Sequence[Trial]) -> Queue:
    return Queue.of(output("dvc", "queue", "status"), trials)


def queue(trials: Sequence[Trial]) -> None:
    """Queue what is neither done nor queued; what failed, again."""
    found = look(trials)
    if failed := found.named("Failed"):
        output("dvc", "queue", "remove", *failed)
    known = {one.name for one in kept(trials)} | set(found.named("Queued", "Running"))
    for one in trials:
        if one.name not in known:
            print(shlex.join(one.command()), flush=True)
            output(*one.command())


def has_worker() -> bool:
    """Whether this repository's queue has a worker. `dvc queue status` asks them, and busy ones answer too late."""
    here = str(Path.cwd())
    found = (one.info for one in psutil.process_iter(["cmdline", "cwd"]))
    return any(one["cwd"] == here and "queue-worker" in (one["cmdline"] or ()) for one in found)


def start() -> None:
    """Start the queue's worker, unless there is one."""
    if has_worker():
        return
    # The worker would hold a pipe open, and its reader would wait for its end.
    if subprocess.run(["dvc", "queue", "start"]).returncode:
        raise SentiDistillError("experiment: `dvc queue start` failed, as said above")


def wait(trials: Sequence[Trial]) -> None:
    """Wait for the queue's end. Raises with the runs that failed, or that no worker does any more."""
    last, looks, again = "", 0, f"`make experiment NAME={trials[0].experiment}`"
    while (found := look(trials)).named("Queued", "Running"):
        states = Counter(state for _, state in found.tasks)
        line = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
        if line != last:
            print(line, flush=True)
            keep_done(trials)
            last = line
        looks = 0 if has_worker() else looks + 1
        if looks == LOOKS:
            left = " ".join(found.named("Running"))
            command = f"run `dvc queue kill {left}`, then {again}" if left else f"run {again}"
            raise SentiDistillError(f"experiment: the queue's worker has ended before its runs; {command} again")
        time.sleep(POLL)
    if failed := found.named("Failed"):
        raise SentiDistillError(
            f"experiment: failed: {', '.join(failed)}; `dvc queue logs NAME` says why, {again} runs them again"
        )


@dataclass(frozen=True)
class Result:
    """What is kept of a trial, and its calibrated and plain macro-F1 in percent, the mean over the label tasks."""

    kept: Kept
    scores: Mapping[str, Estimate]


def comparisons(experiment: Experiment, of: Mapping[Trial, Result]) -> list[dict[str, Any]]:
    """Each pair of arms on the seeds that both have, by calibrated and plain macro-F1; the calibrated decides.

    A pair with less than two such seeds is left out: it has no interval.
    """
    by_arm: dict[str, dict[int, Result]] = {arm: {} for arm in experiment.arms}
    for one, run in of.items():
        by_arm[one.arm][one.seed] = run
    found = []
    for a, b in experiment.compare:
        seeds = sorted(by_arm[a].keys() & by_arm[b].keys())
        if len(seeds) < 2:
            continue
        differences = {
            column: difference(*([by_arm[arm][seed].scores[column] for seed in seeds] for arm in (a, b)))
            for column in COLUMNS
        }
        rounded = {
            column: {"value": round(one.value, 2), "half_width": round(one.half_width, 2)}
            for column, one in differences.items()
        }
        verdict = differences["calibrated"].verdict(experiment.half_width)
        found.append({"a": a, "b": b, "seeds": len(seeds), **rounded, "verdict": verdict})
    return found


def results_of(experiment: Experiment, of: Mapping[Trial, Result]) -> dict[str, Any]:
    """experiments/NAME.json."""
    return {
        "arms": experiment.arms,
        "split": experiment.split,
        "records": next(iter(of.values())).kept.records,
        "runs": [
            {"arm": one.arm, "seed": one.seed}
            | run.kept.model_dump(include={"samples", "supervised_tokens", "commit", "processor"})
            | {column: round(score.value, 2) for column, score in run.scores.items()}
            for one, run in of.items()
        ],
        "comparisons": comparisons(experiment, of),
    }


def trials_of(name: str, experiment: Experiment, seeds: Mapping[str, int]) -> list[Trial]:
    """Arms take turns, so that what is done early can be compared."""
    return [
        Trial(name, arm, seed, tuple(experiment.settings(arm, seed)))
        for seed in range(1, max(seeds.values()) + 1)
        for arm in experiment.arms
        if seed <= seeds[arm]
    ]


def run(trials: Sequence[Trial]) -> None:
    """Show what is kept, and have DVC run the rest. Raises `SentiDistillError` where it cannot, or a run fails."""
    keep_done(trials)
    already = kept(trials)
    for one, of_trial in already.items():
        print(one.name, *(f"{name} {score.value:.1f}" for name, score in scores(one, of_trial).items()), flush=True)
    if len(already) == len(trials):
        return
    if output("dvc", "status", "--json").strip() != "{}" or output("git", "status", "--porcelain", "dvc.lock"):
        raise SentiDistillError("experiment: the pipeline is not up to date; run `make repro` and commit first")
    queue(trials)
    if look(trials).named("Queued", "Running"):
        start()
        wait(trials)
    keep_done(trials)
    if missing := [one.name for one in trials if one not in kept(trials)]:
        raise SentiDistillError(f"experiment: {', '.join(missing)} left no run; `dvc queue logs NAME` says why")


def write(name: str, experiment: Experiment, of: Mapping[Trial, Kept]) -> dict[str, Any]:
    """Tables and figure of the runs `of`; returns what experiments/NAME.json has.

    Raises `SentiDistillError` where there is nothing to compare yet.
    """
    found = {one: Result(run, scores(one, run)) for one, run in of.items()}
    if not comparisons(experiment, found):
        raise SentiDistillError(
            f"{name}: no two arms have two seeds in common yet; leave out --kept (KEPT=1) to run more"
        )
    results = results_of(experiment, found)
    records.write_json(FOLDER / f"{name}.json", results)
    records.write_text(FOLDER / f"{name}.md", ablations.report(name, experiment, results))
    records.write_text(ablations.PAGE, ablations.page())
    figures.differences(results["comparisons"], FOLDER / f"{name}.png")
    for one in results["comparisons"]:
        print(f"{one['a']} minus {one['b']}, {one['seeds']} seeds: {one['verdict']}", flush=True)
    print(f"{FOLDER / name}.md has the tables")
    return results


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="experiment", description="Run an experiment, and write what came of it.")
    parser.add_argument("name", nargs="?", default="", help="experiments/NAME.yaml")
    parser.add_argument("--kept", action="store_true", help="write the tables of the runs that are kept; run nothing")
    chosen = parser.parse_args(arguments)
    name, experiment = chosen.name, read(chosen.name)
    possible = trials_of(name, experiment, dict.fromkeys(experiment.arms, experiment.max_seeds))
    take_over(possible)
    every = kept(possible)
    if chosen.kept:
        write(name, experiment, every)
        return
    seeds = {arm: max([experiment.seeds, *(one.seed for one in every if one.arm == arm)]) for arm in experiment.arms}
    while True:
        trials = trials_of(name, experiment, seeds)
        run(trials)
        more = more_seeds(experiment, write(name, experiment, kept(trials))["comparisons"])
        if not more:
            break
        seeds = {arm: max(number, more.get(arm, 0)) for arm, number in seeds.items()}


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
