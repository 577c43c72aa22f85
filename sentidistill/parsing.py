"""Pure parsers of teacher output. They never raise; what cannot be read is left out."""

import json
import re
from typing import Any

import json_repair
from rapidfuzz import fuzz

from sentidistill.records import Record

FAMILIES = ("classification", "scoring", "extraction", "structured")

_ITEM = re.compile(r"^[ \t]*(?:#+[ \t]*)?(?:(\d{1,3})[.)]|[-*•+](?!\*))[ \t]+", re.MULTILINE)
_LABELLED = re.compile(
    r"\W*(?:Attribute[ \t]+)?Description\W*?[ \t]*[:\-–—][ \t*]*(?P<description>.*?)"
    r"(?:[\s.*;,\-–—]*(?:Attribute[ \t]+)?Value\W*?[ \t]*[:\-–—][ \t*]*(?P<value>.*))?$",
    re.DOTALL | re.IGNORECASE,
)
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_FENCE = re.compile(r"^```\w*\s*|\s*```\s*$")


class Attribute(Record):
    """A sentiment-related attribute of a text as the teacher names it; `name` is in lower case."""

    name: str
    description: str
    value: str


class Proposal(Record):
    """A task that the teacher proposes. `family` is one of `FAMILIES`."""

    name: str
    family: str
    description: str


class Definition(Record):
    """A task made precise. `labels` is empty for a task without a closed label set."""

    instruction: str
    labels: list[str]
    format: str
    examples: list[tuple[str, str]]


def strip_thinking(text: str) -> str:
    """`text` without the reasoning that some chat models put before their answer."""
    return _THINKING.sub("", text).strip()


def until_repetition(text: str) -> str:
    """`text` up to the first sentence that all but repeats an earlier one, without an unfinished last sentence.

    Small models go round in circles until their limit of tokens. A text of one unfinished sentence is kept.
    """
    starts = [0, *(found.end() for found in re.finditer(r"[.!?][\"'”’)]*\s+|\n+", text))]
    seen: list[str] = []
    end = len(text)
    for start, following in zip(starts, [*starts[1:], len(text)]):
        sentence = re.sub(r"^\W*(?:\w+:)?\s*", "", text[start:following]).casefold().strip()
        if len(sentence) > 3 and any(fuzz.ratio(sentence, other) > 85 for other in seen):
            end = start
            break
        seen.append(sentence)
    kept = text[:end].strip()
    whole = re.match(r".*[^\s\d][.!?][\"'”’)]*(?=\s|\Z)", kept, re.DOTALL)
    return whole[0] if whole else kept


def list_items(text: str) -> list[str]:
    """Contents of the items of a list in Markdown, each up to the next item or an empty line.

    Where numbered items occur, bullets between them belong to the items.
    """
    starts = list(_ITEM.finditer(text))
    if any(start[1] for start in starts):
        starts = [start for start in starts if start[1]]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return [re.split(r"\n[ \t]*\n", text[start.end() : end].strip())[0] for start, end in zip(starts, ends)]


def _plain(text: str) -> str:
    """`text` on one line, without Markdown emphasis and surrounding marks."""
    text = re.sub(r"\*\*|__|`|</?\w+>", "", text or "")
    return re.sub(r"\s+", " ", text).strip(" \t\n*:-–—\"'“”")


def parse_attributes(text: str) -> list[Attribute]:
    """Attributes in an answer to the enumeration prompt, in order; repeated names are kept.

    Read are list items with a name (bold or up to a colon, dash or line end) and, where given,
    'Attribute Description' and 'Attribute Value'. A heading such as 'Emotion: Anger' gives the name
    'emotion' and, where no value follows, the value 'Anger'. Descriptions have no closing full stop.
    """
    attributes = []
    for item in list_items(strip_thinking(text)):
        bold = re.match(r"\*\*(.+?)\*\*", item, re.DOTALL)
        labelled = re.search(r"[\W]*(?:Attribute[ \t]+)?Description\W*?[ \t]*[:\-–—]", item, re.IGNORECASE)
        if bold:
            heading, rest = bold[1], item[bold.end() :]
        elif labelled and labelled.start() > 0:
            heading, rest = item[: labelled.start()], item[labelled.start() :]
        else:
            heading, _, rest = item.partition("\n") if "\n" in item else _at_mark(item)
        heading = re.sub(r"^\W*attribute(?:[ \t]+name)?[ \t]*:[ \t]*", "", heading, flags=re.IGNORECASE)
        name, _, in_heading = heading.partition(":")
        found = _LABELLED.match(rest)
        description = _plain(found["description"] if found else rest).rstrip(".")
        value = _plain(found["value"] or "") if found else ""
        if 1 < len(_plain(name)) <= 60:
            attributes.append(
                Attribute(name=_plain(name).lower(), description=description, value=value or _plain(in_heading))
            )
    return attributes


def _at_mark(line: str) -> tuple[str, str, str]:
    parts = re.split(r"(:|[ \t][-–—][ \t])", line, maxsplit=1)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (line, "", "")


def parse_instructions(text: str) -> list[str]:
    """Items of a list of instructions, each on one line and whole, colons included."""
    items = (_plain(item) for item in list_items(strip_thinking(text)))
    return [item if item.endswith(("?", ".", "!")) else f"{item}." for item in items if item]


def parse_proposals(text: str) -> list[Proposal]:
    """Tasks of a list whose items read 'family: **Name** - description'; other items are left out."""
    proposals = []
    for item in list_items(strip_thinking(text)):
        found = re.match(r"\**\[?(\w+)[^:\n]*?\]?\**:\**[ \t]*(.+)", item, re.DOTALL)
        if not found:
            continue
        family = next((name for name in FAMILIES if found[1].lower()[:5] == name[:5]), None)
        named = re.match(r"\*\*(.+?)\*\*[:\s]*(?:[-–—:]\s*)?(.*)", found[2], re.DOTALL)
        name, description = (named[1], named[2]) if named else _at_mark(found[2])[::2]
        if family and _plain(name) and _plain(description):
            proposals.append(Proposal(name=_plain(name), family=family, description=_plain(description)))
    return proposals


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """(input, output) pairs of lines that begin with 'Input:' and 'Output:'.

    An output runs to the next 'Input:' or an empty line that no JSON bracket keeps open.
    """
    pairs = []
    for block in re.split(r"^\W*Input\W*?:[ \t*]*", text, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        parts = re.split(r"^\W*Output\W*?:[ \t*]*", block, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
        if len(parts) == 2:
            output = parts[1].strip()
            if not output.startswith(("{", "[")):
                output = re.split(r"\n[ \t]*\n", output)[0]
            pair = (unquote(" ".join(parts[0].split())), unquote(output.strip()))
            if all(pair):
                pairs.append(pair)
    return pairs


def unquote(text: str) -> str:
    quoted = re.fullmatch(r"[\"“](.*)[\"”]", text, re.DOTALL)
    return quoted[1].strip() if quoted and '"' not in quoted[1] else text


def parse_definition(text: str) -> Definition | None:
    """The parts of a task definition under the headings Instruction, Labels, Format and Examples."""
    text = strip_thinking(text)
    heading = r"^[\W]*(Instruction|Labels|Format|Examples?)\W*?:[ \t*]*"
    parts = re.split(heading, text, flags=re.MULTILINE | re.IGNORECASE)
    sections: dict[str, str] = {}
    for name, content in zip(parts[1::2], parts[2::2]):
        sections.setdefault(name.lower().rstrip("s"), content)
    instruction = _plain(sections.get("instruction", ""))
    if not instruction:
        return None
    return Definition(
        instruction=instruction if instruction.endswith(("?", ".", "!")) else f"{instruction}.",
        labels=parse_labels(sections.get("label", "")),
        format=" ".join(sections.get("format", "").replace("*", "").split()).rstrip("."),
        examples=parse_pairs(sections.get("example", "")),
    )


def parse_labels(text: str) -> list[str]:
    """Distinct labels of a list on one line (by commas or semicolons) or on several."""
    text = text.strip()
    items = list_items(text) if _ITEM.match(text) else re.split(r"[;\n]" if ";" in text else r"[,\n]", text)
    labels: dict[str, str] = {}
    for item in items:
        label = re.sub(r"^(?:and|or)\s+", "", _plain(item).rstrip("."))
        if label:
            labels.setdefault(label.casefold(), label)
    return list(labels.values())


def parse_json(text: str) -> tuple[Any, bool]:
    """(value, whether it had to be repaired) of a JSON object or list in `text`; (None, False) if there is none."""
    text = _FENCE.sub("", strip_thinking(text))
    try:
        value = json.loads(text)
        return (value, False) if isinstance(value, dict | list) else (None, False)
    except ValueError:
        pass
    begin = re.search(r"[{\[]", text)
    if not begin:
        return None, False
    value = json_repair.loads(text[begin.start() :])
    return (value, True) if isinstance(value, dict | list) and value else (None, False)
