"""Demonstrations: texts that the teacher wrote for a task, with their answers."""

from sentidistill.records import Record


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
