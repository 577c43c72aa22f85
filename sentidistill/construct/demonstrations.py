"""Demonstrations: texts for a task, with their answers."""

from sentidistill.records import Record, Table


class Demonstration(Record):
    """A text for a task, with its answer. The teacher wrote the text, or took a real one.

    Where labels are closed, `written_for` is the label that the text was to have and `output` the one that the teacher
    chose when asked; `lead` is how far that one leads, in nats. `shown`: it is an example of the task.
    """

    task: str
    input: str
    output: str
    written_for: str
    lead: float | None
    shown: bool


DEMONSTRATIONS = Table("data/demonstrations.jsonl", Demonstration)
