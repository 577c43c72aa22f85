"""Samples of the distillation pool: an instruction, demonstrations and a text; later with an answer."""

from collections.abc import Sequence

from sentidistill.prompts import Prompt
from sentidistill.records import Record


class PoolPrompt(Record):
    """One question for the teacher, and how the student is to meet it.

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


class Answered(Record):
    """A pool prompt's answer by the teacher. `label_scores` are log-probabilities in the order of the labels."""

    id: str
    answer: str
    label_scores: list[float]
    uncalibrated: str


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

    def prompt(self, shots: int | None = None) -> Prompt:
        """The prompt with the first `shots` demonstrations, by default all."""
        return prompt(self.instruction, self.cue, self.text, self.demonstrations[:shots])


def with_labels(instruction: str, labels: Sequence[str]) -> str:
    """`instruction` with the answers that there are."""
    return f"{instruction} Answer with one of: {', '.join(labels)}."


def prompt(instruction: str, cue: str, text: str, demonstrations: Sequence[tuple[str, str]]) -> Prompt:
    """The one form in which tasks and analyses are put to the teacher and the student."""
    return Prompt(
        instruction=instruction,
        input=f"Text: {text}",
        demonstrations=tuple((f"Text: {example}", output) for example, output in demonstrations),
        cue=f"{cue}:",
    )
