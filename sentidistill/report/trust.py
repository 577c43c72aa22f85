"""How far a student's probabilities can be trusted: by what it states, and on the texts of which it is surest."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sentidistill.inference.calibration import normalised
from sentidistill.report.scores import Tested
from sentidistill.shares import wilson
from sentidistill.student.folder import KnownTask

BINS = 8  # with equally many texts each
LEAST = 20  # texts of which a share is shown


def answers(tested: Mapping[str, Tested], known: KnownTask) -> pd.DataFrame:
    """What the student answers to each text of the tasks that have the labels of `known`, calibrated by it.

    One row a text: its task, the text, the right label (gold), the student's (said), how likely the student finds that
    label (sure), and the teacher's label.
    """
    rows = []
    for name, one in tested.items():
        if list(one.task.labels) != known.labels:
            continue
        teachers = {row.record: row for row in one.outcomes["teacher"]}
        for row in one.outcomes["student"]:
            if row.scores:
                likely = probabilities(np.array([row.scores]), known.offsets, known.temperature)[0]
                said, teacher = known.labels[int(likely.argmax())], teachers[row.record]
                values = (name, one.test[row.record]["sentence"], row.gold, said, float(likely.max()))
                rows.append((*values, teacher.calibrated or teacher.output))
    return pd.DataFrame(rows, columns=["task", "text", "gold", "said", "sure", "teacher"])


def probabilities(scores: np.ndarray, offsets: Sequence[float], temperature: float) -> np.ndarray:
    """Of each label (n x labels), as `Predictor` gives them, from log-probabilities (n x labels)."""
    return np.exp(normalised((normalised(scores) - np.array(offsets)) / temperature))


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
