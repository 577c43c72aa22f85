"""Where in a text the words stand that an answer quotes."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sentidistill.parsing.markup import JSON, parse_json


class Span(NamedTuple):
    """`text[start:end]` of the text as it was given: what the answer quotes under `key` of its object `item`, from 0.

    Of an answer that is no JSON, each quote is an item, and the key is "".
    """

    start: int
    end: int
    item: int = 0
    key: str = ""


def spans(answer: str, text: str) -> tuple[Span, ...]:
    """Of each quote that stands in `text`, whatever its case and blanks, the first place, whole words before parts.

    Quotes are parted by semicolons, or are the texts of a JSON object or of a list of them; no other words count.
    """
    value = parse_json(answer)[0] if JSON.match(answer) else None
    items = answer.split(";") if value is None else value if isinstance(value, list) else [value]
    found = (
        Span(*place, item, key)
        for item, one in enumerate(items)
        for key, quote in _texts(one)
        if (place := _place(quote.strip(" \t\r\n\"'“”."), text))
    )
    return tuple(dict.fromkeys(found))


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of all texts in a value of JSON."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)


def _place(quote: str, text: str) -> tuple[int, int] | None:
    words = r"\s+".join(map(re.escape, quote.split()))
    for pattern in (rf"(?<!\w){words}(?!\w)", words):
        if words and (match := re.search(pattern, text, re.IGNORECASE)):
            return match.span()
    return None
