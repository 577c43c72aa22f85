"""Label scores less their mean over other texts (Zhou et al., 2024, "Batch Calibration"), and their temperature."""

import numpy as np


def normalised(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities among the labels (n x labels): a text whose labels are all unlikely counts as any other."""
    scores = np.asarray(scores, dtype=np.float64)
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def calibrate(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log-probabilities (n x labels) less their mean over the texts of `reference` (m x labels)."""
    return normalised(scores) - normalised(reference).mean(axis=0, keepdims=True)


def fit(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, float]:
    """(offset of each label, temperature) from log-probabilities (n x labels) and the places of the right labels (n).

    The offset of a label is the mean over the labels of its mean score among texts of each, so that a rare label stays
    rare. The temperature makes what is left likeliest (Guo et al., 2017). Where a label has no text, nothing is fitted.
    """
    from scipy.optimize import minimize_scalar

    n, k = scores.shape
    if len(set(gold.tolist())) < k:
        return np.zeros(k), 1.0
    rows = normalised(scores)
    offsets = np.mean([rows[gold == label].mean(axis=0) for label in range(k)], axis=0)
    offsets -= offsets.mean()

    def loss(log_temperature: float) -> float:
        return -float(normalised((rows - offsets) / np.exp(log_temperature))[np.arange(n), gold].mean())

    return offsets, float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))
