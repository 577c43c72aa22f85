"""Calibration: the label bias is subtracted from a model's scores, and a temperature says how sure the model is.

The label bias is the mean of the scores over other texts (Zhou et al., 2024, "Batch Calibration").
"""

import numpy as np


def normalised(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities among the labels (n x labels), which sum to 1 for each text.

    So a text for which all labels are unlikely counts as much as any other.
    """
    scores = np.asarray(scores, dtype=np.float64)
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def calibrate(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log-probabilities (n x labels) minus the label bias: their mean over the texts of `reference` (m x labels)."""
    return normalised(scores) - normalised(reference).mean(axis=0, keepdims=True)


def fit(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, float]:
    """(offset of each label, temperature) from log-probabilities (n x labels) and the places of the right labels (n).

    The offsets are the label bias. The scores of a label are averaged over the texts of each right label, and then over
    the right labels, so that a rare label stays rare. The temperature is that of the scores without the offsets. If a
    label has no text, offsets are 0 and the temperature is 1.
    """
    k = scores.shape[1]
    if len(set(gold.tolist())) < k:
        return np.zeros(k), 1.0
    rows = normalised(scores)
    offsets = np.mean([rows[gold == label].mean(axis=0) for label in range(k)], axis=0)
    offsets -= offsets.mean()
    return offsets, fit_temperature(rows - offsets, gold)


def fit_temperature(scores: np.ndarray, gold: np.ndarray) -> float:
    """What to divide log-probabilities (n x labels) by, so that the right labels are likeliest (Guo et al., 2017)."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return -float(normalised(scores / np.exp(log_temperature))[np.arange(len(gold)), gold].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))
