"""How hard each answer is for a model: the rank of every answer token inside the model's nucleus.

Ranking-based difficulty of CompEffDist (Xie et al., 2025): a token of 0-based rank r, where the n
likeliest tokens reach the nucleus mass, scores r/n inside the nucleus and 1 outside.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentidistill import shared_prefix

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 1024
LOGIT_BYTES = 2**28
# So many bytes of logits are scored at once on a CPU: what its cache holds.
CACHE_BYTES = 2**20
# A batch ends early where more than this share of it would be padding, unless it is smaller than a full one by
# this factor: small batches cost more than padding.
MAX_PADDING, MIN_BATCHES = 0.1, 8

Row = tuple[list[int], list[int]]
"""(prompt ids, completion ids)"""


@dataclass(frozen=True)
class Difficulty:
    """Scores of one answer and what they rest on.

    `rank_score`, 0 (predictable) to 1 (hard): mean over the tokens that are not the model's arg max, as
    published; 0 if there are none. `rank_score_all`: mean over all tokens. `nll`: mean negative
    log-likelihood per token, in nats; `ppl`: its exponential, the perplexity. `n_tokens`: scored answer
    tokens. `truncated`: the prompt, or even the answer, was cut to fit; `answer_cut`: the answer was.
    `exact`: false where the engine did not show enough of a distribution for some token's rank score.
    """

    rank_score: float
    rank_score_all: float
    nll: float
    ppl: float
    n_tokens: int
    truncated: bool
    answer_cut: bool
    exact: bool = True

    @classmethod
    def of(
        cls, scores: Sequence[float], nll: Sequence[float], truncated: bool, answer_cut: bool, exact: bool = True
    ) -> "Difficulty":
        """From the rank score and the negative log-likelihood of each answer token."""
        hard = [score for score in scores if score > 0]
        mean_nll = math.fsum(nll) / max(len(nll), 1)
        return cls(
            rank_score=math.fsum(hard) / max(len(hard), 1),
            rank_score_all=math.fsum(scores) / max(len(scores), 1),
            nll=mean_nll,
            ppl=math.exp(mean_nll),
            n_tokens=len(scores),
            truncated=truncated,
            answer_cut=answer_cut,
            exact=exact,
        )


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
    rows: Sequence[Row],
    *,
    top_p: float = 0.95,
    max_length: int = 2048,
    batch_tokens: int = 4096,
) -> list[Difficulty]:
    """`score_samples` on (prompt ids, completion ids)."""
    results: list[Difficulty | None] = [None] * len(rows)
    for batch in batches(rows, vocabulary_size(model), max_length=max_length, batch_tokens=batch_tokens):
        scores = score_batch(model, [rows[index] for index in batch], top_p=top_p, max_length=max_length)
        for index, score in zip(batch, scores):
            results[index] = score
    return results


def vocabulary_size(model: "PreTrainedModel") -> int:
    return model.get_output_embeddings().weight.shape[0]


def batches(rows: Sequence[Row], vocabulary: int, *, max_length: int, batch_tokens: int) -> list[list[int]]:
    """Places of `rows` in batches of about equal lengths, within the limits of tokens and of logits kept at once.

    Rows whose prompts begin with the same tokens are together, so that a batch can share their beginning.
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}; one token of prompt and one of answer is the least")
    cut = [cut_to(*row, max_length) for row in rows]
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (context, _, _, _) in enumerate(cut):
        groups.setdefault(tuple(context[: shared_prefix.MIN_TOKENS]), []).append(index)
    small = [index for group in groups.values() if len(group) < shared_prefix.MIN_ROWS for index in group]
    found = []
    for group in [*(group for group in groups.values() if len(group) >= shared_prefix.MIN_ROWS), small]:
        found += _of_group(group, [(len(cut[i][0]), len(cut[i][1])) for i in group], batch_tokens, vocabulary)
    return found


def _of_group(
    group: list[int], sizes: list[tuple[int, int]], batch_tokens: int, vocabulary: int
) -> Iterator[list[int]]:
    """`group` in batches; `sizes` are the tokens of (context, answer) of each."""
    max_logits = LOGIT_BYTES // (4 * vocabulary)
    batch: list[int] = []
    widest = tokens = 0
    for place in sorted(range(len(group)), key=lambda place: (sizes[place][1], sum(sizes[place]), group[place])):
        answer, width = sizes[place][1], sum(sizes[place])
        number, padded = len(batch) + 1, (len(batch) + 1) * max(widest, width)
        full = padded > batch_tokens or number * answer > max_logits
        wasteful = tokens * MIN_BATCHES > batch_tokens and padded - tokens - width > MAX_PADDING * padded
        if batch and (full or wasteful):
            yield batch
            batch, widest, tokens = [], 0, 0
        batch.append(group[place])
        widest, tokens = max(widest, width), tokens + width
    if batch:
        yield batch


def cut_to(prompt: list[int], completion: list[int], max_length: int) -> tuple[list[int], list[int], bool, bool]:
    """(context, scored tokens, whether something was cut, whether the answer was).

    A first token without any context is not scored.
    """
    if not prompt:
        prompt, completion = completion[:1], completion[1:]
    kept = completion[: max_length - 1]
    context = prompt[-(max_length - len(kept)) :]
    cut = len(context) + len(kept) < len(prompt) + len(completion)
    return context, kept, cut, len(kept) < len(completion)


def score_batch(model: "PreTrainedModel", rows: Sequence[Row], *, top_p: float, max_length: int) -> list[Difficulty]:
    """Difficulty of the rows of one batch, in order; the beginning that all prompts share is computed once."""
    import torch

    cut = [cut_to(*row, max_length) for row in rows]
    lengths = [len(completion) for _, completion, _, _ in cut]
    longest = max(lengths)
    if longest == 0:
        return [Difficulty.of([], [], *flags) for _, _, *flags in cut]
    with torch.inference_mode():
        shared = shared_prefix.shared_length([context for context, _, _, _ in cut])
        prefix = shared_prefix.forward(model, cut[0][0][:shared])
        joined = [context + completion for context, completion, _, _ in cut]
        own, mask, positions = shared_prefix.own_parts(joined, shared, 0, model.device)
        # Rows end together, so that one slice of the positions holds every answer. Nothing comes after the last token.
        logits = model(
            input_ids=own[:, :-1],
            attention_mask=mask[:, :-1],
            position_ids=positions[:, shared:-1],
            past_key_values=shared_prefix.repeated(prefix, len(rows)),
            use_cache=prefix is not None,
            logits_to_keep=longest,
        ).logits.flatten(0, 1)
        answer = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
        places = answer.flatten().nonzero()[:, 0].to(model.device)
        targets = own[:, -longest:].flatten()
        at_once = max(1, CACHE_BYTES // (4 * logits.shape[-1])) if logits.device.type == "cpu" else len(places)
        found = [token_scores(logits[part], targets[part], top_p) for part in places.split(at_once)]
        scores, nll = (torch.cat(one) for one in zip(*found))
    parts = zip(cut, scores.split(lengths), nll.split(lengths))
    return [Difficulty.of(of_row.tolist(), row_nll.tolist(), *flags) for (_, _, *flags), of_row, row_nll in parts]


def token_scores(
    logits: "torch.Tensor", targets: "torch.Tensor", top_p: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(rank score, negative log-likelihood) of each target under `logits` (tokens x vocabulary), in float64.

    A vocabulary is ordered, and only its top where that holds the nucleus, for targets that are not the arg max.
    """
    import torch

    # Logits are compared as they are, and their sum is taken in float64: rounded log-probabilities make
    # ties, and shift the end of the nucleus where a model is nearly uniform.
    logits = logits.float()
    target = logits.gather(-1, targets[:, None])
    highest = logits.amax(-1, keepdim=True)
    weights = (logits - highest).exp_()
    total = weights.sum(-1, keepdim=True, dtype=torch.float64)
    nll = (total.log() + (highest - target).double())[:, 0]
    scores = torch.zeros_like(nll)
    hard = (target < highest)[:, 0].nonzero()[:, 0]
    if len(hard):
        rank = (logits[hard] > target[hard]).sum(-1)
        size = _nucleus_size(weights[hard], total[hard], top_p)
        scores[hard] = torch.where(rank < size, rank / size.double(), 1.0)
    return scores, nll


def _nucleus_size(weights: "torch.Tensor", total: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """Smallest number of tokens whose mass reaches `top_p`, from unnormalised probabilities and their sum."""
    size = _reached(weights.topk(min(TOP, weights.shape[-1]), dim=-1).values, total, top_p)
    flat = size > TOP  # the mass lies outside the top: sort these few rows whole
    if flat.any():
        size[flat] = _reached(weights[flat].sort(-1, descending=True).values, total[flat], top_p)
    return size


def _reached(ordered: "torch.Tensor", total: "torch.Tensor", top_p: float) -> "torch.Tensor":
    return ((ordered.double() / total).cumsum(-1) < top_p).sum(-1) + 1
