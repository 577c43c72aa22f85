"""Label scores less their mean over other texts (Zhou et al., 2024, "Batch Calibration")."""

import numpy as np


def normalised(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities among the labels (n x labels): a text whose labels are all unlikely counts as any other."""
    scores = np.asarray(scores, dtype=np.float64)
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def calibrate(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log-probabilities (n x labels) less their mean over the texts of `reference` (m x labels)."""
    return normalised(scores) - normalised(reference).mean(axis=0, keepdims=True)
