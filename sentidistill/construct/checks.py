"""Checks of form that any teacher's answer may fail, in one list, with their wording for the teacher and the report."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rapidfuzz import fuzz, process

from sentidistill.parsing.markup import parse_json, strip_thinking, until_repetition
from sentidistill.parsing.tasks import Definition, Proposal

CLOSED_FAMILIES = ("classification", "scoring")


NONE_ANSWERS = ("none", "no", "n/a", "nothing")


COPIED_SHARE = 0.5


# By name: (what the teacher is told when it has to repair its answer, the line of the report).
CHECKS: dict[str, tuple[str, str]] = {
    "unreadable": ("The answer does not have the form that was asked for.", "answers of another form"),
    "no_instruction": ("There is no part with the heading Instruction.", "definitions without an instruction"),
    "two_texts": ("The task needs more than one text.", "needs more than one text"),
    "number_of_labels": ("The part Labels lists too few labels or too many.", "too few labels or too many"),
    "long_label": ("A label is too long.", "a label is too long"),
    "no_numbers": ("The labels of a task of the kind scoring are numbers.", "labels of a scale that are no numbers"),
    "no_format": ("The part Format is missing.", "no format"),
    "no_keys": (
        "The part Format does not name the keys of the object in double quotes.",
        "a format that names no keys",
    ),
    "copied": ("It repeats a worked example.", "copies of worked examples, or of texts shown for their style"),
    "repeated": ("It repeats another one.", "repeats an earlier one"),
    "length": ("It is too short or too long.", "too short or too long"),
    "not_about_the_text": ("It does not ask about the text or its author.", "asks about something else than the text"),
    "empty": ("An answer is empty.", "empty answers, or empty values in them"),
    "label": ("An answer is none of the labels.", "answers that are none of the labels"),
    "span": ("An answer does not stand in its text, word for word.", "quotes that do not stand in the text"),
    "json": ("An answer is not the JSON that the format asks for.", "not the JSON that was asked for"),
    "keys": ("An object does not have exactly the keys of the format.", "objects with other keys"),
    "trimmed": ("", "answers that went on after their end (used)"),
    "error": ("", "requests that failed"),
}


_TWO_TEXTS = re.compile(
    r"\b(?:(?:two|both|pairs? of|several|multiple) (?:\w+ )?(?:texts?|reviews?|tweets?|sentences|documents|passages)"
    r"|(?:text|review|tweet|sentence) ?(?:[12ab]\b|one\b|two\b)|(?:first|second|other) text|compare the texts)",
    re.IGNORECASE,
)


_KEY = re.compile(r'"([^"\s][^"]{0,39})"')


_LIST = re.compile(r"\bJSON (?:list|array)\b|\b(?:list|array) of (?:JSON )?objects\b", re.IGNORECASE)


def needs_two_texts(text: str) -> bool:
    """Whether a task speaks of more than one text, which no prompt of ours could hold."""
    return bool(_TWO_TEXTS.search(text))


def usable_analysis(items: Sequence[str], limit: int, max_similarity: float) -> tuple[list[str], list[str]]:
    """(the first `limit` distinct instructions about one text or its author, reasons why others were left out)."""
    kept: list[str] = []
    faults: list[str] = []
    for item, new in zip(items, distinct(items, [""] * len(items), max_similarity)):
        if not 4 <= len(item.split()) <= 40:
            faults.append("length")
        elif not re.search(r"\b(?:text|author|writer|it)\b", item, re.IGNORECASE):
            faults.append("not_about_the_text")
        elif needs_two_texts(item):
            faults.append("two_texts")
        elif not new:
            faults.append("repeated")
        else:
            kept.append(item)
    return kept[:limit], faults


def usable_proposals(
    proposals: Sequence[Proposal], attribute: str, limit: int, worked_examples: set[str]
) -> tuple[list[Proposal], list[str]]:
    """(the first `limit` distinct proposals on one text, why others were left out).

    A name of the `worked_examples` (in lower case) is the teacher's own only if the attribute is in it.
    """
    kept: dict[str, Proposal] = {}
    faults: list[str] = []
    for proposal in proposals:
        name = proposal.name.casefold()
        if needs_two_texts(f"{proposal.name} {proposal.description}"):
            faults.append("two_texts")
        elif name in worked_examples and attribute.casefold() not in name:
            faults.append("copied")
        elif kept.setdefault(proposal.family + name, proposal) is not proposal:
            faults.append("repeated")
    return list(kept.values())[:limit], faults


def definition_faults(
    family: str, definition: Definition, worked_examples: Sequence[Definition], max_labels: int, max_label_words: int
) -> list[str]:
    """The faults of a definition, its examples aside."""
    closed, labels, form = family in CLOSED_FAMILIES, definition.labels, definition.format
    shown = [one.instruction for one in worked_examples]
    found = {
        "two_texts": needs_two_texts(f"{definition.instruction} {' '.join(text for text, _ in definition.examples)}"),
        "number_of_labels": closed and not 2 <= len(labels) <= max_labels,
        "long_label": closed and any(len(label.split()) > max_label_words for label in labels),
        "no_numbers": family == "scoring" and not all(label.lstrip("-").isdecimal() for label in labels),
        "copied": not distinct([*shown, definition.instruction], [""] * (len(shown) + 1), 0.95)[-1],
        "no_format": not closed and not form,
        "no_keys": family == "structured" and bool(form) and not keys(form),
    }
    return [name for name, wrong in found.items() if wrong]


def check_output(family: str, labels: Sequence[str], form: str, text: str, output: str) -> tuple[str | None, str]:
    """(canonical output, "") or (None, name of the check that it fails).

    An extraction has to stand in the text, word for word. An object has to have the keys that `form` names, which is
    the format or the whole instruction. If `form` asks for a list, each object of the list has to have them.
    """
    output = output.strip()
    if not output:
        return None, "empty"
    if family in CLOSED_FAMILIES:
        match = {label.casefold(): label for label in labels}.get(output.rstrip(".").casefold())
        return (match, "") if match else (None, "label")
    if family == "extraction":
        if output.strip("\"'“” .").casefold() in NONE_ANSWERS:
            return "none", ""
        spans = [part.strip("\"'“” ") for part in output.rstrip(".").split(";")]
        inside = all(part and part.casefold() in text.casefold() for part in spans)
        return ("; ".join(dict.fromkeys(spans)), "") if inside else (None, "span")
    if family == "structured":
        value, _ = parse_json(output)
        objects = value if isinstance(value, list) else [value]
        if isinstance(value, list) != asks_for_list(form) or not all(isinstance(one, dict) for one in objects):
            return None, "json"
        if any(set(one) != set(keys(form)) for one in objects):
            return None, "keys"
        empty = any(not str(part).strip() for one in objects for part in one.values())
        return (None, "empty") if empty else (json.dumps(value, ensure_ascii=False), "")
    return output, ""


def open_answer(family: str, instruction: str, text: str, raw: str, cut: bool = True) -> tuple[str | None, list[str]]:
    """(the usable part of `raw`, an answer about `text` to an open task or an analysis, or None; its faults).

    `cut`: the model reached its limit of tokens before it had ended.
    """
    answer = strip_thinking(raw)
    if family == "analysis":
        answer = until_repetition(answer, cut)
    elif family == "extraction":
        answer = answer.split("\n")[0]
    checked, reason = check_output(family, [], instruction, text, answer)
    if checked is None:
        return None, [reason]
    return checked, [] if checked == raw.strip() else ["trimmed"]


def answer_schema(form: str) -> dict[str, Any]:
    """JSON schema of what `form` asks for: an object with the keys that it names, or a list of such objects.

    Values are short texts, lists of them, or numbers.
    """
    text = {"type": "string", "minLength": 1, "maxLength": 80}
    value = {"anyOf": [text, {"type": "number"}, {"type": "array", "items": text, "minItems": 1, "maxItems": 5}]}
    names = list(dict.fromkeys(keys(form)))
    one = {
        "type": "object",
        "properties": dict.fromkeys(names, value),
        "required": names,
        "additionalProperties": False,
    }
    return {"type": "array", "items": one, "maxItems": 6} if asks_for_list(form) else one


def agreement(answer: str, other: str) -> float:
    """How alike two checked answers to an open task are, 0 to 1: their words in any order, keys aside.

    The token-sort ratio of rapidfuzz.
    """
    return fuzz.token_sort_ratio(_content(answer), _content(other)) / 100


def _content(answer: str) -> str:
    """What stands in an answer: the values of its JSON, or all of a quote."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return answer.casefold()
    return " ".join(_values(value)).casefold()


def _values(value: Any) -> list[str]:
    """What stands in a value of JSON, at any depth."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [one for part in parts for one in _values(part)]
    return [str(value)]


def keys(form: str) -> list[str]:
    """Names in double quotes: the keys that a structured task's format asks for."""
    return _KEY.findall(form)


def asks_for_list(form: str) -> bool:
    return bool(_LIST.search(form))


def copied(text: str, sources: Sequence[str], limit: float = COPIED_SHARE) -> bool:
    """Whether one of `sources` holds, in one run, more than the share `limit` of the words of `text`."""
    words = text.casefold().split()
    needed = max(3, int(limit * len(words)) + 1)
    runs = {" ".join(words[i : i + needed]) for i in range(len(words) - needed + 1)}
    return any(run in " ".join(source.casefold().split()) for source in sources for run in runs)


def distinct(texts: Sequence[str], groups: Sequence[str], max_similarity: float) -> list[bool]:
    """Which of `texts` to keep (n booleans): those that are no near-duplicate of an earlier kept text of their group.

    Near-duplicates have a token-sort ratio (rapidfuzz; 0 to 1, case and punctuation ignored) of `max_similarity`
    or more.
    """
    seen: dict[str, list[str]] = defaultdict(list)
    found = []
    for text, group in zip(texts, groups):
        ordered = " ".join(sorted(re.findall(r"\w+", text.casefold()))) or text
        near = process.extractOne(ordered, seen[group], scorer=fuzz.ratio, score_cutoff=100 * max_similarity)
        if near is None:
            seen[group].append(ordered)
        found.append(near is None)
    return found
