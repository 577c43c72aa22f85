"""Labels that a model gives the texts of a task: asked for in two ways, and the surest of them.

Scores are in nats, one row for each text and one column for each label, less the mean of the column.
"""

from collections.abc import Sequence

import numpy as np

from sentidistill.calibration import calibrate
from sentidistill.errors import SentiDistillError
from sentidistill.instructions import TaskDefinition
from sentidistill.prompts import Prompt
from sentidistill.samples import prompt
from sentidistill.teacher.base import Request
from sentidistill.teacher.cached import CachedTeacher

SURE = 100.0  # nats
TEXTS_PER_REQUEST = 8


def ask_labels(
    teacher: CachedTeacher, tasks: Sequence[TaskDefinition], texts: Sequence[Sequence[str]], progress: str
) -> list[dict[str, np.ndarray]]:
    """Scores by text for each task, by asking which label a text has; texts without an answer are missing.

    A teacher that gives no log-probabilities counts as sure of its label.
    """
    requests = [
        Request(prompt(task.text(), task.cue(), text, []), choices=tuple(task.labels))
        for task, of_task in zip(tasks, texts)
        for text in of_task
    ]
    answers = iter(teacher.generate(requests, progress))
    found = []
    for task, of_task in zip(tasks, texts):
        rows = {
            text: answer.choice_logprobs or [SURE * (answer.text == label) for label in task.labels]
            for text, answer in zip(of_task, answers)
            if answer.error is None
        }
        found.append(dict(zip(rows, calibrate(np.array(list(rows.values()))))) if rows else {})
    return found


def compare_likelihoods(
    teacher: CachedTeacher, prompts: Sequence[Sequence[Prompt]], texts: Sequence[Sequence[str]], progress: str
) -> list[dict[str, np.ndarray]]:
    """Scores by text for each task, by how likely a text is to be written for a label.

    `prompts` holds, for each task, the prompt that asks for a text with each label. A small base model tells labels
    far better apart so than when asked for the label (Min et al., 2022, "Noisy Channel Language Model Prompting for
    Few-Shot Text Classification"). Raises `SentiDistillError` for a teacher that gives no log-probabilities.
    """
    parts = [
        [tuple(of_task[start : start + TEXTS_PER_REQUEST]) for start in range(0, len(of_task), TEXTS_PER_REQUEST)]
        for of_task in texts
    ]
    requests = [
        Request(of_label, choices=part)
        for of_task, of_texts in zip(prompts, parts)
        for part in of_texts
        for of_label in of_task
    ]
    answers = iter(teacher.generate(requests, progress))
    found = []
    for of_task, of_texts in zip(prompts, parts):
        rows: dict[str, list[float]] = {}
        for part in of_texts:
            columns = [next(answers) for _ in of_task]
            if any(not column.choice_logprobs for column in columns):
                reason = next((column.error for column in columns if column.error), "it gives no log-probabilities")
                raise SentiDistillError(
                    f"the teacher cannot say how likely a text is: {reason}; set write_demonstrations.confirm to answer"
                )
            rows |= zip(part, zip(*(column.choice_logprobs for column in columns)))
        scores = np.array(list(rows.values()))
        found.append(dict(zip(rows, scores - scores.mean(axis=0))) if rows else {})
    return found


def leads(scores: np.ndarray) -> np.ndarray:
    """How far each text's likeliest label leads the next one, in nats (n)."""
    ranked = np.sort(scores, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def surest(scores: np.ndarray, per_label: int, min_margin: float, confirmed: np.ndarray) -> list[tuple[int, int]]:
    """(place of the text, place of its label), for each label up to `per_label` of the `confirmed` (n booleans) texts.

    The surest come first: those whose label leads by most, and by `min_margin` nats at least.
    """
    lead, chosen = leads(scores), scores.argmax(axis=1)
    sure = [text for text in np.argsort(-lead, kind="stable") if confirmed[text] and lead[text] >= min_margin]
    return [
        (int(text), label)
        for label in range(scores.shape[1])
        for text in [text for text in sure if chosen[text] == label][:per_label]
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
