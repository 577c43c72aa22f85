"""Numbers on a command line."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def at_least(low: Number) -> Callable[[str], Number]:
    """A number of the kind of `low`, and not below it."""
    kind = type(low)

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value < float("inf"):
            raise ArgumentTypeError(f"expected a {'whole ' if kind is int else ''}number from {low}, found {text}")
        return value

    return read
