"""Which of some labels a text names. The rules are those of docs/benchmark.md."""

import re
from collections.abc import Sequence

from sentidistill.parsing.markup import NEXT_EXAMPLE, strip_thinking

_FENCE = re.compile(r"```[\w-]*")


def parse_label(output: str, labels: Sequence[str]) -> str | None:
    """The label that `output` begins with, case, quotes and an introduction such as "Label:" aside; else None."""
    if not isinstance(output, str):
        return None
    text = _FENCE.sub("", NEXT_EXAMPLE.split(f"\n{strip_thinking(output)}", maxsplit=1)[0]).strip()
    text = re.sub(r"^(?:label|answer|output|sentiment)\s*:\s*", "", text, flags=re.IGNORECASE)
    text = " ".join(text.strip(" \t\n\"'`*.[](){}“”").casefold().split())
    for label in sorted(labels, key=len, reverse=True):
        if re.match(rf"{re.escape(label.casefold())}(?![\w-])", text):
            return label
    return None
