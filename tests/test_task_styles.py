"""Proposals, definitions, instructions and examples in every style that teachers have been seen to write."""

import json

import pytest

from sentidistill.construct.tasks import TaskProposal, define
from sentidistill.parsing.tasks import FAMILIES, parse_definition, parse_instructions, parse_pairs, parse_proposals
from tests.mutations import NUMBER, mutated

# ruff: noqa: E501  (answers are easier to read on one line)

PROPOSALS = [
    ("Courtesy Check", "classification", "Decide whether the author is polite, neutral or rude: one of three."),
    ("Courtesy Rating", "scoring", "Rate from 1 to 5 how polite the author is."),
    ("Rude Words", "extraction", "Quote the words that are impolite - if any."),
    ("Courtesy Profile", "structured", 'Give the degree and the words as JSON with "degree" and "words".'),
]
LONG = {"structured": "structured output", "extraction": "information extraction"}


def each(form: str, between: str = "\n"):
    return lambda rows: between.join(
        form.format(i=i, name=n, family=f, title=f.title(), long=LONG.get(f, f), description=d)
        for i, (n, f, d) in enumerate(rows, 1)
    )


PROPOSAL_STYLES = {
    "as asked": each("{i}. {family}: **{name}** - {description}"),
    "titles": each("{i}. {title}: **{name}** – {description}", "\n\n"),
    "bold kinds": each("{i}. **{title}**: **{name}** - {description}"),
    "kind in brackets": each("- **{name}** ({long}): {description}"),
    "kind in brackets inside the bold": each("{i}) **{name} [{family}]**: {description}"),
    "labelled lines": each("{i}. **{name}**\n   - Type: {long}\n   - Description: {description}", "\n\n"),
    "labelled, bold": each(
        "### {i}. Task\n**Name:** {name}\n**Category:** {family}\n**Description:** {description}", "\n\n"
    ),
    "under headings": each("### {title} tasks\n\n- **{name}**: {description}", "\n\n"),
    "under bold headings": each("**{title} Tasks**\n1. **{name}** - {description}", "\n\n"),
    "json": lambda rows: json.dumps([{"name": n, "family": f, "description": d} for n, f, d in rows]),
    "fenced json": lambda rows: (
        "Here you are:\n```json\n"
        + json.dumps(
            {"tasks": [{"task_name": n, "task_type": LONG.get(f, f), "description": d} for n, f, d in rows]}, indent=2
        )
        + "\n```"
    ),
    "json by family": lambda rows: json.dumps({f: [{"name": n, "description": d}] for n, f, d in rows}),
}


@pytest.mark.parametrize("opening", ["", "Sure, here are some tasks:\n\n"])
@pytest.mark.parametrize("style", PROPOSAL_STYLES)
def test_proposals_in_every_style(style, opening):
    found = parse_proposals(opening + PROPOSAL_STYLES[style](PROPOSALS))
    assert [(p.name, p.family, p.description.rstrip(".")) for p in found] == [
        (name, family, description.rstrip(".")) for name, family, description in PROPOSALS
    ]


EXAMPLES = [("What a lovely day", "polite"), ("Get lost, you clown!", "rude"), ("The shop is: open", "neutral")]
LABELS = ["polite", "neutral", "rude"]
PAIRS = "\n".join(f"Input: {text}\nOutput: {output}" for text, output in EXAMPLES)
DEFINITION_STYLES = {
    "as asked": f"Instruction: Decide how polite the author is.\nLabels: polite, neutral, rude\nExamples:\n{PAIRS}",
    "bold": f"**Instruction:** Decide how polite the author is.\n\n**Labels:** polite; neutral; rude\n\n**Examples:**\n{PAIRS}",
    "headings": f"## Instruction\nDecide how polite the author is.\n\n## Labels\n- polite\n- neutral\n- rude\n\n## Examples\n{PAIRS}",
    "headings without marks": f"Task Definition:\nDecide how polite the author is.\nPermitted labels: polite, neutral, rude\nExamples\n{PAIRS}",
    "numbers": f"1. Instruction: Decide how polite the author is.\n2. Labels: polite, neutral and rude\n3. Examples:\n{PAIRS}",
    "blank lines between examples": "Instruction: Decide how polite the author is.\nLabels: polite, neutral, rude\nExamples:\n"
    + "\n\n".join(f'**Input:** "{text}"\n**Output:** {output}' for text, output in EXAMPLES),
    "numbered examples": "Instruction: Decide how polite the author is.\nLabels: polite, neutral, rude\nExamples:\n"
    + "\n\n".join(f"{i}. Input: {text}\n   Output: {output}" for i, (text, output) in enumerate(EXAMPLES, 1)),
    "example headings": "Instruction: Decide how polite the author is.\nLabels: polite, neutral, rude\nExamples:\n"
    + "\n".join(f"Example {i}:\nText: {text}\nLabel: {output}" for i, (text, output) in enumerate(EXAMPLES, 1)),
    "chatty": "Of course! Here is the definition:\n\nInstruction: Decide how polite the author is.\nLabels: polite, neutral, rude\n"
    f"Examples:\n{PAIRS}\n\nI hope that helps!",
    "json": json.dumps(
        {
            "instruction": "Decide how polite the author is.",
            "labels": LABELS,
            "examples": [{"input": text, "output": output} for text, output in EXAMPLES],
        }
    ),
    "fenced json": "```json\n"
    + json.dumps(
        {
            "Task Instruction": "Decide how polite the author is",
            "Labels": LABELS,
            "Examples": [{"Text": text, "Label": output} for text, output in EXAMPLES],
        },
        indent=1,
    )
    + "\n```",
}


@pytest.mark.parametrize("style", DEFINITION_STYLES)
def test_definitions_in_every_style(style):
    found = parse_definition(DEFINITION_STYLES[style])
    assert found.instruction == "Decide how polite the author is."
    assert sorted(found.labels) == sorted(LABELS)
    assert found.examples == EXAMPLES


def test_a_definition_keeps_json_outputs_whole():
    output = '{"degree": 2,\n\n "words": ["clown"]}'
    text = (
        'Instruction: Fill it in.\nFormat: a JSON object with "degree" and "words"\nExamples:\n'
        f"Input: Go, clown\nOutput: {output}\n\nInput: Hi\nOutput: ```json\n{{}}\n```"
    )
    found = parse_definition(text)
    assert found.format == 'a JSON object with "degree" and "words"'
    assert found.examples == [("Go, clown", output), ("Hi", "{}")]


@pytest.mark.parametrize(
    "text",
    [
        "1. Look at who is praised: why?\n2. Describe the tone.",
        "- Look at who is praised: why?\n- Describe the tone",
        "Here they are:\n\n* **Look at who is praised: why?**\n* Describe the tone.\n\nGood luck!",
        "1) Look at who is praised:\n   why?\n\n2) Describe the tone.",
        '["Look at who is praised: why?", "Describe the tone."]',
        '```json\n{"instructions": [{"id": 1, "text": "Look at who is praised: why?"}, {"text": "Describe the tone."}]}\n```',
        "<think>1. no</think>1. Look at who is praised: why?\n2. Describe the tone.",
    ],
)
def test_instructions_in_every_style(text):
    assert parse_instructions(text) == ["Look at who is praised: why?", "Describe the tone."]


def test_mutated_proposals_are_read_or_left_out():
    for text in mutated([style(PROPOSALS) for style in PROPOSAL_STYLES.values()], NUMBER):
        for found in parse_proposals(text):
            assert found.family in FAMILIES
            assert found.name
            assert found.description


def test_mutated_definitions_become_a_valid_task_or_a_reason():
    proposal = TaskProposal(
        id="0", cluster=0, attribute="courtesy", mentions=1, name="Courtesy", family="classification", description="d"
    )
    usable = 0
    for text in mutated(list(DEFINITION_STYLES.values()), NUMBER):
        definition = parse_definition(text)
        if definition is None:
            continue
        task, faults = define(proposal, definition, [], max_labels=7, max_label_words=4, max_examples=7)
        if task is None:
            assert faults
        else:
            usable += 1
            assert len(set(definition.examples)) - len(faults) <= len(task.examples)
            assert {output for _, output in task.examples} <= set(task.labels)
    assert usable > NUMBER / 5


@pytest.mark.parametrize("parse", [parse_instructions, parse_pairs])
def test_mutated_lists_give_whole_texts(parse):
    texts = [*DEFINITION_STYLES.values(), "1. Look: why?\n2. Describe it.", '["Look: why?", "Describe it."]']
    for text in mutated(texts, NUMBER):
        for found in parse(text):
            parts = (found,) if isinstance(found, str) else found
            assert all(part == part.strip() and part for part in parts)
