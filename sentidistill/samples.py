"""Samples of the distillation pool: an instruction, demonstrations and a text; later with an answer."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sentidistill.config.prompting import PromptFormat
from sentidistill.prompts import Prompt, render
from sentidistill.records import Record, Table, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PoolPrompt(Record):
    """One question for the teacher, and the form in which the student gets it.

    The teacher sees `demonstrations`, the same for all texts of an instruction; the student sees
    `student_demonstrations`, drawn anew for each text so that it does not rely on any of them.
    `stratum` is the task, or the open analysis instruction.
    """

    id: str
    stratum: str
    cluster: int
    family: str
    instruction: str
    cue: str
    labels: list[str]
    text_id: str
    text: str
    demonstrations: list[tuple[str, str]]
    student_demonstrations: list[tuple[str, str]]

    def prompt(self) -> Prompt:
        """What the teacher is asked."""
        return prompt(self.instruction, self.cue, self.text, self.demonstrations)

    def student_prompt(self) -> Prompt:
        return prompt(self.instruction, self.cue, self.text, self.student_demonstrations)


PROMPTS = Table("data/prompts.jsonl", PoolPrompt)


class TrainRow(Record):
    """What the student is trained on: the prompt's parts and the answer."""

    id: str
    stratum: str
    family: str
    instruction: str
    cue: str
    text: str
    demonstrations: list[tuple[str, str]]
    answer: str

    def prompt(self) -> Prompt:
        return prompt(self.instruction, self.cue, self.text, self.demonstrations)


TRAIN_ROWS = Table("data/train.jsonl", TrainRow)


class LabelTask(Protocol):
    """A task with labels, in the words in which the student is asked."""

    @property
    def name(self) -> str: ...
    @property
    def instruction(self) -> str: ...
    @property
    def cue(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


def labelled_rows(task: LabelTask, texts: Sequence[tuple[str, str]]) -> list[TrainRow]:
    """(text, label) pairs as rows to train on."""
    return [
        TrainRow(
            id=content_id(task.name, text),
            stratum=task.name,
            family="classification",
            instruction=with_labels(task.instruction, task.labels),
            cue=task.cue,
            text=text,
            demonstrations=[],
            answer=label,
        )
        for text, label in texts
    ]


class Sample(PoolPrompt):
    """A pool prompt with the teacher's answer.

    `label_scores` are log-probabilities in the order of the labels, and `plain` is the likeliest label as they stand.
    `probabilities` are those of the labels, calibrated: the teacher's label bias is subtracted. `answer` is the label
    that is likeliest by them.
    """

    answer: str
    label_scores: list[float]
    plain: str
    probabilities: list[float]

    @property
    def lead(self) -> float | None:
        """The lead of the likeliest label over the next one, calibrated, in nats; None for an open task."""
        if not self.labels:
            return None
        second, first = sorted(self.probabilities)[-2:]
        return round(math.log(first / max(second, sys.float_info.min)), 4)

    def answered(self, right: str) -> "Sample":
        """This sample with the answer that a reader says is `right`."""
        certain = [float(label == right) for label in self.labels]
        return self.model_copy(update={"answer": right, "probabilities": certain})

    def train_row(self) -> TrainRow:
        parts = self.model_dump(include={"id", "stratum", "family", "instruction", "cue", "text", "answer"})
        return TrainRow(**parts, demonstrations=self.student_demonstrations)


SAMPLES = Table("data/responses.jsonl", Sample)


class SoftLabels(Record):
    """How likely the teacher finds each label of a row of data/train.jsonl with this id."""

    id: str
    probabilities: dict[str, float]


SOFT_LABELS = Table("data/soft_labels.jsonl", SoftLabels)


@dataclass(frozen=True)
class Fitted:
    """A row as the student is trained on it and scored with it.

    `prompt` holds the demonstrations that are shown; `truncated` says whether others were left out to fit.
    `completion_ids` are the token ids of the answer and its end.
    """

    prompt: Prompt
    prompt_ids: list[int]
    completion_ids: list[int]
    truncated: bool


def fit(
    prompt: Prompt, answer: str, tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat, max_length: int
) -> Fitted | None:
    """The row within `max_length` tokens, or None if it does not fit.

    A row that is too long loses demonstrations, last ones first. Nothing else is ever cut.
    """
    for shots in range(len(prompt.demonstrations), -1, -1):
        shown = replace(prompt, demonstrations=prompt.demonstrations[:shots])
        one = render(shown, tokenizer, prompt_format, answer, end=True)
        if len(one.prompt_ids) + len(one.completion_ids) <= max_length:
            return Fitted(shown, one.prompt_ids, one.completion_ids, truncated=shown != prompt)
    return None


def with_labels(instruction: str, labels: Sequence[str]) -> str:
    """`instruction` with the list of possible answers."""
    return f"{instruction} Answer with one of: {', '.join(labels)}."


def with_form(instruction: str, labels: Sequence[str], form: str) -> str:
    if labels:
        return with_labels(instruction, labels)
    return f"{instruction} Answer with {form}." if form else instruction


def prompt(instruction: str, cue: str, text: str, demonstrations: Sequence[tuple[str, str]]) -> Prompt:
    """The one form in which tasks and analyses are put to the teacher and the student."""
    return Prompt(
        instruction=instruction,
        input=f"Text: {text}",
        demonstrations=tuple((f"Text: {example}", output) for example, output in demonstrations),
        cue=f"{cue}:",
    )
