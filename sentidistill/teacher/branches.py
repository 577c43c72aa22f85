"""Several answers to a prompt in one row: each sees the prompt and itself, and none of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Branches:
    """The tokens that follow a prompt, of all answers one after the other, each without its last.

    `answer` and `step` say for each token to which answer it belongs and how far from the prompt's end it is;
    `sources` and `targets` say for each token of each answer where the logits that predict it stand (0 is the
    prompt's last token, 1 the first of `tokens`) and which token it is.
    """

    tokens: list[int]
    answer: list[int]
    step: list[int]
    sources: list[list[int]]
    targets: list[list[int]]

    @classmethod
    def of(cls, answers: Sequence[Sequence[int]]) -> "Branches":
        tokens: list[int] = []
        answer: list[int] = []
        step: list[int] = []
        sources = []
        for number, ids in enumerate(answers):
            before = len(tokens)
            tokens += ids[:-1]
            answer += [number] * (len(ids) - 1)
            step += range(1, len(ids))
            sources.append([0, *range(before + 1, len(tokens) + 1)])
        return cls(tokens, answer, step, sources, [list(ids) for ids in answers])


def place(
    branches: Branches, mask: "torch.Tensor", positions: "torch.Tensor", shared: int
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(which tokens each token after the `shared` first sees, positions of all tokens) for rows that end in `branches`.

    `mask` and `positions` are those of `own_parts`; rows x tokens. What is seen is rows x own tokens x tokens.
    """
    import torch

    width, tail = mask.shape[1], len(branches.tokens)
    sees = torch.ones((width, width), dtype=torch.bool, device=mask.device).tril()
    if tail:
        answer = torch.tensor(branches.answer, device=mask.device)
        sees[-tail:, -tail:] &= answer[:, None] == answer
        positions = positions.clone()
        positions[:, -tail:] = positions[:, -tail - 1, None] + torch.tensor(branches.step, device=mask.device)
    return sees[None, shared:] & mask[:, None].bool(), positions


def attention(
    config: "PreTrainedConfig", sees: "torch.Tensor", positions: "torch.Tensor", dtype: "torch.dtype"
) -> "torch.Tensor | dict[str, torch.Tensor]":
    """`sees` as the attention mask that a model of transformers takes, or one for each kind of its layers.

    A layer with a sliding window has kept of the common beginning what the window still reaches.
    """
    import torch

    config = config.get_text_config()
    shared = sees.shape[2] - sees.shape[1]

    def added(seen: "torch.Tensor") -> "torch.Tensor":
        hidden = torch.finfo(dtype).min
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, hidden)[:, None]

    window = getattr(config, "sliding_window", None)
    if not window or positions.max() < window:
        return added(sees)
    near = positions[:, shared:, None] - positions[:, None] < window
    narrow = added((sees & near)[:, :, max(0, shared - window + 1) :])
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    return narrow if kinds == {"sliding_attention"} else {"full_attention": added(sees), "sliding_attention": narrow}
