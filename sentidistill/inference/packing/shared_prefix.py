"""Prompts that begin alike: their common beginning goes through the model once, for all of them."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentidistill.inference.packing.prefix_tree import common_length

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel

MIN_TOKENS = 16
MIN_ROWS = 3


def shared_length(rows: Sequence[list[int]]) -> int:
    """Tokens that all `rows` begin with, if they are many enough to be computed apart, else 0.

    At least one token is left to each row.
    """
    if len(rows) < MIN_ROWS:
        return 0
    length = min(*(common_length(rows[0], row) for row in rows), min(map(len, rows)) - 1)
    return length if length >= MIN_TOKENS else 0


def forward(model: "PreTrainedModel", ids: list[int], cache: "Cache | None" = None) -> "Cache | None":
    """The key-value cache of a common beginning: the empty `cache` with it, or the model's own kind for None."""
    import torch

    if not ids:
        return cache
    tensor = torch.tensor([ids], device=model.device)
    # Without the output layer, which for a large vocabulary costs as much as many tokens.
    return model.base_model(input_ids=tensor, past_key_values=cache, use_cache=True).past_key_values


def repeated(prefix: "Cache | None", rows: int) -> "Cache | None":
    """A copy of the cache of one row, for `rows` rows."""
    if prefix is None:
        return None
    cache = copy.deepcopy(prefix)
    cache.batch_repeat_interleave(rows)
    return cache


def own_parts(
    rows: Sequence[list[int]], shared: int, pad_id: int, device: "torch.device"
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """(ids after the `shared` first tokens, attention mask over all tokens, positions of all tokens).

    Rows end together; the padding lies between the common beginning and a row's own part.
    """
    import torch

    width = max(map(len, rows)) - shared
    own = torch.full((len(rows), width), pad_id)
    mask = torch.ones((len(rows), shared + width), dtype=torch.long)
    for number, row in enumerate(rows):
        length = len(row) - shared
        own[number, width - length :] = torch.tensor(row[shared:])
        mask[number, shared : shared + width - length] = 0
    own, mask = own.to(device), mask.to(device)
    return own, mask, (mask.cumsum(1) - 1).clamp(min=0)
