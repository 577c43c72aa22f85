"""Attributes in an answer to the enumeration prompt."""

import re

from sentidistill.parsing.markup import FENCE, JSON, MOST_ITEMS, at_mark, parse_json, plain, scalar, strip_thinking
from sentidistill.records import Record

# Ways in which teachers begin an attribute. For each text, the way that yields the most attributes is taken.
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


class Attribute(Record):
    """A sentiment-related attribute of a text as the teacher names it; `name` is in lower case."""

    name: str
    description: str
    value: str


def parse_attributes(text: str) -> list[Attribute]:
    """Attributes in an answer to the enumeration prompt, in order; repeated names are kept.

    It reads lists of any style, headings, labelled blocks, tables and JSON. Each item has a name and, if given, a
    description and a value, on one line or several. A heading such as 'Emotion: Anger' gives the name
    'emotion' and, where no value follows, the value 'Anger'. Descriptions have no closing full stop.
    Openings, closings and refusals give nothing. Items beyond the first `MOST_ITEMS` are left out.
    """
    text = FENCE.sub("", strip_thinking(text))
    readings = [_attributes_of_json(text), _attributes_of_table(text)]
    for head in _HEADS:
        starts = list(head.finditer(text))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        items = (_attribute(text[start.end() : end]) for start, end in zip(starts, ends))
        readings.append([item for item in items if item is not None])
    best = max(readings, key=lambda found: sum(1 + bool(a.description) + bool(a.value) for a in found))
    return best[:MOST_ITEMS]


def _attribute(item: str) -> Attribute | None:
    """The attribute in one item of a list; the name ends at the first label of a field."""
    item = _NAME_LABEL.sub("", item.strip())
    fields = list(_FIELD.finditer(item))
    if any(field["prefix"] for field in fields):
        # "The value - if any -" in a description is no label where labels are written in full.
        fields = [field for field in fields if field["prefix"]]
    bold = re.match(r"\*\*(.+?)\*\*", item, re.DOTALL)
    end = fields[0].start() if fields else len(item)
    if bold and bold.end() <= end + 2 and plain(bold[1]):
        heading, rest = bold[1], item[bold.end() :]
    elif fields:
        heading, rest = item[:end], ""
    else:
        heading, _, rest = item.partition("\n") if "\n" in item.strip() else at_mark(item)
        if not rest.strip():
            heading, _, rest = at_mark(heading)
    found = {"description": "", "value": ""}
    for number, field in enumerate(fields):
        following = fields[number + 1].start() if number + 1 < len(fields) else len(item)
        kind = field["field"].lower()
        found[kind] = found[kind] or _field(item[field.end() : following], kind)
    if not fields:
        found["description"] = plain(re.split(r"\n[ \t]*\n", rest.strip())[0])
    name, _, in_heading = _NAME_LABEL.sub("", heading).partition(":")
    in_brackets = re.fullmatch(r"(.+?)\s*\(([^()]+)\)\W*", plain(name) + _closing_bracket(name))
    if in_brackets and not found["value"]:
        name, in_heading = in_brackets[1], in_heading or in_brackets[2]
    name = plain(name).lower().rstrip(",; ")
    sentence = len(name.split()) > 8 or name.endswith((".", "!", "?"))
    if not 1 < len(name) <= 60 or sentence or _NO_NAME.fullmatch(name) or not re.search(r"[^\W\d]", name):
        return None
    value = found["value"] or plain(in_heading)
    return Attribute(name=name, description=found["description"].rstrip(".;,"), value=value.rstrip(".;"))


def _closing_bracket(name: str) -> str:
    """The bracket that `plain` has removed from the end of a name."""
    return ")" if name.count("(") > plain(name).count(")") else ""


def _field(text: str, kind: str) -> str:
    """A field's content: a value is on one line, a description ends at an empty line."""
    text = text.strip(" \t\n*|")
    return plain(text.split("\n")[0] if kind == "value" else re.split(r"\n[ \t]*\n", text)[0])


def _attributes_of_json(text: str) -> list[Attribute]:
    """Attributes of objects with a name, or of an object whose keys are names."""
    if not JSON.search(text):
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
            re.sub(r"^attribute[ _]?", "", str(key).lower()) or "name": scalar(entry) for key, entry in one.items()
        }
        name = plain(fields.get("name", "")).lower().rstrip(",; ")
        if 1 < len(name) <= 60:
            description = plain(fields.get("description", "")).rstrip(".")
            found.append(Attribute(name=name, description=description, value=plain(fields.get("value", ""))))
    return found


def _attributes_of_table(text: str) -> list[Attribute]:
    """Attributes of a Markdown table whose first column is the name."""
    rows = [
        [plain(cell) for cell in line.strip().strip("|").split("|")]
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
