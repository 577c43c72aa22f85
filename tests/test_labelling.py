"""Which labels count as sure, and which as meaning something to the model that gives them."""

import numpy as np

from sentidistill.instructions import TaskDefinition
from sentidistill.labelling import exchanged_correlation, kappa, surest, surest_levels

# Two labels; the texts lean to the first by so much.
LEANINGS = np.array([0.9, -0.4, 0.05, -1.2, 0.5, -0.4])


def scores(leanings: np.ndarray) -> np.ndarray:
    return np.stack([leanings, np.zeros_like(leanings)], axis=1)


def test_the_surest_texts_of_each_label_come_first_and_doubtful_ones_are_left_out():
    assert surest(scores(LEANINGS), 2) == [(0, 0), (4, 0), (3, 1), (1, 1)]
    assert surest(scores(LEANINGS), 9, 0.1) == [(0, 0), (4, 0), (3, 1), (1, 1), (5, 1)]
    confirmed = np.array([False, False, True, True, True, True])
    assert surest(scores(LEANINGS), 2, 0.1, confirmed) == [(0, 0), (4, 0), (3, 1), (5, 1)]


def test_texts_near_the_ends_and_the_middle_of_a_scale_stand_for_its_levels():
    ends = np.random.default_rng(0).permutation(np.linspace(-2, 2, 9))
    found = surest_levels(np.stack([np.zeros(9), ends], axis=1), 5, 2)
    values = {level: sorted(ends[text].round(1) for text, of in found if of == level) for level in (0, 2, 4)}
    assert values == {0: [-2.0, -1.5], 2: [-0.5, 0.0], 4: [1.5, 2.0]}
    few = surest_levels(scores(LEANINGS[:3]), 5, 3)
    assert sorted(level for _, level in few) == [0, 2, 4]
    assert len({text for text, _ in few}) == 3


def test_labels_given_alike_with_and_without_demonstrations_agree_beyond_chance():
    assert kappa(scores(LEANINGS), scores(LEANINGS * 3)) == 1.0
    assert kappa(scores(LEANINGS), scores(-LEANINGS)) < 0
    assert kappa(scores(LEANINGS), scores(np.ones(6))) == 0.0


def test_labels_that_keep_their_meaning_when_their_demonstrations_are_exchanged_correlate():
    random = np.random.default_rng(0)
    meaning, shown, noise = random.normal(size=(3, 2000))
    before = scores(meaning + 0.3 * shown)
    assert exchanged_correlation(before, scores(meaning - 0.3 * shown), (0, 1)) > 0.7
    assert exchanged_correlation(scores(shown + noise), scores(-shown + noise), (0, 1)) < 0.1
    assert exchanged_correlation(before, scores(np.zeros(2000)), (0, 1)) == 0.0


def test_a_scale_is_asked_by_what_its_ends_stand_for():
    task = TaskDefinition(
        id="1",
        cluster=0,
        attribute="calm",
        mentions=3,
        name="Calm",
        family="scoring",
        instruction="Rate how calm the author of the text is, from 1 (not calm) to 5 (very calm).",
        labels=list("12345"),
        format="",
        examples=[],
    )
    assert task.with_ends().labels == ["not calm", "very calm"]
    assert task.model_copy(update={"instruction": "Rate how calm it is."}).with_ends().labels == ["1", "5"]
    assert task.model_copy(update={"family": "classification"}).with_ends().labels == task.labels
