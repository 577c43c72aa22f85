"""Scores of extracted tuples: precision, recall and F1 over the whole test set.

Every emitted object is one prediction; one that is not of the right form is a wrong one. Within a record
predictions are a set, so that repeating an answer gains nothing. docs/benchmark.md gives the rules and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

POLARITIES = ("positive", "negative", "neutral")
NULL = "NULL"
# Of the objects that each task asks for, in order.
KEYS = {
    "atsa_rest16": ("aspect_term", "sentiment"),
    "acsa_rest16": ("aspect_category", "sentiment"),
    "asqp_rest16": ("aspect_term", "aspect_category", "opinion", "sentiment"),
    "opener": ("holder", "target", "sentiment_expression", "sentiment_polarity"),
}


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
    values = [value for key in keys if isinstance(value := entry.get(key), str)]
    return [tidy(value) for value in values] if len(values) == len(keys) else None


def category(name: str) -> str:
    """A category as it is written in prompts: "FOOD#QUALITY" is "food quality"."""
    return tidy(name.replace("#", " ").lower())


def objects(task: str, record: dict) -> list[dict[str, str]]:
    """The right answer to a record of a tuple task; of atsa without targets that are only implied.

    Each object once: the data repeat some, and a model would learn to repeat itself.
    """
    found = []
    if task == "opener":
        for one in record["opinions"]:
            parts = [" AND ".join(one[name][0]) or NULL for name in ("Source", "Target", "Polar_expression")]
            found.append(dict(zip(KEYS[task], [*parts, one["Polarity"].lower()])))
    else:
        for one in record["quards" if task == "asqp_rest16" else "aspects"]:
            values = {
                "aspect_term": tidy(one.get("target", one.get("aspect", ""))),
                "aspect_category": category(one["category"]),
                "opinion": tidy(one.get("opinion", "")),
                "sentiment": one.get("polarity", one.get("sentiment")),
            }
            if task != "atsa_rest16" or values["aspect_term"] != NULL:
                found.append({key: values[key] for key in KEYS[task]})
    return [one for place, one in enumerate(found) if one not in found[:place]]


def read(task: str, entry: Any) -> tuple[str, ...] | None:
    """The values of an object under the task's keys, as they are compared; None for an object of another form."""
    forms = {"aspect_category": category, "sentiment": str.lower}
    values = strings(entry, KEYS[task])
    if values is None:
        return None
    return tuple(forms.get(key, str)(value) for key, value in zip(KEYS[task], values))


def exact(task: str, record: dict, entries: Sequence[Any]) -> tuple[Counts, int]:
    """(counts of a record, invalid entries): a prediction is right if the same tuple is among the gold ones."""
    gold = {read(task, one) for one in objects(task, record)}
    predicted = [read(task, entry) for entry in entries]
    valid = {one for one in predicted if one and one[-1] in POLARITIES}
    invalid = sum(not one or one[-1] not in POLARITIES for one in predicted)
    hits = len(gold & valid)
    return Counts(len(valid) + invalid, len(gold), hits, hits), invalid
