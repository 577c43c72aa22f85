from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill.construct.perspectives import PERSPECTIVES, Perspective
from sentidistill.errors import SentiDistillError
from sentidistill.report.kept import kept_by_group
from sentidistill.samples import SAMPLES, TRAIN_ROWS, Sample
from sentidistill.selection import capped, inclusion, select, select_within
from stages import select_samples
from tests.project import ROOT


def frame(sizes: list[int], seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    strata = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return pd.DataFrame(
        {
            "id": [f"r{i:05d}" for i in range(len(strata))],
            "stratum": strata,
            "rank_score": random.random(len(strata)),
            "lead": random.exponential(size=len(strata)),
        }
    )


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    rate=st.floats(0.05, 1),
    strategy=st.sampled_from(["soft", "hard", "random", "hard_and_sure"]),
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


def times_kept(samples: pd.DataFrame, **settings) -> pd.Series:
    """How often each row is kept, over 400 seeds, in the order of the rows."""
    kept = [samples["id"].isin(select(samples, strategy="hard_and_sure", seed=seed, **settings)) for seed in range(400)]
    return sum(one.astype(int) for one in kept)


def test_of_equally_hard_labels_the_sure_ones_are_kept_and_of_equally_sure_ones_the_hard_ones():
    equally_hard = frame([40]).assign(rank_score=0.8, lead=[0.01] * 20 + [3.0] * 20)
    equally_sure = frame([40]).assign(rank_score=[0.1] * 20 + [0.8] * 20, lead=2.0)
    for samples in (equally_hard, equally_sure):
        kept = times_kept(samples, rate=0.25)
        assert kept[20:].sum() > 8 * kept[:20].sum() > 0


def test_the_hardest_label_is_not_kept_if_the_teacher_is_torn():
    samples = frame([20]).assign(rank_score=[*np.linspace(0.1, 0.8, 19), 0.99], lead=[1.0] * 19 + [0.0])
    assert times_kept(samples, rate=0.25).iloc[-1] < 4
    assert samples["id"].iloc[-1] in select(samples, rate=0.25, strategy="hard", seed=0)


def test_open_answers_have_no_lead_and_are_selected_by_difficulty_alone():
    samples = frame([30, 40])
    samples.loc[samples["stratum"] == "s1", "lead"] = np.nan
    opened = set(samples.loc[samples["stratum"] == "s1", "id"])
    for seed in range(5):
        sure, soft = (set(select(samples, rate=0.3, strategy=one, seed=seed)) for one in ("hard_and_sure", "soft"))
        assert sure & opened == soft & opened
        assert sure - opened != soft - opened
    alone = frame([40]).assign(lead=np.nan)
    assert select(alone, rate=0.3, strategy="hard_and_sure", seed=1) == select(alone, rate=0.3, seed=1)


@pytest.mark.parametrize("strategy", ["soft", "random", "hard_and_sure"])
def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(strategy):
    samples = frame([30, 5, 11])
    shuffled = samples.sample(frac=1, random_state=3)
    assert select(samples, rate=0.3, strategy=strategy, seed=4) == select(shuffled, rate=0.3, strategy=strategy, seed=4)
    assert select(samples, rate=0.3, strategy=strategy, seed=4) != select(samples, rate=0.3, strategy=strategy, seed=5)


def tied(number: int) -> pd.DataFrame:
    return frame([number]).assign(rank_score=0.0)


@pytest.mark.parametrize("strategy", ["soft", "hard", "easy", "hard_and_sure"])
def test_ties_are_broken_by_the_seed_and_not_by_id(strategy):
    samples = tied(1000)
    kept = [set(select(samples, rate=0.1, strategy=strategy, seed=seed)) for seed in range(12)]
    assert {len(ids) for ids in kept} == {100}
    shared = [len(one & other) / 100 for one, other in combinations(kept, 2)]
    assert np.mean(shared) == pytest.approx(0.1, abs=0.02), "by chance"
    assert max(shared) < 0.25
    first_half = set(samples["id"].head(500))
    assert np.mean([len(ids & first_half) for ids in kept]) == pytest.approx(50, abs=7)


@pytest.mark.parametrize("strategy", ["soft", "hard", "easy", "random", "hard_and_sure"])
def test_ties_are_broken_alike_in_any_order_of_the_rows(strategy):
    samples = pd.concat([tied(60), frame([30]).assign(id=[f"x{i:02d}" for i in range(30)])])
    samples = samples.assign(tokens=10)
    for seed in range(3):
        shuffled = samples.sample(frac=1, random_state=seed)
        settings = {"strategy": strategy, "seed": seed}
        assert select(samples, rate=0.2, **settings) == select(shuffled, rate=0.2, **settings)
        budget = {"tokens": 170}
        assert select_within(samples, budget=budget, **settings) == select_within(shuffled, budget=budget, **settings)


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
    [
        *({"rate": 0}, {"rate": 1.5}, {"peak": 2}, {"metric": "missing"}, {"strategy": "middle"}),
        *({"caps": {"family": 0.5}}, {"strategy": "hard_and_sure", "stratify": False}),
    ],
)
def test_bad_arguments_are_refused(change):
    with pytest.raises(ValueError, match=r"rate|peak|column|strategy|needs strata"):
        select(frame([4]), **{"rate": 0.5, "seed": 0, **change})


def test_missing_scores_and_repeated_ids_are_refused():
    samples = frame([4])
    with pytest.raises(ValueError, match="rank_score is missing"):
        select(samples.assign(rank_score=[0.1, None, 0.2, 0.3]), rate=0.5, seed=0)
    with pytest.raises(ValueError, match=r"no column \['lead'\]"):
        select(samples.drop(columns="lead"), rate=0.5, strategy="hard_and_sure", seed=0)
    with pytest.raises(ValueError, match="repeated"):
        select(samples.assign(id="same"), rate=0.5, seed=0)


def test_easy_keeps_the_easiest():
    samples = frame([20])
    ids = select(samples, rate=0.25, strategy="easy", seed=1)
    assert set(ids) == set(samples.nsmallest(5, "rank_score")["id"])


def with_groups(sizes: dict[tuple[int, str], int]) -> pd.DataFrame:
    """Rows of (cluster, family) groups, each a stratum."""
    samples = frame(list(sizes.values()))
    groups = [group for group, size in sizes.items() for _ in range(size)]
    return samples.assign(cluster=[cluster for cluster, _ in groups], family=[family for _, family in groups])


def shares(samples: pd.DataFrame, ids: list[str], column: str) -> dict:
    return samples[samples["id"].isin(ids)][column].value_counts(normalize=True).to_dict()


@pytest.mark.parametrize("strategy", ["soft", "random"])
def test_no_cluster_or_family_has_more_than_its_share_and_the_size_stays(strategy):
    samples = with_groups({(0, "a"): 600, (1, "a"): 150, (2, "b"): 150, (3, "b"): 100})
    caps = {"cluster": 0.4, "family": 0.6}
    ids = select(samples, rate=0.2, strategy=strategy, caps=caps, seed=2)
    assert len(ids) == 200
    assert max(shares(samples, ids, "cluster").values()) <= 0.4 + 3 / 200
    assert max(shares(samples, ids, "family").values()) <= 0.6 + 3 / 200
    uncapped = select(samples, rate=0.2, strategy=strategy, seed=2)
    assert shares(samples, uncapped, "cluster")[0] == pytest.approx(0.6, abs=0.02)
    assert select(samples, rate=0.2, strategy=strategy, caps={"cluster": 1.0}, seed=2) == uncapped


def test_where_everything_is_capped_fewer_are_kept():
    samples = with_groups({(0, "a"): 100, (1, "a"): 100})
    assert len(select(samples, rate=0.5, caps={"cluster": 0.3}, seed=0)) == pytest.approx(60, abs=1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.floats(0.05, 0.9), st.floats(0.1, 1))
def test_capped_rates_are_rates_and_respect_the_cap(sizes, rate, share):
    sizes = np.array(sizes)
    rates = capped(sizes, rate, [(np.arange(len(sizes)) // 2, share)])
    assert ((rates >= 0) & (rates <= 1 + 1e-9)).all()
    kept = np.bincount(np.arange(len(sizes)) // 2, rates * sizes)
    assert kept.max() <= share * rate * sizes.sum() * (1 + 1e-6)
    assert kept.sum() <= rate * sizes.sum() * (1 + 1e-6)


@pytest.mark.parametrize("strategy", ["soft", "hard", "random", "hard_and_sure"])
def test_a_budget_of_samples_or_tokens_is_used_and_not_exceeded(strategy):
    samples = frame([200, 90, 10])
    samples = samples.assign(tokens=np.random.default_rng(3).integers(5, 100, len(samples)))
    assert len(select_within(samples, budget={"samples": 75}, strategy=strategy, seed=1)) == 75
    ids = select_within(samples, budget={"tokens": 4000}, strategy=strategy, seed=1)
    used = samples.set_index("id").loc[ids, "tokens"].sum()
    assert 4000 - 2 * 100 <= used <= 4000
    assert len(select_within(samples, budget={"tokens": 10**9}, strategy=strategy, seed=1)) == len(samples)
    assert len(select_within(samples, budget={"samples": 10**9}, strategy=strategy, seed=1)) == len(samples)


@pytest.mark.parametrize("strategy", ["soft", "hard", "random"])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_of_tokens_is_kept_by_the_largest_rate_whose_sample_fits(strategy, seed):
    random = np.random.default_rng(seed)
    samples = pd.DataFrame(
        {
            "id": [f"{number:016x}" for number in random.permutation(500)],
            "stratum": random.integers(0, 12, 500).astype(str),
            "rank_score": random.integers(0, 9, 500) / 9,
            "tokens": random.integers(1, 300, 500),
        }
    )
    tokens = samples.set_index("id")["tokens"]
    low, high, best = 0.0, 1.0, []
    for _ in range(24):
        middle = (low + high) / 2
        ids = select(samples, rate=middle, strategy=strategy, seed=seed)
        low, high, best = (middle, high, ids) if tokens.loc[ids].sum() <= 20_000 else (low, middle, best)
    assert select_within(samples, budget={"tokens": 20_000}, strategy=strategy, seed=seed) == best
    assert 15_000 < tokens.loc[best].sum() <= 20_000


@pytest.fixture
def kept_of(tmp_path, monkeypatch):
    """kept_of(rows, settings): how many of each `answer` the stage keeps."""

    def run(rows: list[dict], **settings) -> dict[str, int]:
        monkeypatch.chdir(tmp_path)
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        values["select_samples"] |= {"rate": 0.5, "strategy": "soft"} | settings
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        (tmp_path / "reviews.jsonl").touch()
        perspectives = [
            Perspective(id=n, exemplar=name, attributes=[], count=1, cohesion=1.0, kept=True, margin=None)
            for n, name in enumerate(("mood", "courtesy", "haste"))
        ]
        PERSPECTIVES.write(perspectives)
        common = {"stratum": "77c0", "family": "classification", "instruction": "Choose.", "cue": "Mood"}
        common |= {"labels": ["joy", "anger"], "text": "Well.", "demonstrations": [], "student_demonstrations": []}
        common |= {"label_scores": [], "plain": "joy", "probabilities": [0.5, 0.5]}
        rows = [{"id": f"{n:02}", "tokens": 1, "cluster": 0, "difficulty": 0.5} | row for n, row in enumerate(rows)]
        SAMPLES.write(
            [
                Sample(**common, **{name: row[name] for name in ("id", "cluster", "answer")}, text_id=row["id"])
                for row in rows
            ]
        )
        scores = pd.DataFrame(rows).assign(family="classification", stratum=[f"77c0 {row['answer']}" for row in rows])
        scores.to_csv("data/difficulty.csv", index=False)
        select_samples.main()
        return pd.Series([row.answer for row in TRAIN_ROWS.read()]).value_counts().to_dict()

    return run


@pytest.mark.parametrize(("stratify", "kept"), [(True, {"joy": 10, "anger": 10}), ("instruction", {"anger": 20})])
def test_a_stratum_is_an_instruction_and_its_answer_or_as_published_an_instruction(kept_of, stratify, kept):
    """Ranked across its labels, the hard half of a task is the label that the student seldom says."""
    answers = ["joy"] * 20 + ["anger"] * 20
    rows = [{"answer": one, "difficulty": n} for n, one in enumerate(answers)]
    assert kept_of(rows, strategy="hard", stratify=stratify) == kept


def test_prompts_are_chosen_by_what_is_known_before_their_answers(kept_of):
    rows = [{"answer": one, "uncertainty": n} for n, one in enumerate(["joy"] * 20 + ["anger"] * 20)]
    assert kept_of(rows, metric="uncertainty", strategy="hard", stratify="instruction") == {"anger": 20}


def test_samples_of_some_perspectives_are_kept_or_left_out(kept_of):
    rows = [{"answer": ("joy", "anger", "hurry")[n % 3], "cluster": n % 3} for n in range(30)]
    assert kept_of(rows, rate=1.0, perspectives=["mood", "haste"]) == {"joy": 10, "hurry": 10}
    assert kept_of(rows, rate=0.5, without_perspectives=["courtesy"]) == {"joy": 5, "hurry": 5}
    with pytest.raises(SentiDistillError, match=r"no perspective is called 'moods'; nearest .*: mood"):
        kept_of(rows, perspectives=["moods"])
