"""Scores of label predictions: F1 by class, and bootstrap intervals for one model or a pair."""

from collections.abc import Sequence

import numpy as np


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
