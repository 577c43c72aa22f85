"""Log-probabilities of whole choices out of those of single tokens, for engines that score token by token."""

from collections.abc import Mapping, Sequence


def branches(choices: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """For each beginning of a choice, the empty one first, the tokens that some choice goes on with."""
    found: dict[tuple[int, ...], set[int]] = {}
    for choice in choices:
        for place, token in enumerate(choice):
            found.setdefault(tuple(choice[:place]), set()).add(token)
    return {beginning: sorted(tokens) for beginning, tokens in found.items()}


def summed(
    choices: Sequence[Sequence[int]], logprobs: Mapping[tuple[int, ...], Mapping[int, float]]
) -> tuple[float, ...]:
    """Log-probability of each choice, from those of the tokens after each beginning in `branches(choices)`."""
    return tuple(
        round(sum(logprobs[tuple(choice[:place])][token] for place, token in enumerate(choice)), 5)
        for choice in choices
    )
