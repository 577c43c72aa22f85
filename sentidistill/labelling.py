"""Labels that a model gives the texts of a task: the surest of them, and signs that they mean something to it.

Scores are calibrated log-probabilities, one row for each text and one column for each label.
"""

import numpy as np
from sklearn.metrics import cohen_kappa_score


def leads(scores: np.ndarray) -> np.ndarray:
    """How far each text's likeliest label leads the next one, in nats (n)."""
    ranked = np.sort(scores, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def surest(
    scores: np.ndarray, per_label: int, min_margin: float = 0.0, confirmed: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """(place of the text, place of its label), for each label up to `per_label`, the surest first.

    Sure is a label that leads by much, and by `min_margin` nats at least; of equal leads, those that are `confirmed`
    (n booleans) come first.
    """
    lead, chosen = leads(scores), scores.argmax(axis=1)
    order = np.lexsort((np.zeros(len(lead)) if confirmed is None else ~confirmed, -lead))
    return [
        (int(text), label)
        for label in range(scores.shape[1])
        for text in [text for text in order if chosen[text] == label and lead[text] >= min_margin][:per_label]
    ]


def surest_levels(scores: np.ndarray, levels: int, per_label: int) -> list[tuple[int, int]]:
    """(place of the text, place of its level on a scale of `levels`), given scores of the scale's two ends (n x 2).

    A small model orders texts along a scale better than it names a level. The texts nearest the lower end stand for
    the first level, those nearest the upper end for the last, those halfway for the middle one, up to `per_label` each.
    """
    order = np.argsort(scores[:, 1] - scores[:, 0], kind="stable")
    some = min(per_label, len(order) // 3)
    start = (len(order) - some) // 2
    groups = {0: order[:some], levels // 2: order[start : start + some], levels - 1: order[::-1][:some]}
    return [(int(text), level) for level, texts in groups.items() for text in texts]


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of the labels that two ways of asking give the same texts.

    0 if one of them gives all texts the same label.
    """
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    return float(cohen_kappa_score(a, b)) if len(set(a)) > 1 and len(set(b)) > 1 else 0.0


def exchanged_correlation(plain: np.ndarray, exchanged: np.ndarray, pair: tuple[int, int]) -> float:
    """Correlation, over texts, of what sets two labels apart before and after their demonstrations were exchanged.

    A small model that knows what the labels mean keeps to it against its demonstrations (Wei et al., 2023, "Larger
    language models do in-context learning differently"): near 1. Of two labels that say the same ("happy",
    "cheerful") it knows nothing but the demonstrations: near 0 or below. A large model follows the demonstrations
    whatever the labels mean, so this tells nothing of it.
    """
    one, other = (scores[:, pair[0]] - scores[:, pair[1]] for scores in (plain, exchanged))
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0
