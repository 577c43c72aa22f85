"""Instructions, task proposals, task definitions and examples in answers of the teacher."""

import json
import re
from typing import Any

from sentidistill.parsing.markup import (
    FENCE,
    ITEM,
    JSON,
    MOST_ITEMS,
    at_mark,
    bounded,
    list_items,
    parse_json,
    plain,
    scalar,
    strip_thinking,
)
from sentidistill.records import Record

FAMILIES = ("classification", "scoring", "extraction", "structured")

_FAMILY_WORDS = {
    "classification": ("classif", "categor", "detect", "label"),
    "scoring": ("scor", "rating", "rate", "regress"),
    "extraction": ("extract", "span", "quote"),
    "structured": ("struct", "json", "table"),
}
_SECTION = re.compile(
    r"^[\W\d]{0,40}((?:task )?(?:instruction|definition)|(?:permitted |possible )?labels?|label set"
    r"|(?:output )?(?:format|schema))\W*?(?::[ \t*]*|(?<=[#*])[ \t]*$|$)",
    re.MULTILINE | re.IGNORECASE,
)


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


def parse_instructions(text: str) -> list[str]:
    """Items of a list of instructions (in any list style, or JSON), each on one line and whole, colons included."""
    text = strip_thinking(text)
    value = parse_json(text)[0] if JSON.match(text) else None
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    found = [_text_of(one) for one in value] if isinstance(value, list) else list_items(text)
    items = (plain(item) for item in found)
    return [_whole(item) for item in items if item][:MOST_ITEMS]


def _whole(text: str) -> str:
    return text if text.endswith(("?", ".", "!")) else f"{text}."


def _text_of(value: Any) -> str:
    """A text, or the longest text of an object that stands for one."""
    if isinstance(value, dict):
        return max((one for one in value.values() if isinstance(one, str)), key=len, default="")
    return scalar(value)


def parse_proposals(text: str) -> list[Proposal]:
    """Tasks of a list (family, name, description in any order and on any lines) or of JSON; others are left out.

    The family may stand in the item or in the heading over it.
    """
    text = strip_thinking(text)
    if JSON.search(text):
        found = _proposals_of_json(parse_json(text)[0], "")
        if found:
            return found[:MOST_ITEMS]
    proposals, family_above = [], ""
    for part in re.split(
        r"^(?=[ \t]*(?:#+[ \t]*|\*\*)?(?:[A-Z][\w-]*[ \t]+){0,3}(?:tasks|outputs?)\b[^\n]{0,12}$)",
        text,
        flags=re.M | re.I,
    ):
        if not ITEM.match(part):
            family_above = _family(part.split("\n")[0]) or family_above
        for item in list_items(part, to_blank_line=False):
            proposal = _proposal(item, family_above)
            if proposal is not None:
                proposals.append(proposal)
    return proposals[:MOST_ITEMS]


def _proposal(item: str, family_above: str) -> Proposal | None:
    labelled: dict[str, str] = {
        label.lower(): content
        for label, content in re.findall(
            r"^\W*(?:Task[ \t]+)?(Name|Kind|Type|Family|Category|Description)\W*?:[ \t*]*([^\n]+)", item, re.M | re.I
        )
    }
    first = re.match(r"\**\[?([\w ]+?)(?:[ \t]*\([^)\n]*\))?\]?\**[ \t]*:\**[ \t]*(.+)", item, re.DOTALL)
    family = next(
        (_family(labelled[label]) for label in ("kind", "type", "family", "category") if label in labelled), ""
    )
    rest = item
    # "**Courtesy Rating**: ..." is a name; "**Scoring**: **Courtesy** - ..." a kind and a name.
    if first and not family and (not item.startswith("**") or "**" in first[2]) and _family(first[1]):
        family, rest = _family(first[1]), first[2]
    bold = re.match(r"\W*?\*\*(.+?)\*\*[:\s]*(?:[-–—:]\s*)?(.*)", rest, re.DOTALL)
    name, description = (bold[1], bold[2]) if bold else at_mark(rest.split("\n")[0])[::2]
    bracket = re.match(r"\W*[(\[]([^)\]\n]+)[)\]]\W*(.*)", description, re.DOTALL)
    in_name = re.fullmatch(r"(.+?)\s*[(\[]([^)\]]+)[)\]]:?", name.strip())
    if not family and in_name and _family(in_name[2]):
        family, name = _family(in_name[2]), in_name[1]
    if not family and bracket and _family(bracket[1]):
        family, description = _family(bracket[1]), bracket[2]
    name = plain(labelled.get("name", name))
    description = plain(labelled.get("description", description.split("\n\n")[0]))
    family = family or family_above
    if not family or not name or not description:
        return None
    return Proposal(name=name, family=family, description=description)


def _proposals_of_json(value: Any, family: str) -> list[Proposal]:
    """Proposals in objects with a name and a description, however they are nested under families."""
    if isinstance(value, list):
        return [found for one in value for found in _proposals_of_json(one, family)]
    if not isinstance(value, dict):
        return []
    fields = {str(key).lower().split("_")[-1].split(" ")[-1]: one for key, one in value.items()}
    name, description = (fields.get(key) for key in ("name", "description"))
    if isinstance(name, str) and isinstance(description, str):
        kind = next((_family(str(fields[key])) for key in ("family", "kind", "type", "category") if key in fields), "")
        kind = kind or family
        usable = kind and plain(name) and plain(description)
        return [Proposal(name=plain(name), family=kind, description=plain(description))] if usable else []
    return [found for key, one in value.items() for found in _proposals_of_json(one, _family(str(key)) or family)]


def _family(text: str) -> str:
    """The family of tasks that `text` names, "" if none."""
    words = re.findall(r"[a-z]+", text.lower())
    for family, beginnings in _FAMILY_WORDS.items():
        if any(word.startswith(beginnings) for word in words[:4]):
            return family
    return ""


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """(input, output) pairs of lines that begin with 'Input:' (or 'Text:') and 'Output:' (or 'Label:', 'Answer:').

    An output runs to the next input or an empty line that no JSON bracket keeps open.
    """
    pairs, text = [], bounded(text)
    number = r"^\W*(?:(?:Example[ \t]*)?\d{1,2}[.):]\W*)?"
    for block in re.split(rf"{number}(?:Input|Text)\W*?:[ \t*]*", text, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        parts = re.split(r"^\W*(?:Output|Label|Answer)\W*?:[ \t*]*", block, maxsplit=1, flags=re.M | re.I)
        if len(parts) == 2:
            output = FENCE.sub("", re.split(r"^\W*Example[ \t]*\d*\W*$", parts[1], flags=re.M | re.I)[0].strip())
            if not output.startswith(("{", "[")):
                output = re.split(r"\n[ \t]*\n", output)[0]
            pair = (unquote(" ".join(parts[0].split())), unquote(output.strip()))
            if all(pair):
                pairs.append(pair)
    return pairs[:MOST_ITEMS]


def unquote(text: str) -> str:
    quoted = re.fullmatch(r"[\"“](.*)[\"”]", text, re.DOTALL)
    return quoted[1].strip() if quoted and '"' not in quoted[1] else text


def parse_definition(text: str) -> Definition | None:
    """The parts of a task definition, under headings in any style or in JSON; None without an instruction."""
    text = strip_thinking(text)
    if JSON.match(text) and isinstance(value := parse_json(text)[0], dict):
        return _definition_of_json(value)
    sections: dict[str, str] = {}
    examples = re.search(r"^[\W\d]{0,40}(?:worked )?examples?\W*?(?::|$)", text, re.MULTILINE | re.IGNORECASE)
    parts = _SECTION.split(text[: examples.start()] if examples else text)
    for name, content in zip(parts[1::2], parts[2::2]):
        sections.setdefault(name.lower().replace("label set", "label").rstrip("s").split()[-1], content)
    return _definition(
        sections.get("instruction", sections.get("definition", "")),
        sections.get("label", ""),
        " ".join(sections.get("format", sections.get("schema", "")).replace("*", "").split()),
        parse_pairs(text[examples.end() :]) if examples else [],
    )


def _definition(instruction: str, labels: str, form: str, examples: list[tuple[str, str]]) -> Definition | None:
    if not (instruction := plain(instruction)):
        return None
    return Definition(
        instruction=_whole(instruction), labels=parse_labels(labels), format=form.rstrip("."), examples=examples
    )


def _definition_of_json(value: dict[str, Any]) -> Definition | None:
    fields = {str(key).lower().rstrip("s").split("_")[-1].split(" ")[-1]: one for key, one in value.items()}
    labels = fields.get("label", "")
    examples = fields.get("example", [])
    pairs = []
    for one in examples if isinstance(examples, list) else []:
        if isinstance(one, dict):
            parts = {str(key).lower(): entry for key, entry in one.items()}
            source = parts.get("input", parts.get("text", ""))
            output = parts.get("output", parts.get("label", parts.get("answer", "")))
            output = json.dumps(output, ensure_ascii=False) if isinstance(output, dict | list) else scalar(output)
            pairs.append((" ".join(scalar(source).split()), output.strip()))
    form = fields.get("format", fields.get("schema", ""))
    return _definition(
        scalar(fields.get("instruction", fields.get("definition", ""))),
        "\n".join(map(str, labels)) if isinstance(labels, list) else scalar(labels),
        json.dumps(form, ensure_ascii=False) if isinstance(form, dict) else scalar(form),
        [pair for pair in pairs if all(pair)][:MOST_ITEMS],
    )


def parse_labels(text: str) -> list[str]:
    """Distinct labels of a list on one line (by commas or semicolons) or on several."""
    text = bounded(text).strip()
    items = list_items(text) if ITEM.match(text) else re.split(r"[;\n]" if ";" in text else r"[,\n]", text)
    if len(items) > 1 and (last_two := re.fullmatch(r"\s*(\w+) (?:and|or) (\w+)\W*", items[-1])):
        items = [*items[:-1], *last_two.groups()]
    labels: dict[str, str] = {}
    for item in items:
        label = re.sub(r"^(?:and|or)\s+", "", plain(item).rstrip("."))
        if label:
            labels.setdefault(label.casefold(), label)
    return list(labels.values())[:MOST_ITEMS]
