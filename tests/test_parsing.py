import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill.construct.checks import open_answer
from sentidistill.evaluation.outputs import parse_objects
from sentidistill.parsing import parse_attributes
from sentidistill.parsing.labels import parse_label
from sentidistill.parsing.markup import LONGEST, MOST_ITEMS, parse_json, strip_thinking, until_repetition
from sentidistill.parsing.quotes import spans
from sentidistill.parsing.tasks import parse_definition, parse_instructions, parse_labels, parse_pairs, parse_proposals
from tests.mutations import NUMBER, mutated

SHARED = Path(__file__).resolve().parents[2] / "shared" / "reference" / "enumerations.jsonl"
ANSWER = """Here is what I found:

1. **Overall Sentiment**: Attribute Description - The general tone (e.g. warm). Attribute Value - POSITIVE
2. **Emotion: Anger**
Attribute Description: How angry the author is.
Attribute Value: High

3. **Attribute: Trust** Attribute Description: Whether one relies on others. Attribute Value: **low**

I hope this helps!"""


def test_attributes_in_the_styles_of_large_teachers():
    found = [(a.name, a.description, a.value) for a in parse_attributes(ANSWER)]
    assert found == [
        ("overall sentiment", "The general tone (e.g. warm)", "POSITIVE"),
        ("emotion", "How angry the author is", "High"),
        ("trust", "Whether one relies on others", "low"),
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("- Tone: how it sounds\n- **Joy**: how happy one is", ["tone", "joy"]),
        ("1) Joy - how happy one is\n2) Trust", ["joy", "trust"]),
        ("### 1. **Joy**\n- Attribute Description: x y\n- Attribute Value: high\n\n### 2. Trust", ["joy", "trust"]),
        ("<think>1. **Wrong**</think>1. **Joy**", ["joy"]),
        ("1. **Joy** Attribute Description: x. Attribute Value: y\n2. **Tru", ["joy", "tru"]),
        ("I cannot help with that.", []),
        ("", []),
    ],
)
def test_attributes_in_other_list_styles(text, names):
    assert [attribute.name for attribute in parse_attributes(text)] == names


def test_an_item_without_description_does_not_swallow_the_next():
    first, second = parse_attributes("1. **Joy**\n2. **Fear** Attribute Description: how afraid. Attribute Value: no")
    assert (first.name, first.description, first.value) == ("joy", "", "")
    assert (second.description, second.value) == ("how afraid", "no")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_mutation_of_an_answer_makes_a_parser_raise(data):
    cut = data.draw(st.integers(0, len(ANSWER)))
    noise = data.draw(st.text(alphabet='*:-#\n 1.ab"{}[]|Attribute Value', max_size=30))
    text = ANSWER[:cut] + noise + ANSWER[cut + data.draw(st.integers(0, 40)) :]
    for parse in (parse_attributes, parse_instructions, parse_proposals, parse_pairs, parse_definition, parse_json):
        parse(text)
    assert all(attribute.name == attribute.name.lower() for attribute in parse_attributes(text))


def test_every_attribute_of_real_answers_is_found():
    if not SHARED.exists():
        pytest.skip("the reference enumerations are not on this machine")
    for line in SHARED.read_text().splitlines():
        row = json.loads(line)
        numbered = [part for part in row["response"].split("\n") if part[:1].isdigit()]
        found = parse_attributes(row["response"])
        assert len(found) == len(numbered)
        assert all(attribute.description and attribute.value for attribute in found[:-1])


def test_instructions_keep_their_colons():
    text = "1. Read closely: who is praised?\n2. **Describe the tone**\n"
    assert parse_instructions(text) == ["Read closely: who is praised?", "Describe the tone."]


def test_proposals_need_a_known_kind_a_name_and_a_description():
    text = (
        "1. classification: **Level** - Decide it.\n2. structured output: **Profile**: Fill it in.\n"
        "3. Extraction: Rude words: quote them\n4. singing: **Song** - Sing it.\n5. scoring: **Empty** -"
    )
    assert [(p.family, p.name) for p in parse_proposals(text)] == [
        ("classification", "Level"),
        ("structured", "Profile"),
        ("extraction", "Rude words"),
    ]


def test_a_definition_in_markdown():
    text = (
        "**Instruction:** Decide how angry the author is\n**Labels:** angry, calm, and neither\n"
        '**Examples:**\n**Input:** "Go away!"\n**Output:** angry\n\nInput: Good morning\nOutput: calm\n\nThat is all.'
    )
    found = parse_definition(text)
    assert found.instruction == "Decide how angry the author is."
    assert found.labels == ["angry", "calm", "neither"]
    assert found.examples == [("Go away!", "angry"), ("Good morning", "calm")]


def test_a_definition_keeps_the_quotes_of_its_format():
    found = parse_definition('Instruction: Fill it in.\nFormat: an object with "a" and "b"\nExamples:\n')
    assert found.format == 'an object with "a" and "b"'


def test_pairs_keep_json_with_blank_lines_and_drop_halves():
    text = 'Input: x\nOutput: {"a": 1,\n\n"b": 2}\nInput: y\n'
    assert parse_pairs(text) == [("x", '{"a": 1,\n\n"b": 2}')]


@pytest.mark.parametrize("text", ["a, b, c", "a; b; c.", "- a\n- b\n- c", "a\nb\nc\nA", "a, b, and c"])
def test_labels_in_any_list_style(text):
    assert parse_labels(text) == ["a", "b", "c"]


def test_json_is_taken_strictly_first_then_repaired():
    assert parse_json('{"a": [1]}') == ({"a": [1]}, False)
    assert parse_json('```json\n{"a": 1}\n```') == ({"a": 1}, False)
    assert parse_json("Sure: {'a': 'b'") == ({"a": "b"}, True)
    assert parse_json("none") == (None, False)
    assert parse_json("3") == (None, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He is glad. He says so twice. He is glad. He is", "He is glad. He says so twice."),
        ("He is glad, she said.\nAnalysis: he is glad, she said.\nAnalysis:", "He is glad, she said."),
        ("He is glad that it works. He is glad that it worked. And on", "He is glad that it works."),
        ("Glad. And then he went to", "Glad."),
        ("No end to this one", "No end to this one"),
        (
            '1. It is warm.\n2. It is "kind."\n\nIn short: friendly.',
            '1. It is warm.\n2. It is "kind."\n\nIn short: friendly.',
        ),
        ("1. It is warm.\n2. It is kind.\n3. It is warm.", "1. It is warm.\n2. It is kind."),
        ("It costs 3.50 and he hates it.", "It costs 3.50 and he hates it."),
        ("", ""),
    ],
)
def test_an_analysis_ends_where_it_begins_to_repeat_itself(text, expected):
    assert until_repetition(text) == expected


@pytest.mark.parametrize("text", ['[{"a":"b"},' * 600, "[" * 400, '{"a": ' * 300, "[" * 100_000])
def test_deep_nesting_is_no_answer_and_no_traceback(text):
    value, _ = parse_json(text)
    assert value is None or isinstance(value, list)
    assert parse_attributes(text) is not None
    assert isinstance(parse_pairs(text), list)
    parse_definition(text)
    parse_proposals(text)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>", "</think>"),
        ("<thinking>", "</thinking>"),
        ("<reasoning>", "</reasoning>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ],
)
def test_reasoning_is_no_answer_whoever_opened_it(opening, closing):
    for begun in (opening, ""):
        assert strip_thinking(f"{begun}First 1. **Anger**: no.{closing}\n\n1. **Joy**: yes.") == "1. **Joy**: yes."
    assert strip_thinking(f"{opening}a{closing}b{opening}c{closing} d") == "d"
    assert strip_thinking(f"said {opening}and never came to an end") == "said"


ROOT = Path(__file__).resolve().parent.parent
# By parser: the recorded stage whose answers it reads.
PARSERS = {
    "attributes": (parse_attributes, "enumerate_attributes"),
    "instructions": (parse_instructions, "write_analysis_instructions"),
    "proposals": (parse_proposals, "propose_tasks"),
    "definition": (parse_definition, "define_tasks"),
    "pairs": (parse_pairs, "write_demonstrations"),
    "labels": (parse_labels, "define_tasks"),
    "label": (lambda text: parse_label(text, ("high", "low")), "collect_responses"),
    "json": (parse_json, "collect_responses"),
    "objects": (parse_objects, "collect_responses"),
    "analysis": (lambda text: open_answer("analysis", "Do.", "text", text), "collect_responses"),
    "quotes": (lambda text: open_answer("extraction", "Do.", "text", text), "collect_responses"),
    "structured": (lambda text: open_answer("structured", 'keys "a"', "text", text), "collect_responses"),
}


@pytest.mark.parametrize("name", PARSERS)
def test_no_mutation_of_a_recorded_answer_ends_a_parser(name):
    parse, stage = PARSERS[name]
    with gzip.open(ROOT / f"recordings/default/{stage}.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = sorted({json.loads(line)["response"]["text"] for line in file})
    for text in mutated(texts, NUMBER):
        parse(text)


RUNS = ("\n", " ", "\n ", "*", "-", "|", "[", '"', "1.\n", "1. ", "- ab\n", "Input: a\n", "Labels: a\n")


@pytest.mark.parametrize("name", PARSERS)
def test_runs_of_thousands_of_marks_end_no_parser(name):
    """Each of them took from seconds to minutes in some parser."""
    for run in RUNS:
        for begun in ("1. a ", "Instruction: a\nExamples:\nInput: a\nOutput: ", '{"a": "'):
            PARSERS[name][0](f"{begun}{run * (16_000 // len(run))}x")


def test_a_run_of_blanks_or_marks_does_not_hide_what_stands_around_it():
    run = "\n" * 8_000 + " " * 32_000
    found = parse_definition(f"Instruction: Decide it.{run}\nLabels: a, b\nExamples:{run}\nInput: x\nOutput: a")
    assert (found.labels, found.examples) == (["a", "b"], [("x", "a")])
    assert parse_pairs(f"Input: x\nOutput: a{run}\nInput: y\nOutput: b") == [("x", "a"), ("y", "b")]
    assert parse_label(f"{run}high{run}", ("high", "low")) == "high"
    assert [one.name for one in parse_attributes(f"- **Joy**: a{run}\n- **Fear**: b")] == ["joy", "fear"]


def test_an_endless_list_is_cut():
    numbers = range(20_000)
    assert len(parse_attributes("\n".join(f"- **name {chr(97 + n % 26)}{n}**: x" for n in numbers))) == MOST_ITEMS
    assert len(parse_instructions("\n".join(f"{n % 999}. Do {n}." for n in numbers))) == MOST_ITEMS
    assert len(parse_labels("\n".join(f"label {n}" for n in numbers))) == MOST_ITEMS
    assert len(parse_pairs("Input: a\nOutput: b\n\n" * 20_000)) == MOST_ITEMS
    assert len(strip_thinking("word " * LONGEST)) == LONGEST


@pytest.mark.parametrize(
    "text",
    [
        "He is glad. In short:\n- warm\n- kind",
        "It is a warm text. Rating: 4/5",
        "She is proud of it. \U0001f600",
        "It is friendly. The words that show it: thanks, dear",
    ],
)
def test_a_finished_analysis_is_kept_whole_and_only_one_that_was_cut_off_loses_its_end(text):
    assert open_answer("analysis", "Do.", "text", text, cut=False) == (text, [])
    assert open_answer("analysis", "Do.", "text", text, cut=True) == (f"{text.split('. ')[0]}.", ["trimmed"])


def test_a_finished_analysis_loses_what_repeats_and_a_mark_that_opens_nothing():
    assert (
        until_repetition("He is glad. He says so twice. He is glad. He", cut=False) == "He is glad. He says so twice."
    )
    assert until_repetition('The words are "hate, hate. "', cut=False) == 'The words are "hate, hate.'


@pytest.mark.parametrize(
    ("answer", "quoted"),
    [
        ('so  slow; "The queue"', [("so slow", 0, ""), ("the queue", 1, "")]),
        ('{"sentiment": "negative", "words": ["slow", "no\\nend"]}', [("slow", 0, "words"), ("no end", 0, "words")]),
        (
            '[{"aspect_term": "queue", "opinion": "slow"}, {"aspect_term": "queue", "opinion": null}]',
            [("queue", 0, "aspect_term"), ("slow", 0, "opinion"), ("queue", 1, "aspect_term")],
        ),
        ("end", [("end", 0, "")]),
        ("ending", [("ending", 0, "")]),
        ("none", []),
        ("; .;", []),
        ("(slow", [("(slow", 0, "")]),
        ("[{", []),
    ],
)
def test_what_an_answer_quotes_is_found_in_the_text(answer, quoted):
    text = "Bending the queue: so slow (slow!), no end."
    assert [(text[one.start : one.end], one.item, one.key) for one in spans(answer, text)] == quoted


@settings(deadline=None)
@given(st.text(), st.text())
def test_places_of_quotes_are_in_the_text_whatever_the_answer(answer, text):
    assert all(0 <= one.start < one.end <= len(text) for one in spans(answer, text))
