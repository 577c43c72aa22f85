"""Numbers on a command line."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def at_least(low: Number, most: float = sys.float_info.max) -> Callable[[str], Number]:
    """A number of the kind of `low`, not below it and not above `most`."""
    kind = type(low)

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= most:
            top = f" to {most}" if most < sys.float_info.max else ""
            raise ArgumentTypeError(f"expected a {'whole ' if kind is int else ''}number from {low}{top}, found {text}")
        return value

    return read
