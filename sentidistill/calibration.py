"""Contextual calibration of label scores (after Zhao et al., 2021, "Calibrate Before Use")."""

import numpy as np


def calibrate(scores: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Log-probability scores (n x labels) minus their mean over `reference` (m x labels), or over themselves.

    Each row is normalised first, so that a text whose labels are all unlikely counts no more than another.
    """

    def normalised(rows: np.ndarray) -> np.ndarray:
        return rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)

    scores = normalised(np.asarray(scores, dtype=np.float64))
    of = scores if reference is None else normalised(np.asarray(reference, dtype=np.float64))
    return scores - of.mean(axis=0, keepdims=True)
