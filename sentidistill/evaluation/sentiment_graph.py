"""Structured sentiment: holder, target, expression and polarity, scored by how far their spans overlap.

The sentiment-graph F1 of SemEval-2022 task 10 (Barnes et al., 2022), with the remedies of docs/benchmark.md: texts are
placed at token borders, next to the expression; a text that is not in the sentence is wrong; a match needs the same
polarity, for the weights too; a span that is just the whole sentence is wrong unless it is meant.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sentidistill.evaluation.tuples import KEYS, NULL, POLARITIES, Counts, strings

JOIN = re.compile(r"\s+AND\s+")

Tokens = frozenset[int]


@dataclass(frozen=True)
class Opinion:
    """Token numbers of each part; an absent holder or target has none."""

    holder: Tokens
    target: Tokens
    expression: Tokens
    polarity: str

    def parts(self) -> tuple[Tokens, Tokens, Tokens]:
        return self.holder, self.target, self.expression


def borders(sentence: str) -> list[tuple[int, int]]:
    """Begin and end of each token: what stands between single spaces."""
    found, place = [], 0
    for token in sentence.split(" "):
        if token:
            found.append((place, place + len(token)))
        place += len(token) + 1
    return found


def gold_opinions(record: dict) -> set[Opinion]:
    tokens = borders(record["sentence"])

    def part(offsets: list[str]) -> Tokens:
        numbers = set()
        for offset in offsets:
            begin, end = map(int, offset.split(":"))
            numbers |= {number for number, (first, last) in enumerate(tokens) if first < end and last > begin}
        return frozenset(numbers)

    return {
        Opinion(
            part(one["Source"][1]),
            part(one["Target"][1]),
            part(one["Polar_expression"][1]),
            (one["Polarity"] or "").lower(),
        )
        for one in record["opinions"]
    }


def occurrences(words: Sequence[str], part: str) -> list[Tokens]:
    """Where the words of `part` stand in a row in the sentence's `words`."""
    wanted = part.split()
    return [
        frozenset(range(start, start + len(wanted)))
        for start in range(len(words) - len(wanted) + 1)
        if wanted and list(words[start : start + len(wanted)]) == wanted
    ]


def placements(words: Sequence[str], text: str) -> list[Tokens]:
    """Every way to place `text`, whose parts are joined by AND, in the sentence; a text that fits whole comes first."""
    whole = occurrences(words, text)
    if whole or not JOIN.search(text):
        return whole
    parts = [occurrences(words, part)[:4] for part in JOIN.split(text)]
    return [frozenset().union(*chosen) for chosen in itertools.islice(itertools.product(*parts), 64)]


def distance(one: Tokens, other: Tokens) -> int:
    """Tokens between two spans; 0 where they touch or one is empty."""
    if not one or not other:
        return 0
    return max(0, max(min(one), min(other)) - min(max(one), max(other)) - 1)


def read_opinion(entry: Any, sentence: str) -> Opinion | None:
    """The opinion that an object gives; None for one that is wrong by itself.

    Of several places, those are chosen that are nearest to each other, the first ones where that is a tie.
    """
    values = strings(entry, KEYS["opener"])
    if values is None or values[3].lower() not in POLARITIES:
        return None
    words = [sentence[begin:end] for begin, end in borders(sentence)]
    absent = [value.upper() == NULL for value in values[:3]]
    if absent[2] or not all(values[:3]):
        return None
    choices = [[frozenset[int]()] if no else placements(words, value) for no, value in zip(absent, values)]
    if not all(choices):
        return None

    def spread(chosen: tuple[Tokens, ...]) -> tuple[int, int]:
        holder, target, expression = chosen
        overlap = len(target & expression) + len(holder & (target | expression))
        return overlap, distance(target, expression) + distance(holder, expression)

    holder, target, expression = min(itertools.islice(itertools.product(*choices), 4096), key=spread)
    return Opinion(holder, target, expression, values[3].lower())


def is_absent(entry: Any) -> bool:
    """Whether an object says that there is no opinion: NULL everywhere, the polarity aside."""
    values = strings(entry, KEYS["opener"])
    return values is not None and all(value.upper() == NULL for value in values[:3])


def overlap(one: Opinion, other: Opinion) -> float:
    """Mean share of the parts of `one` that lie in those of `other`; 0 where they do not match.

    Absent parts match each other. Opinions match where all three parts meet and the polarity is the same.
    """
    if one.polarity != other.polarity:
        return 0.0
    shares = []
    for mine, theirs in zip(one.parts(), other.parts()):
        if not mine and not theirs:
            shares.append(1.0)
        elif mine & theirs:
            shares.append(len(mine & theirs) / len(mine))
        else:
            return 0.0
    return sum(shares) / len(shares)


def count(record: dict, entries: Sequence[Any]) -> tuple[Counts, int]:
    """(counts of a record, invalid entries)."""
    gold = gold_opinions(record)
    meant = {part for one in gold for part in (one.target, one.expression)}
    whole = frozenset(range(len(borders(record["sentence"]))))
    read = [read_opinion(entry, record["sentence"]) for entry in entries if not is_absent(entry)]
    predicted = {one for one in read if one is not None}
    # The whole sentence overlaps with everything; it would be worth something whatever the sentence says.
    right_form = {one for one in predicted if not {one.target, one.expression} & {whole} - meant}
    invalid = sum(one is None for one in read)
    return (
        Counts(
            len(predicted) + invalid,
            len(gold),
            sum(max((overlap(one, other) for other in gold), default=0.0) for one in right_form),
            sum(max((overlap(one, other) for other in right_form), default=0.0) for one in gold),
        ),
        invalid,
    )
