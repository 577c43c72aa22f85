"""Instructions: what is kept of the teacher's proposals, definitions and demonstrations, and why not."""

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from rapidfuzz import fuzz, process

from sentidistill.parsing.markup import parse_json
from sentidistill.parsing.tasks import Definition, Proposal
from sentidistill.records import Record, content_id
from sentidistill.samples import with_labels

CLOSED_FAMILIES = ("classification", "scoring")
NONE_ANSWERS = ("none", "no", "n/a", "nothing")

# Words that set a label apart from another one that it contains: "afraid" and "not afraid".
_CONTRAST = re.compile(
    r"no|not|non|never|none|without|un\w+|very|slightly|somewhat|partly|mildly|moderately|highly|strongly|extremely"
    r"|little|low|high|medium|mixed|over|under|half|barely|hardly|does|doesn't|isn't|less|more|most|least|anti\w*",
    re.IGNORECASE,
)
# Words that cannot end an answer ("interested in"), and words of the question ("says") that are none.
_UNFINISHED = re.compile(r".*\b(?:a|an|the|and|or|of|for|in|on|to|at|by|with|about|from|towards?|than|that)", re.I)
_OF_THE_QUESTION = re.compile(r"(?:the )?(?:text|author|writer|it|he|she|says?|said|is|has|feels?|shows?)", re.I)
_ENDS = re.compile(r"from \d+ \(([^)]*)\) to \d+ \(([^)]*)\)", re.IGNORECASE)
# Words that say how much and not of what.
_DEGREES = {
    "very",
    "not",
    "at",
    "all",
    "no",
    "never",
    "always",
    "often",
    "strongly",
    "strong",
    "weak",
    "much",
    "little",
    "a",
    "bit",
    "lot",
    "low",
    "high",
    "extremely",
}
_ASKING = {"give", "name", "quote", "list", "write", "find", "extract", "answer", "with"}
_VALUES = {"true", "false", "null", "positive", "negative", "neutral"}
_MEASURES = re.compile(r"score|rating|level|degree|rank|value|number")
_TWO_TEXTS = re.compile(
    r"\b(?:(?:two|both|pairs? of|several|multiple) (?:\w+ )?(?:texts?|reviews?|tweets?|sentences|documents|passages)"
    r"|(?:text|review|tweet|sentence) ?(?:[12ab]\b|one\b|two\b)|(?:first|second|other) text|compare the texts)",
    re.IGNORECASE,
)


class AnalysisInstruction(Record):
    cluster: int
    text: str


class TaskProposal(Record):
    """An idea for a task about `attribute`, which `mentions` texts have."""

    id: str
    cluster: int
    attribute: str
    mentions: int
    name: str
    family: str
    description: str


class TaskDefinition(Record):
    """A task made precise. `labels` is empty unless the answers are a closed set."""

    id: str
    cluster: int
    attribute: str
    mentions: int
    name: str
    family: str
    instruction: str
    labels: list[str]
    format: str
    examples: list[tuple[str, str]]

    def with_ends(self) -> "TaskDefinition":
        """A scoring task with what the ends of its scale stand for as its labels; any other task as it is."""
        if self.family != "scoring":
            return self
        ends = _ENDS.search(self.instruction)
        return self.model_copy(update={"labels": list(ends.groups()) if ends else [self.labels[0], self.labels[-1]]})

    def text(self) -> str:
        """The instruction as a model reads it, with the labels or the format in it."""
        return _with_form(self.instruction, self.labels, self.format)

    def cue(self) -> str:
        """What stands before the answer: a base model scores labels far better after the attribute than "Output"."""
        return (self.attribute if self.labels else self.name).capitalize()


class Demonstration(Record):
    """A labelled text of a task.

    Where labels are closed, `output` is the label that the teacher chose when asked again, and `agreed`
    whether it is the one that the text was written for; `margin` is how far it leads, in nats, where that was measured.
    """

    task: str
    input: str
    output: str
    agreed: bool | None
    margin: float | None


class Instruction(Record):
    """What the student learns to do: an open analysis (family "analysis") or a task.

    `mentions` is the number of texts that have the attribute, or an attribute of the cluster, behind it.
    """

    id: str
    cluster: int
    mentions: int
    family: str
    name: str
    text: str
    cue: str
    labels: list[str]
    demonstrations: list[tuple[str, str]]

    def faults(self) -> list[str]:
        """What is wrong with the demonstrations, by the instruction's own rules: one reason for each bad one."""
        checked = (check_output(self.family, self.labels, self.text, *pair) for pair in self.demonstrations)
        return [reason for answer, reason in checked if answer is None]


class HandWritten(Record):
    """A row of prompts/hand_written.yaml: a task with `labels` or `format`, or an analysis with neither."""

    name: str
    family: Literal["classification", "scoring", "extraction", "structured", "analysis"]
    cue: str
    instruction: str
    labels: list[str] = Field(default_factory=list)
    format: str = ""
    demonstrations: list[tuple[str, str]] = Field(default_factory=list)

    def as_instruction(self, number: int) -> Instruction:
        """The instruction, with the `number` of its row for a cluster; all weigh the same."""
        return Instruction(
            id=content_id("hand-written", self.name, self.instruction),
            cluster=number,
            mentions=1,
            family=self.family,
            name=self.name,
            text=_with_form(self.instruction, self.labels, self.format),
            cue=self.cue,
            labels=self.labels,
            demonstrations=self.demonstrations,
        )


def _with_form(instruction: str, labels: Sequence[str], form: str) -> str:
    if labels:
        return with_labels(instruction, labels)
    return f"{instruction} Answer with {form}." if form else instruction


def needs_two_texts(text: str) -> bool:
    """Whether a task speaks of more than one text, which no prompt of ours could hold."""
    return bool(_TWO_TEXTS.search(text))


def usable_analysis(items: Sequence[str], limit: int, max_similarity: float) -> tuple[list[str], list[str]]:
    """(the first `limit` distinct instructions that speak of one text or its author, why others were left out)."""
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
    proposals: Sequence[Proposal], attribute: str, limit: int, exemplars: set[str]
) -> tuple[list[Proposal], list[str]]:
    """(the first `limit` distinct proposals on one text, why others were left out).

    A name of the `exemplars` (in lower case) is the teacher's only if the attribute is in it.
    """
    kept: dict[str, Proposal] = {}
    faults: list[str] = []
    for proposal in proposals:
        name = proposal.name.casefold()
        if needs_two_texts(f"{proposal.name} {proposal.description}"):
            faults.append("two_texts")
        elif name in exemplars and attribute.casefold() not in name:
            faults.append("copied_from_exemplars")
        elif kept.setdefault(proposal.family + name, proposal) is not proposal:
            faults.append("repeated")
    return list(kept.values())[:limit], faults


def define(
    proposal: TaskProposal,
    definition: Definition,
    exemplars: Sequence[Definition],
    max_labels: int,
    max_label_words: int,
    max_examples: int,
) -> tuple[TaskDefinition | None, list[str]]:
    """(the task, faults of the examples left out) if `definition` is usable, else (None, what is wrong with it).

    Examples are left out whose output breaks the task's own format, and those that copy one of `exemplars`, the
    definitions that the teacher was shown, of tasks about other attributes.
    """
    shown = [one.instruction for one in exemplars]
    shown_texts = [text for one in exemplars for text, _ in one.examples]
    closed = proposal.family in CLOSED_FAMILIES
    labels, form = (definition.labels, "") if closed else ([], definition.format)
    faults = {
        "two_texts": needs_two_texts(f"{definition.instruction} {' '.join(text for text, _ in definition.examples)}"),
        "number_of_labels": closed and not 2 <= len(labels) <= max_labels,
        "long_label": any(len(label.split()) > max_label_words for label in labels),
        "no_answer": any(_UNFINISHED.fullmatch(label) or _OF_THE_QUESTION.fullmatch(label) for label in labels),
        "labels_alike": any(_same_meaning(a, b) for a, b in itertools.combinations(labels, 2)),
        "copied_from_exemplars": not distinct([*shown, definition.instruction], [""] * (len(shown) + 1), 0.9)[-1],
        "other_labels": closed and _names_other_labels(definition.instruction, labels),
        "scale_without_direction": _scale_without_direction(definition.instruction)
        or (proposal.family == "scoring" and not re.search(r"\d", definition.instruction)),
        "scale_of_something_else": _scale_of_something_else(definition.instruction),
        "goes_in_circles": _goes_in_circles(definition.instruction),
        "no_question": bool(form) and not _words(definition.instruction) - _words(form) - _ASKING,
        "no_format": not closed and not form,
        "no_keys": proposal.family == "structured" and not _distinct(_keys(f"{definition.instruction} {form}")),
    }
    if any(faults.values()):
        return None, [name for name, found in faults.items() if found]
    task = TaskDefinition(
        **proposal.model_dump(exclude={"description"}),
        instruction=definition.instruction,
        labels=labels,
        format=form,
        examples=[],
    )
    checked = [
        (None, "copied") if copied(text, shown_texts, 0.5) else check_answer(task, text, output)
        for text, output in definition.examples
    ]
    examples = list(dict(pair for pair, _ in checked if pair).items())[:max_examples]
    lost = [f"example_{reason}" for _, reason in checked if reason]
    return (task.model_copy(update={"examples": examples}), lost) if examples else (None, ["no_valid_example", *lost])


def check_answer(task: TaskDefinition, text: str, output: str) -> tuple[tuple[str, str] | None, str]:
    """((text, output in its canonical form), "") if `output` is fit for an example, else (None, reason).

    It has to obey the task's format, and to tell something: an extraction or a value is not the whole text
    ("whole_text"), no two values quote the same words of it ("same_quotes"), and none is empty ("empty_value").
    """
    answer, reason = check_output(task.family, task.labels, task.text(), text, output)
    if answer is None:
        return None, reason
    values = [answer] if task.family == "extraction" else []
    if task.family == "structured":
        values = [str(value) for value in json.loads(answer).values()]
    told, whole = [_plain(value) for value in values], _plain(text)
    quotes = [value for value in told if value in whole]
    if not all(told):
        return None, "empty_value"
    if whole in quotes:
        return None, "whole_text"
    return (None, "same_quotes") if len(set(quotes)) < len(quotes) else ((text, answer), "")


def check_output(family: str, labels: Sequence[str], form: str, text: str, output: str) -> tuple[str | None, str]:
    """(canonical output, "") or (None, reason): "label", "span", "json", "keys" or "empty".

    An extraction has to stand in the text, word for word; an object has to have the keys that `form`, the whole
    instruction, names.
    """
    output = output.strip()
    if not output:
        return None, "empty"
    if family in CLOSED_FAMILIES:
        match = {label.casefold(): label for label in labels}.get(output.rstrip(".").casefold())
        return (match, "") if match else (None, "label")
    if family == "extraction":
        span = output.strip("\"'“” .").casefold()
        if span in NONE_ANSWERS:
            return "none", ""
        spans = [part.strip("\"'“” ") for part in re.split(r";", output.rstrip("."))]
        inside = all(part and part.casefold() in text.casefold() for part in spans)
        return ("; ".join(spans), "") if inside else (None, "span")
    if family == "structured":
        value, _ = parse_json(output)
        if not isinstance(value, dict):
            return None, "json"
        return (json.dumps(value, ensure_ascii=False), "") if set(value) == set(_keys(form)) else (None, "keys")
    return output, ""


def answer_schema(form: str) -> dict[str, Any]:
    """JSON schema of an object with the keys that `form` names; values are short texts, lists of them, or numbers."""
    text = {"type": "string", "maxLength": 80}
    value = {"anyOf": [text, {"type": "number"}, {"type": "array", "items": text, "maxItems": 5}]}
    keys = list(dict.fromkeys(_keys(form)))
    return {
        "type": "object",
        "properties": dict.fromkeys(keys, value),
        "required": keys,
        "additionalProperties": False,
    }


def _keys(form: str) -> list[str]:
    """Names in double quotes: the keys that a structured task's format asks for."""
    return re.findall(r'"([^"]{1,40})"', form)


def _distinct(keys: list[str]) -> bool:
    """Whether there are keys, none that only adds to another ("mood", "mood_score"), and none that is a value."""
    words = (re.split(r"[\W_]+", key.casefold()) for key in keys)
    meant = [{"score" if _MEASURES.fullmatch(word) else word for word in key} for key in words]
    alike = any(one <= other for one, other in itertools.permutations(meant, 2))
    return bool(keys) and not alike and not _VALUES & {key.casefold() for key in keys}


def _same_meaning(a: str, b: str) -> bool:
    """Whether two labels differ in form only ("disagree", "disagreeing") or one just adds filler to the other."""
    few, many = sorted((a.casefold().split(), b.casefold().split()), key=len)
    if len(few) == len(many):
        return any(len(x) > 3 for x in few) and all(x[:5] == y[:5] for x, y in zip(few, many))
    added = [word for word in many if all(word[:5] != other[:5] for other in few)]
    return len(added) == len(many) - len(few) and not any(_CONTRAST.fullmatch(word) for word in added)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _scale_without_direction(instruction: str) -> bool:
    """Whether a scale "from 1 (...) to 5 (...)" does not lead from less to more of what is asked.

    Its ends are described by the same words, or 1 and not 5 stands for what the question names.
    """
    ends = _ENDS.search(instruction)
    if not ends:
        return False
    asked = _words(instruction[: ends.start()]) - {"a", "of", "the", "very"}
    low, high = (re.findall(r"\w+", end.casefold()) for end in ends.groups())

    def named(end: list[str]) -> bool:
        return bool(asked & set(end)) and not {"not", "no", "less"} & set(end)

    return low == high or (named(low) and not named(high))


def _scale_of_something_else(instruction: str) -> bool:
    """Whether the ends of a scale name a quality ("very negative") and none that the question names."""
    ends = _ENDS.search(instruction)
    if not ends:
        return False
    named = _words(" ".join(ends.groups())) - _DEGREES
    asked = {word[:4] for word in _words(instruction[: ends.start()])}
    return bool(named) and not any(word[:4] in asked for word in named)


def _names_other_labels(instruction: str, labels: Sequence[str]) -> bool:
    """Whether the instruction ends with a list of words of which some are labels and others are not."""
    *before, last = re.split(r",? (?:or|and) |, ", instruction.casefold().rstrip(" .?"))
    words = [last, *itertools.takewhile(lambda part: " " not in part, reversed(before))]
    if len(words) <= len(before):
        words.append(before[-len(words)].split()[-1])
    answers = {label.casefold() for label in labels}
    return len(words) > 1 and bool(answers & set(words)) and not answers >= set(words)


def _goes_in_circles(text: str) -> bool:
    """Whether a word follows itself ("confident, confident that") or two words follow each other three times."""
    words = re.findall(r"\w+", text.casefold())
    pairs = Counter(itertools.pairwise(words))
    return any(number >= 3 or first == second for (first, second), number in pairs.items())


def copied(text: str, sources: Sequence[str], limit: float) -> bool:
    """Whether more than the share `limit` of the words of `text` stand in one run in one of `sources`."""
    words = text.casefold().split()
    needed = max(3, int(limit * len(words)) + 1)
    runs = {" ".join(words[i : i + needed]) for i in range(len(words) - needed + 1)}
    return any(run in " ".join(source.casefold().split()) for source in sources for run in runs)


def distinct(texts: Sequence[str], groups: Sequence[str], max_similarity: float) -> list[bool]:
    """Which of `texts` are no near-duplicate of an earlier one of the same group that was itself none.

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


def balanced(tasks: Sequence[TaskDefinition], limits: dict[str, int]) -> list[TaskDefinition]:
    """Of each family at most so many tasks as `limits` says, clusters in turn; the order of `tasks` is kept."""
    chosen: set[str] = set()
    for family, limit in limits.items():
        turns: Counter[int] = Counter()
        ranked = []
        for task in tasks:
            if task.family == family:
                ranked.append((turns[task.cluster], len(ranked), task.id))
                turns[task.cluster] += 1
        chosen |= {key for _, _, key in sorted(ranked)[:limit]}
    return [task for task in tasks if task.id in chosen]
