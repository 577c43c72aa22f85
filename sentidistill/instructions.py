"""Instructions: what is kept of the teacher's proposals, definitions and demonstrations, and why not."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rapidfuzz import fuzz

from sentidistill.parsing import Definition, parse_json
from sentidistill.records import Record

CLOSED_FAMILIES = ("classification", "scoring")
NONE_ANSWERS = ("none", "no", "n/a", "nothing")

# Words that set a label apart from another one that it contains: "afraid" and "not afraid".
_CONTRAST = re.compile(
    r"no|not|non|never|none|without|un\w+|very|slightly|somewhat|partly|mildly|moderately|highly|strongly|extremely"
    r"|a|little|low|high|medium|mixed|over|under|half|barely|hardly|does|doesn't|isn't|less|more|most|least|anti\w*",
    re.IGNORECASE,
)
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

    def text(self) -> str:
        """The instruction as a model reads it, with the labels or the format in it."""
        form = f"Answer with one of: {', '.join(self.labels)}." if self.labels else f"Answer with {self.format}."
        return f"{self.instruction} {form}"

    def cue(self) -> str:
        """What stands before the answer: a base model scores labels far better after the attribute than "Output"."""
        return (self.attribute if self.labels else self.name).capitalize()


class Demonstration(Record):
    """A labelled text of a task.

    Where labels are closed, `output` is the label that the teacher chose when asked again, `agreed`
    whether it is the one that the text was written for, and `margin` how far it leads, in nats.
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


def needs_two_texts(text: str) -> bool:
    """Whether a task speaks of more than one text, which no prompt of ours could hold."""
    return bool(_TWO_TEXTS.search(text))


def usable_analysis(items: Sequence[str], limit: int) -> list[str]:
    """The first `limit` distinct instructions of 4 to 40 words that speak of one text or its author."""
    kept: list[str] = []
    for item in items:
        fits = 4 <= len(item.split()) <= 40 and re.search(r"\b(?:text|author|writer|it)\b", item, re.IGNORECASE)
        if fits and not needs_two_texts(item) and all(fuzz.ratio(item, other) < 90 for other in kept):
            kept.append(item)
    return kept[:limit]


def define(
    proposal: TaskProposal, definition: Definition, max_labels: int, max_label_words: int, max_examples: int
) -> tuple[TaskDefinition | None, str]:
    """(the task, "") if `definition` is usable, else (None, the reason why not).

    Examples whose output breaks the task's own format are left out.
    """
    closed = proposal.family in CLOSED_FAMILIES
    labels, form = (definition.labels, "") if closed else ([], definition.format)
    if needs_two_texts(f"{definition.instruction} {' '.join(text for text, _ in definition.examples)}"):
        return None, "two_texts"
    if closed and not 2 <= len(labels) <= max_labels:
        return None, "number_of_labels"
    if any(len(label.split()) > max_label_words for label in labels):
        return None, "long_label"
    if any(_same_meaning(a, b) for a, b in itertools.combinations(labels, 2)):
        return None, "labels_alike"
    if _scale_without_direction(definition.instruction):
        return None, "scale_without_direction"
    if not closed and (not form or (proposal.family == "structured" and not _distinct(_keys(form)))):
        return None, "no_format"
    task = TaskDefinition(
        **proposal.model_dump(exclude={"description"}),
        instruction=definition.instruction,
        labels=labels,
        format=form,
        examples=[],
    )
    examples = [pair for text, output in definition.examples if (pair := check_answer(task, text, output)[0])]
    examples = list(dict(examples).items())[:max_examples]
    return (task.model_copy(update={"examples": examples}), "") if examples else (None, "no_valid_example")


def check_answer(task: TaskDefinition, text: str, output: str) -> tuple[tuple[str, str] | None, str]:
    """((text, output in its canonical form), "") if `output` obeys the task's format, else (None, reason)."""
    answer, reason = check_output(task.family, task.labels, task.format, text, output)
    return (None, reason) if answer is None else ((text, answer), "")


def check_output(family: str, labels: Sequence[str], form: str, text: str, output: str) -> tuple[str | None, str]:
    """(canonical output, "") or (None, reason): "label", "span", "json", "keys" or "empty".

    An extraction has to stand in the text, word for word; an object has to have the keys that `form` names.
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


def _distinct(names: list[str]) -> bool:
    """Whether there are names, and no two of them equal."""
    return 0 < len(names) == len(set(names))


def _same_meaning(a: str, b: str) -> bool:
    """Whether two labels differ in form only ("disagree", "disagreeing") or one just adds filler to the other."""
    few, many = sorted((a.casefold().split(), b.casefold().split()), key=len)
    if len(few) == len(many):
        return any(len(x) > 3 for x in few) and all(x[:5] == y[:5] for x, y in zip(few, many))
    added = [word for word in many if all(word[:5] != other[:5] for other in few)]
    return len(added) == len(many) - len(few) and not any(_CONTRAST.fullmatch(word) for word in added)


def _scale_without_direction(instruction: str) -> bool:
    """Whether the two ends of a scale "from 1 (...) to 5 (...)" are described by the same words."""
    ends = re.search(r"from \d+ \(([^)]*)\) to \d+ \(([^)]*)\)", instruction, re.IGNORECASE)
    return bool(ends) and ends[1].casefold() == ends[2].casefold()


def copied(text: str, sources: Sequence[str], limit: float) -> bool:
    """Whether more than the share `limit` of the words of `text` stand in one run in one of `sources`."""
    words = text.casefold().split()
    needed = max(3, int(limit * len(words)) + 1)
    runs = {" ".join(words[i : i + needed]) for i in range(len(words) - needed + 1)}
    return any(run in " ".join(source.casefold().split()) for source in sources for run in runs)


def distinct_tasks(tasks: Sequence[TaskDefinition], max_similarity: float) -> list[TaskDefinition]:
    """`tasks` without those whose instruction and labels repeat an earlier one's (0 to 1, token-sort ratio)."""
    kept: list[TaskDefinition] = []
    for task in tasks:
        repeats = (
            other.family == task.family and fuzz.token_sort_ratio(task.text(), other.text()) >= 100 * max_similarity
            for other in kept
        )
        if not any(repeats):
            kept.append(task)
    return kept


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
