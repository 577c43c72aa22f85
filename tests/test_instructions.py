import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from sentidistill import records
from sentidistill.construct import reviews
from sentidistill.construct.attributes import ATTRIBUTES, AttributeCount, write_vectors
from sentidistill.construct.checks import (
    CHECKS,
    answer_schema,
    check_output,
    copied,
    distinct,
    needs_two_texts,
    usable_analysis,
    usable_proposals,
)
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import ANALYSIS_INSTRUCTIONS, AnalysisInstruction, HandWritten, hand_written
from sentidistill.construct.tasks import TASK_DEFINITIONS, TaskProposal, balanced, define
from sentidistill.errors import SentiDistillError
from sentidistill.parsing.tasks import Definition, Proposal
from stages import build_instructions
from tests.project import ROOT

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
    return define(CLOSED.model_copy(update={"family": family}), definition, [SHOWN], 5, 3, 5)


@pytest.mark.parametrize(
    ("example", "reason"), [(("I love it", "great"), "label"), (("The parcel is at the front door.", "sad"), "copied")]
)
def test_a_definition_does_not_need_examples_that_can_be_used(example, reason):
    task, faults = defined(examples=[example])
    assert (task.examples, faults) == ([], [reason])


def test_a_usable_definition_becomes_a_task_with_labels_in_its_text():
    task, faults = defined(examples=[("I love it", "happy"), ("Hm", "so-so"), ("I love it", "happy")])
    assert faults == ["label"]
    assert task.text() == "Decide. Answer with one of: happy, sad."
    assert task.examples == [("I love it", "happy")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ["happy"]}, "number_of_labels"),
        ({"labels": list("abcdef")}, "number_of_labels"),
        ({"labels": ["happy", "so happy that one could sing"]}, "long_label"),
        ({"family": "scoring", "labels": ["low", "high"]}, "no_numbers"),
        ({"text": "Quote in the text what is rude."}, "copied"),
        ({"text": "Decide which of the two texts is better."}, "two_texts"),
        ({"family": "extraction", "form": ""}, "no_format"),
        ({"family": "structured", "form": "a JSON object"}, "no_keys"),
    ],
)
def test_an_unusable_definition_is_dropped_with_its_reason(change, reason):
    task, faults = defined(**change)
    assert task is None
    assert faults[0] == reason


@pytest.mark.parametrize(
    ("family", "labels", "text"),
    [
        (
            "scoring",
            list("12345"),
            "Rate the overall sentiment of the text, from 1 (very negative) to 5 (very positive).",
        ),
        ("scoring", list("12345"), "Rate the tone, from 1 (hostile) to 5 (friendly)."),
        ("scoring", ["-1", "0", "1"], "Rate the tone from -1 to 1."),
        ("classification", ["content", "contempt"], "Decide which of these feelings the author of the text has."),
        ("classification", ["appreciative", "apprehensive"], "Decide how the author of the text feels."),
        ("classification", ["formal", "formal and warm"], "Decide how the text is written."),
        ("classification", ["fact", "opinion"], "Decide whether the text states a fact or an opinion."),
        (
            "classification",
            ["yes", "no"],
            "Read the text. If the author of the text thanks someone, or the text is kind, answer yes for the text.",
        ),
    ],
)
def test_careful_definitions_are_kept(family, labels, text):
    task, faults = defined(family, labels, text=text, examples=[("Hm, well.", labels[0])])
    assert faults == []
    assert task.labels == labels


def test_every_fault_has_a_message_for_the_teacher_or_is_none_of_its_making():
    assert {name for name, (message, _) in CHECKS.items() if not message} == {"trimmed", "error"}
    assert all(line for _, line in CHECKS.values())


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
        ("structured", '{"target": "x", "strength": " "}', (None, "empty")),
        ("structured", '[{"target": "x", "strength": 1}]', (None, "json")),
        ("structured", "none", (None, "json")),
        ("analysis", "Any text.", ("Any text.", "")),
    ],
)
def test_answers_have_to_obey_their_format(family, output, expected):
    text = "the old radio sounds like summer"
    assert check_output(family, ["happy", "sad"], KEYS, text, output) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('[{"aspect": "soup", "polarity": "bad"}]', ('[{"aspect": "soup", "polarity": "bad"}]', "")),
        ("[]", ("[]", "")),
        ('{"aspect": "soup", "polarity": "bad"}', (None, "json")),
        ('[{"aspect": "soup"}]', (None, "keys")),
        ('["soup"]', (None, "json")),
    ],
)
def test_a_format_may_ask_for_a_list_of_objects(output, expected):
    form = (
        'List what is judged. Answer with a JSON list of objects with the keys "aspect" and "polarity" (good or bad).'
    )
    assert check_output("structured", [], form, "The soup is cold.", output) == expected
    schema = answer_schema(form)
    assert (schema["type"], schema["items"]["required"]) == ("array", ["aspect", "polarity"])
    assert answer_schema(KEYS)["type"] == "object"


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
    kept, faults = usable_proposals(proposals, "joy", 2, worked_examples={"memory profile", "joy profile"})
    assert [one.name for one in kept] == ["Joy Level", "Joy Profile"]
    assert faults == ["repeated", "copied", "two_texts"]


def test_copies_of_a_source_are_recognised():
    sources = ["@friend omg this bus is sooo late AGAIN lol"]
    assert copied("omg this bus is sooo late again today", sources, 0.5)
    assert not copied("omg this train is never on time lol", sources, 0.5)


def proposal(number: int, family: str, cluster: int) -> TaskProposal:
    return CLOSED.model_copy(update={"id": str(number), "family": family, "cluster": cluster})


def test_a_limit_keeps_the_balance_of_clusters():
    everything = [proposal(i, "classification", i % 2) for i in range(6)] + [proposal(10, "extraction", 1)]
    chosen = balanced(everything, {"classification": 3, "extraction": 2, "scoring": 2})
    assert [one.id for one in chosen] == ["0", "1", "2", "10"]
    everything = [proposal(i, "classification", i // 4) for i in range(6)]
    assert [one.id for one in balanced(everything, {"classification": 4})] == ["0", "1", "4", "5"]


def test_a_near_duplicate_is_one_of_its_own_group_in_any_order_of_words():
    texts = ["Is the author glad?", "is the author glad", "glad, is the author!", "Is the author glad?", "So?", "??"]
    assert distinct(texts, ["a", "a", "a", "b", "a", "a"], 0.9) == [True, False, False, True, True, True]


HAND_WRITTEN = [
    HandWritten.model_validate(row) for row in yaml.safe_load(Path("prompts/hand_written.yaml").read_text())
]


@pytest.mark.parametrize("row", HAND_WRITTEN, ids=lambda row: f"{row.name}: {row.instruction}")
def test_hand_written_instructions_pass_the_checks_of_made_ones(row):
    instruction = row.as_instruction(0)
    if row.family == "analysis":
        assert usable_analysis([row.instruction], 1, 0.9) == ([row.instruction], [])
    else:
        definition = Definition(
            instruction=row.instruction, labels=row.labels, format=row.format, examples=row.demonstrations
        )
        idea = CLOSED.model_copy(update={"family": row.family})
        task, faults = define(idea, definition, [SHOWN], max_labels=7, max_label_words=4, max_examples=7)
        assert (task.labels, task.text(), faults) == (row.labels, instruction.text, [])
    if row.family in ("classification", "scoring"):
        assert {label for _, label in row.demonstrations} == set(row.labels)
    if row.family != "analysis":
        assert len(row.demonstrations) >= 2


ROW = """\
- name: Joy
  family: classification
  cue: Joy
  instruction: Decide whether the author is happy.
  labels: [happy, sad]
  demonstrations:
    - [I love it., happy]
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROW.replace("[happy, sad]", "[yes, no]"), r", line 5: 0\.labels\.0: expected a text, found true; put it into"),
        (ROW.replace(", happy]", ", 3]"), r", line 7: 0\.demonstrations\.0\.1: expected a text, found 3; put it into"),
        (ROW.replace(", happy]", "]"), r", line 7: 0\.demonstrations\.0\.1 is missing"),
        (ROW.replace("cue: Joy", "queue: Joy"), ", line 3: unknown key 0.queue; did you mean cue"),
        (ROW + ROW.replace("  labels: [happy, sad]\n", ""), ", line 8: 1: classification and scoring have two labels"),
        (ROW.replace("classification", "extraction"), ", line 1: 0: classification and scoring have two labels"),
        (ROW.replace("classification", "class"), ", line 2: 0.family: expected 'classification', .* found 'class'"),
        (ROW + "  name: Joy\n", ", line 8: 'name' is given twice, first in line 1"),
        (ROW[:-4], ", line 7: "),
        (ROW.replace("[happy, sad]", "[happy, Happy]"), ", line 1: 0: two labels are the same but for their case"),
        (
            ROW.replace(", happy]", ", Happy]"),
            r", line 1: 0: demonstration 1, 'Happy': An answer is none",
        ),
        (ROW + ROW, ": 'Joy' stands twice with one instruction; delete one"),
        (ROW[: ROW.index("  demonstrations")], ": no row has demonstrations; give some to a task"),
        ("name: Joy", ": expected a list, found a mapping"),
        ("", ": expected a list, found nothing"),
        ("[]", ": expected at least 1, found 0"),
    ],
)
def test_a_hand_written_file_with_a_fault_is_refused_with_its_line(tmp_path, text, said):
    path = tmp_path / "hand_written.yaml"
    path.write_text(text)
    with pytest.raises(SentiDistillError, match=rf"hand_written\.yaml(, line 1)?{said}"):
        hand_written(path)


def test_a_hand_written_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match=r"hand_written\.yaml: cannot be read"):
        hand_written(tmp_path / "hand_written.yaml")


def test_the_hand_written_baseline_has_about_twenty_instructions_of_all_families():
    assert 18 <= len(HAND_WRITTEN) <= 24
    assert {row.family for row in HAND_WRITTEN} == {"classification", "scoring", "extraction", "structured", "analysis"}
    assert len({row.as_instruction(0).id for row in HAND_WRITTEN}) == len(HAND_WRITTEN)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What the stage reads, of a run that has made nothing, as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("params.yaml", "prompts/hand_written.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in (ATTRIBUTES.path, TASK_DEFINITIONS.path, DEMONSTRATIONS.path, ANALYSIS_INSTRUCTIONS.path, reviews.PATH):
        records.write_text(path, "")
    return tmp_path


def test_where_the_method_made_no_instruction_the_stage_says_so(folder):
    with pytest.raises(SentiDistillError, match="no task has enough demonstrations"):
        build_instructions.main()


def test_instructions_of_ones_own_are_measured_on_other_attributes_too(folder, tiny_models):
    shutil.copytree(tiny_models / "embedder", "models/embedder")
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["build_instructions"] |= {"source": "own/mine.yaml", "other_attributes": "own/others.tsv"}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    ATTRIBUTES.write([AttributeCount(name="joy", count=2, description="", variants={"joy": 2})])
    write_vectors(np.eye(1, 32, dtype=np.float32))
    ANALYSIS_INSTRUCTIONS.write([AnalysisInstruction(cluster=0, attributes=["joy"], text="What is felt here?")])
    records.write_text("own/mine.yaml", Path("prompts/hand_written.yaml").read_text())
    records.write_text("own/others.tsv", "attribute\tcount\nsentiment\t3\nqzx\t1\n")
    build_instructions.main()
    metrics = records.read_json("metrics/build_instructions.json")
    assert set(metrics["breadth"]) == set(metrics["other_coverage"]) == {"attributes", "hand_written", "own"}
    assert metrics["instructions"] == metrics["breadth"]["own"]["instructions"] == len(HAND_WRITTEN)
    assert metrics["other_coverage"]["own"] == metrics["other_coverage"]["hand_written"], "a copy of the same file"
    assert metrics["other_coverage"]["own"]["mentions_covered"] >= 0.75, "it names the one of three mentions in four"
