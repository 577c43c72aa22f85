"""Demonstrations: texts for a task, with their answers."""

from sentidistill.records import Record, Table


class Demonstration(Record):
    """A text for a task, with its answer. The teacher wrote the text, or took a real one.

    For a closed task, `written_for` is the label that the text was written for, `output` the label that the teacher
    chose when asked, and `lead` the lead of that label in nats. `shown`: the text is an example of the task.
    """

    task: str
    input: str
    output: str
    written_for: str
    lead: float | None
    shown: bool


DEMONSTRATIONS = Table("data/demonstrations.jsonl", Demonstration)
