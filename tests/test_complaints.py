"""What people complain about: perspectives of the texts with a label, by share."""

import csv
import json
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest

from sentidistill import shares
from sentidistill.commands import complaints as command
from sentidistill.commands.complaints import centres, complaints, nearness, table_of
from sentidistill.construct.attributes import AttributeCount
from sentidistill.construct.perspectives import Cluster
from sentidistill.errors import SentiDistillError
from sentidistill.predict import Predictor
from sentidistill.shares import joined

NAMES = ["price", "service", "delivery"]
OF = np.eye(3)


def towards(*places: int, lean: float = 0.0) -> np.ndarray:
    """Unit vectors that are near to the perspectives at `places`, and all of them a little to the first."""
    rows = 0.6 * np.eye(3)[list(places)] + lean * np.eye(3)[0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_shares_are_those_of_the_chosen_texts_alone_and_their_intervals_hold_them():
    texts = [f"Text {number}." for number in range(8)]
    vectors = towards(1, 1, 1, 2, 0, 0, 0, 2)
    chosen = np.array([True] * 4 + [False] * 4)
    found = complaints(texts, chosen, nearness(vectors, OF), NAMES)
    assert [(one.perspective, one.texts, one.share) for one in found] == [("service", 3, 0.75), ("delivery", 1, 0.25)]
    assert all(0 <= one.interval[0] < one.share < one.interval[1] <= 1 for one in found)
    assert found[0].typical == texts[:3]


def test_a_perspective_that_is_near_to_every_text_takes_none_for_that():
    vectors = towards(1, 2, 0, 1, 2, 0, lean=2.0)
    assert (vectors @ OF.T).argmax(axis=1).tolist() == [0] * 6
    found = complaints(list("abcdef"), np.ones(6, dtype=bool), nearness(vectors, OF), NAMES)
    assert {one.perspective: one.typical for one in found} == {
        "price": ["c", "f"],
        "service": ["a", "d"],
        "delivery": ["b", "e"],
    }


def test_perspectives_of_another_run_or_none_are_named():
    attributes = [AttributeCount(name=name, count=2, description="", variants={name: 2}) for name in NAMES[:2]]
    both = Cluster(id=0, exemplar="price", attributes=attributes, count=2, cohesion=1.0)
    vectors = dict(zip(NAMES, OF))
    assert centres([both], vectors) == pytest.approx(np.array([[1, 1, 0]]) / np.sqrt(2))
    for perspectives, known in (([], vectors), ([both], {"price": OF[0]}), ([both], {})):
        with pytest.raises(SentiDistillError, match="no perspectives, or attributes of another run; run `make repro`"):
            centres(perspectives, known)


def test_shares_of_perspectives_that_one_has_read_come_from_what_is_written_of_each_text(tmp_path):
    random = np.random.default_rng(0)
    places = random.integers(3, size=400)
    texts, chosen = [f"Text {number}." for number in range(400)], random.random(400) < 0.5
    path = tmp_path / "nearest.csv"
    table_of(texts, chosen, nearness(towards(*places), OF), NAMES).to_csv(path, index=False)
    meant = [NAMES[place] if one else "none" for place, one in zip(places, chosen)]
    read = pd.DataFrame({"text": texts[:120], "label": meant[:120]})
    scored, labels, names = joined(shares.table_of(path, "text"), read, "text", "label", "perspective")
    assert names == [*NAMES, "none"]
    for name, one in shares.shares(scored, labels, names, "perspective").items():
        assert one.interval[0] <= np.mean([other == name for other in meant]) <= one.interval[1]


@pytest.fixture
def asked(project, tmp_path, monkeypatch):
    path = tmp_path / "reviews.csv"
    rows = (project.folder / "data/corpus.jsonl").open(encoding="utf-8")
    texts = [f"[/i] {json.loads(line)['text']}" for line in rows][:40]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["review"], *[[text] for text in texts], [""], ["cut by its comma", " bad"]])

    monkeypatch.chdir(project.folder)
    return partial(command.main, str(path), "--text-field", "review"), texts


def test_one_command_from_a_file_to_a_table(asked, tmp_path, capsys):
    run, texts = asked
    out = tmp_path / "complaints.csv"
    answers = Counter(one.answer for one in Predictor("models/student").predict(texts))
    for label in ("negative", "neutral", "positive"):
        if not answers[label]:
            with pytest.raises(SentiDistillError, match=f"the student calls none of {len(texts)} texts {label}"):
                run("--label", label)
            continue
        run("--label", label, "--out", str(out))
        shown = " ".join(capsys.readouterr().out.split())
        assert (
            f"{answers[label]} of {len(texts)} texts are {label}, as the student says; 2 rows cannot be read" in shown
        )
        assert any(text in shown for text in texts), "its brackets are no markup"
        rows = list(csv.DictReader(out.open(encoding="utf-8")))
        assert sum(int(row["texts"]) for row in rows) == answers[label]
        assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=0.01)
        assert {row["typical 1"] for row in rows} <= set(texts)
    with pytest.raises(SentiDistillError, match="no label 'angry' of a task 'sentiment'"):
        run("--label", "angry")
