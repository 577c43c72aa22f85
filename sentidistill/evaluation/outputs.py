"""What a model's text says of a tuple task: the list of objects, however it is wrapped, quoted or cut off.

Nothing here raises for any text. The rules are those of docs/benchmark.md.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sentidistill.parsing.markup import NEXT_EXAMPLE, strip_thinking

_FENCE = re.compile(r"```[\w-]*")
_DEEPEST = 60
_ATTEMPTS = 40  # beginnings of a list or an object that are tried


@dataclass(frozen=True)
class Parsed:
    """The objects in an output, and how they were found.

    `empty`: it has no text. `invalid`: no list or object can be read in it. `salvaged`: it is not a plain JSON
    array (fences, other quotes, a wrapping object, text around it). `cut`: its end is missing, and only whole
    objects before it count.
    """

    objects: list[Any]
    empty: bool = False
    invalid: bool = False
    salvaged: bool = False
    cut: bool = False


def parse_objects(output: str) -> Parsed:
    """The list that `output` gives: a JSON array, or else an object, or else the whole objects of a torn one.

    An object that holds nothing but one list stands for that list. Python literals are read as JSON is. Empty
    entries ({}, null, "") are left out.
    """
    text = strip_thinking(output) if isinstance(output, str) else ""
    text = NEXT_EXAMPLE.split(f"\n{text}", maxsplit=1)[0].strip()
    if not text:
        return Parsed([], empty=True)
    plain = _strict(text)
    if isinstance(plain, list):
        return Parsed(_entries(plain))
    bare = _FENCE.sub("", text).strip()
    torn = False
    for begin in list(re.finditer(r"[\[{]", bare))[:_ATTEMPTS]:
        value, end = _first_value(bare, begin.start())
        if isinstance(value, dict) and value:
            inner = list(value.values())
            if len(inner) == 1 and isinstance(inner[0], list):
                return Parsed(_entries(inner[0]), salvaged=True, cut=torn)
            return Parsed([value, *_objects(bare, end)], salvaged=True, cut=torn)
        if isinstance(value, list) and (not value or any(isinstance(one, dict) for one in value)):
            return Parsed(_entries(value), salvaged=True, cut=torn)
        torn |= begin[0] == "[" and end == begin.start()
    return Parsed([], invalid=True, cut=torn)


def _entries(values: list[Any]) -> list[Any]:
    return [one for one in values if one]


def _strict(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_value(text: str, start: int) -> tuple[Any, int]:
    """(the list or object that begins at `start`, where it ends); (None, start) if it has no end."""
    end = _closing(text, start)
    if end is None:
        return None, start
    return _value(text[start:end]), end


def _value(text: str) -> Any:
    """`text` as JSON, or as a Python literal with JSON's names for constants allowed; None if it is neither."""
    for candidate in (text, re.sub(r",\s*([\]}])", r"\1", text)):
        value = _strict(candidate)
        if value is not None:
            return value
    names = {"null": "None", "true": "True", "false": "False"}
    python = re.sub(r"(?<![\w'\"])(null|true|false)(?![\w'\"])", lambda match: names[match[1]], text)
    try:
        return ast.literal_eval(python)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _closing(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed, brackets in quotes apart; None if it is not."""
    stack: list[str] = []
    quote = ""
    place = start
    while place < len(text):
        mark = text[place]
        if quote:
            if mark == "\\":
                place += 1
            elif mark == quote and not (quote == "'" and _apostrophe(text, place)):
                quote = ""
        elif mark in "\"'" and not (mark == "'" and _apostrophe(text, place)):
            quote = mark
        elif mark in "[{":
            stack.append("]" if mark == "[" else "}")
            if len(stack) > _DEEPEST:
                return None
        elif mark in "]}":
            if not stack or stack.pop() != mark:
                return None
            if not stack:
                return place + 1
        place += 1
    return None


def _apostrophe(text: str, place: int) -> bool:
    """Whether the mark at `place` stands between two letters, as in "don't"."""
    return 0 < place < len(text) - 1 and text[place - 1].isalnum() and text[place + 1].isalnum()


def _objects(text: str, start: int) -> Iterator[dict[str, Any]]:
    """Whole objects in `text` from `start` on, none inside another."""
    place = text.find("{", start)
    while place >= 0:
        value, end = _first_value(text, place)
        if isinstance(value, dict):
            if value:
                yield value
        else:
            end = place + 1
        place = text.find("{", end)
