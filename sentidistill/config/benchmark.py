"""`prepare_benchmark`: the tasks of the evaluation, and their texts."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from sentidistill.config.rules import (
    Line,
    Name,
    OwnPath,
    Place,
    Positive,
    Rating,
    Section,
    TaskName,
    Text,
    without_faults,
)

DefaultTask = Literal["tweet", "amazon", "movie", "editorial"]
DEFAULT_TASKS: tuple[str, ...] = get_args(DefaultTask)
# The tasks of SentiBench, and irony without the hashtags that give it away.
SENTIBENCH = (
    *("imdb", "yelp2", "sst2", "twitter"),
    *("irony18", "irony18_stripped", "tweeteval", "pstance", "intimacy"),
    *("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener"),
)


class Splits(Section):
    train: Positive
    validation: Positive
    test: Positive


class OwnTask(Section):
    """A labelled file of the user's own as a task of the evaluation."""

    name: TaskName  # of files and of a stage
    path: OwnPath
    text_field: Line
    label_field: Line
    labels: Annotated[tuple[Line, ...], Field(min_length=2)]
    instruction: Text
    cue: Line = "Answer"

    @model_validator(mode="after")
    def _a_task_of_its_own(self) -> "OwnTask":
        different = {" ".join(label.casefold().split()) for label in self.labels}
        faults = {
            f"name {self.name!r} is that of another task": self.name in ("sentiment", *DEFAULT_TASKS, *SENTIBENCH),
            "two labels are the same but for their case or blanks": len(different) < len(self.labels),
        }
        return without_faults(self, faults)


class PrepareBenchmark(Section):
    tasks: dict[DefaultTask, Name]
    negative_below: Rating
    positive_above: Rating
    per_label: Splits
    min_chars: Positive
    max_chars: Positive
    sentibench: Place | None
    own: list[OwnTask]
    own_records: Splits

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareBenchmark":
        names = [task.name for task in self.own]
        faults = {
            "negative_below lies above positive_above": self.negative_below > self.positive_above,
            "own: two tasks have one name": len(set(names)) < len(names),
            "min_chars lies above max_chars": self.min_chars > self.max_chars,
        }
        return without_faults(self, faults)
