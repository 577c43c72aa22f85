from pathlib import Path

import pytest
import yaml

from sentidistill.instructions import (
    HandWritten,
    TaskDefinition,
    TaskProposal,
    balanced,
    check_output,
    copied,
    define,
    distinct,
    needs_two_texts,
    usable_analysis,
    usable_proposals,
)
from sentidistill.parsing.tasks import Definition, Proposal

CLOSED = TaskProposal(
    id="1", cluster=0, attribute="joy", mentions=3, name="Joy", family="classification", description="Decide."
)
SHOWN = Definition(
    instruction="Quote what is rude in the text.",
    labels=[],
    format="the exact words, or none",
    examples=[("The parcel is at the front desk.", "none")],
)
KEYS = 'a JSON object with the keys "target" and "strength"'


def defined(
    family="classification", labels=("happy", "sad"), form="", examples=(("I love it", "happy"),), text="Decide."
):
    definition = Definition(instruction=text, labels=list(labels), format=form, examples=list(examples))
    return define(CLOSED.model_copy(update={"family": family}), definition, [SHOWN], 4, 3, 5)


def test_a_usable_definition_becomes_a_task_with_labels_in_its_text():
    task, faults = defined(examples=[("I love it", "happy"), ("Hm", "so-so"), ("I love it", "happy")])
    assert faults == ["example_label"]
    assert task.text() == "Decide. Answer with one of: happy, sad."
    assert task.examples == [("I love it", "happy")]


@pytest.mark.parametrize(
    ("family", "form", "text", "output", "fault"),
    [
        ("extraction", "the exact words, or none", "The bus is late.", "the bus is late", "example_whole_text"),
        ("structured", KEYS, "The soup was cold.", '{"target": "soup", "strength": "soup"}', "example_same_quotes"),
        ("structured", KEYS, "The soup was cold.", '{"target": "soup", "strength": " "}', "example_empty_value"),
        ("structured", KEYS, "Hm, soup.", '{"target": "hm, soup", "strength": "low"}', "example_whole_text"),
    ],
)
def test_an_example_that_tells_nothing_is_left_out(family, form, text, output, fault):
    sound = {"extraction": "soup", "structured": '{"target": "soup", "strength": "high"}'}[family]
    examples = [("Cold soup again!", sound), (text, output)]
    task, faults = defined(family, (), form, examples, "Name the complaint.")
    assert faults == [fault]
    assert [example for example, _ in task.examples] == ["Cold soup again!"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ["happy"]}, "number_of_labels"),
        ({"labels": list("abcde")}, "number_of_labels"),
        ({"labels": ["happy", "so happy that one could sing"]}, "long_label"),
        ({"labels": ["disagree", "disagreeing"]}, "labels_alike"),
        ({"labels": ["positive", "feels positive"]}, "labels_alike"),
        ({"labels": ["intimate", "a strong intimacy"]}, "labels_alike"),
        ({"labels": ["looking for", "happy"]}, "no_answer"),
        ({"labels": ["trust", "rely on"]}, "no_answer"),
        ({"labels": ["happy", "Says"]}, "no_answer"),
        ({"text": "Quote in the text what is rude."}, "copied_from_exemplars"),
        ({"text": "Rate it from 1 (very fun) to 5 (very fun)."}, "scale_without_direction"),
        ({"text": "Rate how fun it is, from 1 (very fun) to 5 (very dull)."}, "scale_without_direction"),
        ({"text": "Rate how much it hurts, from 1 (very much) to 5 (not at all)."}, "scale_without_direction"),
        ({"text": "Rate how fun it is, from 1 (fun) to 5 (not fun)."}, "scale_without_direction"),
        ({"text": "Rate how strongly it is fun, from 1 (very fun) to 5 (very dull)."}, "scale_without_direction"),
        ({"family": "scoring", "labels": ["1", "2"], "text": "Rate how fun it is."}, "scale_without_direction"),
        ({"text": "Rate how it changed, from 1 (very sad) to 5 (very glad)."}, "scale_of_something_else"),
        ({"text": "Decide whether it is happy, calm or sad."}, "other_labels"),
        ({"text": "Decide whether it is happy, neutral."}, "other_labels"),
        ({"text": "Decide which of the two texts is better."}, "two_texts"),
        ({"text": "Say if it is kind, is kind, is not kind or is kind."}, "goes_in_circles"),
        ({"text": "Decide whether the author is sure, sure that it works."}, "goes_in_circles"),
        (
            {"family": "extraction", "form": "the exact words, or none", "text": "Give the exact words."},
            "no_question",
        ),
        ({"family": "structured", "form": 'an object with "mood" and "true"'}, "no_keys"),
        ({"family": "structured", "form": 'an object with "mood" and "mood_words"'}, "no_keys"),
        ({"examples": [("I love it", "great")]}, "no_valid_example"),
        ({"examples": [("The parcel is at the front door.", "sad")]}, "no_valid_example"),
        ({"family": "extraction", "form": ""}, "no_format"),
        ({"family": "structured", "form": "a JSON object"}, "no_keys"),
        ({"family": "structured", "form": 'JSON with "target" and "target"'}, "no_keys"),
        ({"family": "structured", "form": 'JSON with "mood", "mood_score" and "mood_score_rating"'}, "no_keys"),
    ],
)
def test_an_unusable_definition_is_dropped_with_its_reason(change, reason):
    task, faults = defined(**change)
    assert task is None
    assert faults[0] == reason


@pytest.mark.parametrize(
    "labels", [["afraid", "not afraid"], ["polite", "neutral", "rude"], ["low", "very low"], ["1", "2"]]
)
def test_labels_that_differ_in_meaning_are_kept(labels):
    task, faults = defined(labels=labels, examples=[("x", labels[0])])
    assert faults == []
    assert task.labels == labels


@pytest.mark.parametrize(
    "text",
    ["Is it happy or sad?", "Say whether it is sad, neutral, or happy.", "Is it fond of someone, something or nobody?"],
)
def test_answers_that_the_instruction_names_may_be_labels_all_or_none(text):
    _, faults = defined(text=text, labels=["happy", "neutral", "sad"], examples=[("x", "sad")])
    assert faults == []


@pytest.mark.parametrize(
    "ends",
    [
        "1 (not at all) to 5 (very strongly)",
        "1 (not fun) to 5 (very fun)",
        "1 (very dull) to 5 (very fun)",
        "1 (a bit fun) to 5 (fun)",
    ],
)
def test_scales_that_rise_are_kept(ends):
    _, faults = defined("scoring", ["1", "3", "5"], text=f"Rate how fun it is, from {ends}.", examples=[("x", "3")])
    assert faults == []


@pytest.mark.parametrize(
    ("family", "output", "expected"),
    [
        ("classification", " Happy. ", ("happy", "")),
        ("classification", "glad", (None, "label")),
        ("scoring", "", (None, "empty")),
        ("extraction", '"the OLD radio"', ("the OLD radio", "")),
        ("extraction", "old; summer", ("old; summer", "")),
        ("extraction", "None.", ("none", "")),
        ("extraction", "a new radio", (None, "span")),
        ("structured", '{"target": "x", "strength": "high"}', ('{"target": "x", "strength": "high"}', "")),
        ("structured", "{'target': 'x', 'strength': 1", ('{"target": "x", "strength": 1}', "")),
        ("structured", '{"target": "x"}', (None, "keys")),
        ("structured", "none", (None, "json")),
        ("analysis", "Any text.", ("Any text.", "")),
    ],
)
def test_answers_have_to_obey_their_format(family, output, expected):
    text = "the old radio sounds like summer"
    assert check_output(family, ["happy", "sad"], KEYS, text, output) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Compare the two reviews.", True),
        ("Which of both texts is kinder?", True),
        ("Is text A better than text B?", True),
        ("Does the first text agree with the second?", True),
        ("Name two words of the text.", False),
        ("Is the author of the text of two minds?", False),
    ],
)
def test_tasks_on_two_texts_are_recognised(text, expected):
    assert needs_two_texts(text) is expected


def test_analysis_instructions_are_distinct_and_about_the_text():
    items = ["How does the text show joy?", "How does the text show joy.", "Sing!", "What colour is the sky today?"]
    items.append("Compare the text with the other text.")
    kept, faults = usable_analysis(items, 5, 0.9)
    assert kept == ["How does the text show joy?"]
    assert faults == ["repeated", "length", "not_about_the_text", "two_texts"]


def test_proposals_are_distinct_and_the_teachers_own():
    names = ["Joy Level", "joy level", "Memory Profile", "Joy Profile", "Joy Rating", "Joy Words"]
    proposals = [Proposal(name=name, family="scoring", description=f"Rate {name}.") for name in names]
    proposals[4] = Proposal(name="Joy Rating", family="scoring", description="Compare two texts.")
    kept, faults = usable_proposals(proposals, "joy", 2, exemplars={"memory profile", "joy profile"})
    assert [one.name for one in kept] == ["Joy Level", "Joy Profile"]
    assert faults == ["repeated", "copied_from_exemplars", "two_texts"]


def test_copies_of_a_source_are_recognised():
    sources = ["@friend omg this bus is sooo late AGAIN lol"]
    assert copied("omg this bus is sooo late again today", sources, 0.5)
    assert not copied("omg this train is never on time lol", sources, 0.5)


def task(number: int, family: str, cluster: int, text: str) -> TaskDefinition:
    labels = ["yes", "no"] if family in ("classification", "scoring") else []
    return TaskDefinition(
        id=str(number),
        cluster=cluster,
        attribute="joy",
        mentions=1,
        name="n",
        family=family,
        instruction=text,
        labels=labels,
        format="" if labels else KEYS,
        examples=[],
    )


def test_repeated_tasks_are_merged_and_a_limit_keeps_the_balance():
    tasks = [task(i, "classification", 0, f"Decide whether it is number {i} of the things.") for i in range(6)]
    tasks += [
        task(10, "extraction", 1, "Quote the words that show it."),
        task(11, "extraction", 1, "Quote words that show it."),
    ]
    new = distinct([one.text() for one in tasks], [one.family for one in tasks], 0.9)
    assert new[-2:] == [True, False]
    everything = [task(i, "classification", i % 2, f"Task {'x' * i}") for i in range(6)] + [tasks[6]]
    chosen = balanced(everything, {"classification": 3, "extraction": 2, "scoring": 2})
    assert [one.id for one in chosen] == ["0", "1", "2", "10"]
    everything = [task(i, "classification", i // 4, f"Task {'x' * i}") for i in range(6)]
    assert [one.id for one in balanced(everything, {"classification": 4})] == ["0", "1", "4", "5"]


def test_a_near_duplicate_is_one_of_its_own_group_in_any_order_of_words():
    texts = ["Is the author glad?", "is the author glad", "glad, is the author!", "Is the author glad?", "So?", "??"]
    assert distinct(texts, ["a", "a", "a", "b", "a", "a"], 0.9) == [True, False, False, True, True, True]


HAND_WRITTEN = [
    HandWritten.model_validate(row) for row in yaml.safe_load(Path("prompts/hand_written.yaml").read_text())
]


@pytest.mark.parametrize("row", HAND_WRITTEN, ids=lambda row: f"{row.name}: {row.instruction}")
def test_hand_written_instructions_obey_the_rules_of_made_ones(row):
    instruction = row.as_instruction(0)
    assert instruction.faults() == []
    assert not needs_two_texts(instruction.text)
    if row.family in ("classification", "scoring"):
        assert {label for _, label in row.demonstrations} == set(row.labels)
    if row.family != "analysis":
        assert len(row.demonstrations) >= 2


def test_the_hand_written_baseline_has_about_twenty_instructions_of_all_families():
    assert 18 <= len(HAND_WRITTEN) <= 24
    assert {row.family for row in HAND_WRITTEN} == {"classification", "scoring", "extraction", "structured", "analysis"}
    assert len({row.as_instruction(0).id for row in HAND_WRITTEN}) == len(HAND_WRITTEN)


def test_a_demonstration_that_breaks_its_instruction_is_named():
    row = HAND_WRITTEN[0].model_copy(update={"demonstrations": [("Fine.", "positive"), ("Hm.", "so-so")]})
    assert row.as_instruction(0).faults() == ["label"]
