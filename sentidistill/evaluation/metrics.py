"""Scores of predictions: of labels and of tuples, and bootstrap intervals for one model or a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentidistill.evaluation import sentiment_graph, tuples
from sentidistill.evaluation.outputs import parse_objects
from sentidistill.evaluation.tasks import EvaluationTask, known
from sentidistill.evaluation.tuples import Counts
from sentidistill.parsing.labels import parse_label


def confusion_cells(labels: Sequence[str], gold: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
    """Where each record counts in a flattened confusion matrix (k + 1 x k + 1; rows are gold classes).

    An output that names no label is of a class of its own, the last, which no record has. Raises `ValueError` for a
    gold label that is not among `labels`.
    """
    if unknown := set(gold) - set(labels):
        raise ValueError(f"gold labels {sorted(unknown)} are not among {list(labels)}")
    named = [parse_label(output, labels) for output in outputs]
    predicted = [len(labels) if label is None else labels.index(label) for label in named]
    return np.array([labels.index(one) * (len(labels) + 1) + other for one, other in zip(gold, predicted)], dtype=int)


def confusion(cells: np.ndarray, size: int) -> np.ndarray:
    """Counts (size x size) of `confusion_cells`, all of them or some."""
    return np.bincount(cells, minlength=size**2).reshape(size, size)


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """F1 of each class from a confusion matrix (... x k x k); 0 where a class is neither meant nor predicted."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)


@dataclass(frozen=True)
class Estimate:
    """A score, and the same score over resampled records (samples).

    Estimates of models on the same records resample them alike, so their differences and ratios are paired.
    """

    value: float
    resampled: np.ndarray

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.resampled - other.resampled)

    def __truediv__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value / other.value, self.resampled / other.resampled)

    def rounded(self, name: str = "main", digits: int = 2) -> dict[str, float]:
        """The score as `name`, and the central 95 % of the resampled ones as `low` and `high`."""
        low, high = np.percentile(self.resampled, [2.5, 97.5])
        return {key: round(float(value), digits) for key, value in ((name, self.value), ("low", low), ("high", high))}


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean score, of tasks or of models."""
    return Estimate(
        float(np.mean([one.value for one in estimates])), np.mean([one.resampled for one in estimates], axis=0)
    )


def draws_of(task: str, records: int, samples: int) -> list[np.ndarray]:
    """Places of records: all as they are, then `samples` draws with replacement, the same for every model."""
    random = np.random.default_rng([records, *task.encode()])
    return [np.arange(records), *random.integers(records, size=(samples, records))]


def macro_f1(
    labels: Sequence[str], gold: Sequence[str], outputs: Sequence[str], draws: Sequence[np.ndarray]
) -> Estimate:
    """Macro-F1 in percent of the first of `draws`, which are places of records, and of the others."""
    cells = confusion_cells(labels, gold, outputs)
    counts = np.stack([confusion(cells[draw], len(labels) + 1) for draw in draws])
    values = 100 * f1_by_class(counts)[:, :-1].mean(axis=1)
    return Estimate(float(values[0]), values[1:])


def score(task: EvaluationTask | str, records: Sequence[dict], outputs: Sequence[str]) -> dict:
    """Scores of a model's `outputs` (texts) for `records` of a task, or of a known one by its name, in percent.

    For a label task: macro_f1 over its fixed label set, accuracy, f1 by label; an output that names no label is
    wrong. For a tuple task: precision, recall and f1 over all records. Both count outputs that are empty and
    invalid (nothing could be read), tuple tasks also `salvaged` and `cut` outputs and `invalid_tuples`.

    Raises `ValueError` for an unknown task, or as many outputs as there are not records. No output raises.
    """
    if len(records) != len(outputs):
        raise ValueError(f"{len(records)} records, but {len(outputs)} outputs")
    if isinstance(task, str):
        task = known(task)
    labels = task.labels
    if not labels:
        return _tuple_scores(task, records, outputs)
    cells = confusion_cells(labels, [task.gold_label(record) for record in records], outputs)
    counts = confusion(cells, len(labels) + 1)
    f1 = f1_by_class(counts)[:-1]
    empty = sum(not str(output or "").strip() for output in outputs)
    return {
        "records": len(records),
        "macro_f1": 100 * float(f1.mean()),
        "accuracy": 100 * float(np.trace(counts) / max(counts.sum(), 1)),
        "f1": {label: 100 * float(value) for label, value in zip(labels, f1)},
        "empty": empty,
        "invalid": int(counts[:, -1].sum()) - empty,
    }


def tuple_counts(task: EvaluationTask, record: dict, output: str) -> tuple[Counts, dict[str, int]]:
    """(counts of one record of a tuple task, what was wrong with its output)."""
    parsed = parse_objects(output)
    if task.name == "opener":
        counts, invalid = sentiment_graph.count(record, parsed.objects)
    else:
        counts, invalid = tuples.exact(task.name, record, parsed.objects)
    flags = {name: int(getattr(parsed, name)) for name in ("empty", "invalid", "salvaged", "cut")}
    return counts, {**flags, "invalid_tuples": invalid}


def _tuple_scores(task: EvaluationTask, records: Sequence[dict], outputs: Sequence[str]) -> dict:
    total, flags = Counts(), dict.fromkeys(("empty", "invalid", "salvaged", "cut", "invalid_tuples"), 0)
    for record, output in zip(records, outputs):
        counts, found = tuple_counts(task, record, output)
        total += counts
        flags = {name: number + found[name] for name, number in flags.items()}
    precision, recall, f1 = tuples.precision_recall_f1(total)
    return {"records": len(records), "precision": precision, "recall": recall, "f1": f1, **flags}
