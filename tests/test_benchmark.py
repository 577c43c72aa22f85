"""Scores and intervals of labels, the default tasks' classes, and calibration."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import suite
from sentidistill.evaluation.default_tasks import SENTIMENTS, label
from sentidistill.evaluation.metrics import mean, score
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import WORDING_FILE, known, wording
from sentidistill.inference.calibration import calibrate
from tests.project import ROOT


def outcomes(task: str, gold: list[str], outputs: list[str]) -> list[Outcome]:
    return [
        Outcome(
            task=task,
            record=place,
            seed=1,
            text="",
            gold=right,
            output=output,
            calibrated=None,
            right=right == output,
            finish_reason="choice",
            error=None,
            shown=[],
            scores=[],
        )
        for place, (right, output) in enumerate(zip(gold, outputs))
    ]


def estimate(gold: list[str], outputs: list[str], samples: int, task: str = "tweet"):
    return suite.estimate(known(task), (), outcomes(task, gold, outputs), samples, "output")


def scored(gold: list[str], outputs: list[str]) -> dict:
    return score("tweet", [{"label": one} for one in gold], outputs)


def random_labels(n: int, seed: int) -> list[str]:
    return np.random.default_rng(seed).choice(SENTIMENTS, n).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learns(seed):
    gold, predicted = random_labels(200, seed), random_labels(200, seed + 10)
    scores = scored(gold, predicted)
    macro_f1 = pytest.approx(100 * f1_score(gold, predicted, average="macro"))
    assert scores["macro_f1"] == macro_f1
    assert scores["accuracy"] == pytest.approx(100 * accuracy_score(gold, predicted))
    assert estimate(gold, predicted, 1).value == macro_f1


def test_a_class_never_predicted_counts_as_zero():
    scores = scored(["negative", "positive"], ["positive", "positive"])
    assert scores["f1"] == {"negative": 0.0, "neutral": 0.0, "positive": pytest.approx(200 / 3)}
    assert scores["macro_f1"] == pytest.approx(200 / 9)


def test_a_record_with_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="great"):
        scored(["great"], ["negative"])


def with_accuracy(gold: list[str], share: float, random: np.random.Generator) -> list[str]:
    following = dict(zip(SENTIMENTS, [*SENTIMENTS[1:], SENTIMENTS[0]]))
    return [one if random.random() < share else following[one] for one in gold]


def test_the_bootstrap_is_paired_and_covers_the_truth():
    """Two models of known accuracy: the interval holds the known difference; a model against itself gains nothing."""
    random = np.random.default_rng(0)
    gold = random_labels(3000, 0)
    good, bad = (estimate(gold, with_accuracy(gold, share, random), 500) for share in (0.8, 0.6))
    gain = (good - bad).rounded()
    assert gain["low"] < 20 < gain["high"]
    assert gain["high"] - gain["low"] < 6
    ratio = (bad / good).rounded()
    assert ratio["low"] < 0.75 < ratio["high"]
    assert (good - good).rounded() == {"main": 0, "low": 0, "high": 0}


def test_the_mean_is_over_tasks_not_records():
    few, many = list(SENTIMENTS) * 10, list(SENTIMENTS) * 100
    wrong = with_accuracy(many, 0, np.random.default_rng(0))
    found = mean([estimate(few, few, 50), estimate(many, wrong, 50)])
    assert found.value == 50
    assert found.resampled.mean() == pytest.approx(50, abs=0.5)


def test_tasks_are_resampled_each_by_itself():
    """With the same draws for all tasks, whose records stand in any order, chance would not average out."""
    gold, random = random_labels(300, 0), np.random.default_rng(0)
    outputs = with_accuracy(gold, 0.6, random)
    one, other = (estimate(gold, outputs, 500, task).resampled for task in ("tweet", "movie"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_the_limits_of_a_rating_are_neutral():
    assert [label(x, -0.5, 0.5) for x in (-0.51, -0.5, 0, 0.5, 0.51)] == [
        "negative",
        "neutral",
        "neutral",
        "neutral",
        "positive",
    ]


def test_calibration_takes_off_what_every_text_gets():
    """A model that always prefers the last label by far still tells the texts apart."""
    scores = np.array([[-5.0, -6.0, -1.0], [-6.0, -5.0, -1.0], [-5.5, -5.5, -0.5]])
    assert scores.argmax(1).tolist() == [2, 2, 2]
    assert calibrate(scores, scores).argmax(1).tolist() == [0, 1, 2]
    assert np.allclose(calibrate(scores - 7, scores), calibrate(scores, scores))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("imdb:", "imbd:", r", line \d+: unknown key imbd; did you mean imdb\?"),
        ("imdb:", "imbd:", ": imdb is missing"),
        ("cue: Irony", "cue: yes", r", line \d+: irony18\.cue: expected a text, found true; put it into quotes"),
        ("imdb:", "tweet:", r", line \d+: 'tweet' is given twice, first in line \d+"),
        ("cue: Irony", "cue: [", r", line \d+: "),
        ("cue: Irony", "que: Irony", r", line \d+: irony18\.cue is missing"),
    ],
)
def test_a_torn_wording_is_refused_with_its_line(tmp_path, old, new, said):
    path = tmp_path / "wording.yaml"
    path.write_text(WORDING_FILE.read_text().replace(old, new, 1))
    with pytest.raises(SentiDistillError, match=rf"wording\.yaml{said}"):
        wording(path)


def test_a_command_says_of_a_torn_wording_one_line(tmp_path):
    shutil.copytree(ROOT / "sentidistill", tmp_path / "sentidistill", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / WORDING_FILE.relative_to(ROOT)
    path.write_text(path.read_text().replace("imdb:", "imbd:", 1))
    command = [sys.executable, "-m", "sentidistill.predict", "models/none"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, input="Fine.")
    assert ended.returncode == 1
    assert "unknown key imbd; did you mean imdb?" in ended.stderr
    assert "Traceback" not in ended.stderr
