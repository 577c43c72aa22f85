"""Instructions: the teacher's proposals, definitions and demonstrations, and what the student learns of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from sentidistill.checks import CLOSED_FAMILIES, check_output, copied, definition_faults
from sentidistill.parsing.markup import strip_thinking, until_repetition
from sentidistill.parsing.tasks import Definition
from sentidistill.records import Record, content_id
from sentidistill.samples import with_labels


class AnalysisInstruction(Record):
    cluster: int
    text: str


class TaskProposal(Record):
    """An idea for a task about `attribute`, which `mentions` texts have."""

    id: str
    cluster: int
    attribute: str
    mentions: int
    name: str
    family: str
    description: str


class TaskDefinition(Record):
    """A task made precise. `labels` is empty unless the answers are a closed set."""

    id: str
    cluster: int
    attribute: str
    mentions: int
    name: str
    family: str
    instruction: str
    labels: list[str]
    format: str
    examples: list[tuple[str, str]]

    def text(self) -> str:
        """The instruction as a model reads it, with the labels or the format in it."""
        return _with_form(self.instruction, self.labels, self.format)

    def cue(self) -> str:
        """What stands before the answer."""
        return (self.attribute if self.labels else self.name).capitalize()


class Demonstration(Record):
    """A text that the teacher wrote for a task, with its answer.

    Where labels are closed, `written_for` is the label that the text was to have and `output` the one that the teacher
    chose when asked; `margin` is how far that one leads, in nats. `shown`: it is an example of the task.
    """

    task: str
    input: str
    output: str
    written_for: str
    margin: float | None
    shown: bool


class Instruction(Record):
    """What the student learns to do: an open analysis (family "analysis") or a task.

    `mentions` is the number of texts that have the attribute, or an attribute of the cluster, behind it. `reference`
    are texts with the label that they were written for: what labels of other texts are compared with.
    """

    id: str
    cluster: int
    mentions: int
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
            family=self.family,
            name=self.name,
            text=_with_form(self.instruction, self.labels, self.format),
            cue=self.cue,
            labels=self.labels,
            demonstrations=self.demonstrations,
            reference=self.demonstrations if self.labels else [],
        )


def _with_form(instruction: str, labels: Sequence[str], form: str) -> str:
    if labels:
        return with_labels(instruction, labels)
    return f"{instruction} Answer with {form}." if form else instruction


def define(
    proposal: TaskProposal,
    definition: Definition,
    worked_examples: Sequence[Definition],
    max_labels: int,
    max_label_words: int,
    max_examples: int,
) -> tuple[TaskDefinition | None, list[str]]:
    """(the task, faults of the examples left out) if `definition` is usable, else (None, what is wrong with it).

    Examples are left out whose output breaks the task's own format, and those that copy one of `worked_examples`, the
    definitions that the teacher was shown, of tasks about other attributes. None has to be left: more
    are written later.
    """
    closed = proposal.family in CLOSED_FAMILIES
    if faults := definition_faults(proposal.family, definition, worked_examples, max_labels, max_label_words):
        return None, faults
    task = TaskDefinition(
        **proposal.model_dump(exclude={"description"}),
        instruction=definition.instruction,
        labels=definition.labels if closed else [],
        format="" if closed else definition.format,
        examples=[],
    )
    shown = [text for one in worked_examples for text, _ in one.examples]
    examples, lost = check_pairs(task, definition.examples, shown)
    return task.model_copy(update={"examples": examples[:max_examples]}), lost


def check_pairs(
    task: TaskDefinition, pairs: Sequence[tuple[str, str]], sources: Sequence[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """(pairs of a text and its answer in canonical form, each once; what is wrong with the others).

    A text that copies one of `sources` is no text of the teacher's own.
    """
    kept: dict[tuple[str, str], None] = {}
    faults = []
    for text, output in pairs:
        answer, reason = check_output(task.family, task.labels, task.text(), text, output)
        reason = reason or ("copied" if copied(text, sources) else "")
        if reason:
            faults.append(reason)
        else:
            kept[(text, answer)] = None
    return list(kept), faults


def open_answer(family: str, instruction: str, text: str, raw: str) -> tuple[str | None, list[str]]:
    """(what `raw` answers to a task without labels, or an analysis, of `text`, or None; what was wrong with it)."""
    answer = strip_thinking(raw)
    if family == "analysis":
        answer = until_repetition(answer)
    elif family == "extraction":
        answer = answer.split("\n")[0]
    checked, reason = check_output(family, [], instruction, text, answer)
    if checked is None:
        return None, [reason]
    return checked, [] if checked == raw.strip() else ["trimmed"]


def balanced(tasks: Sequence[TaskProposal], limits: dict[str, int]) -> list[TaskProposal]:
    """Of each family at most as many tasks as `limits` says, clusters in turn; the order of `tasks` is kept."""
    chosen: set[str] = set()
    for family, limit in limits.items():
        turns: Counter[int] = Counter()
        ranked = []
        for task in tasks:
            if task.family == family:
                ranked.append((turns[task.cluster], len(ranked), task.id))
                turns[task.cluster] += 1
        chosen |= {key for _, _, key in sorted(ranked)[:limit]}
    return [task for task in tasks if task.id in chosen]
