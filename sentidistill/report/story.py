"""One text, followed through a run: its attributes, the teacher's answers about it, and the student's answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentidistill.config.prompting import PromptFormat
from sentidistill.difficulty import token_scores
from sentidistill.samples import Sample, fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Token:
    """A token of an answer with its rank score by the base student: 0 is its own choice, 1 is outside its nucleus."""

    text: str
    rank_score: float


@dataclass(frozen=True)
class Step:
    """A question about the text, the teacher's answer in tokens, and whether it was kept."""

    sample: Sample
    tokens: list[Token]
    difficulty: float
    kept: bool
    student: str


def richest(samples: Sequence[Sample], seen: set[str]) -> str | None:
    """The text with the most questions, one of `seen` if there are any."""
    asked = Counter(row.text_id for row in samples)
    return max(sorted(asked), key=lambda one: (one in seen, asked[one]), default=None)


def tokens(
    sample: Sample,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    max_length: int,
    top_p: float,
) -> list[Token]:
    """The tokens of the answer with their rank scores under the base student; none where the row does not fit."""
    import torch

    row = fit(sample.student_prompt(), sample.answer, tokenizer, prompt_format, max_length)
    if row is None:
        return []
    ids = torch.tensor([row.prompt_ids + row.completion_ids], device=model.device)
    with torch.inference_mode():
        logits = model(ids).logits[0, len(row.prompt_ids) - 1 : -1]
        scores, _ = token_scores(logits, ids[0, len(row.prompt_ids) :], top_p)
    texts = [str(tokenizer.decode([one])) for one in row.completion_ids]
    return [Token(text, float(score)) for text, score in zip(texts, scores)]
