"""Scores of extracted tuples: precision, recall and F1 over the whole test set.

Every emitted object is one prediction; one that is not of the right form is a wrong one. Within a record
predictions are a set, so that repeating an answer gains nothing. docs/benchmark.md gives the rules and why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

POLARITIES = ("positive", "negative", "neutral")
NULL = "NULL"


def tidy(text: str) -> str:
    """`text` with single spaces and none at its ends."""
    return " ".join(text.split())


@dataclass(frozen=True)
class Counts:
    """Sums over a record, or over many: predictions, gold tuples, and the weight of each that is matched."""

    predicted: float = 0
    gold: float = 0
    matched_predicted: float = 0
    matched_gold: float = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.predicted + other.predicted,
            self.gold + other.gold,
            self.matched_predicted + other.matched_predicted,
            self.matched_gold + other.matched_gold,
        )


def precision_recall_f1(counts: Counts) -> tuple[float, float, float]:
    """In percent; 0 where there is nothing to divide by."""
    precision = counts.matched_predicted / counts.predicted if counts.predicted else 0.0
    recall = counts.matched_gold / counts.gold if counts.gold else 0.0
    total = precision + recall
    return 100 * precision, 100 * recall, 200 * precision * recall / total if total else 0.0


def strings(entry: Any, keys: Sequence[str]) -> list[str] | None:
    """The texts under `keys` of an object that has them all; None for anything else."""
    if not isinstance(entry, Mapping):
        return None
    values = [entry.get(key) for key in keys]
    if not all(isinstance(value, str) for value in values):
        return None
    return [tidy(value) for value in values]


def atsa_gold(record: dict) -> set[tuple[str, ...]]:
    """(term, polarity) of every explicit target."""
    return {(tidy(one["target"]), one["polarity"].lower()) for one in record["aspects"] if one["target"] != NULL}


def atsa_prediction(entry: Any) -> tuple[str, ...] | None:
    values = strings(entry, ("aspect_term", "sentiment"))
    return values and (values[0], values[1].lower())


def category(name: str) -> str:
    """A category as it is written in prompts: "FOOD#QUALITY" is "food quality"."""
    return tidy(name.replace("#", " ").lower())


def acsa_gold(record: dict) -> set[tuple[str, ...]]:
    """(category, polarity) of every aspect, each pair once."""
    return {(category(one["category"]), one["polarity"].lower()) for one in record["aspects"]}


def acsa_prediction(entry: Any) -> tuple[str, ...] | None:
    values = strings(entry, ("aspect_category", "sentiment"))
    return values and (category(values[0]), values[1].lower())


def asqp_gold(record: dict) -> set[tuple[str, ...]]:
    """(term or NULL, category, opinion, polarity) of every quadruple."""
    return {
        (tidy(one["aspect"]), category(one["category"]), tidy(one["opinion"]), one["sentiment"].lower())
        for one in record["quards"]
    }


def asqp_prediction(entry: Any) -> tuple[str, ...] | None:
    values = strings(entry, ("aspect_term", "aspect_category", "opinion", "sentiment"))
    return values and (values[0], category(values[1]), values[2], values[3].lower())


def exact(
    gold: set[tuple[str, ...]], entries: Sequence[Any], read: Callable[[Any], tuple[str, ...] | None]
) -> tuple[Counts, int]:
    """(counts of a record, invalid entries): a prediction is right if the same tuple is among the gold ones."""
    read_entries = [read(entry) for entry in entries]
    valid = {one for one in read_entries if one and one[-1] in POLARITIES}
    invalid = sum(not one or one[-1] not in POLARITIES for one in read_entries)
    hits = len(gold & valid)
    return Counts(len(valid) + invalid, len(gold), hits, hits), invalid
