"""One set of attributes in every style that teachers have been seen to write; each must give the same set."""

import json
import random
from pathlib import Path

import pytest

from sentidistill.parsing import parse_attributes
from tests.mutations import NUMBER, mutated

SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference" / "enumerations.jsonl"
ATTRIBUTES = [
    ("overall sentiment", "The general tone, e.g. warm or cold", "NEGATIVE"),
    ("expectation vs reality", "The gap between what was promised and what came - if any", "LARGE"),
    ("value for money", "Whether the price seems fair: too high, fair, low", "VERY LOW"),
    ("use of irony/sarcasm", "How far the author says the opposite of what is meant", "none (0 %)"),
    ("self-esteem", "What the author thinks of him- or herself; in general", "3 out of 5"),
]


def each(form: str, between: str = "\n"):
    def style(rows):
        return between.join(
            form.format(i=i, name=n.title(), lower=n, description=d, value=v) for i, (n, d, v) in enumerate(rows, 1)
        )

    return style


STYLES = {
    "as asked": each("{i}. **{name}**: Attribute Description - {description}. Attribute Value - {value}", "\n\n"),
    "labels in bold": each("{i}. **{name}** **Attribute Description:** {description}. **Attribute Value:** {value}"),
    "attribute in the name": each(
        "{i}. **Attribute: {name}** Attribute Description: {description}. Attribute Value: **{value}**"
    ),
    "on three lines": each("{i}. **{name}**\nAttribute Description: {description}.\nAttribute Value: {value}", "\n\n"),
    "nested bullets": each(
        "{i}. **{name}**\n   - Attribute Description: {description}\n   - Attribute Value: {value}", "\n\n"
    ),
    "nested stars, bold": each("{i}. {name}\n   * **Description:** {description}\n   * **Value:** {value}"),
    "nested, apart": each(
        "{i}. **{name}**\n\n   - **Attribute Description**: {description}\n\n   - **Attribute Value**: {value}", "\n\n"
    ),
    "bullets": each("- **{name}**: Attribute Description: {description}. Attribute Value: {value}"),
    "stars": each("* **{name}** – Attribute Description – {description}; Attribute Value – {value}"),
    "stars without space": each("*{i}*\n- {name}\n  Attribute Description: {description}\n  Attribute Value: {value}"),
    "plain bullets": each("• {name}: Attribute Description - {description}. Attribute Value - {value}"),
    "brackets": each("{i}) {name}: Attribute Description - {description}. Attribute Value - {value}"),
    "plain": each("{i}. {lower} Attribute Description: {description}. Attribute Value: {value}"),
    "commas": each("{i}. Attribute: {name}, Attribute Description: {description}, Attribute Value: {value}"),
    "numbers in bold": each("**{i}. {name}**\nAttribute Description: {description}\nAttribute Value: {value}", "\n\n"),
    "headings with numbers": each(
        "### {i}. {name}\n**Attribute Description:** {description}\n**Attribute Value:** {value}", "\n\n"
    ),
    "headings": each("## {name}\n\nAttribute Description: {description}\n\nAttribute Value: {value}", "\n\n"),
    "bold headings": each("**{name}**\nAttribute Description: {description}\nAttribute Value: {value}", "\n\n"),
    "blocks": each("Attribute: {name}\nAttribute Description: {description}\nAttribute Value: {value}", "\n\n"),
    "bold blocks": each("**Attribute Name:** {name}\n**Description:** {description}\n**Value:** {value}", "\n\n"),
    "value on its own line": each(
        "{i}. **{name}**\nAttribute Description:\n{description}.\nAttribute Value:\n{value}", "\n\n"
    ),
    "table": lambda rows: (
        "| Attribute | Attribute Description | Attribute Value |\n|---|:---|---|\n"
        + "\n".join(f"| **{n.title()}** | {d} | {v} |" for n, d, v in rows)
    ),
    "numbered table": lambda rows: (
        "| # | Attribute | Description | Value |\n|---|---|---|---|\n"
        + "\n".join(f"| {i} | {n.title()} | {d} | {v} |" for i, (n, d, v) in enumerate(rows, 1))
    ),
    "json": lambda rows: json.dumps([{"attribute": n.title(), "description": d, "value": v} for n, d, v in rows]),
    "json, long keys": lambda rows: json.dumps(
        {
            "attributes": [
                {"Attribute Name": n.title(), "Attribute Description": f"{d}.", "Attribute Value": v}
                for n, d, v in rows
            ]
        },
        indent=2,
    ),
    "fenced json by name": lambda rows: (
        "```json\n" + json.dumps({n.title(): {"description": d, "value": v} for n, d, v in rows}, indent=1) + "\n```"
    ),
}
FRAMES = [
    ("", ""),
    ("Here are some sentiment-related attributes for the given input:\n\n", ""),
    ("Sure! I have read the text. These are its attributes:\n", "\n\nLet me know if you need anything else!"),
    ("**Attributes**\n\n", "\n\nNote: these attributes are subjective, and their value may differ."),
    ("<think>The text is sad. 1. **Wrong**: no</think>\n", "\nI hope this helps!"),
]


def triples(text: str) -> list[tuple[str, str, str]]:
    return [(a.name, a.description, a.value) for a in parse_attributes(text)]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_the_same_attributes(style, frame):
    assert triples(STYLES[style](ATTRIBUTES).join(frame)) == ATTRIBUTES


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"table", "numbered table", "json", "json, long keys"}))
def test_an_answer_that_is_cut_off_loses_its_last_attribute_at_most(style):
    whole = STYLES[style](ATTRIBUTES)
    moments = random.Random(0)
    for _ in range(60):
        cut = whole[: moments.randrange(len(whole))]
        found = triples(cut)
        complete = sum(STYLES[style](ATTRIBUTES[: n + 1]) in cut for n in range(len(ATTRIBUTES)))
        if style.startswith("fenced"):
            continue  # what stands before the cut is not a shorter whole
        assert found[:complete] == ATTRIBUTES[:complete], cut
        assert len(found) <= complete + 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. **Emotion: Anger**\nAttribute Description: How angry.", [("emotion", "How angry", "Anger")]),
        ("1. **Tone (Positive)**: how it sounds", [("tone", "how it sounds", "Positive")]),
        (
            "1. **Joy**: how glad one is\n2. **Fear**: how afraid",
            [("joy", "how glad one is", ""), ("fear", "how afraid", "")],
        ),
        ("- Joy\n- Fear", [("joy", "", ""), ("fear", "", "")]),
        ("1. Joy - how glad\n2. Trust", [("joy", "how glad", ""), ("trust", "", "")]),
        (
            "1. **Price**: Attribute Description - What the value - if any - is. Attribute Value - LOW",
            [("price", "What the value - if any - is", "LOW")],
        ),
        ("I'm sorry, but I cannot help with that request.", []),
        ("As an AI model, I do not have feelings.\n\nPlease give me another text.", []),
        ("There are no sentiment-related attributes in this text.", []),
        ("", []),
    ],
)
def test_partial_items_and_refusals(text, expected):
    assert triples(text) == expected


@pytest.mark.skipif(not SHARED.exists(), reason="the reference enumerations are not on this machine")
def test_real_answers_give_the_same_attributes_in_every_style():
    for line in SHARED.read_text().splitlines():
        found = triples(json.loads(line)["response"])
        assert len(found) >= 8
        assert all(name and description and value for name, description, value in found)
        distinct = len({name for name, _, _ in found}) == len(found)
        for style, write in STYLES.items():
            # An object cannot hold a name twice, a table no cell with a bar.
            if (distinct or style != "fenced json by name") and not any("|" in part for row in found for part in row):
                again = triples(write(found))
                assert again == found, style


def test_mutated_answers_are_read_without_an_exception():
    whole = [write(ATTRIBUTES).join(frame) for write in STYLES.values() for frame in FRAMES]
    for text in mutated(whole, NUMBER):
        for name, _, _ in triples(text):
            assert name == name.lower().strip()
            assert 1 < len(name) <= 60
