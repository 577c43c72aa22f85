"""`prepare_corpus` and `vader`: where user texts come from."""

from typing import Annotated

from pydantic import Field, Tag, model_validator

from sentidistill.config.models import Package
from sentidistill.config.rules import (
    HeldOut,
    Line,
    Member,
    Name,
    OwnPath,
    Positive,
    Section,
    Share,
    by_key,
    whole,
    without_faults,
)


class Vader(Section):
    package: Package
    inner_archive: Member


class VaderTexts(Section):
    domain: Name
    vader: Name


class FileTexts(Section):
    domain: Name
    path: OwnPath
    text_field: Line = "text"


TextSource = Annotated[
    Annotated[VaderTexts, Tag("(vader)")] | Annotated[FileTexts, Tag("(path)")], by_key("vader", "path")
]


class Pools(Section):
    enumeration: Annotated[int, whole(2, 1_000_000_000)]  # write_demonstrations shows two of them at a time
    distillation: Positive


class PrepareCorpus(Section):
    sources: Annotated[list[TextSource], Field(min_length=1)]
    min_chars: Positive
    max_chars: Positive
    near_duplicate_similarity: Share
    held_out: HeldOut | None
    pool_sizes: Pools

    @model_validator(mode="after")
    def _consistent(self) -> "PrepareCorpus":
        return without_faults(self, {"min_chars lies above max_chars": self.min_chars > self.max_chars})
