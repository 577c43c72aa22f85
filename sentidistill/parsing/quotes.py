"""Where in a text the words stand that an answer quotes."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sentidistill.parsing.markup import JSON, parse_json


class Span(NamedTuple):
    """`text[start:end]` of the text as it was given."""

    start: int
    end: int


def spans(answer: str, text: str) -> tuple[Span, ...]:
    """Of each quote that stands in `text`, whatever its case and blanks, the first place, whole words before parts.

    Quotes are parted by semicolons, or are the texts of a JSON object or list; no other words of an answer count.
    """
    value = parse_json(answer)[0] if JSON.match(answer) else None
    quotes = answer.split(";") if value is None else list(_texts(value))
    found = (_place(quote.strip(" \t\r\n\"'“”."), text) for quote in quotes)
    return tuple(dict.fromkeys(span for span in found if span))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _place(quote: str, text: str) -> Span | None:
    words = r"\s+".join(map(re.escape, quote.split()))
    for pattern in (rf"(?<!\w){words}(?!\w)", words):
        if words and (match := re.search(pattern, text, re.IGNORECASE)):
            return Span(*match.span())
    return None
