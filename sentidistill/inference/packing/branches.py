"""Attention where tokens do not simply follow each other: padding inside rows, and answers that branch off a prompt."""

from typing import TYPE_CHECKING

from sentidistill.inference.packing.prefix_tree import PrefixTree

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


def place(
    tree: PrefixTree, mask: "torch.Tensor", positions: "torch.Tensor", shared: int
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(which tokens each token after the `shared` first sees, positions of all tokens) for rows that end in `tree`.

    The tree holds the answers to a row's prompt: each sees the prompt and itself, and none of the others. `mask` and
    `positions` are those of `own_parts`; rows x tokens. What is seen is rows x own tokens x tokens.
    """
    import torch

    tail = len(tree.tokens)
    sees = seen(mask, shared)
    sees[:, -tail:, -tail:] = tree.sees().to(mask.device)
    positions = positions.clone()
    positions[:, -tail:] = positions[:, -tail - 1, None] + torch.tensor(tree.depths, device=mask.device) + 1
    return sees, positions


def seen(mask: "torch.Tensor", shared: int) -> "torch.Tensor":
    """Which tokens each token after the `shared` first sees: itself and those before it that are no padding.

    `mask`: rows x tokens, 0 for padding. The result is rows x own tokens x tokens, bool.
    """
    import torch

    width = mask.shape[1]
    before = torch.ones((width - shared, width), dtype=torch.bool, device=mask.device).tril(shared)
    return before & mask[:, None].bool()


def attention(
    config: "PreTrainedConfig", sees: "torch.Tensor", positions: "torch.Tensor", dtype: "torch.dtype"
) -> "torch.Tensor | dict[str, torch.Tensor]":
    """`sees` as the attention mask that a model of transformers takes, or one for each kind of its layers.

    A window is measured in positions: padding takes no room in it.
    """
    import torch

    shared = sees.shape[2] - sees.shape[1]

    def added(seen: "torch.Tensor") -> "torch.Tensor":
        hidden = torch.finfo(dtype).min
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, hidden)[:, None]

    if not (window := window_of(config)) or positions.max() < window:
        return added(sees)
    near = positions[:, shared:, None] - positions[:, None] < window
    narrow = added(sees & near)
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ["sliding_attention"])
    return narrow if kinds == {"sliding_attention"} else {"full_attention": added(sees), "sliding_attention": narrow}


def window_of(config: "PreTrainedConfig") -> int | None:
    """How many tokens a token of the model's sliding-window layers sees, itself included; None without such layers."""
    return getattr(config.get_text_config(), "sliding_window", None) or None
