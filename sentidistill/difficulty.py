"""How hard each answer is for a model: the rank of every answer token inside the model's nucleus.

Ranking-based difficulty of CompEffDist (Xie et al., 2025): a token of 0-based rank r, where the n
likeliest tokens reach the nucleus mass, scores r/n inside the nucleus and 1 outside.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 1024
LOGIT_BYTES = 2**29


@dataclass(frozen=True)
class Difficulty:
    """Scores of one answer, 0 (predictable) to 1 (hard), and what they rest on.

    `rank_score`: mean over the tokens that are not the model's arg max, as published; 0 if there are none.
    `rank_score_all`: mean over all tokens. `nll`: mean negative log-likelihood per token, in nats.
    `n_tokens`: scored answer tokens. `truncated`: the prompt, or even the answer, was cut to fit.
    """

    rank_score: float
    rank_score_all: float
    nll: float
    n_tokens: int
    truncated: bool


def score_samples(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    samples: Sequence[tuple[str, str]],
    *,
    top_p: float = 0.95,
    max_length: int = 2048,
    batch_tokens: int = 4096,
) -> list[Difficulty]:
    """Difficulty of each (prompt, completion), in order.

    The prompt is tokenised with the tokenizer's own special tokens, the completion without; the ids
    are joined. Of an over-long pair the beginning of the prompt is cut, the answer kept if it fits.
    """
    rows = [
        (tokenizer(prompt)["input_ids"], tokenizer(completion, add_special_tokens=False)["input_ids"])
        for prompt, completion in samples
    ]
    return score_ids(model, rows, top_p=top_p, max_length=max_length, batch_tokens=batch_tokens)


def score_ids(
    model: "PreTrainedModel",
    rows: Sequence[tuple[list[int], list[int]]],
    *,
    top_p: float = 0.95,
    max_length: int = 2048,
    batch_tokens: int = 4096,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Difficulty]:
    """`score_samples` on (prompt ids, completion ids); `advance` is told of every finished batch's size."""
    import torch

    if max_length < 2:
        raise ValueError(f"max_length is {max_length}; one token of prompt and one of answer is the least")
    cut = [_cut(prompt, completion, max_length) for prompt, completion in rows]
    results: list[Difficulty | None] = [None] * len(rows)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    with torch.inference_mode():
        for batch in _batches(cut, batch_tokens, LOGIT_BYTES // (4 * vocabulary)):
            for index, result in zip(batch, _score_batch(model, [cut[i] for i in batch], top_p)):
                results[index] = result
            advance(len(batch))
    return results


def _cut(prompt: list[int], completion: list[int], max_length: int) -> tuple[list[int], list[int], bool]:
    """(context, scored tokens, whether something was cut). A first token without any context is not scored."""
    if not prompt:
        prompt, completion = completion[:1], completion[1:]
    kept = completion[: max_length - 1]
    context = prompt[-(max_length - len(kept)) :]
    return context, kept, len(context) + len(kept) < len(prompt) + len(completion)


def _batches(
    rows: Sequence[tuple[list[int], list[int], bool]], batch_tokens: int, max_logits: int
) -> Iterator[list[int]]:
    """Rows with answers, then rows, of about the same length, within the limits of tokens and of kept logits."""

    def size(index: int) -> tuple[int, int]:
        context, completion, _ = rows[index]
        return len(completion), len(context) + len(completion)

    batch: list[int] = []
    widest = 0
    for index in sorted(range(len(rows)), key=lambda i: (*size(i), i)):
        answer, width = size(index)
        widest_with = max(widest, width)
        number = len(batch) + 1
        if batch and (number * widest_with > batch_tokens or number * (answer + 1) > max_logits):
            yield batch
            batch, widest_with = [], width
        batch.append(index)
        widest = widest_with
    if batch:
        yield batch


def _score_batch(
    model: "PreTrainedModel", rows: Sequence[tuple[list[int], list[int], bool]], top_p: float
) -> list[Difficulty]:
    import torch

    width = max(len(context) + len(completion) for context, completion, _ in rows)
    longest = max(len(completion) for _, completion, _ in rows)
    if longest == 0:
        return [Difficulty(0.0, 0.0, 0.0, 0, truncated) for _, _, truncated in rows]
    # Rows end together, so that one slice of the positions holds every answer.
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    answer = torch.zeros((len(rows), longest), dtype=torch.bool)
    for number, (context, completion, _) in enumerate(rows):
        tokens = context + completion
        ids[number, width - len(tokens) :] = torch.tensor(tokens)
        mask[number, width - len(tokens) :] = 1
        answer[number, longest - len(completion) :] = True
    ids, mask, answer = (tensor.to(model.device) for tensor in (ids, mask, answer))
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=longest + 1,
    ).logits[:, :-1]
    scores, nll = _token_scores(logits[answer].float(), ids[:, -longest:][answer], top_p)
    results = []
    lengths = [len(completion) for _, completion, _ in rows]
    for (_, _, truncated), row_scores, row_nll in zip(rows, scores.split(lengths), nll.split(lengths)):
        hard = row_scores[row_scores > 0]
        results.append(
            Difficulty(
                rank_score=float(hard.mean()) if len(hard) else 0.0,
                rank_score_all=float(row_scores.mean()) if len(row_scores) else 0.0,
                nll=float(row_nll.mean()) if len(row_nll) else 0.0,
                n_tokens=len(row_scores),
                truncated=truncated,
            )
        )
    return results


def _token_scores(
    logits: "torch.Tensor", targets: "torch.Tensor", top_p: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(rank score, negative log-likelihood) of each target under the float32 `logits` (tokens x vocabulary)."""
    import torch

    # Logits are compared as they are, and their sum is taken in float64: rounded log-probabilities make
    # ties, and shift the end of the nucleus where a model is nearly uniform.
    target = logits.gather(-1, targets[:, None])
    total = logits.double().logsumexp(-1, keepdim=True)
    rank = (logits > target).sum(-1)
    nucleus = _nucleus_size(logits.topk(min(TOP, logits.shape[-1]), dim=-1).values, total, top_p)
    flat = nucleus > TOP  # the mass lies outside the top: sort these few rows whole
    if flat.any():
        nucleus[flat] = _nucleus_size(logits[flat].sort(-1, descending=True).values, total[flat], top_p)
    return torch.where(rank < nucleus, rank.double() / nucleus, 1.0), (total - target)[:, 0]


def _nucleus_size(ordered: "torch.Tensor", total: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """Smallest number of leading tokens whose mass reaches `top_p`, from descending logits and their log-sum."""
    return ((ordered.double() - total).exp().cumsum(-1) < top_p).sum(-1) + 1
