"""`make adapt`: a student goes on with labels of one's own, and ends as a folder like any other."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sentidistill.commands import adapt
from sentidistill.config import load
from sentidistill.errors import SentiDistillError
from sentidistill.predict import Predictor, sentiment
from sentidistill.student import folder
from tests.project import ROOT

CUES = {"negative": "awful", "neutral": "blue", "positive": "great"}


@pytest.fixture
def student(tiny_models, tmp_path, monkeypatch) -> Path:
    """A tiny student's folder, in a project's."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    path = shutil.copytree(tiny_models / "student", tmp_path / "models/student")
    asked = sentiment()
    known = folder.KnownTask(
        instruction=asked.instruction,
        cue=asked.cue,
        labels=list(asked.labels),
        offsets=[0.5, 0.0, -0.5],
        temperature=2.0,
    )
    params = load("params.yaml").student.model_copy(update={"prompt_format": "transcript"})
    folder.describe(path, params, {"sentiment": known, "mood": known})
    return path


def labelled(path: str, rows: list[tuple[str, str]]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("review", "stars"), *rows])
    return path


def reviews(number: int) -> list[tuple[str, str]]:
    """Texts that one word in them labels."""
    return [(f"Item {place}: it is {CUES[label]}.", label) for place in range(number) for label in CUES]


COLUMNS = ("--text-field", "review", "--label-field", "stars")


@pytest.mark.heavy
def test_a_student_learns_from_labelled_texts_and_its_folder_is_whole(student):
    before = {path.name: path.read_bytes() for path in student.iterdir() if path.is_file()}
    file = labelled("few.csv", reviews(30))
    options = adapt.options().parse_args([file, *COLUMNS, "--epochs", "20", "--learning-rate", "5e-3"])
    scores, said = adapt.adapt(options)
    found = dict(scores)
    assert said.startswith("better than models/student: +")
    assert found["before"]["records"] == found["after"]["records"] == 18, "every fifth text is kept out"
    assert found["after"]["macro_f1"] > 90 > found["before"]["macro_f1"]
    adapted = Predictor("models/adapted")
    assert set(adapted.tasks) == {"sentiment", "mood"}
    assert [one.answer for one in adapted.predict(["It is awful.", "It is great."])] == ["negative", "positive"]
    assert {path.name: path.read_bytes() for path in student.iterdir() if path.is_file()} == before


def test_who_adapts_is_told_whether_to_use_the_folder():
    said = {
        high: adapt.verdict({"main": (low + high) / 2, "low": low, "high": high}, 12, Path("models/student"))
        for low, high in ((-40.0, -2.0), (-30.0, 8.0), (1.0, 9.0))
    }
    assert said[-2.0] == "worse than models/student, so keep that one: -21.0 points (-40.0 to -2.0) on 12 texts"
    assert said[8.0].startswith("not shown to be better or worse than models/student: -11.0 points")
    assert said[9.0].startswith("better than models/student: +5.0 points")


@pytest.mark.heavy
def test_after_a_few_labels_the_label_bias_is_that_of_the_new_weights(student):
    """With that of the old ones, 20 labels made a student worse."""
    adapt.adapt(adapt.options().parse_args([labelled("few.csv", reviews(2)), *COLUMNS, "--epochs", "1"]))
    before, after = (json.loads((path / "sentidistill.json").read_text()) for path in (student, Path("models/adapted")))
    assert after["tasks"]["mood"] == before["tasks"]["mood"]
    adapted = Predictor("models/adapted")
    shares = [list(one.probabilities.values()) for one in adapted.predict([text for text, _ in reviews(2)])]
    logs = np.log(shares)
    by_label = [logs[place::3].mean(axis=0) for place in range(3)]
    assert np.ptp(np.mean(by_label, axis=0)) < 0.01, "over the labelled texts, no label is favoured"


@pytest.mark.heavy
def test_a_new_task_is_told_by_its_instruction(student, capsys):
    rows = [(f"Ticket {n}: {word}.", label) for n in range(4) for word, label in (("fire", "urgent"), ("hm", "later"))]
    file = labelled("few.csv", rows)
    asked = ("--task", "support", "--instruction", "Decide how soon it has to be answered.", "--epochs", "1")
    adapt.main(file, *COLUMNS, *asked)
    assert "trained on all texts; with 25 or more" in capsys.readouterr().out
    about = json.loads(Path("models/adapted/sentidistill.json").read_text())
    assert about["tasks"]["support"]["labels"] == ["later", "urgent"]
    assert Predictor("models/adapted").predict("Ticket 9: fire.", "support").answer in ("urgent", "later")


@pytest.mark.heavy
def test_a_text_of_two_labels_is_told(student, capsys):
    twice = [("Item 0:  it is awful.", "positive"), ("ITEM 0: it is awful.", "positive")]
    file = labelled("few.csv", [*reviews(1), *twice])
    adapt.main(file, *COLUMNS, "--epochs", "1")
    assert "1 texts have more than one label, such as 'Item 0: it is awful.'; one of them" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option",
    [
        ["--epochs", "0"],
        ["--epochs", "nan"],
        ["--seed", "-1"],
        ["--seed", "4294967296"],
        ["--learning-rate", "x"],
    ],
)
def test_numbers_that_mean_nothing_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        adapt.main("few.csv", *option)
    assert f"{option[0]}: expected a" in capsys.readouterr().err


NEW = ["--task", "t", "--instruction", "Say."]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (reviews(1), ["--task", "irony"], "the student does not know 'irony'; it knows mood, sentiment; tell"),
        (reviews(1), ["--instruction", "Say it."], "'sentiment' is a task that the student knows"),
        ([("Fine.", "4 stars")], [], "label '4 stars' is none of sentiment's: negative, neutral, positive"),
        (
            [("Fine.", "a"), ("Bad.", "a")],
            NEW,
            "few.csv: all texts have one label",
        ),
        (reviews(1), ["--text-field", "text"], "no column 'text'; it has review, stars; name the right one by --text"),
        (reviews(1), ["--label-field", "label"], "no column 'label'; it has review, stars; name it by --label-field"),
        ([("Fine.", "Yes"), ("Bad.", "yes ")], NEW, "label 'Yes' is empty, or 'yes' in another case"),
        ([("Fine.", "yes"), ("Bad.", " ")], NEW, "label '' is empty"),
        (reviews(1), [*NEW[2:], "--task", "error"], "'error' is no name of a task"),
        (reviews(1), [*NEW[2:], "--task", "[/b]"], r"'\[/b\]' is no name of a task: small letters"),
        (reviews(1), ["--model", "models/none"], "no student of this version"),
    ],
)
def test_what_cannot_be_learned_from_is_named_before_a_model_is_loaded(student, rows, options, message):
    file = labelled("few.csv", rows)
    with pytest.raises(SentiDistillError, match=message):
        adapt.main(file, *COLUMNS, *options)
    assert not Path("models/adapted").exists()


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("name", ["student_base", "student"])
def test_a_folder_of_the_pipeline_is_not_written_over(student, name, absolute):
    out = Path("models", name)
    out.mkdir(exist_ok=True)
    before = sorted(path.name for path in out.iterdir())
    with pytest.raises(SentiDistillError, match=f"models/{name} is what the pipeline has made; name another folder"):
        adapt.main(labelled("few.csv", reviews(1)), *COLUMNS, "--out", str(out.absolute() if absolute else out))
    assert sorted(path.name for path in out.iterdir()) == before
