"""Instructions: what the student learns to do, an open analysis or a task."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sentidistill.config.rules import Line, Text
from sentidistill.construct.checks import CHECKS, CLOSED_FAMILIES, check_output
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table, content_id
from sentidistill.samples import with_form
from sentidistill.yaml_files import read


class AnalysisInstruction(Record):
    """An open instruction, and the names of the attributes that it may be about; if it is known which, one name."""

    cluster: int
    attributes: list[str]
    text: str


ANALYSIS_INSTRUCTIONS = Table("data/analysis_instructions.jsonl", AnalysisInstruction)


class Instruction(Record):
    """What the student learns to do: an open analysis (family "analysis") or a task.

    `mentions` is the number of texts that have the attribute behind it. `attributes` are those of an analysis, which
    is asked only of texts that have one of them; it is empty for tasks. `reference` are texts with the label that they
    were written for, on which the label bias is measured.
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


INSTRUCTIONS = Table("data/instructions.jsonl", Instruction)


class HandWritten(Record):
    """A row of prompts/hand_written.yaml: a task with `labels` or `format`, or an analysis with neither."""

    name: Line
    family: Literal["classification", "scoring", "extraction", "structured", "analysis"]
    cue: Line
    instruction: Text
    labels: list[Line] = Field(default_factory=list)
    format: str = ""
    demonstrations: list[tuple[Text, Text]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_its_family(self) -> "HandWritten":
        closed, is_task = self.family in CLOSED_FAMILIES, self.family != "analysis"
        if closed != (len(self.labels) >= 2) or (is_task and not closed) != bool(self.format):
            raise ValueError(
                "classification and scoring have two labels or more, extraction and structured a format, "
                "and an analysis has neither"
            )
        if len({label.strip().casefold() for label in self.labels}) < len(self.labels):
            raise ValueError("two labels are the same but for their case or blanks")
        for number, (text, given) in enumerate(self.demonstrations, 1):
            answer, reason = check_output(self.family, self.labels, self.format, text, given)
            if answer is None or (closed and answer != given):
                raise ValueError(f"demonstration {number}, {given!r}: {CHECKS[reason or 'label'][0]}")
        return self

    def as_instruction(self, number: int) -> Instruction:
        """The instruction, with the `number` of its row as its cluster; all instructions weigh the same."""
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
    """The instructions of a file, such as those of the baseline.

    Raises `SentiDistillError` with the lines of all faults, where a row stands twice, and where none has an example.
    """
    rows: list[HandWritten] = read(path, Annotated[list[HandWritten], Field(min_length=1)])
    made = [row.as_instruction(number) for number, row in enumerate(rows, 1)]
    if twice := [name for name, number in Counter((row.name, row.instruction) for row in rows).items() if number > 1]:
        raise SentiDistillError(f"{path}: {twice[0][0]!r} stands twice with one instruction; delete one")
    if not any(row.demonstrations for row in rows):
        raise SentiDistillError(f"{path}: no row has demonstrations; give some to a task")
    return made
