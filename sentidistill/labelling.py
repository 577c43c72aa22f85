"""Labels that a model gives the texts of a task: asked for, the surest of them, and what they mean to the model.

Scores are calibrated log-probabilities, one row for each text and one column for each label.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import cohen_kappa_score

from sentidistill.calibration import calibrate
from sentidistill.instructions import LabelCheck, TaskDefinition
from sentidistill.samples import prompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cached import CachedTeacher

ANCHORS_PER_LABEL = 3
SURE = 100.0  # nats


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


@dataclass(frozen=True)
class Question:
    """Which label each of `texts` has, asked with `demonstrations`: (text, place of its label)."""

    task: TaskDefinition
    texts: list[str]
    demonstrations: list[tuple[str, int]]

    def requests(self) -> list[Request]:
        labels = self.task.labels
        shown = [(text, labels[place]) for text, place in self.demonstrations]
        return [
            Request(
                prompt(self.task.text(), self.task.cue(), text, [one for one in shown if one[0] != text]),
                choices=tuple(labels),
            )
            for text in self.texts
        ]


def ask_labels(teacher: CachedTeacher, questions: list[Question], progress: str) -> list[dict[str, np.ndarray]]:
    """Calibrated scores of the labels by text for each question; texts that could not be answered are missing.

    The mean score of the question's texts is taken off. A teacher that gives no scores counts as sure of its label.
    """
    answers = iter(teacher.generate([one for question in questions for one in question.requests()], progress))
    found = []
    for question in questions:
        rows = {
            text: answer.choice_logprobs or [SURE * (answer.text == label) for label in question.task.labels]
            for text, answer in zip(question.texts, answers)
            if answer.error is None
        }
        found.append(dict(zip(rows, calibrate(np.array(list(rows.values()))))) if rows else {})
    return found


def draw_anchors(
    task: TaskDefinition, scores: dict[str, np.ndarray], texts: list[str], seed: int
) -> list[tuple[str, int]]:
    """Those of `texts` that the teacher is surest of, with the place of their label, in random order."""
    known = [text for text in texts if text in scores]
    chosen = surest(np.array([scores[text] for text in known]), ANCHORS_PER_LABEL) if known else []
    order = np.random.default_rng([seed, int(task.id, 16)]).permutation(len(chosen))
    return [(known[chosen[i][0]], chosen[i][1]) for i in order]


def check_labels(
    teacher: CachedTeacher,
    tasks: list[TaskDefinition],
    first: list[dict[str, np.ndarray]],
    anchors: list[list[tuple[str, int]]],
    texts: list[str],
    exchange: bool,
    progress: str,
) -> list[LabelCheck]:
    """What the labels of each task mean to the teacher, by `texts` that are none of its anchors.

    `first` are its scores without demonstrations. With `exchange`, any two labels are exchanged in the anchors too.
    """
    plain = [Question(task, texts, shown) for task, shown in zip(tasks, anchors)]
    swaps = [
        (number, pair)
        for number, task in enumerate(tasks)
        for pair in itertools.combinations(range(len(task.labels) if exchange else 0), 2)
    ]
    exchanged = [
        Question(tasks[number], texts, [(text, {a: b, b: a}.get(place, place)) for text, place in anchors[number]])
        for number, (a, b) in swaps
    ]
    scores = ask_labels(teacher, [*plain, *exchanged], progress)
    pairs: list[list[tuple[float, tuple[str, str]]]] = [[] for _ in tasks]
    for (number, (a, b)), other in zip(swaps, scores[len(tasks) :]):
        if other:
            correlation = exchanged_correlation(*aligned(scores[number], other), (a, b))
            pairs[number].append((correlation, (tasks[number].labels[a], tasks[number].labels[b])))
    return [
        LabelCheck(
            task=task.id,
            kappa=round(kappa(*aligned(before, after)), 4) if after else None,
            exchanged_correlation=round(min(of_pairs)[0], 4) if of_pairs else None,
            closest_labels=min(of_pairs)[1] if of_pairs else None,
        )
        for task, before, after, of_pairs in zip(tasks, first, scores, pairs)
    ]


def aligned(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the texts that both hold, in the same order."""
    both = [text for text in one if text in other]
    return np.array([one[text] for text in both]), np.array([other[text] for text in both])
