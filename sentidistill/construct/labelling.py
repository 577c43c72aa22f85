"""Labels that a teacher gives texts, corrected by what it says of texts that were written for each label.

A model leans to some labels whatever the text. The mean of its scores over texts of which every label has as many
(Zhou et al., 2024, "Batch Calibration", with a batch that is balanced by construction) is taken off its scores of
other texts. The mean over the texts themselves would turn a common label into a rare one.
"""

from collections.abc import Sequence

import numpy as np

from sentidistill.inference.calibration import normalised

SURE = 100.0  # nats, of a teacher that gives no log-probabilities


def scores_of(labels: Sequence[str], chosen: str, logprobs: Sequence[float]) -> list[float]:
    """Log-probabilities of the labels; a teacher that gives none counts as sure of its choice."""
    return list(logprobs) or [0.0 if label == chosen else -SURE for label in labels]


def lean(reference: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """How far the scores lean to each label (k): the mean over the labels of the mean over the texts written for each.

    `reference` are scores (n x k), `written_for` the places of the labels (n). Few texts say little: the mean of n of
    them counts n / (n + `shrinkage`). Without texts, or where a label has none, nothing is known.
    """
    n, k = reference.shape
    if len(set(written_for.tolist())) < k:
        return np.zeros(k)
    rows = normalised(reference)
    means = [rows[written_for == label].mean(axis=0) for label in range(k)]
    return np.mean(means, axis=0) * n / (n + shrinkage)


def corrected(scores: np.ndarray, reference: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """`scores` (m x k) less the `lean` of the reference."""
    return normalised(scores) - lean(reference, written_for, shrinkage)


def corrected_by_others(scores: np.ndarray, written_for: np.ndarray, shrinkage: float) -> np.ndarray:
    """Scores of the reference itself (n x k), each row less the lean of the other rows."""
    rows = np.arange(len(scores))
    return np.array(
        [corrected(scores[row : row + 1], scores[rows != row], written_for[rows != row], shrinkage)[0] for row in rows]
    ).reshape(scores.shape)


def leads(scores: np.ndarray, near: int = 0) -> np.ndarray:
    """How far each text's likeliest label leads the next one, in nats (n).

    On a scale the levels up to `near` from the likeliest one do not count: they say much the same.
    """
    labels = np.arange(scores.shape[1])
    chosen = scores.argmax(axis=1)
    others = np.where(np.abs(labels - chosen[:, None]) > near, scores, -np.inf)
    return scores.max(axis=1) - others.max(axis=1)


def surest(scores: np.ndarray, lead: np.ndarray, agreed: np.ndarray, per_label: int) -> list[int]:
    """Places of up to `per_label` of the `agreed` (n booleans) texts of each label, those of most `lead` (n)."""
    chosen = scores.argmax(axis=1)
    order = [int(text) for text in np.argsort(-lead, kind="stable") if agreed[text]]
    return [
        text for label in range(scores.shape[1]) for text in [one for one in order if chosen[one] == label][:per_label]
    ]


def one_sided(chosen: Sequence[str], most: float, least_texts: int = 10) -> bool:
    """Whether nearly all of the texts got one label: then the task tells no texts apart."""
    if len(chosen) < least_texts:
        return False
    counts = [chosen.count(label) for label in set(chosen)]
    return max(counts) > most * len(chosen)
