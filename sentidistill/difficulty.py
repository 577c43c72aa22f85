"""How hard each answer is for a model: the rank of every answer token inside the model's nucleus.

Ranking-based difficulty of CompEffDist (Xie et al., 2025): a token of 0-based rank r, where the n
likeliest tokens reach the nucleus mass, scores r/n inside the nucleus and 1 outside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentidistill.inference.packing import prefix_tree
from sentidistill.inference.packing.branches import attention
from sentidistill.inference.packing.prefix_tree import PrefixTree

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 1024
LOGIT_BYTES = 2**28
# So many bytes of logits are scored at once on a CPU: what its cache holds.
CACHE_BYTES = 2**20

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
            ppl=math.exp(mean_nll) if mean_nll < 700 else math.inf,
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
    batch_tokens: int = 512,
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
    batch_tokens: int = 512,
) -> list[Difficulty]:
    """`score_samples` on (prompt ids, completion ids)."""
    results: dict[int, Difficulty] = {}
    for batch in batches(rows, vocabulary_size(model), max_length=max_length, batch_tokens=batch_tokens):
        scores = score_batch(model, [rows[index] for index in batch], top_p=top_p, max_length=max_length)
        results.update(zip(batch, scores))
    return [results[index] for index in range(len(rows))]


def label_difficulty(logprobs: Sequence[float], answer: int) -> float:
    """1 - P(label at `answer`), 0 to 1: P is the softmax over the log-probabilities of a task's whole labels.

    A label of one token that is the model's arg max has rank score 0, however unsure the model is; this tells
    such samples apart.
    """
    highest = max(logprobs)
    weights = [math.exp(one - highest) for one in logprobs]
    # Not 1 - P: near 1 that is rounding alone.
    return math.fsum(weights[:answer] + weights[answer + 1 :]) / math.fsum(weights)


def vocabulary_size(model: "PreTrainedModel") -> int:
    return model.get_output_embeddings().weight.shape[0]


def batches(rows: Sequence[Row], vocabulary: int, *, max_length: int, batch_tokens: int) -> list[list[int]]:
    """Places of `rows` in batches within the limits of tokens and of logits kept at once.

    Rows that begin alike are together, and a beginning counts once. A row over a limit is a batch of its own.
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}; one token of prompt and one of answer is the least")
    cut = [cut_to(*row, max_length) for row in rows]
    sequences = [read(context, answer) for context, answer, _, _ in cut]
    answers = [len(answer) for _, answer, _, _ in cut]
    return prefix_tree.batches(sequences, answers, batch_tokens, LOGIT_BYTES // (4 * vocabulary))


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


def read(context: list[int], answer: list[int]) -> list[int]:
    """What the model reads to predict `answer`: nothing comes after its last token."""
    return context + answer[:-1] if answer else []


def score_batch(model: "PreTrainedModel", rows: Sequence[Row], *, top_p: float, max_length: int) -> list[Difficulty]:
    """Difficulty of the rows of one batch, in order; what several rows begin with is computed once."""
    import torch

    cut = [cut_to(*row, max_length) for row in rows]
    lengths = [len(answer) for _, answer, _, _ in cut]
    tree = PrefixTree.of([read(context, answer) for context, answer, _, _ in cut])
    if not tree.tokens:
        return [Difficulty.of([], [], *flags) for _, _, *flags in cut]
    source_places = [place for path, length in zip(tree.paths, lengths) for place in path[len(path) - length :]]
    target_ids = [token for _, answer, _, _ in cut for token in answer]
    with torch.inference_mode():
        ids, depths, sources, targets = (
            torch.tensor(one, device=model.device) for one in (tree.tokens, tree.depths, source_places, target_ids)
        )
        kept, of_target = sources.unique(return_inverse=True)
        logits = model(
            input_ids=ids[None],
            attention_mask=attention(model.config, tree.sees().to(model.device)[None], depths[None], model.dtype),
            position_ids=depths[None],
            use_cache=False,
            logits_to_keep=kept,
        ).logits[0]
        at_once = max(1, CACHE_BYTES // (4 * logits.shape[-1])) if logits.device.type == "cpu" else len(targets)
        parts = zip(of_target.split(at_once), targets.split(at_once))
        found = [token_scores(logits[places], tokens, top_p) for places, tokens in parts]
        scores, nll = (torch.cat(one).split(lengths) for one in zip(*found))
    return [
        Difficulty.of(of_row.tolist(), row_nll.tolist(), *flags)
        for (_, _, *flags), of_row, row_nll in zip(cut, scores, nll)
    ]


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
