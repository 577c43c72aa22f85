"""Which definitions, demonstrations and tasks the stages leave out."""

import numpy as np
import pytest

from sentidistill import config, records
from sentidistill.attributes import AttributeCount
from sentidistill.instructions import AnalysisInstruction, Demonstration, TaskDefinition
from sentidistill.perspectives import Perspective
from stages.build_instructions import from_attributes
from stages.define_tasks import comparable, on_topic
from stages.write_demonstrations import meant_by, of_closed_task, of_open_task
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


def shown(of: TaskDefinition, text: str, output: str, margin: float | None, agreed: bool = True) -> Demonstration:
    return Demonstration(task=of.id, input=text, output=output, agreed=agreed, margin=margin)


def test_an_instruction_has_to_be_near_an_attribute_of_its_own_perspective(embedder):
    perspectives = [perspective(0, "affection", "friendliness"), perspective(1, "irony")]
    tasks = [
        task(1, "Decide whether the author of the text is friendly to the person or not."),
        task(2, "Name what the author of the text is saying about the memory."),
        task(3, "Decide how the author of the text uses irony to make a point."),
        task(4, "Decide how the author of the text uses irony to make a point.", cluster=1),
    ]
    assert on_topic(tasks, perspectives, embedder, 0.25) == [True, False, False, True]
    assert on_topic(tasks, perspectives, embedder, -1.0) == [True] * 4


def test_labels_have_to_be_answers_to_one_question(embedder):
    sets = [["afraid", "not afraid"], ["happy", "sad"], ["disappointed", "no date"], ["scream", "interested in topic"]]
    tasks = [task(number, "Decide.").model_copy(update={"labels": labels}) for number, labels in enumerate(sets)]
    tasks.append(tasks[3].model_copy(update={"family": "scoring"}))
    assert comparable(tasks, embedder, 0.3) == [True, True, False, False, True]
    assert comparable(tasks, embedder, -1.0) == [True] * 5


LEANINGS = {"a": 0.9, "b": -0.4, "c": 0.05, "d": -1.2, "e": 0.5}
SCORES = {text: np.array([leaning, 0.0]) for text, leaning in LEANINGS.items()}


def test_a_text_is_shown_where_its_label_is_the_one_that_it_was_written_for():
    one = task(1, "Decide.")
    meant = {"a": "no", "b": "no", "c": "yes", "d": "no", "e": "yes"}
    rows, kappa = of_closed_task(one, one.labels, SCORES, meant, per_label=1, min_margin=0.1)
    assert [(row.input, row.output, row.agreed, row.margin) for row in rows] == [
        ("e", "yes", True, 0.5),
        ("d", "no", True, 1.2),
    ]
    assert kappa == pytest.approx((0.8 - 0.48) / (1 - 0.48))
    assert of_closed_task(one, one.labels, SCORES, dict.fromkeys(meant, "no"), 1, 0.1)[1] == 0.0


def test_a_scale_shows_its_ends_and_its_middle():
    scale = task(1, "Rate it from 1 (bad) to 5 (good).").model_copy(
        update={"family": "scoring", "labels": list("12345")}
    )
    ends = ["bad", "good"]
    assert [meant_by(level, scale, ends) for level in "1245"] == ["bad", "bad", "good", "good"]
    rows, _ = of_closed_task(scale, ends, SCORES, dict.fromkeys(LEANINGS, "good"), per_label=1, min_margin=0.1)
    assert [(row.input, row.output, row.agreed) for row in rows] == [
        ("a", "1", False),
        ("c", "3", False),
        ("d", "5", True),
    ]


def test_an_open_task_shows_different_answers_and_not_mostly_none():
    one = task(1, "Quote what is kind.")
    pairs = {"a": "none", "b": "so kind", "c": "none", "d": "so kind", "e": "thanks", "f": "none"}
    assert [(row.input, row.output) for row in of_open_task(one, pairs, 9)] == [
        ("b", "so kind"),
        ("e", "thanks"),
        ("a", "none"),
        ("c", "none"),
    ]
    assert of_open_task(one, {"a": "none"}, 9) == []


def test_a_task_needs_enough_demonstrations_and_more_than_one_answer(tmp_path, monkeypatch):
    section = config.load(ROOT / "params.yaml").build_instructions.model_copy(update={"min_demonstrations": 2})
    tasks = [task(1, "Decide whether it is kind."), task(2, "Decide whether it is loud."), task(3, "Decide more.")]
    rows = [shown(tasks[0], "a b", "yes", 1.0), shown(tasks[0], "c d", "no", 1.0)]
    rows += [shown(tasks[1], "a b", "yes", 1.0), shown(tasks[1], "c d", "yes", 1.0), shown(tasks[2], "a", "yes", 1.0)]
    monkeypatch.chdir(tmp_path)
    records.write_jsonl("data/perspectives.jsonl", [perspective(0, "affection")])
    records.write_jsonl("data/analysis_instructions.jsonl", [AnalysisInstruction(cluster=0, text="How kind is it?")])
    records.write_jsonl("data/task_definitions.jsonl", tasks)
    records.write_jsonl("data/demonstrations.jsonl", rows)
    made, lost = from_attributes(section)
    assert [row.id for row in made if row.labels] == [tasks[0].id]
    assert lost == {"few_demonstrations": 1, "demonstrations_of_one_answer": 1, "repeated_analysis": 0}
