"""Instructions: what the student learns to do, an open analysis or a task."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from sentidistill.construct.checks import check_output
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table, content_id
from sentidistill.samples import with_form


class AnalysisInstruction(Record):
    """An open instruction, and the names of the attributes that it may be about: one where that is known."""

    cluster: int
    attributes: list[str]
    text: str


ANALYSIS_INSTRUCTIONS = Table("data/analysis_instructions.jsonl", AnalysisInstruction)


class Instruction(Record):
    """What the student learns to do: an open analysis (family "analysis") or a task.

    `mentions` is the number of texts that have the attribute behind it. `attributes` are those of an analysis, which
    asks about texts that have one of them; of others it is empty. `reference` are texts with the label that they were
    written for: what labels of other texts are compared with.
    """

    id: str
    cluster: int
    mentions: int
    attributes: list[str]
    family: str
    name: str
    text: str
    cue: str
    labels: list[str]
    demonstrations: list[tuple[str, str]]
    reference: list[tuple[str, str]]

    def faults(self) -> list[str]:
        """What is wrong with the demonstrations, by the instruction's own rules: one reason for each bad one."""
        checked = (check_output(self.family, self.labels, self.text, *pair) for pair in self.demonstrations)
        return [reason for answer, reason in checked if answer is None]


INSTRUCTIONS = Table("data/instructions.jsonl", Instruction)


class HandWritten(Record):
    """A row of prompts/hand_written.yaml: a task with `labels` or `format`, or an analysis with neither."""

    name: str
    family: Literal["classification", "scoring", "extraction", "structured", "analysis"]
    cue: str
    instruction: str
    labels: list[str] = Field(default_factory=list)
    format: str = ""
    demonstrations: list[tuple[str, str]] = Field(default_factory=list)

    def as_instruction(self, number: int) -> Instruction:
        """The instruction, with the `number` of its row for a cluster; all weigh the same."""
        return Instruction(
            id=content_id("hand-written", self.name, self.instruction),
            cluster=number,
            mentions=1,
            attributes=[],
            family=self.family,
            name=self.name,
            text=with_form(self.instruction, self.labels, self.format),
            cue=self.cue,
            labels=self.labels,
            demonstrations=self.demonstrations,
            reference=self.demonstrations if self.labels else [],
        )


def hand_written(path: Path) -> list[Instruction]:
    """The baseline. Raises `SentiDistillError` naming the row that is not as it should be."""
    found = []
    for number, row in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), 1):
        try:
            found.append(HandWritten.model_validate(row).as_instruction(number))
        except ValidationError as error:
            raise SentiDistillError(f"{path}, row {number}: {error}") from error
    return found
