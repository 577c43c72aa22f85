"""The report's scores: those of each model, and the differences between models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sentidistill import records
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.config.evaluation import Evaluate
from sentidistill.evaluation import baselines, sentibench, suite
from sentidistill.evaluation.metrics import Estimate, mean
from sentidistill.evaluation.suite import Column, Outcome
from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.evaluation.tasks import read as read_task

ROLES = ("student_base", "student", "teacher")
MARGIN = 1.0  # points of F1; a student that is less behind is as good as its teacher


@dataclass(frozen=True)
class Tested:
    """A task, its records, and the metrics and outcomes of each model."""

    task: EvaluationTask
    test: Sequence[dict]
    train: Sequence[dict]
    metrics: Mapping[str, dict[str, Any]]
    outcomes: Mapping[str, Sequence[Outcome]]


def read(task: str, split: str) -> Tested:
    """A task of this run, tested on the records of `split`."""
    folder = Path("data/benchmark", task)
    test, train = (sentibench.read(folder / f"{name}.jsonl") for name in (split, "train"))
    return Tested(
        read_task(folder),
        test,
        train,
        {role: records.read_json(f"metrics/evaluate/{role}/{task}.json") for role in ROLES},
        {role: records.read_jsonl(f"data/predictions/{role}/{task}.jsonl", Outcome) for role in ROLES},
    )


def of_models(tested: Mapping[str, Tested], section: Evaluate) -> dict[str, Any]:
    """Values for the report's template: rows of `compared`, by task and group, plain and calibrated.

    The means are over the tasks that are not SentiBench's ("mean"), and over each group of SentiBench's whose tasks are
    all there.
    """
    tasks = [task for task in tested if task not in SENTIBENCH]
    groups = {"mean": tasks, **sentibench.MEANS}
    calibrated = table(tested, groups, section.bootstrap_samples, "calibrated")
    beside = [calibrated[task]["minus_teacher"] for task in tasks if task in calibrated]
    return {
        "evaluate": section,
        "tasks": tasks,
        "others": [task for task in tested if task not in tasks],
        "groups": list(sentibench.MEANS),
        "plain": table(tested, groups, section.bootstrap_samples, "output"),
        "calibrated": calibrated,
        "beside_teacher": {
            "tasks": len(beside),
            "worse": sum(one["high"] < 0 for one in beside),
            "close": sum(one["low"] > -MARGIN for one in beside),
        },
        "metrics": {task: one.metrics for task, one in tested.items()},
        "baselines": beside_baselines(tested, tasks, section),
        "train_sizes": {task: len(one.train) for task, one in tested.items()},
    }


def table(
    tested: Mapping[str, Tested], groups: Mapping[str, Sequence[str]], samples: int, column: Column
) -> dict[str, dict[str, Any]]:
    """Rows by task and group; without the tasks in which a model has no calibrated labels, and without their groups."""
    found: dict[str, dict[str, Estimate]] = {}
    for task, one in tested.items():
        models = {role: suite.estimate(one.task, one.test, one.outcomes[role], samples, column) for role in ROLES}
        known = {role: estimate for role, estimate in models.items() if estimate is not None}
        if len(known) == len(models):
            found[task] = known
    means = {
        name: {role: mean([found[task][role] for task in tasks]) for role in ROLES}
        for name, tasks in groups.items()
        if tasks and set(tasks) <= set(found)
    }
    return {name: compared(models) for name, models in {**found, **means}.items()}


def compared(models: Mapping[str, Estimate]) -> dict[str, Any]:
    """The score by model; under "gain" the student's minus its base's; and "minus_teacher", the student's minus it.

    Under "ratio" stands the student's over the teacher's; there is none to a teacher that gets nothing right. Each with
    the central 95 % over resampled records.
    """
    base, student, teacher = (models[role] for role in ROLES)
    some = teacher.value > 0 and (teacher.resampled > 0).all()
    return {
        **{role: models[role].rounded() for role in ROLES},
        "gain": (student - base).rounded(),
        "minus_teacher": (student - teacher).rounded(),
        "ratio": (student / teacher).rounded(digits=4) if some else None,
    }


def beside_baselines(
    tested: Mapping[str, Tested], tasks: Sequence[str], section: Evaluate
) -> dict[str, dict[str, dict[str, Any]]]:
    """By label task, and under "mean" over `tasks`: each baseline's score, and the student's score minus it, calibrated
    if it can be; with the central 95 % over resampled records.
    """
    found: dict[str, dict[str, tuple[Estimate, Estimate]]] = {}
    for name, one in tested.items():
        task, settings, samples = one.task, suite.Settings.of(one.task, section), section.bootstrap_samples
        rows = {
            kind: baselines.outcomes(baselines.KINDS[kind], task, one.test, one.train, settings)
            for kind in baselines.kinds(task)
        }
        own = one.outcomes["student"]
        student = suite.estimate(task, one.test, own, samples, "calibrated") or suite.estimate(
            task, one.test, own, samples, "output"
        )
        scores = {kind: suite.estimate(task, one.test, of_kind, samples, "output") for kind, of_kind in rows.items()}
        found[name] = {kind: (score, student - score) for kind, score in scores.items()}
    if tasks:
        kinds = [kind for kind in baselines.KINDS if all(kind in found[task] for task in tasks)]
        found["mean"] = {
            kind: (mean([found[task][kind][0] for task in tasks]), mean([found[task][kind][1] for task in tasks]))
            for kind in kinds
        }
    return {
        name: {kind: {"score": score.rounded(), "gain": gain.rounded()} for kind, (score, gain) in of_kinds.items()}
        for name, of_kinds in found.items()
        if of_kinds
    }


def by_record(tested: Mapping[str, Tested]) -> pd.DataFrame:
    """Each model's answer to each test record, without the texts, so that two commits can be compared by record.

    `scores` are log-probabilities in the order of the task's labels, to four digits, with blanks between.
    """
    rows = [
        {
            "task": task,
            "id": one.test[row.record]["id"],
            "model": role,
            "gold": row.gold,
            "output": row.output,
            "calibrated": row.calibrated,
            "scores": " ".join(f"{score:.4g}" for score in row.scores),
        }
        for task, one in tested.items()
        for role, outcomes in one.outcomes.items()
        for row in outcomes
    ]
    return pd.DataFrame(rows).sort_values(["task", "id", "model"])


def headline(plain: Mapping[str, Any], calibrated: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of metrics/report.json: means over the tasks that are not SentiBench's, and over its groups."""
    found = {**_of_means(plain["mean"]), "calibrated": _of_means(calibrated["mean"]) if "mean" in calibrated else None}
    groups = {name: plain[name] for name in sentibench.MEANS if name in plain}
    if groups:
        found["sentibench"] = {name: {role: row[role]["main"] for role in ROLES} for name, row in groups.items()}
    return found


def _of_means(row: Mapping[str, Any]) -> dict[str, Any]:
    def named(cell: Mapping[str, float] | None) -> dict[str, float] | None:
        return {"mean": cell["main"], "low": cell["low"], "high": cell["high"]} if cell else None

    return {
        "macro_f1": {role: row[role]["main"] for role in ROLES},
        "student": {"low": row["student"]["low"], "high": row["student"]["high"]},
        "gain": named(row["gain"]),
        "student_to_teacher": named(row["ratio"]),
    }
