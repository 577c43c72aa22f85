"""What is known of a pool prompt before the teacher is asked: how unsure the student is of the labels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sentidistill.inference.calibration import calibrate, normalised
from sentidistill.samples import PoolPrompt
from sentidistill.sources.corpus import word_count


def entropy(scores: np.ndarray) -> np.ndarray:
    """In nats (n), of log-probabilities (n x labels) that need not add up to 1."""
    likely = np.exp(normalised(scores))
    return -(likely * np.log(np.maximum(likely, 1e-300))).sum(axis=1)


def uncertainty(prompts: Sequence[PoolPrompt], label_scores: Sequence[Sequence[float]]) -> np.ndarray:
    """Of each prompt (n), to be compared within an instruction.

    Of a closed task, the entropy of the student's `label_scores` once its label bias is subtracted: the mean of the
    scores over the prompts of the instruction. Of an open task, the number of words of the text.
    """
    found = np.array([float(word_count(one.text)) for one in prompts])
    closed = pd.Series([one.stratum for one in prompts])[[bool(one.labels) for one in prompts]]
    for places in closed.groupby(closed).indices.values():
        of_instruction = closed.index[places]
        scores = np.array([label_scores[place] for place in of_instruction])
        found[of_instruction] = entropy(calibrate(scores, scores))
    return found
