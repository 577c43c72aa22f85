"""A user's own labelled file as a task of the evaluation."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sentidistill import config
from sentidistill.config.models import PathModel
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import baselines, suite, tasks
from sentidistill.evaluation.splits import split_own
from sentidistill.evaluation.tasks import OWN_TEXTS, tasks_of
from sentidistill.predict import Predictor
from sentidistill.samples import SOFT_LABELS, TRAIN_ROWS, labelled_rows
from sentidistill.sources import corpus, models
from stages import prepare_benchmark, train_student
from tests.project import ROOT

OWN = {
    "name": "support",
    "path": "own/tickets.csv",
    "text_field": "Ticket",
    "label_field": "Mood",
    "labels": ["angry", "Very calm"],
    "instruction": "Decide in what mood the customer is.",
}
SIZES = {"train": 200, "validation": 200, "test": 1000}


def params_with(tmp_path: Path, **changes) -> config.Params:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["prepare_benchmark"]["own"] = [{**OWN, **changes}]
    values["evaluate"]["tasks"] = ["tweet", "support"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return config.load(path)


def rows(number: int) -> list[tuple[str, str]]:
    return [(f"Ticket {n}, where is my parcel?", "ANGRY" if n % 4 else "very  calm") for n in range(number)]


def split(number: int, tmp_path: Path, given: list[tuple[str, str]] | None = None):
    task = tasks_of(params_with(tmp_path).prepare_benchmark)["support"]
    placed = [(*row, f"line {line}") for line, row in enumerate(given or rows(number), 2)]
    return split_own(placed, task, Path("tickets.csv"), SIZES)


@pytest.mark.parametrize("number", [70, 1400, 5000])
def test_splits_are_disjoint_and_share_a_small_file_as_they_would_a_large_one(number, tmp_path):
    splits, left_out = split(number, tmp_path)
    sizes = {name: len(found) for name, found in splits.items()}
    whole = min(number, 1400)
    assert sizes == {"train": whole / 7, "validation": whole / 7, "test": whole * 5 / 7}
    assert len({row.id for found in splits.values() for row in found}) == whole
    for found in splits.values():
        assert sum(row.label == "Very calm" for row in found) == pytest.approx(len(found) / 4, abs=1)
    assert not any(left_out.values())


@pytest.mark.parametrize("rare", [3, 4, 11])
@pytest.mark.parametrize("number", [60, 3000])
def test_no_split_lacks_a_rare_label(number, rare, tmp_path):
    few = [(f"Ticket {n}, all is well", "very calm") for n in range(rare)]
    splits, _ = split(0, tmp_path, [(text, "angry") for text, _ in rows(number)] + few)
    assert all({row.label for row in found} == {"angry", "Very calm"} for found in splits.values())


def test_a_text_with_two_labels_is_in_no_split_and_counted(tmp_path):
    twice = ("TICKET 0, where is my  parcel", "angry")  # in the file it is calm
    splits, left_out = split(0, tmp_path, [*rows(100), twice])
    assert not any("Ticket 0," in row.sentence for found in splits.values() for row in found)
    assert left_out == {"too_short_or_long": 0, "same_as_another": 1, "of_two_labels": 1}


def test_more_texts_leave_those_of_a_full_split_where_they_are_unless_their_hash_comes_first(tmp_path):
    (few, _), (more, _) = split(1400, tmp_path), split(1410, tmp_path)
    kept = {row.id for row in few["train"]} & {row.id for row in more["train"]}
    assert len(kept) >= 190


def test_a_text_that_stands_twice_is_in_one_split(tmp_path):
    splits, left_out = split(0, tmp_path, rows(100) + [(text.upper(), label) for text, label in rows(100)])
    assert sum(map(len, splits.values())) == 100
    assert left_out["same_as_another"] == 100


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([*rows(9), ("What?", "bored")], "tickets.csv, line 11: label 'bored' is none of angry, Very calm"),
        ([("What?", "angry")] * 9, "1 have 'angry', 0 have 'Very calm'; add texts"),
        ([("What?", "angry"), ("Fine.", "very calm")], "1 have 'angry', 1 have 'Very calm'; add texts"),
    ],
)
def test_a_file_that_makes_no_task_is_refused(given, said, tmp_path):
    with pytest.raises(SentiDistillError, match=said):
        split(0, tmp_path, given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "tweet"}, "'tweet' is that of another task"),
        ({"name": "sentiment"}, "'sentiment' is that of another task"),
        ({"name": "../x"}, "name"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": ["good", "Good "]}, "two labels are the same"),
        ({"name": "other"}, "evaluate.tasks names ..support.."),
    ],
)
def test_a_task_that_cannot_be_is_refused_in_params(changes, said, tmp_path):
    with pytest.raises(SentiDistillError, match=said):
        params_with(tmp_path, **changes)


def test_numbers_are_labels_in_every_kind_of_file(tmp_path):
    table = pd.DataFrame({"text": ["so good", "so bad"], "stars": [5, 1], "other": [None, "x"]})
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    for kind in ("csv", "parquet", "jsonl"):
        path = tmp_path / f"a.{kind}"
        found, empty = corpus.read_rows(corpus.of_params(path, "text"), "stars")
        assert ([row[:2] for row in found], empty) == ([("so good", "5"), ("so bad", "1")], 0)
        with pytest.raises(SentiDistillError, match="nothing under 'star'"):
            corpus.read_rows(corpus.of_params(path, "text"), "star")


WORDS = {"angry": "broken", "Very calm": "lovely"}
OTHERS = [
    start + end for start in ("pa", "lo", "ti", "mu", "ne", "ro", "ka", "si") for end in ("mbo", "rin", "tal", "ves")
]


def telling(number: int) -> list[tuple[str, str]]:
    """Texts that one word in them labels, and no two of them nearly the same."""
    draw = random.Random(number)
    return [
        (f"{' '.join(draw.sample(OTHERS, 5))} {word}", label) for _ in range(number) for label, word in WORDS.items()
    ]


@pytest.mark.heavy
def test_its_training_texts_teach_the_student_by_their_weight(prepared, tiny_models):
    """And those of the other splits do not: none of them is among what a student may learn."""
    params = prepared(telling(250), own_labels=1.0, epochs=15, learning_rate=5e-3, max_failure_rate=1.0)
    (own,) = OWN_TEXTS.read()
    splits = {name: texts(f"data/benchmark/support/{name}.jsonl") for name in SIZES}
    assert {text for text, _ in own.train} <= splits["train"]
    assert {text for text, _ in own.validation} == splits["validation"]
    taught = train(tiny_models, params)
    assert json.loads(Path("metrics/train_student.json").read_text())["own_rows"] == len(own.train) > 40
    test = sorted(splits["test"])
    found = [one.answer for one in taught.predict(test, task="support")]
    right = ["angry" if WORDS["angry"] in text else "Very calm" for text in test]
    assert np.mean([one == other for one, other in zip(found, right)]) > 0.9


def test_what_is_nearly_the_same_as_a_held_out_text_is_not_learned(prepared):
    long = "The parcel that I ordered on Monday for my mother's birthday has still not come, and nobody answers"
    given = [(f"{long} number {n}", "angry") for n in range(40)]
    prepared([*given, *telling(20)])
    (own,) = OWN_TEXTS.read()
    held_out = texts("data/benchmark/support/test.jsonl") | texts("data/benchmark/support/validation.jsonl")
    assert any(text.startswith(long) for text in held_out)
    assert any(text.startswith(long) for text in texts("data/benchmark/support/train.jsonl"))
    assert own.train
    assert not any(text.startswith(long) for text, _ in own.train)


def test_baselines_and_scores_take_it_as_any_other_task(tmp_path):
    params = params_with(tmp_path)
    task = tasks_of(params.prepare_benchmark)["support"]
    settings = suite.Settings.of(task, params.evaluate)
    splits, _ = split(700, tmp_path)
    test, train = ([row.model_dump() for row in splits[name]] for name in ("test", "train"))
    assert baselines.kinds(task) == ("majority", "tfidf")
    for kind in baselines.kinds(task):
        found = baselines.outcomes(baselines.KINDS[kind], task, test, train, settings)
        scores = suite.scores(task, test, found, 100)
        assert scores["records"] == len(test) == 500
        share = Counter(row["label"] for row in test)["angry"] / 500
        if kind == "majority":
            assert scores["accuracy"] == pytest.approx(100 * share)
            assert set(scores["f1"]) == set(OWN["labels"])
            assert scores["f1"]["Very calm"] == 0


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """prepared(rows, **changes): the params, changes of train_student among them, of a prepared task of these rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()

    def make(given: list[tuple[str, str]], **changes) -> config.Params:
        params = params_with(tmp_path)
        changed = params.model_copy(
            update={
                "prepare_benchmark": params.prepare_benchmark.model_copy(update={"tasks": {}}),
                "evaluate": params.evaluate.model_copy(update={"tasks": ["support"]}),
                "train_student": params.train_student.model_copy(update=changes),
            }
        )
        monkeypatch.setattr(config, "load", lambda: changed)
        pd.DataFrame(given, columns=["Ticket", "Mood"]).to_csv("own/tickets.csv", index=False)
        prepare_benchmark.main()
        return changed

    return make


def texts(path: str) -> set[str]:
    return {json.loads(line)["sentence"] for line in Path(path).open()}


def test_the_stage_describes_it_beside_its_splits(prepared):
    """So the stages that use it depend on its own folder, and on no other task of the params."""
    section = prepared(rows(70)).prepare_benchmark
    assert tasks.read(Path("data/benchmark/support")) == tasks_of(section)["support"]
    assert tasks.read(Path("data/benchmark/tweet")) == tasks_of(section)["tweet"]


def train(tiny_models: Path, params: config.Params) -> Predictor:
    """The student of one row of the teacher's, and of what the params add."""
    base = PathModel(source="path", path=str(tiny_models / "student"))
    models.prepare(base, Path("models/student_base"), Path(), Path())
    TRAIN_ROWS.write(
        labelled_rows(tasks.EvaluationTask("s", "Decide.", "Answer", ("yes", "no")), [("Is it so?", "yes")])
    )
    SOFT_LABELS.write([])
    train_student.main()
    return Predictor("models/student")


def test_the_students_folder_knows_it_and_holds_no_text_of_it(prepared, tiny_models):
    student = train(tiny_models, prepared(rows(70), epochs=1, max_failure_rate=1.0))
    assert set(student.tasks) == {"sentiment", "support"}
    found = student.predict(["Ticket 3, where is my parcel?", "Fine."], task="support")
    assert {*found[0].probabilities} == {"angry", "Very calm"} >= {one.answer for one in found}
    about = Path("models/student/sentidistill.json").read_text()
    assert any(json.loads(about)["tasks"]["support"]["offsets"]), "what its labels lean to is of its validation texts"
    assert "parcel" not in about
