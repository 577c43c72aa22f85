"""One text, followed through a run: its attributes, the teacher's answers about it, and the student's answers."""

from collections import defaultdict
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
    ends: bool = False  # the special token behind the answer


@dataclass(frozen=True)
class Step:
    """A question about the text as the student gets it, the teacher's answer in tokens, and whether it was kept."""

    sample: Sample
    prompt: str
    tokens: list[Token]
    difficulty: float
    kept: bool
    student: str


def richest(samples: Sequence[Sample], kept: set[str]) -> str | None:
    """A text with a label that is among the `kept` answers, if there is one; then of the most families, and short."""
    of_text: dict[str, list[Sample]] = defaultdict(list)
    for row in samples:
        of_text[row.text_id].append(row)

    def order(text_id: str) -> tuple[bool, int, int, str]:
        rows = of_text[text_id]
        unlabelled = not any(row.labels and row.id in kept for row in rows)
        return unlabelled, -len({row.family for row in rows}), len(rows[0].text), text_id

    return min(of_text, key=order, default=None)


def tokens(
    sample: Sample,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    max_length: int,
    top_p: float,
) -> tuple[str, list[Token]]:
    """(the prompt, the tokens of the answer with their rank scores under the base student); none if it does not fit."""
    import torch

    row = fit(sample.student_prompt(), sample.answer, tokenizer, prompt_format, max_length)
    if row is None:
        return "", []
    ids = torch.tensor([row.prompt_ids + row.completion_ids], device=model.device)
    with torch.inference_mode():
        logits = model(ids).logits[0, len(row.prompt_ids) - 1 : -1]
        scores, _ = token_scores(logits, ids[0, len(row.prompt_ids) :], top_p)
    special = set(tokenizer.all_special_ids)
    answer = [
        Token(str(tokenizer.decode([one])), float(score), one in special)
        for one, score in zip(row.completion_ids, scores)
    ]
    return str(tokenizer.decode(row.prompt_ids)), answer
