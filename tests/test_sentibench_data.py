"""Reading a copy of SentiBench: the user's own, of the layout of the public repository."""

import json
from pathlib import Path

import pytest

from sentidistill.config.benchmark import DEFAULT_TASKS, SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.sentibench import GROUPS, LABELS, TUPLE_TASKS, VARIANTS, group_means, load, path_of

COPY = Path(__file__).resolve().parents[2] / "shared/sentibench"
RECORDS = {
    "pstance": {"sentence": "x", "target": "someone", "label": "FAVOR"},
    "intimacy": {"sentence": "x", "label": "Not Intimate", "label_score": 1.0},
    "atsa_rest16": {
        "ID": "1:0",
        "sentence": "x",
        "aspects": [{"target": "x", "category": "A#B", "polarity": "positive"}],
    },
    "asqp_rest16": {"sentence": "x", "quards": [{"aspect": "x", "category": "a b", "sentiment": "s", "opinion": "o"}]},
    "opener": {
        "sentence": "x",
        "opinions": [
            {
                "Source": [[], []],
                "Target": [["x"], ["0:1"]],
                "Polar_expression": [["x"], ["0:1"]],
                "Polarity": "Positive",
            }
        ],
    },
}


def write(root: Path, task: str, content, encoding: str = "utf-8-sig") -> Path:
    path = path_of(root, task, "test")
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return path


def test_the_twelve_tasks_are_in_three_groups_of_four():
    assert {task for tasks in GROUPS.values() for task in tasks} == {*LABELS, *TUPLE_TASKS} - {
        *VARIANTS,
        *DEFAULT_TASKS,
    }
    assert [len(tasks) for tasks in GROUPS.values()] == [4, 4, 4]


def test_the_tasks_that_params_may_name_are_these():
    assert {*SENTIBENCH, *DEFAULT_TASKS} == {*LABELS, *TUPLE_TASKS}


def test_a_group_has_a_mean_only_with_all_its_tasks():
    scores = {task: float(place) for place, task in enumerate(GROUPS["basic"] + GROUPS["multifaceted"])}
    assert group_means(scores) == {"basic": 1.5, "multifaceted": 5.5}
    whole = {task: 50.0 for tasks in GROUPS.values() for task in tasks}
    assert group_means(whole)["all"] == 50.0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("task", RECORDS)
def test_records_are_read_with_and_without_a_byte_order_mark_and_left_as_they_are(tmp_path, task, encoding):
    row = {**RECORDS[task], "sentence": r"literal \n and \u00e9 &amp; <br />"}
    write(tmp_path, task, [row], encoding)
    assert load(tmp_path, task, "test") == [row]


@pytest.mark.parametrize(
    ("task", "change", "fault"),
    [
        ("pstance", {"target": None}, "valid string at target"),
        ("pstance", {"label": "NONE"}, "label 'NONE' is none of against, favor"),
        ("intimacy", {"sentence": 3}, "valid string at sentence"),
        ("atsa_rest16", {"aspects": None}, "valid list at aspects"),
        ("atsa_rest16", {"aspects": [{"target": "x"}]}, "Field required at aspects.0.category"),
        ("asqp_rest16", {"quards": ["x"]}, "at quards.0"),
        ("opener", {"opinions": [{"Polarity": "Positive", "Source": [["x"], []]}]}, "at opinions.0"),
    ],
)
def test_a_faulty_record_is_named_with_its_file(tmp_path, task, change, fault):
    path = write(tmp_path, task, [RECORDS[task], {**RECORDS[task], **change}])
    with pytest.raises(SentiDistillError) as error:
        load(tmp_path, task, "test")
    assert str(error.value).startswith(f"{path}, record 1: ")
    assert fault in str(error.value)


def test_a_missing_file_and_one_that_is_no_list_are_named(tmp_path):
    with pytest.raises(SentiDistillError, match=r"sst2/test.json is missing; the path has to be"):
        load(tmp_path, "sst2", "test")
    path = write(tmp_path, "imdb", "not json")
    with pytest.raises(SentiDistillError, match=str(path)):
        load(tmp_path, "imdb", "test")
    path.write_text("{}")
    with pytest.raises(SentiDistillError, match="not a list"):
        load(tmp_path, "imdb", "test")


def test_tags_that_give_irony_away_are_stripped_in_a_variant(tmp_path):
    rows = [
        {"sentence": "What a day #Irony!", "label": "irony"},
        {"sentence": "#sarcasm Fine. #nothing", "label": "irony"},
        {"sentence": "I am #not here", "label": "non-irony"},
    ]
    write(tmp_path, "irony18", rows)
    stripped = [row["sentence"] for row in load(tmp_path, "irony18_stripped", "test")]
    assert stripped == ["What a day!", "Fine. #nothing", "I am here"]
    assert load(tmp_path, "irony18", "test") == rows


@pytest.mark.parametrize("listed", [True, False])
def test_tasks_without_a_validation_file_get_a_part_of_the_training_records(tmp_path, listed):
    rows = [{**RECORDS["atsa_rest16"], "ID": f"r:{number}"} for number in range(200)]
    path = path_of(tmp_path, "atsa_rest16", "train")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows))
    if listed:
        (tmp_path / "absa/rest16_dev_ids.json").write_text(json.dumps(["r:3", "r:5"]))
    train, validation = (load(tmp_path, "atsa_rest16", split) for split in ("train", "validation"))
    assert len(train) + len(validation) == 200
    assert len(validation) == 2 if listed else 20 < len(validation) < 60
    assert not {row["ID"] for row in train} & {row["ID"] for row in validation}


@pytest.mark.skipif(not COPY.exists(), reason="there is no copy of SentiBench on this machine")
@pytest.mark.parametrize("task", SENTIBENCH)
def test_the_public_files_are_read_and_gold_answers_score_as_documented(task):
    from sentidistill.evaluation.metrics import score
    from tests.made_up_sentibench import gold

    records = load(COPY, task, "test")
    assert len(records) >= 396
    if task in LABELS:
        assert score(task, records, [row["label"] for row in records])["macro_f1"] == pytest.approx(100)
    else:
        least = 98 if task == "opener" else 100
        assert score(task, records, [json.dumps(gold(task, row)) for row in records])["f1"] >= least
