"""`teacher`, `student`, and how texts are sampled."""

from typing import Annotated, Literal

from sentidistill.config.rules import (
    NewTokens,
    Options,
    PartAboveZero,
    Positive,
    Section,
    Seed,
    Share,
    Tokens,
    real,
    whole,
)

PromptFormat = Literal["transcript", "chat"]


class Teacher(Section):
    prompt_format: PromptFormat
    worked_examples: bool
    max_prompt_tokens: Tokens
    retries: Annotated[int, whole(0, 100)]
    max_failure_rate: Share
    api: Literal["completions", "chat"]
    extra_body: Options
    seed: Seed


class Student(Section):
    prompt_format: PromptFormat
    max_length: Tokens


class Sampling(Section):
    temperature: Annotated[float, real(0, 10)]
    top_p: PartAboveZero
    top_k: Positive
    frequency_penalty: Annotated[float, real(-2, 2)]
    max_new_tokens: NewTokens
