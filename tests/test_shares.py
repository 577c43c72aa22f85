"""Shares of labels with intervals that hold, whatever the student is worth."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sentidistill.errors import SentiDistillError
from sentidistill.shares import Share, joined, months, more_to_read, share, table_of, weighted
from tests.project import ROOT


def made_up(
    random: np.random.Generator, worth: float, lean: float, size: int, common: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """(labels, probabilities): so `common` is the label; predictions follow it by `worth` and lean by `lean`."""
    truth = (random.random(size) < common).astype(float)
    noise = random.normal(0, 1, size)
    return truth, 1 / (1 + np.exp(-(worth * (2 * truth - 1) + noise + lean)))


@pytest.mark.parametrize(("worth", "lean"), [(2.0, 0.0), (2.0, 1.5), (0.0, -1.0)])
def test_nineteen_of_twenty_intervals_hold_the_share(worth, lean):
    """Of a good student, one that leans to the label, and one that knows nothing."""
    random = np.random.default_rng(5)
    hits, narrower = 0, []
    for _ in range(600):
        truth, predicted = made_up(random, worth, lean, 2000)
        found = share(truth[:80], predicted[:80], predicted[80:])
        low, high = found.interval
        hits += low <= 0.3 <= high
        narrower.append(found.half_width / found.alone)
    assert 0.925 <= hits / 600 <= 0.975
    assert np.mean(narrower) < (0.85 if worth else 1.02)


@pytest.mark.parametrize("worth", [2.0, 0.0])
@pytest.mark.parametrize(
    ("share_of_label", "read"), [(0.02, 20), (0.02, 100), (0.05, 20), (0.1, 20), (0.1, 80), (0.97, 40)]
)
def test_intervals_of_rare_labels_hold_too_and_are_never_a_point(share_of_label, read, worth):
    random, hits = np.random.default_rng(6), 0
    for _ in range(600):
        truth, predicted = made_up(random, worth, 0.0, 1000, share_of_label)
        found = share(truth[:read], predicted[:read], predicted[read:])
        hits += found.interval[0] <= share_of_label <= found.interval[1]
        assert found.half_width > 0
        assert more_to_read(found, 0.01) > 0
    assert hits / 600 >= 0.9


def test_texts_that_were_not_drawn_at_random_give_no_interval_without_a_share():
    truth = np.repeat([1.0, 0.0], [10, 90])
    found = share(truth, 0.3 + 0.6 * truth, np.full(900, 0.01))
    assert 0 <= found.interval[0] <= found.share <= found.interval[1] <= 1


def test_a_student_alone_would_be_wrong_and_what_was_read_puts_it_right():
    truth, predicted = made_up(np.random.default_rng(1), 2.0, 1.5, 50_000)
    found = share(truth[:1000], predicted[:1000], predicted[1000:])
    assert abs(predicted.mean() - truth.mean()) > 0.1
    assert abs(found.share - truth.mean()) < 0.03


def test_as_many_more_as_it_says_make_the_interval_as_narrow_as_wished():
    truth, predicted = made_up(np.random.default_rng(2), 1.5, 0.0, 20_000)
    found = share(truth[:100], predicted[:100], predicted[100:])
    number = 100 + more_to_read(found, 0.04)
    again = share(truth[:number], predicted[:number], predicted[number:])
    assert again.half_width == pytest.approx(0.04, rel=0.25)
    assert more_to_read(again, 0.5) == 0


def test_a_few_of_each_month_stand_for_all_texts_by_the_months_sizes():
    """Of 1,000 texts in one month and 60 in the other, 40 each were read: 19 of 20 intervals hold the share of all."""
    held = 0
    for draw in range(400):
        random = np.random.default_rng(draw)
        months = [(random.random(size) < rate).astype(float) for size, rate in ((1000, 0.8), (60, 0.2))]
        sure = [np.clip(truth * 0.6 + random.random(len(truth)) * 0.4, 0, 1) for truth in months]
        found = weighted([share(truth[:40], likely[:40], likely[40:]) for truth, likely in zip(months, sure)])
        meant = float(np.concatenate(months).mean())
        held += found.interval[0] <= meant <= found.interval[1]
    assert held / 400 >= 0.93
    assert (found.read, found.texts) == (80, 1060)


def tables(read: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth, predicted = made_up(np.random.default_rng(3), 2.0, 0.0, 400)
    scored = pd.DataFrame(
        {
            "text": [f"Text {number}." for number in range(400)],
            "shop": ["north" if number % 2 else "south" for number in range(400)],
            "day": [f"2026-0{1 + number % 2}-15" for number in range(400)],
            "sentiment": np.where(predicted > 0.5, "negative", "positive"),
            "sentiment negative": predicted.round(4).astype(str),
            "sentiment positive": (1 - predicted).round(4).astype(str),
            "error": "",
        }
    )
    labelled = pd.DataFrame(
        {"text": scored["text"][:read], "label": np.where(truth[:read] > 0, "negative", "positive")}
    )
    return scored, labelled


@pytest.mark.heavy
@pytest.mark.parametrize("options", [[], ["--by", "shop"], ["--month", "day"]])
def test_a_table_from_two_files(options, tmp_path):
    for table, name in zip(tables(), ("scored.csv", "read.csv")):
        table.to_csv(tmp_path / name, index=False)
    command = [
        sys.executable,
        "-m",
        "sentidistill.shares",
        tmp_path / "scored.csv",
        "--labelled",
        tmp_path / "read.csv",
    ]
    shown = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in shown.splitlines() if "\u2502" in line]
    groups = {"--by": {"north", "south"}, "--month": {"2026-01", "2026-02"}}.get((options or [""])[0], set())
    groups |= {"all texts"}
    assert {row[0] for row in rows} == groups
    for name in groups:
        both = [float(row[2]) for row in rows if row[0] == name]
        assert len(both) == 2
        assert sum(both) == pytest.approx(100, abs=0.3)


def test_faults_of_the_files_are_named():
    scored, labelled = tables()
    with pytest.raises(SentiDistillError, match="label 'great'; known are negative, positive"):
        joined(scored, labelled.assign(label="great"), "text", "label", "sentiment")
    with pytest.raises(SentiDistillError, match="60 labelled texts are not in the scored file"):
        joined(scored, labelled.assign(text=labelled["text"] + "!"), "text", "label", "sentiment")
    with pytest.raises(SentiDistillError, match="60 labelled texts are not in the scored file, or more often"):
        joined(scored, pd.concat([labelled, labelled]), "text", "label", "sentiment")
    with pytest.raises(SentiDistillError, match="5 labelled texts; at least 20"):
        joined(scored, labelled[:5], "text", "label", "sentiment")
    with pytest.raises(SentiDistillError, match="labelled file has no column 'mood'; it has text, label"):
        joined(scored, labelled, "text", "mood", "sentiment")
    with pytest.raises(SentiDistillError, match="no columns of the task 'irony'"):
        joined(scored, labelled, "text", "label", "irony")


@pytest.mark.parametrize("cell", ["0,5", "inf", "1.5", "-0.1", "nan", "likely"])
def test_a_probability_that_is_none_is_named_with_its_row_and_column(cell):
    scored, labelled = tables()
    scored.loc[123, "sentiment positive"] = cell
    with pytest.raises(SentiDistillError, match=f"row 124 .*'{cell}' under 'sentiment positive' is no probability"):
        joined(scored, labelled, "text", "label", "sentiment")


def test_a_width_that_no_number_of_texts_gives_asks_for_very_many():
    found = Share(0.5, (0.4, 0.6), 0.1, 100, 1000)
    for width in (1e-152, 1e-302):
        assert more_to_read(found, width) > 10**12


def test_equal_texts_count_as_often_as_they_are_there_and_as_read_as_often_as_they_were_read():
    scored, labelled = tables()
    again = pd.concat([scored, scored[:10], scored[:10]], ignore_index=True)
    rows, read, _ = joined(again, pd.concat([labelled, labelled[:3]]), "text", "label", "sentiment")
    assert len(rows) == 420
    assert read.notna().sum() == 63
    assert read[rows["text"] == "Text 2."].notna().sum() == 2


def test_a_column_of_ones_own_is_no_label():
    scored, labelled = tables()
    own = scored.assign(**{"sentiment by": "me", "sentiment of day": "7"})
    own = own[["text", "sentiment by", "sentiment of day", *scored.columns[1:]]]
    *_, labels = joined(own, labelled, "text", "label", "sentiment")
    assert labels == ["negative", "positive"]


def test_rows_without_an_answer_count_if_they_have_probabilities():
    """`--max-error` leaves answers empty that are too unsure: without them, the shares would be those of sure texts."""
    scored, labelled = tables()
    scored.loc[100:199, "sentiment"] = ""
    scored.loc[200:209, ["sentiment", "sentiment negative", "sentiment positive"]] = ""
    rows, *_ = joined(scored, labelled, "text", "label", "sentiment")
    assert len(rows) == 390


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_of_all_kinds_that_predict_writes_are_read(kind, tmp_path):
    scored, labelled = tables()
    numbers = scored.assign(**{name: scored[name].astype(float) for name in scored.columns if " " in name})
    path = tmp_path / f"scored.{kind}"
    write = {
        "csv": lambda: numbers.to_csv(path, index=False, sep=";"),
        "jsonl": lambda: numbers.to_json(path, orient="records", lines=True),
        "parquet": lambda: numbers.to_parquet(path),
    }
    write[kind]()
    rows, *_ = joined(table_of(path, "text"), labelled, "text", "label", "sentiment")
    expected, *_ = joined(scored, labelled, "text", "label", "sentiment")
    pd.testing.assert_frame_equal(rows, expected)
    with pytest.raises(SentiDistillError, match="no column 'review'; it has text, shop"):
        table_of(path, "review")


def test_a_month_is_that_of_an_iso_date_and_others_are_refused():
    dates = pd.Series(["2026-01-31", "2026-02-01T23:59:00+02:00", "2026-03", " "])
    assert months(dates).tolist() == ["2026-01", "2026-02", "2026-03", "no date"]
    for wrong in ("03/01/2026", "2026-13-01", "2026-01-311"):
        with pytest.raises(SentiDistillError, match=f"1 dates are not written as 2026-01-31, such as '{wrong}'"):
            months(pd.Series(["2026-01-31", wrong]))
