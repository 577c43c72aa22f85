"""Scores of predictions: of labels and of tuples, and bootstrap intervals for one model or a pair."""

from collections.abc import Sequence

import numpy as np

from sentidistill.benchmark import sentiment_graph, tuples
from sentidistill.benchmark.outputs import parse_label, parse_objects
from sentidistill.benchmark.sentibench import LABELS, TUPLE_TASKS, gold_label
from sentidistill.benchmark.tuples import Counts


def indices(names: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Place of each of `names` in `labels`. Raises `ValueError` for a name that is not among them."""
    place = {label: number for number, label in enumerate(labels)}
    if unknown := set(names) - set(place):
        raise ValueError(f"labels {sorted(unknown)} are not among {list(labels)}")
    return np.array([place[name] for name in names])


def confusion(gold: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """Counts (n_labels x n_labels): rows are gold classes, columns predictions; both are given as indices."""
    return np.bincount(gold * n_labels + predicted, minlength=n_labels**2).reshape(n_labels, n_labels)


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """F1 of each class from a confusion matrix (... x k x k); 0 where a class is neither meant nor predicted."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)


def label_scores(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict:
    """Macro-F1 over `labels`, accuracy and the F1 of each class, in percent.

    Raises `ValueError` for a label or prediction outside `labels`.
    """
    counts = confusion(indices(gold, labels), indices(predicted, labels), len(labels))
    f1 = f1_by_class(counts)
    return {
        "macro_f1": round(100 * float(f1.mean()), 2),
        "accuracy": round(100 * float(np.trace(counts) / counts.sum()), 2),
        "f1": {label: round(100 * float(value), 2) for label, value in zip(labels, f1)},
    }


def bootstrap_macro_f1(
    tasks: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]], n_labels: int, samples: int, seed: int
) -> np.ndarray:
    """Mean macro-F1 over tasks in percent, for resampled test sets (samples x models).

    Each task is (gold n, one array of n predictions per model). Records are drawn with replacement
    within a task, the same draw for every model, so differences of columns are paired.
    """
    random = np.random.default_rng(seed)
    models = len(tasks[0][1])
    means = np.zeros((samples, models))
    for gold, predictions in tasks:
        drawn = random.integers(len(gold), size=(samples, len(gold)))
        row = np.arange(samples)[:, None] * n_labels**2
        for number, predicted in enumerate(predictions):
            cells = (gold * n_labels + predicted)[drawn] + row
            counts = np.bincount(cells.ravel(), minlength=samples * n_labels**2)
            means[:, number] += f1_by_class(counts.reshape(samples, n_labels, n_labels)).mean(-1)
    return 100 * means / len(tasks)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The central 95 % of bootstrap `values`."""
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 2), round(float(high), 2)


def score(task: str, records: Sequence[dict], outputs: Sequence[str]) -> dict:
    """Scores of a model's `outputs` (texts) for `records` of a SentiBench task, in percent.

    For a label task: macro_f1 over its fixed label set, accuracy, f1 by label; an output that names no label is
    wrong. For a tuple task: precision, recall and f1 over all records. Both count outputs that are empty and
    invalid (nothing could be read), tuple tasks also `salvaged` and `cut` outputs and `invalid_tuples`.

    Raises `ValueError` for an unknown task, or as many outputs as there are not records. No output raises.
    """
    if len(records) != len(outputs):
        raise ValueError(f"{len(records)} records, but {len(outputs)} outputs")
    if task in TUPLE_TASKS:
        return _tuple_scores(task, records, outputs)
    if task not in LABELS:
        raise ValueError(f"unknown task {task!r}; known are {', '.join([*LABELS, *TUPLE_TASKS])}")
    labels = LABELS[task]
    gold = indices([gold_label(record) for record in records], labels)
    named = [parse_label(output, labels) for output in outputs]
    # An output without a label is a class of its own, which no record has and the mean leaves out.
    predicted = np.array([len(labels) if label is None else labels.index(label) for label in named], dtype=int)
    counts = confusion(gold, predicted, len(labels) + 1)
    f1 = f1_by_class(counts)[: len(labels)]
    empty = sum(not str(output or "").strip() for output in outputs)
    return {
        "records": len(records),
        "macro_f1": 100 * float(f1.mean()),
        "accuracy": 100 * float(np.trace(counts) / max(counts.sum(), 1)),
        "f1": {label: 100 * float(value) for label, value in zip(labels, f1)},
        "empty": empty,
        "invalid": sum(label is None for label in named) - empty,
    }


def tuple_counts(task: str, record: dict, output: str) -> tuple[Counts, dict[str, int]]:
    """(counts of one record of a tuple task, what was wrong with its output)."""
    parsed = parse_objects(output)
    if task == "opener":
        counts, invalid = sentiment_graph.count(record, parsed.objects)
    else:
        gold, read = {
            "atsa_rest16": (tuples.atsa_gold, tuples.atsa_prediction),
            "acsa_rest16": (tuples.acsa_gold, tuples.acsa_prediction),
            "asqp_rest16": (tuples.asqp_gold, tuples.asqp_prediction),
        }[task]
        counts, invalid = tuples.exact(gold(record), parsed.objects, read)
    flags = {name: int(getattr(parsed, name)) for name in ("empty", "invalid", "salvaged", "cut")}
    return counts, {**flags, "invalid_tuples": invalid}


def _tuple_scores(task: str, records: Sequence[dict], outputs: Sequence[str]) -> dict:
    total, flags = Counts(), dict.fromkeys(("empty", "invalid", "salvaged", "cut", "invalid_tuples"), 0)
    for record, output in zip(records, outputs):
        counts, found = tuple_counts(task, record, output)
        total += counts
        flags = {name: number + found[name] for name, number in flags.items()}
    precision, recall, f1 = tuples.precision_recall_f1(total)
    return {"records": len(records), "precision": precision, "recall": recall, "f1": f1, **flags}
