"""`evaluate`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sentidistill.config.rules import Count, NewTokens, Positive, Section, Seed, Shots, TaskName, whole, without_faults


class SentiBench(Section):
    shots: Shots
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)]
    demonstrations: Literal["shared", "per_record"]
    max_demonstration_chars: Positive
    label_limit: Count
    tuple_limit: Count
    with_schema: bool
    max_new_tokens: NewTokens


class Evaluate(Section):
    tasks: Annotated[list[TaskName], Field(min_length=1)]
    split: Literal["validation", "test"]
    shots_per_label: Shots
    calibration_texts: Count
    limit: Count
    bootstrap_samples: Annotated[int, whole(1, 100_000)]
    seed: Seed
    sentibench: SentiBench

    @model_validator(mode="after")
    def _consistent(self) -> "Evaluate":
        repeated = sorted({task for task in self.tasks if self.tasks.count(task) > 1})
        return without_faults(self, {f"tasks names {', '.join(repeated)} twice": repeated})
