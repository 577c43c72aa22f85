"""Several answers to a prompt in one row: each sees the prompt and itself, and none of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Branches:
    """The tokens that follow a prompt, of all answers one after the other.

    `answer` and `step` say for each token to which answer it belongs and how far from the prompt's end it is.
    `sources` and `targets` say for each token of each answer where the logits that predict it stand (0 is the
    prompt's last token, 1 the first of `tokens`) and which token it is. `lasts` says for each answer where the
    logits of what follows it stand.
    """

    tokens: list[int]
    answer: list[int]
    step: list[int]
    sources: list[list[int]]
    targets: list[list[int]]
    lasts: list[int]

    @classmethod
    def of(cls, answers: Sequence[Sequence[int]]) -> "Branches":
        tokens: list[int] = []
        answer: list[int] = []
        step: list[int] = []
        sources, lasts = [], []
        for number, ids in enumerate(answers):
            sources.append([0, *range(len(tokens) + 1, len(tokens) + len(ids))])
            tokens += ids
            answer += [number] * len(ids)
            step += range(1, len(ids) + 1)
            lasts.append(len(tokens))
        return cls(tokens, answer, step, sources, [list(ids) for ids in answers], lasts)


def place(
    branches: Branches, mask: "torch.Tensor", positions: "torch.Tensor", shared: int
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(which tokens each token after the `shared` first sees, positions of all tokens) for rows that end in `branches`.

    `mask` and `positions` are those of `own_parts`; rows x tokens. What is seen is rows x own tokens x tokens.
    """
    import torch

    tail, answer = len(branches.tokens), torch.tensor(branches.answer, device=mask.device)
    sees = seen(mask, shared)
    sees[:, -tail:, -tail:] &= answer[:, None] == answer
    positions = positions.clone()
    positions[:, -tail:] = positions[:, -tail - 1, None] + torch.tensor(branches.step, device=mask.device)
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
