import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from sentidistill.benchmark.metrics import bootstrap_macro_f1, interval, label_scores
from sentidistill.benchmark.prompting import draw_sets
from sentidistill.benchmark.tasks import LABELS, Example, label
from sentidistill.calibration import calibrate


def random_labels(n: int, seed: int) -> list[str]:
    return np.random.default_rng(seed).choice(LABELS, n).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learns(seed):
    gold, predicted = random_labels(200, seed), random_labels(200, seed + 10)
    scores = label_scores(gold, predicted, LABELS)
    assert scores["macro_f1"] == pytest.approx(100 * f1_score(gold, predicted, average="macro"), abs=0.01)
    assert scores["accuracy"] == pytest.approx(100 * accuracy_score(gold, predicted), abs=0.01)


def test_a_class_never_predicted_counts_as_zero():
    scores = label_scores(["negative", "positive"], ["positive", "positive"], LABELS)
    assert scores["f1"] == {"negative": 0.0, "neutral": 0.0, "positive": 66.67}
    assert scores["macro_f1"] == 22.22


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="great"):
        label_scores(["negative"], ["great"], LABELS)


def test_the_bootstrap_is_paired_and_covers_the_truth():
    """Two models of known accuracy: the interval holds the known difference; a model against itself gains nothing."""
    random = np.random.default_rng(0)
    gold = random.integers(3, size=3000)
    good = np.where(random.random(3000) < 0.8, gold, (gold + 1) % 3)
    bad = np.where(random.random(3000) < 0.6, gold, (gold + 1) % 3)
    values = bootstrap_macro_f1([(gold, [bad, good, good])], 3, 500, 1)
    low, high = interval(values[:, 1] - values[:, 0])
    assert low < 20 < high
    assert high - low < 6
    assert np.array_equal(values[:, 1], values[:, 2])


def test_the_mean_is_over_tasks_not_records():
    perfect, wrong = np.tile([0, 1, 2], 10), np.tile([0, 1, 2], 100)
    values = bootstrap_macro_f1([(perfect, [perfect]), (wrong, [(wrong + 1) % 3])], 3, 50, 0)
    assert values.mean() == pytest.approx(50, abs=0.5)


def test_the_limits_of_a_rating_are_neutral():
    assert [label(x, -0.5, 0.5) for x in (-0.51, -0.5, 0, 0.5, 0.51)] == [
        "negative",
        "neutral",
        "neutral",
        "neutral",
        "positive",
    ]


def test_demonstration_sets_show_every_class_and_do_not_depend_on_other_tasks():
    train = [Example(id=str(i), text=f"text {i}", label=LABELS[i % 3], rating=0) for i in range(30)]
    sets = draw_sets(train, 2, 3, "tweet", 42)
    for one in sets:
        assert sorted(example.label for example in one) == sorted(LABELS * 2)
        assert len({example.id for example in one}) == 6
    assert sets != draw_sets(train, 2, 3, "movie", 42)
    assert sets[:2] == draw_sets(train, 2, 2, "tweet", 42)


def test_calibration_takes_off_what_every_text_gets():
    """A model that always prefers the last label by far still tells the texts apart."""
    scores = np.array([[-5.0, -6.0, -1.0], [-6.0, -5.0, -1.0], [-5.5, -5.5, -0.5]])
    assert scores.argmax(1).tolist() == [2, 2, 2]
    assert calibrate(scores).argmax(1).tolist() == [0, 1, 2]
    assert calibrate(scores, scores).tolist() == calibrate(scores).tolist()
    assert np.allclose(calibrate(scores - 7), calibrate(scores))
