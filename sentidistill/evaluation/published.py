"""SentiBench's tasks scored as the published evaluator does (HITSZ-HLT/COMPEFFDIST), its faults included.

It is there to compare. Of labels, the classes are those that occur in the gold labels or the predictions. A predicted
tuple counts as right where it is found anywhere in the list of the gold ones, so that a right one may be repeated, and
precision is 1 where nothing is predicted. In atsa and acsa a number among a record's objects makes all of them wrong;
in asqp and opener, where it ends the published evaluation, it is dropped here. In opener a text is placed at its first
occurrence, wherever that is, and one that is not found stands for an absent part. docs/benchmark.md has our own rules.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sklearn.metrics import f1_score

from sentidistill.evaluation.sentibench import MEANS, TUPLE_TASKS
from sentidistill.evaluation.sentiment_graph import Tokens, borders
from sentidistill.evaluation.tuples import KEYS, NULL

DUMMY = frozenset([-1])  # stands for an absent holder or target
CONFLICT = "conflict"  # a polarity that atsa alone may give


class Opinion(NamedTuple):
    holder: Tokens
    target: Tokens
    expression: Tokens
    polarity: str


def score(task: str, records: Sequence[dict], outputs: Sequence[str]) -> float:
    """Macro-F1 of a label task, F1 of a tuple task, in percent: as it is stored, a share of four decimals."""
    value = f1(task, records, outputs) if task in TUPLE_TASKS else macro_f1(records, outputs)
    return round(value, 2)


def mean(scores: Mapping[str, float]) -> float:
    """The mean of the twelve tasks, in which a task without a score counts 0."""
    return sum(scores.get(task, 0.0) for task in MEANS["all"]) / len(MEANS["all"])


def macro_f1(records: Sequence[dict], outputs: Sequence[str]) -> float:
    """Macro-F1 in percent of labels in lower case; an output that is no label is a class of its own."""
    gold = [record["label"].lower() for record in records]
    return 100 * float(f1_score(gold, [output.lower() for output in outputs], average="macro"))


def f1(task: str, records: Sequence[dict], outputs: Sequence[str]) -> float:
    """F1 in percent over all records, of `outputs` that are JSON lists."""
    lists = [_list(output) for output in outputs]
    if task == "opener":
        pairs = [
            (gold_opinions(record), predicted_opinions(entries, record["sentence"]))
            for record, entries in zip(records, lists)
        ]
        predicted = [weight(one, gold) for gold, found in pairs for one in found]
        recalled = [weight(one, found) for gold, found in pairs for one in gold]
        precision, recall = (sum(one) / len(one) if one else 0.0 for one in (predicted, recalled))
    else:
        right = [(n, one) for n, record in enumerate(records) for one in gold_tuples(task, record)]
        found = [
            (n, one)
            for n, (record, entries) in enumerate(zip(records, lists))
            for one in predicted_tuples(task, record, entries)
        ]
        known, given = set(right), set(found)
        precision = sum(one in known for one in found) / len(found) if found else 1.0
        recall = sum(one in given for one in right) / len(right) if right else 0.0
    total = precision + recall
    return 200 * precision * recall / total if total else 0.0


def _list(output: str) -> list[Any]:
    """The objects of the list that `output` begins with, up to its first closing bracket, or to its last whole object.

    Nothing where that is no JSON list.
    """
    text = output.strip()
    whole = text.startswith("[") and "]" in text
    text = text[: text.find("]") + 1] if whole else text[: text.rfind("}") + 1] + "]"
    for part in (text, text[text.find("[") :]):
        try:
            found = json.loads(part)
        except ValueError:
            continue
        return found if isinstance(found, list) else []
    return []


def gold_tuples(task: str, record: dict) -> list[tuple[str, ...]]:
    """As they are annotated: not stripped, and of acsa each as often as it stands there."""
    if task == "asqp_rest16":
        return [(one["aspect"], one["category"], one["opinion"], one["sentiment"]) for one in record["quards"]]
    if task == "acsa_rest16":
        return [(one["category"].lower().replace("#", " "), one["polarity"]) for one in record["aspects"]]
    stated = [one for one in record["aspects"] if one["target"] != NULL]
    return [one[:2] for one in {(a["target"], a["polarity"], a.get("from"), a.get("to")) for a in stated}]


def _breaks(entry: Any, keys: Sequence[str]) -> bool:
    """Whether the published parser fails on an entry, and so on all of the record: a number, or one as a value."""
    if isinstance(entry, Mapping):
        return all(key in entry for key in keys) and not all(isinstance(entry[key], str) for key in keys)
    return bool(entry) and not isinstance(entry, str | list)


def predicted_tuples(task: str, record: dict, entries: Sequence[Any]) -> list[tuple[str, ...] | None]:
    """None for an entry that counts as wrong; asqp drops those of another form."""
    keys = KEYS[task]
    if task != "asqp_rest16" and any(_breaks(entry, keys) for entry in entries):
        return [None] * len(entries)
    found: list[tuple[str, ...] | None] = []
    for entry in entries:
        if not entry:
            continue
        has = isinstance(entry, Mapping) and all(isinstance(entry.get(key), str) for key in keys)
        values = tuple(entry[key].strip() for key in keys) if has else None
        if task == "asqp_rest16":
            found += [values] if values and len(entry) == len(keys) else []
            continue
        polarities = ("positive", "neutral", "negative", *([CONFLICT] if task == "atsa_rest16" else []))
        right_form = values and values[-1] in polarities
        if task == "atsa_rest16":
            right_form = right_form and values and values[0] in record["sentence"]
        found.append(values if right_form else None)
    return found


def tokens(sentence: str, spans: Iterable[tuple[int, int]]) -> Tokens:
    """From the token that begins where a span does to the one that ends where it does, or to the last one."""
    words = borders(sentence)
    starts, ends = ({word[side]: number for number, word in enumerate(words)} for side in (0, 1))
    found: set[int] = set()
    for begin, end in spans:
        if begin in starts:
            found |= set(range(starts[begin], ends.get(end, len(words) - 1) + 1))
    return frozenset(found)


def gold_opinions(record: dict) -> list[Opinion]:
    def part(one: Any) -> Tokens:
        return tokens(record["sentence"], [tuple(map(int, offsets.split(":"))) for offsets in one[1]])  # type: ignore[misc]

    return [
        Opinion(part(one["Source"]), part(one["Target"]), part(one["Polar_expression"]), one["Polarity"].capitalize())
        for one in record["opinions"]
    ]


def predicted_opinions(entries: Iterable[Any], sentence: str) -> list[Opinion]:
    keys = KEYS["opener"]

    def placed(parts: Iterable[str]) -> Tokens:
        begins = [(sentence.find(part), part) for part in parts]
        return tokens(sentence, [(begin, begin + len(part)) for begin, part in begins if begin >= 0])

    found = []
    for entry in entries:
        if not isinstance(entry, Mapping) or set(entry) != set(keys):
            continue
        values = [value for value in entry.values() if isinstance(value, str)]
        if len(values) < len(keys) or entry[keys[3]].lower() not in ("positive", "neutral", "negative"):
            continue
        target, expression = ([part.strip() for part in entry[key].split("AND")] for key in keys[1:3])
        polarity = entry[keys[3]].capitalize()
        found.append(Opinion(placed([entry[keys[0]].strip()]), placed(target), placed(expression), polarity))
    return found


def weight(one: Opinion, others: Sequence[Opinion]) -> float:
    """How far the parts of an opinion lie in those of one of `others` that they all meet; 0 unless one of these has the
    same polarity."""

    def parts(opinion: Opinion) -> tuple[Tokens, Tokens, Tokens]:
        return opinion.holder or DUMMY, opinion.target or DUMMY, opinion.expression

    def shares(other: Opinion) -> list[float]:
        return [len(a & b) / len(a) if a else 0.0 for a, b in zip(parts(one), parts(other))]

    meeting = [(sum(found) / 3, other) for other in others if all(found := shares(other))]
    if not any(other.polarity == one.polarity for _, other in meeting):
        return 0.0
    return max(share for share, _ in meeting)
