from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill.selection import inclusion, select
from stages.select_samples import kept_by_group


def frame(sizes: list[int], seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    strata = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return pd.DataFrame(
        {"id": [f"r{i:05d}" for i in range(len(strata))], "stratum": strata, "rank_score": random.random(len(strata))}
    )


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    rate=st.floats(0.05, 1),
    strategy=st.sampled_from(["soft", "hard", "random"]),
    peak=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 5),
)
def test_every_stratum_keeps_its_share_within_one_row(sizes, rate, strategy, peak, seed):
    samples = frame(sizes)
    ids = select(samples, rate=rate, strategy=strategy, peak=peak, seed=seed)
    assert len(ids) == len(set(ids))
    assert abs(len(ids) - rate * len(samples)) < 1 + 1e-6
    kept = samples[samples["id"].isin(ids)].groupby("stratum").size()
    for number, size in enumerate(sizes):
        assert abs(kept.get(f"s{number}", 0) - rate * size) < 1 + 1e-6


@pytest.mark.parametrize("strategy", ["soft", "hard", "random"])
@pytest.mark.parametrize(("size", "rate"), [(1, 0.1), (2, 0.1), (3, 0.5), (10, 0.1), (7, 0.25)])
def test_small_strata_get_their_share_over_the_seeds(strategy, size, rate):
    samples = frame([size])
    kept = np.mean([len(select(samples, rate=rate, strategy=strategy, seed=seed)) for seed in range(400)])
    assert kept == pytest.approx(size * rate, abs=4 * 0.5 / np.sqrt(400))


def test_the_hardest_tenth_holds_about_65_percent_of_a_soft_sample():
    """The published curve at rate 0.1 and peak 1: hardest decile 65 %, the next 24 %."""
    probabilities = inclusion(1000, 0.1, "soft", 1.0)
    assert probabilities.sum() == pytest.approx(100)
    assert probabilities[-100:].sum() / 100 == pytest.approx(0.65, abs=0.01)
    assert probabilities[-200:-100].sum() / 100 == pytest.approx(0.24, abs=0.01)


def test_a_peak_in_the_middle_keeps_the_middle():
    probabilities = inclusion(1000, 0.2, "soft", 0.5)
    assert probabilities[400:600].mean() > 2 * probabilities[:200].mean()
    assert probabilities[:500].sum() == pytest.approx(probabilities[500:].sum(), rel=1e-6)


def test_hard_keeps_the_hardest():
    samples = frame([20])
    ids = select(samples, rate=0.25, strategy="hard", seed=1)
    assert set(ids) == set(samples.nlargest(5, "rank_score")["id"])


@pytest.mark.parametrize("strategy", ["soft", "random"])
def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(strategy):
    samples = frame([30, 5, 11])
    shuffled = samples.sample(frac=1, random_state=3)
    assert select(samples, rate=0.3, strategy=strategy, seed=4) == select(shuffled, rate=0.3, strategy=strategy, seed=4)
    assert select(samples, rate=0.3, strategy=strategy, seed=4) != select(samples, rate=0.3, strategy=strategy, seed=5)


def tied(number: int) -> pd.DataFrame:
    return frame([number]).assign(rank_score=0.0)


@pytest.mark.parametrize("strategy", ["soft", "hard", "easy"])
def test_ties_are_broken_by_the_seed_and_not_by_id(strategy):
    samples = tied(1000)
    kept = [set(select(samples, rate=0.1, strategy=strategy, seed=seed)) for seed in range(12)]
    assert {len(ids) for ids in kept} == {100}
    shared = [len(one & other) / 100 for one, other in combinations(kept, 2)]
    assert np.mean(shared) == pytest.approx(0.1, abs=0.02), "by chance"
    assert max(shared) < 0.25
    first_half = set(samples["id"].head(500))
    assert np.mean([len(ids & first_half) for ids in kept]) == pytest.approx(50, abs=7)


@pytest.mark.parametrize("strategy", ["soft", "hard", "easy", "random"])
def test_ties_are_broken_alike_in_any_order_of_the_rows(strategy):
    samples = pd.concat([tied(60), frame([30]).assign(id=[f"x{i:02d}" for i in range(30)])])
    for seed in range(3):
        shuffled = samples.sample(frac=1, random_state=seed)
        settings = {"strategy": strategy, "seed": seed}
        assert select(samples, rate=0.2, **settings) == select(shuffled, rate=0.2, **settings)


def test_a_tie_never_outranks_what_is_harder():
    samples = frame([30]).assign(rank_score=[0.0] * 20 + [0.5] * 6 + [0.9] * 4)
    hardest = set(samples.tail(4)["id"])
    for seed in range(20):
        ids = set(select(samples, rate=0.2, strategy="hard", seed=seed))
        assert hardest < ids
        assert not ids & set(samples.head(20)["id"])


def test_equal_difficulties_share_a_decile():
    scores = frame([40]).assign(rank_score=[0.0] * 20 + [1.0] * 20, family="scoring", cluster=0)
    kept = pd.Series([place % 2 == 0 for place in range(40)])
    table = kept_by_group(scores, "rank_score", kept).query("group == 'decile'")
    assert table[["name", "samples", "kept"]].to_numpy().tolist() == [[3, 20, 10], [8, 20, 10]]


def test_without_strata_the_whole_is_ranked():
    samples = pd.DataFrame({"id": ["a", "b", "c", "d"], "stratum": [1, 1, 2, 2], "rank_score": [0.9, 0.8, 0.1, 0.2]})
    assert select(samples, rate=0.5, strategy="hard", stratify=False, seed=0) == ["a", "b"]


def test_rate_one_keeps_everything_and_nothing_stays_nothing():
    samples = frame([3, 9])
    assert select(samples, rate=1.0, seed=0) == sorted(samples["id"])
    assert select(samples.head(0), rate=0.5, seed=0) == []


@pytest.mark.parametrize(
    "change",
    [{"rate": 0}, {"rate": 1.5}, {"peak": 2}, {"metric": "missing"}, {"strategy": "middle"}],
)
def test_bad_arguments_are_refused(change):
    with pytest.raises(ValueError, match=r"rate|peak|column|strategy"):
        select(frame([4]), **{"rate": 0.5, "seed": 0, **change})


def test_missing_scores_and_repeated_ids_are_refused():
    samples = frame([4])
    with pytest.raises(ValueError, match="rank_score is missing"):
        select(samples.assign(rank_score=[0.1, None, 0.2, 0.3]), rate=0.5, seed=0)
    with pytest.raises(ValueError, match="repeated"):
        select(samples.assign(id="same"), rate=0.5, seed=0)


def test_easy_keeps_the_easiest():
    samples = frame([20])
    ids = select(samples, rate=0.25, strategy="easy", seed=1)
    assert set(ids) == set(samples.nsmallest(5, "rank_score")["id"])
