"""Long texts in pieces that the student can read."""

import re
from collections.abc import Callable

# Where a text is best cut: at the end of a sentence, else at a blank.
PLACES = (re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？]"), re.compile(r"\s+"))


def passages(text: str, tokens: Callable[[str], int], limit: int) -> list[str]:
    """`text` in pieces of at most `limit` tokens, about equally long, in order.

    It is cut at ends of sentences, within a sentence that is too long by itself at blanks, and within a word that is
    at any character.
    """
    number = -(-tokens(text) // limit)
    if number < 2 or len(text) < 2:
        return [text]
    aim = max(1, len(text) * (number // 2) // number)
    ends = (sorted({at.end() for at in place.finditer(text)} - {len(text)}) for place in PLACES)
    cut = next((min(found, key=lambda end: abs(end - aim)) for found in ends if found), aim)
    parts = text[:cut].strip(), text[cut:].strip()
    return [piece for part in parts for piece in passages(part, tokens, limit)]
