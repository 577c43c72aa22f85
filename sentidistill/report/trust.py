"""How far a student's probabilities can be trusted: by what it states, and on the texts of which it is surest."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sentidistill.inference.calibration import normalised

BINS = 8  # with equally many texts each
LEAST = 20  # texts of which a share is shown


def probabilities(scores: np.ndarray, offsets: Sequence[float], temperature: float) -> np.ndarray:
    """Of each label (n x labels), as `Predictor` gives them, from log-probabilities (n x labels)."""
    return np.exp(normalised((normalised(scores) - np.array(offsets)) / temperature))


def wilson(share: float, n: int) -> tuple[float, float]:
    """The central 95 % of a share (0 to 1) that was found in `n` draws: Wilson's interval (1927)."""
    z = 1.96
    middle, spread = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((middle + side * spread) / (1 + z**2 / n) for side in (-1, 1))
    return max(0.0, float(low)), min(1.0, float(high))


def reliability(sure: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Texts in bins by the probability of their likeliest label (n): its mean, and the share that are `right` (n).

    `low` and `high`: the central 95 % of that share, by Wilson's interval.
    """
    rows = []
    for places in np.array_split(np.argsort(sure, kind="stable"), min(BINS, len(sure))):
        n, share = len(places), float(right[places].mean())
        low, high = wilson(share, n)
        rows.append({"said": float(sure[places].mean()), "right": share, "low": low, "high": high, "texts": n})
    return pd.DataFrame(rows)


def risk_coverage(sure: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Share of wrong answers among the surest texts, by the share of texts that get an answer (`coverage`)."""
    order = np.argsort(-sure, kind="stable")
    number = np.arange(1, len(order) + 1)
    table = pd.DataFrame({"coverage": number / len(order), "risk": np.cumsum(~right[order].astype(bool)) / number})
    return table[min(LEAST, len(order)) - 1 :]


def calibration_error(table: pd.DataFrame) -> float:
    """Mean distance between stated probability and share of right answers, over the bins of `reliability`."""
    return float(((table["said"] - table["right"]).abs() * table["texts"]).sum() / table["texts"].sum())
