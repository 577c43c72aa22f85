"""A model in this process, by transformers: prefixes shared by many prompts are computed once."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sentidistill.inference.engines.grammar import Grammar
from sentidistill.inference.packing import shared_prefix
from sentidistill.inference.packing.branches import attention, place, seen, window_of
from sentidistill.inference.packing.prefix_tree import PrefixTree
from sentidistill.inference.requests import Job, Request, Response

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

# On a CPU, larger batches of choices save nothing, and their copies of the common beginning outgrow the caches.
CPU_CHOICE_TOKENS = 4096


class TransformersEngine:
    """Answers requests with a local causal language model.

    Prompts with the same instruction and demonstrations form a group whose common beginning goes
    through the model once; its key-value cache is copied to every row. Rows of a batch are padded
    between that beginning and their own text; attention masks hide the padding.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        rows_per_batch: int,
        batch_tokens: int,
    ):
        self._model, self._tokenizer = model, tokenizer
        self._rows_per_batch, self._batch_tokens = rows_per_batch, batch_tokens
        self._end_ids = _end_ids(model, tokenizer)
        self._grammar = Grammar(tokenizer, self._end_ids)
        self._positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def stream(self, jobs: Sequence[Job]) -> Iterator[list[tuple[int, Response]]]:
        import torch

        groups: dict[tuple, list[int]] = {}
        for index, job in enumerate(jobs):
            if refusal := job.beyond(self._positions) or self._bad_schema(job):
                yield [(index, refusal)]
                continue
            prompt = job.request.prompt
            groups.setdefault((prompt.instruction, prompt.demonstrations, job.request.choices), []).append(index)
        for group in _with_small_groups_joined(groups, jobs):
            shared = shared_prefix.shared_length([jobs[index].prompt_ids for index in group])
            with torch.inference_mode():
                prefix = shared_prefix.forward(self._model, jobs[group[0]].prompt_ids[:shared], self._empty_cache())
            for batch in self._batches(group, jobs):
                asked = [jobs[index] for index in batch]
                ask = self._score if asked[0].choice_ids else self._sample
                with torch.inference_mode():
                    answers = ask(prefix, shared, asked)
                yield list(zip(batch, answers))

    def _bad_schema(self, job: Job) -> Response | None:
        """The answer to a job whose schema cannot be followed."""
        if job.request.json_schema is not None:
            try:
                self._grammar.matcher(job.request.json_schema)
            except ValueError as error:
                return Response.failed(str(error), len(job.prompt_ids))
        return None

    def _batches(self, group: list[int], jobs: Sequence[Job]) -> Iterator[list[int]]:
        """Rows of about the same length, within the limits of rows and of tokens (prefix included)."""
        batch: list[int] = []
        for index in sorted(group, key=lambda index: (len(jobs[index].prompt_ids), jobs[index].prompt_ids)):
            job = jobs[index]
            width, limit = len(job.prompt_ids) + job.new_tokens(), self._batch_tokens
            if job.choice_ids:
                width = len(job.prompt_ids) + sum(map(len, job.choice_ids))
                limit = min(limit, CPU_CHOICE_TOKENS) if self._model.device.type == "cpu" else limit
            if batch and (len(batch) >= self._rows_per_batch or (len(batch) + 1) * width > limit):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _empty_cache(self) -> "Cache | None":
        """For layers with a window one that forgets nothing: their own counts padding as tokens within the window."""
        from transformers import DynamicCache

        return DynamicCache() if window_of(self._model.config) else None

    def _forward(
        self, own: "torch.Tensor", mask: "torch.Tensor", positions: "torch.Tensor", cache: "Cache | None"
    ) -> tuple["torch.Tensor", "Cache"]:
        """(logits after the last of the rows' `own` tokens, cache with these tokens).

        `mask` and `positions` are those of all tokens; rows x tokens.
        """
        shared = mask.shape[1] - own.shape[1]
        config, dtype = self._model.config, self._model.dtype
        output = self._model(
            input_ids=own,
            attention_mask=attention(config, seen(mask, shared), positions, dtype) if window_of(config) else mask,
            position_ids=positions[:, shared:],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1], output.past_key_values

    def _score(self, prefix: "Cache | None", shared: int, jobs: Sequence[Job]) -> list[Response]:
        """Log-probability of every choice as the whole answer; the choices are the same in all rows."""
        import torch

        tree = PrefixTree.of(jobs[0].choice_ids)
        ids = [job.prompt_ids + tree.tokens for job in jobs]
        own, mask, positions = shared_prefix.own_parts(ids, shared, self._tokenizer.pad_token_id, self._model.device)
        sees, positions = place(tree, mask, positions, shared)
        logits = self._model(
            input_ids=own,
            attention_mask=attention(self._model.config, sees, positions, self._model.dtype),
            position_ids=positions[:, shared:],
            past_key_values=shared_prefix.repeated(prefix, len(ids)),
            use_cache=prefix is not None,
            logits_to_keep=1 + len(tree.tokens),
        ).logits.float()
        total = logits.logsumexp(-1)
        scores = []
        for path, choice in zip(tree.paths, jobs[0].choice_ids):
            # Logits of the prompt's last token come first, so those that follow a token of the tree stand one later.
            *sources, last = [0, *(token + 1 for token in path)]
            end = logits[:, last, jobs[0].end_ids].logsumexp(-1) - total[:, last]
            scores.append((logits[:, sources, choice] - total[:, sources]).sum(-1) + end)
        return [
            Response(
                text=job.request.choices[int(row.argmax())],
                finish_reason="choice",
                prompt_tokens=len(job.prompt_ids),
                completion_tokens=0,
                choice_logprobs=tuple(round(value, 5) for value in row.tolist()),
            )
            for job, row in zip(jobs, torch.stack(scores, dim=1).cpu())
        ]

    def _sample(self, prefix: "Cache | None", shared: int, jobs: Sequence[Job]) -> list[Response]:
        import torch

        ids, requests = [job.prompt_ids for job in jobs], [job.request for job in jobs]
        matchers = [None if r.json_schema is None else self._grammar.matcher(r.json_schema) for r in requests]
        own, mask, positions = shared_prefix.own_parts(ids, shared, self._tokenizer.pad_token_id, self._model.device)
        logits, cache = self._forward(own, mask, positions, shared_prefix.repeated(prefix, len(ids)))
        draws = [np.random.default_rng(request.random_seed()).random(request.max_new_tokens) for request in requests]
        tokens: list[list[int]] = [[] for _ in requests]
        finished: dict[int, Response] = {}
        active = list(range(len(requests)))
        while True:
            asked = [requests[index] for index in active]
            uniform = torch.tensor([draws[index][len(tokens[index])] for index in active], device=logits.device)
            logits = logits.float()
            for row, (index, request) in enumerate(zip(active, asked)):
                if request.frequency_penalty and tokens[index]:
                    used = torch.tensor(tokens[index], device=logits.device)
                    penalty = torch.full(used.shape, -request.frequency_penalty, device=logits.device)
                    logits[row].index_add_(0, used, penalty)
                if matcher := matchers[index]:
                    self._grammar.forbid(logits[row], matcher)
            chosen = _pick(logits, asked, uniform)
            for index, token in zip(active, chosen.tolist()):
                ended = token in self._end_ids
                if not ended:
                    tokens[index].append(token)
                    if matcher := matchers[index]:
                        matcher.consume_token(token)
                        ended = matcher.is_stopped()
                answer = self._finish(requests[index], len(ids[index]), tokens[index], ended)
                if answer is not None:
                    finished[index] = answer
            keep = [row for row, index in enumerate(active) if index not in finished]
            if not keep:
                return [finished[index] for index in range(len(requests))]
            if len(keep) < len(active):
                rows = torch.tensor(keep, device=logits.device)
                cache.batch_select_indices(rows)
                mask, positions, chosen = mask[rows], positions[rows], chosen[rows]
                active = [active[row] for row in keep]
            mask = torch.cat([mask, mask.new_ones((len(active), 1))], 1)
            positions = torch.cat([positions, positions[:, -1:] + 1], 1)
            logits, cache = self._forward(chosen[:, None], mask, positions, cache)

    def _finish(self, request: Request, prompt_tokens: int, tokens: list[int], ended: bool) -> Response | None:
        """The response, if the answer is complete: at its end token, a stop string or the limit."""
        # decode() gives a list for several answers alone.
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)  # type: ignore[assignment]
        cuts = [position for stop in request.stop if (position := text.find(stop)) >= 0]
        if cuts:
            return Response(text[: min(cuts)], "stop", prompt_tokens, len(tokens))
        if ended or len(tokens) >= request.max_new_tokens:
            return Response(text, "stop" if ended else "length", prompt_tokens, len(tokens))
        return None


def _end_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return {token for token in [*several, tokenizer.eos_token_id] if token is not None}


def _pick(logits: "torch.Tensor", requests: Sequence[Request], uniform: "torch.Tensor") -> "torch.Tensor":
    """One token per row: the likeliest at temperature 0, else by top-k and top-p from `uniform`.

    Only the top k are sorted: a full sort of 262k logits costs more than the model's own step.
    """
    import torch

    width = min(max(request.top_k for request in requests), logits.shape[-1])
    values, tokens = logits.topk(width, dim=-1)
    device = logits.device
    temperature = torch.tensor([request.temperature for request in requests], device=device)[:, None]
    top_k = torch.tensor([request.top_k for request in requests], device=device)[:, None]
    top_p = torch.tensor([request.top_p for request in requests], device=device)[:, None]
    rank = torch.arange(width, device=device)[None]
    values = values / temperature.clamp(min=1e-6)
    probabilities = values.masked_fill(rank >= top_k, -torch.inf).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    kept = torch.where(before < top_p, probabilities, 0.0)
    cumulative = (kept / kept.sum(-1, keepdim=True)).cumsum(-1)
    position = (cumulative <= uniform[:, None].float()).sum(-1).clamp(max=width - 1)
    position = torch.where(temperature[:, 0] > 0, position, 0)
    return tokens.gather(-1, position[:, None])[:, 0]


def _with_small_groups_joined(groups: dict[tuple, list[int]], jobs: Sequence[Job]) -> list[list[int]]:
    """Groups worth a prefix of their own; the rest joined where they have the same choices."""
    large: list[list[int]] = []
    small: dict[tuple[str, ...], list[int]] = {}
    for (_, _, choices), group in groups.items():
        if shared_prefix.shared_length([jobs[index].prompt_ids for index in group]):
            large.append(group)
        else:
            small.setdefault(choices, []).extend(group)
    return large + list(small.values())
