"""Pure parsers of teacher output. They never raise; what cannot be read is left out."""

import json
import re
from typing import Any

import json_repair
from rapidfuzz import fuzz

from sentidistill.records import Record

FAMILIES = ("classification", "scoring", "extraction", "structured")

_ITEM = re.compile(r"^[ \t]*(?:#+[ \t]*)?(?:(\d{1,3})[.)]|[-*•+](?!\*))[ \t]+", re.MULTILINE)
# Ways in which teachers begin an attribute; in a text the way that yields the most is the right one.
_HEADS = tuple(
    re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    for pattern in (
        r"^[ \t]*(?:#+[ \t]*)?(?:\*\*[ \t]*)?\(?\d{1,3}[.):](?:[ \t]+|(?=\*))",
        r"^[ \t]*(?:[-*•+–][ \t]+)?\**(?=(?:attribute|name|attribute[ \t]+name)[ \t]*\**[ \t]*:)",
        r"^[ \t]*#{1,6}[ \t]+",
        r"^[-*•+–](?:[ \t]+|(?=\*\*))",
        r"^[ \t]+[-*•+–][ \t]+",
        r"^(?=\*\*[^*\n]+\*\*)",
    )
)
_FIELD = re.compile(
    r"(?:^|(?<=[\s.;,(*|–—-]))[*_\"]*(?P<prefix>attribute[ \t]+)?"
    r"(?P<field>description|value)[*_\"]*[ \t]*[:=–—-]+[*_ \t]*",
    re.MULTILINE | re.IGNORECASE,
)
_NAME_LABEL = re.compile(r"^\W*(?:attribute(?:[ \t]+name)?|name)\W*?:[ \t*]*", re.IGNORECASE)
_NO_NAME = re.compile(r"(?:attribute )?(?:description|value|name)|(?:.* )?attributes?|note", re.IGNORECASE)
_FAMILY_WORDS = {
    "classification": ("classif", "categor", "detect", "label"),
    "scoring": ("scor", "rating", "rate", "regress"),
    "extraction": ("extract", "span", "quote"),
    "structured": ("struct", "json", "table"),
}
_SECTION = re.compile(
    r"^[\W\d]*((?:task )?(?:instruction|definition)|(?:permitted |possible )?labels?|label set"
    r"|(?:output )?(?:format|schema))\W*?(?::[ \t*]*|(?<=[#*])[ \t]*$|$)",
    re.MULTILINE | re.IGNORECASE,
)
_JSON = re.compile(r"^(?:```\w*\s*)?[{\[]\s*[{\[\"']", re.MULTILINE)
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


def list_items(text: str, *, to_blank_line: bool = True) -> list[str]:
    """Contents of the items of a list in Markdown, each up to the next item or, by default, an empty line.

    Where numbered items occur, bullets between them belong to the items.
    """
    starts = list(_ITEM.finditer(text))
    if any(start[1] for start in starts):
        starts = [start for start in starts if start[1]]
    elif any(not start[0][0].isspace() for start in starts):
        starts = [start for start in starts if not start[0][0].isspace()]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    items = [text[start.end() : end].strip() for start, end in zip(starts, ends)]
    return [re.split(r"\n[ \t]*\n", item)[0] for item in items] if to_blank_line else items


def _plain(text: str) -> str:
    """`text` on one line, without Markdown emphasis and surrounding marks."""
    text = re.sub(r"\*\*|__|`|</?\w+>", "", text or "")
    return re.sub(r"\s+", " ", text).strip(" \t\n*:-–—\"'“”")


def parse_attributes(text: str) -> list[Attribute]:
    """Attributes in an answer to the enumeration prompt, in order; repeated names are kept.

    Read are lists of any style, headings, labelled blocks, tables and JSON, with a name and, where given,
    a description and a value, on one line or several. A heading such as 'Emotion: Anger' gives the name
    'emotion' and, where no value follows, the value 'Anger'. Descriptions have no closing full stop.
    Openings, closings and refusals give nothing.
    """
    text = _FENCE.sub("", strip_thinking(text))
    readings = [_attributes_of_json(text), _attributes_of_table(text)]
    for head in _HEADS:
        starts = list(head.finditer(text))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        items = (_attribute(text[start.end() : end]) for start, end in zip(starts, ends))
        readings.append([item for item in items if item is not None])
    return max(readings, key=lambda found: sum(1 + bool(a.description) + bool(a.value) for a in found))


def _attribute(item: str) -> Attribute | None:
    """The attribute of one item of a list; the fields' labels tell where the name ends."""
    item = _NAME_LABEL.sub("", item.strip())
    fields = list(_FIELD.finditer(item))
    if any(field["prefix"] for field in fields):
        # "The value - if any -" in a description is no label where labels are written in full.
        fields = [field for field in fields if field["prefix"]]
    bold = re.match(r"\*\*(.+?)\*\*", item, re.DOTALL)
    end = fields[0].start() if fields else len(item)
    if bold and bold.end() <= end + 2 and _plain(bold[1]):
        heading, rest = bold[1], item[bold.end() :]
    elif fields:
        heading, rest = item[:end], ""
    else:
        heading, _, rest = item.partition("\n") if "\n" in item.strip() else _at_mark(item)
        if not rest.strip():
            heading, _, rest = _at_mark(heading)
    found = {"description": "", "value": ""}
    for number, field in enumerate(fields):
        following = fields[number + 1].start() if number + 1 < len(fields) else len(item)
        kind = field["field"].lower()
        found[kind] = found[kind] or _field(item[field.end() : following], kind)
    if not fields:
        found["description"] = _plain(re.split(r"\n[ \t]*\n", rest.strip())[0])
    name, _, in_heading = _NAME_LABEL.sub("", heading).partition(":")
    in_brackets = re.fullmatch(r"(.+?)\s*\(([^()]+)\)\W*", _plain(name) + _closing_bracket(name))
    if in_brackets and not found["value"]:
        name, in_heading = in_brackets[1], in_heading or in_brackets[2]
    name = _plain(name).lower().rstrip(",; ")
    sentence = len(name.split()) > 8 or name.endswith((".", "!", "?"))
    if not 1 < len(name) <= 60 or sentence or _NO_NAME.fullmatch(name) or not re.search(r"[^\W\d]", name):
        return None
    value = found["value"] or _plain(in_heading)
    return Attribute(name=name, description=found["description"].rstrip(".;,"), value=value.rstrip(".;"))


def _closing_bracket(name: str) -> str:
    """What `_plain` has taken off the end of a name in brackets."""
    return ")" if name.count("(") > _plain(name).count(")") else ""


def _field(text: str, kind: str) -> str:
    """A field's content: a value is on one line, a description ends at an empty line."""
    text = text.strip(" \t\n*|")
    return _plain(text.split("\n")[0] if kind == "value" else re.split(r"\n[ \t]*\n", text)[0])


def _attributes_of_json(text: str) -> list[Attribute]:
    """Attributes of objects with a name, or of an object whose keys are names."""
    if not _JSON.search(text):
        return []
    value, _ = parse_json(text)
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), list | dict):
        value = next(iter(value.values()))
    if isinstance(value, dict):
        value = [{"name": name, **(one if isinstance(one, dict) else {"value": one})} for name, one in value.items()]
    found = []
    for one in value if isinstance(value, list) else []:
        if not isinstance(one, dict):
            continue
        fields = {
            re.sub(r"^attribute[ _]?", "", str(key).lower()) or "name": _scalar(entry) for key, entry in one.items()
        }
        name = _plain(fields.get("name", "")).lower().rstrip(",; ")
        if 1 < len(name) <= 60:
            description = _plain(fields.get("description", "")).rstrip(".")
            found.append(Attribute(name=name, description=description, value=_plain(fields.get("value", ""))))
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None or isinstance(value, dict) else str(value)


def _attributes_of_table(text: str) -> list[Attribute]:
    """Attributes of a Markdown table whose first column is the name."""
    rows = [
        [_plain(cell) for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.count("|") >= 2 and not re.fullmatch(r"[\s|:\-]+", line)
    ]
    if len(rows) < 2:
        return []
    columns = [next((kind for kind in ("description", "value") if kind in cell.lower()), "name") for cell in rows[0]]
    # A column of numbers may stand before the names.
    names = max(place for place, kind in enumerate(columns) if kind == "name") if "name" in columns else 0

    def cell(row: list[str], kind: str) -> str:
        place = columns.index(kind) if kind in columns else len(row)
        return row[place] if place < len(row) else ""

    return [
        Attribute(name=row[names].lower(), description=cell(row, "description").rstrip("."), value=cell(row, "value"))
        for row in rows[1:]
        if names < len(row) and 1 < len(row[names]) <= 60
    ]


def _at_mark(line: str) -> tuple[str, str, str]:
    parts = re.split(r"(:|[ \t][-–—][ \t])", line, maxsplit=1)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (line, "", "")


def parse_instructions(text: str) -> list[str]:
    """Items of a list of instructions (in any list style, or JSON), each on one line and whole, colons included."""
    text = strip_thinking(text)
    value = parse_json(text)[0] if _JSON.match(text) else None
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    found = [_text_of(one) for one in value] if isinstance(value, list) else list_items(text)
    items = (_plain(item) for item in found)
    return [item if item.endswith(("?", ".", "!")) else f"{item}." for item in items if item]


def _text_of(value: Any) -> str:
    """A text, or the longest text of an object that stands for one."""
    if isinstance(value, dict):
        return max((one for one in value.values() if isinstance(one, str)), key=len, default="")
    return _scalar(value)


def parse_proposals(text: str) -> list[Proposal]:
    """Tasks of a list (family, name, description in any order and on any lines) or of JSON; others are left out.

    The family may stand in the item or in the heading over it.
    """
    text = strip_thinking(text)
    if _JSON.search(text):
        found = _proposals_of_json(parse_json(text)[0], "")
        if found:
            return found
    proposals, family_above = [], ""
    for part in re.split(
        r"^(?=[ \t]*(?:#+[ \t]*|\*\*)?(?:[A-Z][\w-]*[ \t]+){0,3}(?:tasks|outputs?)\b[^\n]{0,12}$)",
        text,
        flags=re.M | re.I,
    ):
        if not _ITEM.match(part):
            family_above = _family(part.split("\n")[0]) or family_above
        for item in list_items(part, to_blank_line=False):
            proposal = _proposal(item, family_above)
            if proposal is not None:
                proposals.append(proposal)
    return proposals


def _proposal(item: str, family_above: str) -> Proposal | None:
    labelled = {
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
    kind_first = first and (not item.startswith("**") or "**" in first[2])
    if not family and kind_first and _family(first[1]):
        family, rest = _family(first[1]), first[2]
    bold = re.match(r"\W*?\*\*(.+?)\*\*[:\s]*(?:[-–—:]\s*)?(.*)", rest, re.DOTALL)
    name, description = (bold[1], bold[2]) if bold else _at_mark(rest.split("\n")[0])[::2]
    bracket = re.match(r"\W*[(\[]([^)\]\n]+)[)\]]\W*(.*)", description, re.DOTALL)
    in_name = re.fullmatch(r"(.+?)\s*[(\[]([^)\]]+)[)\]]:?", name.strip())
    if not family and in_name and _family(in_name[2]):
        family, name = _family(in_name[2]), in_name[1]
    if not family and bracket and _family(bracket[1]):
        family, description = _family(bracket[1]), bracket[2]
    name = _plain(labelled.get("name", name))
    description = _plain(labelled.get("description", description.split("\n\n")[0]))
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
        usable = kind and _plain(name) and _plain(description)
        return [Proposal(name=_plain(name), family=kind, description=_plain(description))] if usable else []
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
    pairs = []
    number = r"^\W*(?:(?:Example[ \t]*)?\d{1,2}[.):]\W*)?"
    for block in re.split(rf"{number}(?:Input|Text)\W*?:[ \t*]*", text, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        parts = re.split(r"^\W*(?:Output|Label|Answer)\W*?:[ \t*]*", block, maxsplit=1, flags=re.M | re.I)
        if len(parts) == 2:
            output = _FENCE.sub("", re.split(r"^\W*Example[ \t]*\d*\W*$", parts[1], flags=re.M | re.I)[0].strip())
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
    """The parts of a task definition, under headings in any style or in JSON; None without an instruction."""
    text = strip_thinking(text)
    if _JSON.match(text) and isinstance(value := parse_json(text)[0], dict):
        return _definition_of_json(value)
    sections: dict[str, str] = {}
    examples = re.search(r"^[\W\d]*(?:worked )?examples?\W*?(?::|$)", text, re.MULTILINE | re.IGNORECASE)
    parts = _SECTION.split(text[: examples.start()] if examples else text)
    for name, content in zip(parts[1::2], parts[2::2]):
        sections.setdefault(name.lower().replace("label set", "label").rstrip("s").split()[-1], content)
    instruction = _plain(sections.get("instruction", sections.get("definition", "")))
    if not instruction:
        return None
    return Definition(
        instruction=instruction if instruction.endswith(("?", ".", "!")) else f"{instruction}.",
        labels=parse_labels(sections.get("label", "")),
        format=" ".join(sections.get("format", sections.get("schema", "")).replace("*", "").split()).rstrip("."),
        examples=parse_pairs(text[examples.end() :]) if examples else [],
    )


def _definition_of_json(value: dict[str, Any]) -> Definition | None:
    fields = {str(key).lower().rstrip("s").split("_")[-1].split(" ")[-1]: one for key, one in value.items()}
    instruction = _plain(_scalar(fields.get("instruction", fields.get("definition", ""))))
    if not instruction:
        return None
    labels = fields.get("label", "")
    examples = fields.get("example", [])
    pairs = []
    for one in examples if isinstance(examples, list) else []:
        if isinstance(one, dict):
            parts = {str(key).lower(): entry for key, entry in one.items()}
            source = parts.get("input", parts.get("text", ""))
            output = parts.get("output", parts.get("label", parts.get("answer", "")))
            output = json.dumps(output, ensure_ascii=False) if isinstance(output, dict | list) else _scalar(output)
            pairs.append((" ".join(_scalar(source).split()), output.strip()))
    form = fields.get("format", fields.get("schema", ""))
    return Definition(
        instruction=instruction if instruction.endswith(("?", ".", "!")) else f"{instruction}.",
        labels=parse_labels("\n".join(map(str, labels)) if isinstance(labels, list) else _scalar(labels)),
        format=(json.dumps(form, ensure_ascii=False) if isinstance(form, dict) else _scalar(form)).rstrip("."),
        examples=[pair for pair in pairs if all(pair)],
    )


def parse_labels(text: str) -> list[str]:
    """Distinct labels of a list on one line (by commas or semicolons) or on several."""
    text = text.strip()
    items = list_items(text) if _ITEM.match(text) else re.split(r"[;\n]" if ";" in text else r"[,\n]", text)
    if len(items) > 1 and (last_two := re.fullmatch(r"\s*(\w+) (?:and|or) (\w+)\W*", items[-1])):
        items = [*items[:-1], *last_two.groups()]
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
