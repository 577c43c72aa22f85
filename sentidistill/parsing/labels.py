"""Which of some labels a text names. The rules are those of docs/benchmark.md."""

import re
from collections.abc import Sequence

from sentidistill.parsing.markup import NEXT_EXAMPLE, strip_thinking

_FENCE = re.compile(r"```[\w-]*")


def parse_label(output: str, labels: Sequence[str]) -> str | None:
    """The label that `output` is or begins with, case, quotes and an introduction such as "Label:" aside; else None."""
    if not isinstance(output, str):
        return None
    for same in (str.strip, _folded):  # a label may have quotes and marks of its own
        if equal := [label for label in labels if same(label) == same(output)]:
            return equal[0]
    text = _FENCE.sub("", NEXT_EXAMPLE.split(f"\n{strip_thinking(output)}", maxsplit=1)[0]).strip()
    text = re.sub(r"^(?:label|answer|output|sentiment)\s*:\s*", "", text, flags=re.IGNORECASE)
    text = _bare(text)
    for label in sorted(labels, key=len, reverse=True):
        if (bare := _bare(label)) and re.match(rf"{re.escape(bare)}(?![\w-])", text):
            return label
    return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _bare(text: str) -> str:
    return _folded(text.strip(" \t\n\"'`*.[](){}“”"))
