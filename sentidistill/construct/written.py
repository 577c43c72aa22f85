"""Texts that the teacher writes for tasks, its answers to them when asked, and the choice of texts to keep."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import cohen_kappa_score

from sentidistill.config.instructions import WriteDemonstrations
from sentidistill.config.prompting import Sampling
from sentidistill.construct.checks import agreement, answer_schema, open_answer
from sentidistill.construct.demonstrations import Demonstration
from sentidistill.construct.labelling import corrected_by_others, leads, scores_of, surest
from sentidistill.construct.tasks import TaskDefinition, check_pairs
from sentidistill.inference.calls import StageTeacher
from sentidistill.inference.requests import Response
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import parse_pairs
from sentidistill.prompts import Prompt, Template
from sentidistill.records import content_id
from sentidistill.samples import prompt
from sentidistill.sources.corpus import Text, word_count


@dataclass(frozen=True)
class Written:
    """A text for a task, with the label that it was written for or the answer that it was written with."""

    task: TaskDefinition
    text: str
    output: str

    @property
    def key(self) -> str:
        return content_id(self.task.id, self.text)


def text_prompts(
    tasks: Iterable[TaskDefinition], styles: list[Text], template: Template, section: WriteDemonstrations
) -> dict[str, tuple[TaskDefinition, Prompt]]:
    """By key, a task and a prompt: for a text of every label, in random order, or for two texts with answers."""
    prompts = {}
    for task in tasks:
        random = np.random.default_rng([section.seed, int(task.id, 16)])
        for number in range(section.prompts_per_closed_task if task.labels else section.prompts_per_open_task):
            chosen = random.choice(len(styles), min(2, len(styles)), replace=False)
            asked = template.prompt(
                same="family",
                family=task.family,
                instruction=task.text(),
                answers=random.permutation(task.labels).tolist(),
                styles=[styles[int(place)].text for place in chosen],
            )
            prompts[f"{task.id} {number:02d}"] = (task, asked)
    return prompts


def read_pairs(
    task: TaskDefinition, raw: str, style: str, worked_examples: list[str], min_words: int
) -> tuple[list[tuple[str, str]] | None, list[str]]:
    """(texts with their answers in an answer of the teacher's, or None; the faults of other texts).

    A text for a label has to be the teacher's own and not one of `style`. For an open task, a real text with the
    teacher's answer is as good.
    """
    found = parse_pairs(strip_thinking(raw))
    if not found:
        return None, ["unreadable"]
    pairs, faults = check_pairs(task, found, [style, *worked_examples] if task.labels else worked_examples)
    kept = [pair for pair in pairs if word_count(pair[0]) >= min_words]
    return kept or None, faults + ["length"] * (len(pairs) - len(kept))


def answers_alone(
    teacher: StageTeacher, written: list[Written], sampling: Sampling
) -> tuple[dict[str, Response], dict[str, str]]:
    """(labels, other answers) by key: the teacher's answer to each text, asked as `collect_responses` asks."""
    by_key = {one.key: one for one in written}
    questions = {key: prompt(one.task.text(), one.task.cue(), one.text, []) for key, one in by_key.items()}
    labels = {key: one.task.labels for key, one in by_key.items() if one.task.labels}
    schemas = {key: answer_schema(one.task.text()) for key, one in by_key.items() if one.task.family == "structured"}

    def read_answer(key: str, answer: Response) -> tuple[str | None, list[str]]:
        one = by_key[key]
        cut = answer.finish_reason == "length"
        return open_answer(one.task.family, one.task.text(), one.text, answer.text, cut)

    chosen = teacher.choose({key: questions[key] for key in labels}, labels, part="labels")
    others = {key: question for key, question in questions.items() if key not in labels}
    return chosen, teacher.ask(others, sampling, read_answer, part="answers", schemas=schemas)


def of_closed_task(
    task: TaskDefinition, pairs: dict[str, str], scores: dict[str, list[float]], section: WriteDemonstrations
) -> tuple[list[Demonstration], float]:
    """(demonstrations, Cohen's kappa between the labels that the texts were written for and the teacher's labels).

    By text, `pairs` are the labels that the texts were written for, and `scores` the teacher's scores of all labels.
    On a scale, kappa is weighted by the square of the distance. On a scale of four levels or more, a neighbouring level
    confirms a text too. An example of the task needs a lead of `min_lead`.
    """
    texts = list(scores)
    written_for = np.array([task.labels.index(pairs[text]) for text in texts])
    rows = corrected_by_others(np.array(list(scores.values())), written_for, section.shrinkage)
    scale = task.family == "scoring"
    near = int(scale and len(task.labels) > 3)
    chosen, lead = rows.argmax(axis=1), leads(rows, near)
    agreed = (np.abs(chosen - written_for) <= near) & (lead >= section.min_lead)
    shown = set(surest(rows, lead, agreed, section.max_per_label))
    kappa = 0.0
    if len({*chosen.tolist(), *written_for.tolist()}) > 1:
        kappa = float(cohen_kappa_score(written_for, chosen, weights="quadratic" if scale else None))
    return [
        Demonstration(
            task=task.id,
            input=text,
            output=task.labels[chosen[place]],
            written_for=pairs[text],
            lead=round(float(lead[place]), 4),
            shown=place in shown,
        )
        for place, text in enumerate(texts)
    ], kappa


def of_open_task(
    task: TaskDefinition, pairs: dict[str, str], again: dict[str, str], section: WriteDemonstrations
) -> list[Demonstration]:
    """Demonstrations with different answers that the teacher's second answer (`again`) confirms.

    Those whose two answers agree most come first. At most half of them have the answer "none".
    """
    alike = {text: agreement(pairs[text], again[text]) for text in pairs if text in again}
    agreed = sorted((text for text in alike if alike[text] >= section.min_agreement), key=lambda text: -alike[text])
    pairs = {text: pairs[text] for text in agreed}
    told = {output: text for text, output in reversed(pairs.items()) if output not in ("none", "[]")}
    shown = [(text, output) for text, output in pairs.items() if told.get(output) == text]
    nothing = [(text, output) for text, output in pairs.items() if output in ("none", "[]")]
    return [
        Demonstration(task=task.id, input=text, output=output, written_for=output, lead=None, shown=True)
        for text, output in [*shown, *nothing[: len(shown)]][: 3 * section.max_per_label]
    ]


def of_task(
    task: TaskDefinition,
    written: list[Written],
    labels: dict[str, Response],
    others: dict[str, str],
    section: WriteDemonstrations,
) -> tuple[list[Demonstration], float | None]:
    """(demonstrations of the texts `written` for a task; kappa, for a closed task of which a text was answered).

    `labels` and `others` are the answers by key. If kappa is below `min_kappa`, nothing is kept.
    """
    pairs = {one.text: one.output for one in written}
    if not task.labels:
        return of_open_task(
            task, pairs, {one.text: others[one.key] for one in written if one.key in others}, section
        ), None
    chosen = {one.text: labels[one.key] for one in written if one.key in labels}
    if not chosen:
        return [], None
    scores = {text: scores_of(task.labels, one.text, one.choice_logprobs) for text, one in chosen.items()}
    rows, kappa = of_closed_task(task, pairs, scores, section)
    return (rows if kappa >= section.min_kappa else []), kappa
