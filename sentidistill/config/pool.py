"""`compose_prompts` and `collect_responses`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sentidistill.config.prompting import Sampling
from sentidistill.config.rules import (
    Count,
    Line,
    OwnPath,
    PartAboveZero,
    Section,
    Seed,
    Shots,
    Texts,
    not_all_zero,
    real,
)


class ComposePrompts(Section):
    prompts: Annotated[
        dict[Literal["classification", "scoring", "extraction", "structured", "analysis"], Count],
        AfterValidator(not_all_zero),
    ]
    mentions_power: Annotated[float, real(0, 10)]
    teacher_shots: Shots
    student_shots: Annotated[list[Shots], Field(min_length=1, max_length=1_000)]
    seed: Seed


class Released(Section):
    """Answers that others collected: a file, and its column or key of the answers."""

    path: OwnPath
    answer_field: Line = "output"


class CollectResponses(Section):
    released: Released | None
    calibrate: bool
    shrinkage: Texts
    max_share_of_one_label: PartAboveZero
    sampling: Sampling
