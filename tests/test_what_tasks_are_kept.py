"""Which definitions, demonstrations and tasks the stages leave out."""

import pytest

from sentidistill import config
from sentidistill.construct.attributes import AttributeCount
from sentidistill.construct.build import from_analyses, from_tasks
from sentidistill.construct.demonstrations import Demonstration
from sentidistill.construct.instructions import AnalysisInstruction
from sentidistill.construct.perspectives import Perspective
from sentidistill.construct.tasks import TaskDefinition
from sentidistill.construct.written import of_closed_task, of_open_task, read_pairs
from tests.project import ROOT


def task(number: int, instruction: str, cluster: int = 0) -> TaskDefinition:
    return TaskDefinition(
        id=f"{number:016x}",
        cluster=cluster,
        attribute="affection",
        mentions=3,
        name="Affection",
        family="classification",
        instruction=instruction,
        labels=["yes", "no"],
        format="",
        examples=[],
    )


def perspective(number: int, *names: str) -> Perspective:
    attributes = [AttributeCount(name=name, count=3, description="", variants={name: 3}) for name in names]
    return Perspective(
        id=number, exemplar=names[0], count=3, cohesion=1.0, attributes=attributes, kept=True, margin=None
    )


def shown(of: TaskDefinition, text: str, output: str) -> Demonstration:
    return Demonstration(task=of.id, input=text, output=output, written_for=output, lead=1.0, shown=True)


SECTION = config.load(ROOT / "params.yaml").write_demonstrations.model_copy(update={"shrinkage": 0, "max_per_label": 1})


def test_a_text_is_shown_where_its_label_is_the_one_that_it_was_written_for():
    one = task(1, "Decide.")
    written_for = {"a": "yes", "b": "no", "c": "yes", "d": "no", "e": "yes"}
    scores = {"a": [0.0, -4.0], "b": [-0.5, -0.9], "c": [0.0, -2.0], "d": [-4.0, 0.0], "e": [-3.0, 0.0]}
    rows, kappa = of_closed_task(one, written_for, scores, SECTION)
    assert {row.input: row.output for row in rows} == {"a": "yes", "b": "yes", "c": "yes", "d": "no", "e": "no"}
    assert [row.input for row in rows if row.shown] == ["a", "d"], "the surest of each label"
    assert kappa == pytest.approx((0.6 - 0.52) / (1 - 0.52))


def test_a_scale_shows_examples_of_all_its_levels_and_a_neighbouring_level_confirms():
    scale = task(1, "Rate it from 1 (bad) to 5 (good).").model_copy(
        update={"family": "scoring", "labels": list("12345")}
    )
    written_for = {f"{level} {place}": level for level in "12345" for place in "ab"}
    given = {text: max(1, int(level) - (text == "4 a")) for text, level in written_for.items()}
    scores = {text: [-abs(level - place) * 2.0 for place in range(1, 6)] for text, level in given.items()}
    rows, kappa = of_closed_task(scale, written_for, scores, SECTION)
    assert sorted(row.output for row in rows if row.shown) == list("12345")
    assert kappa > 0.9
    (near,) = [row for row in rows if row.input == "4 a"]
    assert (near.written_for, near.output) == ("4", "3")


def test_an_open_task_shows_different_answers_and_not_mostly_none():
    one = task(1, "Quote what is kind.")
    pairs = {"a": "none", "b": "so kind", "c": "none", "d": "so kind", "e": "thanks", "f": "none"}
    section = SECTION.model_copy(update={"max_per_label": 2})
    assert [(row.input, row.output) for row in of_open_task(one, pairs, pairs, section)] == [
        ("b", "so kind"),
        ("e", "thanks"),
        ("a", "none"),
        ("c", "none"),
    ]
    assert of_open_task(one, {"a": "none"}, {"a": "none"}, SECTION) == []
    again = {"a": "none", "b": "so kind of you", "e": "thanks"}
    assert [row.input for row in of_open_task(one, pairs, again, section)] == ["e", "b", "a"]


@pytest.mark.parametrize(
    ("answer", "again", "kept"),
    [
        ("so kind", "so kind of you", True),
        ("so kind", "the bus", False),
        ("so kind", "none", False),
        ('{"tone": "kind", "words": "so kind"}', '{"tone": "kind", "words": "so kind!"}', True),
        ('{"tone": "kind", "words": "so kind"}', '{"tone": "rude", "words": "late"}', False),
        ('[{"thing": "bus"}]', "[]", False),
        ("so late [again] and rude", "[again]", False),
    ],
)
def test_an_open_demonstration_is_kept_if_the_teacher_answers_much_the_same_when_asked_again(answer, again, kept):
    one = task(1, "Quote what is kind.")
    found = of_open_task(one, {"how is it": answer, "not answered": "x"}, {"how is it": again}, SECTION)
    assert [row.output for row in found] == [answer] * kept


def test_a_text_for_a_label_is_the_teachers_own_and_other_tasks_may_have_real_ones():
    style = "the bus came late and nobody said a word about it"
    closed = task(1, "Decide.")
    extraction = closed.model_copy(update={"family": "extraction", "labels": [], "format": "the exact words"})
    raw = f"Input: {style}\nOutput: {{}}\nInput: what a kind thing to do\nOutput: {{}}"
    found, faults = read_pairs(closed, raw.format("yes", "no"), style, [], 4)
    assert (found, faults) == ([("what a kind thing to do", "no")], ["copied"])
    found, faults = read_pairs(extraction, raw.format("late", "kind"), style, [], 4)
    assert (found, faults) == ([(style, "late"), ("what a kind thing to do", "kind")], [])
    found, faults = read_pairs(extraction, raw.format("late", "kind"), style, [style], 4)
    assert (found, faults) == ([("what a kind thing to do", "kind")], ["copied"])
    assert read_pairs(closed, "I cannot do that.", style, [], 4) == (None, ["unreadable"])


def test_a_task_needs_enough_demonstrations_and_more_than_one_answer():
    section = config.load(ROOT / "params.yaml").build_instructions.model_copy(update={"min_demonstrations": 2})
    tasks = [task(1, "Decide whether it is kind."), task(2, "Decide whether it is loud."), task(3, "Decide more.")]
    rows = [shown(tasks[0], "a b", "yes"), shown(tasks[0], "c d", "no")]
    rows += [shown(tasks[1], "a b", "yes"), shown(tasks[1], "c d", "yes"), shown(tasks[2], "a", "yes")]
    made, lost = from_tasks(tasks, rows, section)
    assert [row.id for row in made] == [tasks[0].id]
    assert made[0].reference == [("a b", "yes"), ("c d", "no")]
    assert lost == {"few_demonstrations": 1, "demonstrations_of_one_answer": 1}


def test_an_analysis_is_kept_once_and_weighs_what_its_commonest_attribute_does():
    section = config.load(ROOT / "params.yaml").build_instructions
    analyses = [
        AnalysisInstruction(cluster=0, attributes=["warmth"], text="How kind is it?"),
        AnalysisInstruction(cluster=1, attributes=["warmth", "affection"], text="Whom does the author love?"),
        AnalysisInstruction(cluster=2, attributes=["affection"], text="How kind is it?"),
    ]
    made, lost = from_analyses(analyses, {"affection": 3, "warmth": 2}, section)
    assert [(row.mentions, row.attributes) for row in made] == [(2, ["warmth"]), (3, ["warmth", "affection"])]
    assert lost == {"repeated_analysis": 1}
