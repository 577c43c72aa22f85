"""Answers that others collected, in place of the teacher's."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sentidistill import records
from sentidistill.commands import page
from sentidistill.commands.rehearsal import asking
from sentidistill.construct import released
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import Example
from sentidistill.report.templates import rendered
from sentidistill.samples import SAMPLES, TRAIN_ROWS
from stages import collect_responses
from tests.project import ROOT, run_stages

TASK = "Say whether the text is proud.\n\nInput: We won.\nOutput: proud\n\nInput: Rain,\nagain.\nOutput:"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (TASK, ("Say whether the text is proud.", [("We won.", "proud")], "Rain,\nagain.")),
        ("What is felt here?\n\nInput:The input: none.", ("What is felt here?", [], "The input: none.")),
        ("No text at all.", None),
        ("Input: no instruction\nOutput:", None),
        ("Two texts.\n\nInput: a\n\nInput: b\nOutput:", None),
        ("An answer in the prompt.\n\nInput: a\nOutput: b", None),
        ("An empty text.\n\nInput:\nOutput:", None),
    ],
)
def test_a_prompt_is_taken_apart_or_left_out(prompt, expected):
    assert released.parts(prompt) == expected


def row(text: str, **changes) -> dict:
    return {
        "selected_cluster_id": 7,
        "task_name": "Pride",
        "instruction": f"Say whether the text is proud.\n\nInput: {text}\nOutput:",
        "output": "not proud",
        **changes,
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which collect_responses can run on released answers, and a function that runs it on rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tested = Example(id="0", sentence="@user this text is one of the test, as you can see", label="neutral", rating=0.0)
    records.write_jsonl("data/benchmark/tweet/test.jsonl", [tested])
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["collect_responses"]["released"] = {"path": "own/released.jsonl", "answer_field": "output"}
    values["prepare_corpus"]["held_out"] = None
    records.write_text("params.yaml", yaml.safe_dump(values))

    def run(rows: list[dict]) -> dict:
        records.write_text("own/released.jsonl", "".join(json.dumps(one) + "\n" for one in rows))
        collect_responses.main(open_model=lambda *_: pytest.fail("the teacher is asked"))
        return records.read_json("metrics/collect_responses.json")

    return run


def test_released_answers_take_the_place_of_the_teachers_without_those_about_texts_of_the_test(folder):
    analysis = row("It rains.", task_name="analysis", instruction="What is felt?\n\nInput: It rains.", output="Gloom.")
    other = row("It rains.", task_name="analysis", instruction="What is meant?\n\nInput: It rains.", output="Rain.")
    spoilt = [
        row("No answer.", output=" "),
        row("None at all.", output=None),
        row("It rains.", output="twice"),
        row("", instruction="No text."),
        row("\x01\x07"),
    ]
    known = row("@anna This text is one of the test, as you can see!")
    metrics = folder([row("It rains."), row("It  snows.", selected_cluster_id=8), analysis, other, known, *spoilt])
    samples = SAMPLES.read()
    assert {(one.family, one.cluster, one.text, one.answer) for one in samples} == {
        ("task", 7, "It rains.", "not proud"),
        ("task", 8, "It snows.", "not proud"),
        ("analysis", 7, "It rains.", "Gloom."),
        ("analysis", 7, "It rains.", "Rain."),
    }
    assert len({one.stratum for one in samples}) == 4, "a task of a cluster, or an analysis instruction"
    assert (metrics["answers"], metrics["calls"]) == (4, 0)
    assert metrics["lost"] == {"no_answer": 2, "prompt_not_read": 2, "repeated": 1, "same_as_benchmark": 1}


def test_a_plan_knows_that_the_stage_asks_nothing_and_does_not_run_it(folder):
    folder([row("It rains.")])
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    names = {one.name for one, _ in asking()}
    assert "write_demonstrations" in names
    assert "collect_responses" not in names


@pytest.mark.heavy
def test_a_student_learns_from_released_answers_and_the_report_and_page_are_made_of_them(
    project, tmp_path, monkeypatch
):
    def change(values: dict) -> None:
        values["collect_responses"]["released"] = {"path": "own/released.jsonl", "answer_field": "output"}

    project.copy_of_files(tmp_path, change)
    rows = [row(f"Number {n}: we {('won', 'lost')[n % 2]}.", output=("proud", "not proud")[n % 2]) for n in range(40)]
    rows += [row("", task_name="analysis", instruction=f"What is felt?\n\nInput: Text {n}.") for n in range(10)]
    (tmp_path / "own/released.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    run_stages(tmp_path, ["collect_responses", "score_difficulty", "select_samples", "train_student", "report"])
    trained = records.read_jsonl(tmp_path / TRAIN_ROWS.path, TRAIN_ROWS.row)
    assert {one.family for one in trained} == {"task", "analysis"}
    assert (tmp_path / "models/student/model.safetensors").exists()
    assert "Number " in (tmp_path / "report.md").read_text()
    monkeypatch.chdir(tmp_path)
    assert rendered("report.html.jinja", **page.gathered(None)).startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"output": ["proud"]}, r"released\.jsonl, line 2: expected texts .*'output'.* it has .*task_name"),
        ({"selected_cluster_id": "first"}, "line 2: expected .* a whole number under 'selected_cluster_id'"),
        ({"selected_cluster_id": "7" * 5000}, "line 2: expected .* a whole number under 'selected_cluster_id'"),
    ],
)
def test_a_row_of_another_form_is_named_and_nothing_is_written(folder, bad, message):
    with pytest.raises(SentiDistillError, match=message):
        folder([row("It rains."), row("It snows.", **bad)])
    assert not Path(SAMPLES.path).exists()


def test_a_column_of_answers_that_is_not_there_is_named(folder):
    with pytest.raises(SentiDistillError, match=r"released\.jsonl: no column 'output'; see .*answer_field"):
        folder([{name: value for name, value in row("It rains.").items() if name != "output"}])


def test_a_file_without_a_usable_answer_says_why(folder):
    with pytest.raises(SentiDistillError, match=r"released\.jsonl: no usable answer; left out: .*same_as_benchmark"):
        folder([row("@anna This text is one of the test, as you can see!")])
