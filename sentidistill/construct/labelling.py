"""Labels that a teacher gives to texts, corrected by its scores of texts that were written for each label.

A model favours some labels whatever the text. This label bias is the mean of its scores over texts that are balanced
over the labels (Zhou et al., 2024, "Batch Calibration", with a batch that is balanced by construction). It is
subtracted from the scores of other texts. Subtracting the mean over the texts themselves would turn a common label into
a rare one.
"""

from collections.abc import Sequence

import numpy as np

from sentidistill.inference.calibration import normalised

SURE = 100.0  # nats by which the chosen label leads if the teacher gives no log-probabilities


def scores_of(labels: Sequence[str], chosen: str, logprobs: Sequence[float]) -> list[float]:
    """Log-probabilities of the labels; a teacher that gives none counts as sure of its choice."""
    return list(logprobs) or [0.0 if label == chosen else -SURE for label in labels]


def lean(reference: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """The label bias (k): the mean over the labels of the mean scores of the texts that were written for each label.

    `reference` are scores (n x k), `written_for` the places of the labels (n). Few texts say little, so the mean over n
    texts is multiplied by n / (n + `shrinkage`). If a label has no text, the label bias is 0.
    """
    n, k = reference.shape
    if len(set(written_for.tolist())) < k:
        return np.zeros(k)
    rows = normalised(reference)
    means = [rows[written_for == label].mean(axis=0) for label in range(k)]
    return np.mean(means, axis=0) * n / (n + shrinkage)


def corrected(scores: np.ndarray, reference: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """`scores` (m x k), normalised, minus the label bias (`lean`) of the reference (n x k)."""
    return normalised(scores) - lean(reference, written_for, shrinkage)


def corrected_by_others(scores: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """Scores of the reference itself (n x k): from each row, the label bias of the other rows is subtracted."""
    rows = np.arange(len(scores))
    return np.array(
        [corrected(scores[row : row + 1], scores[rows != row], written_for[rows != row], shrinkage)[0] for row in rows]
    ).reshape(scores.shape)


def leads(scores: np.ndarray, near: int = 0) -> np.ndarray:
    """The lead of each text's likeliest label over the next one, in nats (n).

    On a scale, levels at a distance of up to `near` from the likeliest one do not count, as they say much the same.
    """
    labels = np.arange(scores.shape[1])
    chosen = scores.argmax(axis=1)
    others = np.where(np.abs(labels - chosen[:, None]) > near, scores, -np.inf)
    return scores.max(axis=1) - others.max(axis=1)


def surest(scores: np.ndarray, lead: np.ndarray, agreed: np.ndarray, per_label: int) -> list[int]:
    """For each label, places of up to `per_label` texts that are `agreed` (n booleans), with the largest `lead` (n)."""
    chosen = scores.argmax(axis=1)
    order = [int(text) for text in np.argsort(-lead, kind="stable") if agreed[text]]
    return [
        text for label in range(scores.shape[1]) for text in [one for one in order if chosen[one] == label][:per_label]
    ]


def one_sided(chosen: Sequence[str], most: float, least_texts: int = 10) -> bool:
    """Whether more than the share `most` of the texts got one label; such a task tells no texts apart."""
    if len(chosen) < least_texts:
        return False
    counts = [chosen.count(label) for label in set(chosen)]
    return max(counts) > most * len(chosen)
