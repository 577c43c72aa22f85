"""Tasks: the teacher's proposals, and the definitions that it makes of them."""

from collections import Counter
from collections.abc import Sequence

from sentidistill.construct.checks import CLOSED_FAMILIES, check_output, copied, definition_faults
from sentidistill.parsing.tasks import Definition
from sentidistill.records import Record, Table
from sentidistill.samples import with_form


class Task(Record):
    """A task about `attribute`, which `mentions` texts have."""

    id: str
    cluster: int
    attribute: str
    mentions: int
    name: str
    family: str


class TaskProposal(Task):
    """The idea of a task."""

    description: str


TASK_PROPOSALS = Table("data/task_proposals.jsonl", TaskProposal)


class TaskDefinition(Task):
    """A task made precise. `labels` is empty for an open task."""

    instruction: str
    labels: list[str]
    format: str
    examples: list[tuple[str, str]]

    def text(self) -> str:
        """The instruction as a model reads it, with the labels or the format in it."""
        return with_form(self.instruction, self.labels, self.format)

    def cue(self) -> str:
        """The name of the attribute, which stands before the answer."""
        return (self.attribute if self.labels else self.name).capitalize()


TASK_DEFINITIONS = Table("data/task_definitions.jsonl", TaskDefinition)


def define(
    proposal: TaskProposal,
    definition: Definition,
    worked_examples: Sequence[Definition],
    max_labels: int,
    max_label_words: int,
    max_examples: int,
) -> tuple[TaskDefinition | None, list[str]]:
    """(the task, faults of the examples left out) if `definition` is usable, else (None, the faults of the definition).

    Two kinds of examples are left out: those whose output breaks the task's own format, and those that copy one of
    `worked_examples`, which are definitions of tasks about other attributes that the teacher was shown. A task may
    lose all of its examples, as more are written later.
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
    """(pairs of a text and its answer in canonical form, each once; the faults of the other pairs).

    A text that copies one of `sources` is a fault, as it is not the teacher's own.
    """
    kept: dict[tuple[str, str], None] = {}
    faults = []
    for text, output in pairs:
        answer, reason = check_output(task.family, task.labels, task.text(), text, output)
        reason = reason or ("copied" if copied(text, sources) else "")
        if reason or answer is None:
            faults.append(reason)
        else:
            kept[(text, answer)] = None
    return list(kept), faults


def balanced(tasks: Sequence[TaskProposal], limits: dict[str, int]) -> list[TaskProposal]:
    """At most `limits` tasks of each family, taken from the clusters in turn; the order of `tasks` is kept."""
    chosen: set[str] = set()
    for family, limit in limits.items():
        turns: Counter[int] = Counter()
        ranked: list[tuple[int, int, str]] = []
        for task in tasks:
            if task.family == family:
                ranked.append((turns[task.cluster], len(ranked), task.id))
                turns[task.cluster] += 1
        chosen |= {key for _, _, key in sorted(ranked)[:limit]}
    return [task for task in tasks if task.id in chosen]
