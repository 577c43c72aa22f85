"""Sequences that begin alike, packed: what they have in common goes through a model once, and nothing is padded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


@dataclass(frozen=True)
class PrefixTree:
    """Sequences as paths from a root, the tokens of the tree depth first.

    `depths`: how many tokens are before each of `tokens` in its sequences. `ends`: for each token the place after
    the last token below it. `paths`: for each sequence the places of its tokens.
    """

    tokens: list[int]
    depths: list[int]
    ends: list[int]
    paths: list[list[int]]

    @classmethod
    def of(cls, sequences: Sequence[list[int]]) -> "PrefixTree":
        tokens: list[int] = []
        depths: list[int] = []
        ends: list[int] = []
        paths: list[list[int]] = [[]] * len(sequences)
        before: Sequence[int] = []
        path: list[int] = []
        for index in sorted(range(len(sequences)), key=lambda index: sequences[index]):
            sequence = sequences[index]
            common = common_length(before, sequence)
            for place in path[common:]:
                ends[place] = len(tokens)
            own = range(len(tokens), len(tokens) + len(sequence) - common)
            path = [*path[:common], *own]
            tokens += sequence[common:]
            depths += range(common, len(sequence))
            ends += [0] * len(own)
            paths[index] = path
            before = sequence
        for place in path:
            ends[place] = len(tokens)
        return cls(tokens, depths, ends, paths)

    def sees(self) -> "torch.Tensor":
        """Which tokens each token attends to, itself and those before it in its sequences; tokens x tokens, bool."""
        import torch

        places, ends = torch.arange(len(self.tokens)), torch.tensor(self.ends)
        return (places <= places[:, None]) & (places[:, None] < ends)


def batches(
    sequences: Sequence[Sequence[int]], costs: Sequence[int], max_tokens: int, max_cost: int
) -> list[list[int]]:
    """Places of `sequences` in groups, each within `max_tokens` of its tree and `max_cost` of its `costs` together.

    Neighbours in the order of their tokens are together. A sequence over a limit is a group of its own.
    """
    found: list[list[int]] = []
    tokens = cost = 0
    for index in sorted(range(len(sequences)), key=lambda index: (sequences[index], index)):
        sequence = sequences[index]
        own = len(sequence) - (common_length(sequences[found[-1][-1]], sequence) if found else 0)
        if not found or tokens + own > max_tokens or cost + costs[index] > max_cost:
            found.append([])
            tokens, cost, own = 0, 0, len(sequence)
        found[-1].append(index)
        tokens, cost = tokens + own, cost + costs[index]
    return found
