"""How tasks are put to a model: wording, demonstrations, and the form of the answer."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.evaluation.tuples import KEYS, POLARITIES, objects
from sentidistill.prompts import Prompt
from sentidistill.samples import prompt, with_labels

Demonstrations = Literal["shared", "per_record"]


@dataclass(frozen=True)
class Question:
    """One record as it is asked; `record` is None for an unlabelled training text, on which the label bias is measured.

    `shown` are places in the training records; `choices` is empty for tuple tasks.
    """

    record: int | None
    prompt: Prompt
    choices: tuple[str, ...]
    shown: tuple[int, ...]


def text_of(task: EvaluationTask, record: dict) -> str:
    return f"{record['sentence']}\nTarget: {record['target']}" if task.name == "pstance" else record["sentence"]


def answer_of(task: EvaluationTask, record: dict) -> str:
    """The right answer, as demonstrations show it."""
    if task.labels:
        return task.gold_label(record)
    return json.dumps(objects(task.name, record), ensure_ascii=False)


def categories(task: EvaluationTask, train: Sequence[dict]) -> list[str]:
    """The categories that the training records use."""
    return sorted({one["aspect_category"] for record in train for one in objects(task.name, record)})


def instruction(task: EvaluationTask, train: Sequence[dict]) -> str:
    text = task.instruction
    if "{categories}" in text:
        text = text.replace("{categories}", ", ".join(categories(task, train)))
    return with_labels(text, task.labels) if task.labels else text


def schema(task: EvaluationTask, train: Sequence[dict]) -> dict[str, Any]:
    """JSON schema of the answers to a tuple task."""
    kinds: dict[str, Any] = {
        "sentiment": {"type": "string", "enum": list(POLARITIES)},
        "sentiment_polarity": {"type": "string", "enum": ["positive", "negative"]},
    }
    if "aspect_category" in KEYS[task.name]:
        kinds["aspect_category"] = {"type": "string", "enum": categories(task, train)}
    keys = {key: kinds.get(key, {"type": "string", "maxLength": 80}) for key in KEYS[task.name]}
    entry = {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}
    return {"type": "array", "items": entry, "maxItems": 12}


def questions(
    task: EvaluationTask,
    records: Sequence[dict],
    train: Sequence[dict],
    *,
    shots: int,
    demonstrations: Demonstrations,
    max_chars: int,
    seed: int,
    calibration_texts: int = 0,
) -> list[Question]:
    """Every record with `shots` training records as demonstrations, then at most `calibration_texts` training texts.

    The demonstrations are drawn by one random generator for each seed and task ("shared"), or for each record as well
    ("per_record"), among training texts of at most `max_chars` characters other than the record's own text. Labels
    take turns, in random order. With shared demonstrations, a model computes the beginning of all prompts once.
    Calibration texts are drawn whatever their labels. They have the same demonstrations as the records, and none of
    them is a demonstration.
    """
    by_label: dict[str, list[int]] = {}
    for place, record in enumerate(train):
        if len(record["sentence"]) <= max_chars:
            by_label.setdefault(task.gold_label(record) if task.labels else "", []).append(place)
    shared: tuple[int, ...] | None = None
    if demonstrations == "shared":
        shared = _drawn(by_label, train, shots, {record["sentence"] for record in records}, (seed, task.name, "shared"))
    unseen = [record for place, record in enumerate(train) if place not in (shared or ())]
    places = limited(task, unseen, calibration_texts, seed, by_label=False) if calibration_texts else []
    text, cue = instruction(task, train), task.cue
    found = []
    for number, record in [*enumerate(records), *((None, unseen[place]) for place in places)]:
        shown = shared
        if shown is None:
            shown = _drawn(by_label, train, shots, {record["sentence"]}, (seed, task.name, text_of(task, record)))
        pairs = [(text_of(task, train[place]), answer_of(task, train[place])) for place in shown]
        found.append(Question(number, prompt(text, cue, text_of(task, record), pairs), task.labels, shown))
    return found


def _drawn(
    by_label: dict[str, list[int]], train: Sequence[dict], shots: int, forbidden: set[str], key: tuple
) -> tuple[int, ...]:
    random = np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))
    turns: list[tuple[int, int, int]] = []
    for label in random.permutation(sorted(by_label)):
        places = [place for place in random.permutation(by_label[label]) if train[place]["sentence"] not in forbidden]
        turns += [(turn, len(turns), int(place)) for turn, place in enumerate(places[:shots])]
    chosen = [place for _, _, place in sorted(turns)[:shots]]
    return tuple(int(place) for place in random.permutation(chosen))


def limited(task: EvaluationTask, records: Sequence[dict], limit: int, seed: int, by_label: bool = True) -> list[int]:
    """Places of at most `limit` records (0: all), drawn by the hash of their content.

    With `by_label`, classes keep their shares; without, labels are not looked at.
    """
    if not limit or limit >= len(records):
        return list(range(len(records)))
    groups: dict[str, list[tuple[bytes, int]]] = {}
    for place, record in enumerate(records):
        key = hashlib.sha256(f"{seed} {text_of(task, record)} {place}".encode()).digest()
        groups.setdefault(task.gold_label(record) if by_label and task.labels else "", []).append((key, place))
    # The n-th of m records of a class comes at (n + 1/2) / m, so that any beginning has the shares of the whole.
    order = [
        ((rank + 0.5) / len(group), label, place)
        for label, group in sorted(groups.items())
        for rank, (_, place) in enumerate(sorted(group))
    ]
    return sorted(place for _, _, place in sorted(order)[:limit])
