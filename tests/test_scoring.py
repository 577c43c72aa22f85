"""Scoring that is cut off and goes on, and scoring spread over actors: the same digits, nothing computed twice."""

import json
import math
import random
from functools import partial

import pytest

from sentidistill import config, difficulty, scoring
from sentidistill.difficulty import Difficulty, score_ids
from tests.project import ROOT, finish, start

SETTINGS = ("model", 0.95, 64)


def rows(number: int, seed: int = 0) -> list[difficulty.Row]:
    """Prompts of three instructions, one of them long enough to be shared, with answers of 1 to 9 tokens."""
    random_ = random.Random(seed)
    draw = partial(random_.choices, range(10, 200))
    beginnings = [draw(k=40), draw(k=5), draw(k=3)]
    return [
        (random_.choice(beginnings) + draw(k=random_.randint(1, 12)), draw(k=random_.randint(1, 9)))
        for _ in range(number)
    ]


def batches(samples: list[difficulty.Row]) -> list[list[int]]:
    return difficulty.batches(samples, 4000, max_length=64, batch_tokens=100)


class Counting(scoring.LocalScorer):
    """Scores as the real one does, counts batches, and dies when told to."""

    def __init__(self, model, die_after: int | None = None):
        super().__init__(model, 0.95, 64)
        self.done, self.die_after = 0, die_after

    def stream(self, jobs):
        for finished in super().stream(jobs):
            if self.die_after is not None and self.done >= self.die_after:
                raise KeyboardInterrupt
            self.done += 1
            yield finished


def test_every_row_is_in_one_batch_within_the_limits():
    samples = rows(200)
    found = batches(samples)
    assert sorted(place for batch in found for place in batch) == list(range(200))
    for batch in found:
        sequences = [prompt + completion[:-1] for prompt, completion in (samples[place] for place in batch)]
        beginnings = {tuple(one[:length]) for one in sequences for length in range(1, len(one) + 1)}
        assert len(beginnings) <= 100, "each token that follows the same tokens counts once"
    tokens = sum(len(prompt) + len(completion) for prompt, completion in samples)
    assert len(found) < tokens / 100, "prompts with a long common beginning share batches"


def test_the_logits_kept_at_once_are_limited():
    samples = [([5], [7] * 40) for _ in range(30)]
    vocabulary = difficulty.LOGIT_BYTES // (4 * 100)
    found = difficulty.batches(samples, vocabulary, max_length=64, batch_tokens=10_000)
    assert max(len(batch) for batch in found) == 2


def test_shared_beginnings_change_no_score(tiny_student):
    model, _ = tiny_student
    samples = rows(40)
    alone = [score_ids(model, [row], max_length=64)[0] for row in samples]
    for one, other in zip(score_ids(model, samples, max_length=64, batch_tokens=600), alone):
        assert one.rank_score == pytest.approx(other.rank_score, abs=1e-4)
        assert one.rank_score_all == pytest.approx(other.rank_score_all, abs=1e-4)
        assert one.nll == pytest.approx(other.nll, abs=1e-4)
        assert one.n_tokens == other.n_tokens


def test_an_interrupted_run_goes_on_with_the_batches_that_are_missing(tiny_student, tmp_path):
    model, _ = tiny_student
    samples = rows(60)
    whole = scoring.score(samples, batches(samples), lambda: Counting(model), tmp_path / "whole", SETTINGS)
    dying, second = Counting(model, die_after=4), Counting(model)
    with pytest.raises(KeyboardInterrupt):
        scoring.score(samples, batches(samples), lambda: dying, tmp_path / "store", SETTINGS)
    assert scoring.score(samples, batches(samples), lambda: second, tmp_path / "store", SETTINGS) == whole
    assert dying.done + second.done == len(batches(samples))

    def opened():
        raise AssertionError("nothing is missing")

    assert scoring.score(samples, batches(samples), opened, tmp_path / "store", SETTINGS) == whole


def test_scores_of_another_model_or_setting_are_not_taken(tiny_student, tmp_path):
    model, _ = tiny_student
    samples = rows(10)
    scoring.score(samples, batches(samples), lambda: Counting(model), tmp_path, SETTINGS)
    again = Counting(model)
    scoring.score(samples, batches(samples), lambda: again, tmp_path, ("model", 0.5, 64))
    assert again.done == len(batches(samples))


def test_scores_of_other_code_are_not_taken(tiny_student, tmp_path, monkeypatch):
    model, _ = tiny_student
    samples = rows(10)
    scoring.score(samples, batches(samples), lambda: Counting(model), tmp_path, SETTINGS)
    monkeypatch.setattr(scoring, "_code", lambda: "another state of the code")
    again = Counting(model)
    scoring.score(samples, batches(samples), lambda: again, tmp_path, SETTINGS)
    assert again.done == len(batches(samples))


def test_two_actors_give_the_same_digits(tiny_models, tmp_path):
    from sentidistill.config import Ray
    from sentidistill.teacher.ray import RayEngine

    samples = rows(50)
    params = config.load(ROOT / "params.yaml")
    runtime = params.runtime.model_copy(update={"threads": 1})
    opener = partial(scoring.open_scorer, tiny_models / "student", tmp_path, runtime, params.score_difficulty, 64)
    local = scoring.score(samples, batches(samples), opener, tmp_path / "local", SETTINGS)
    actors = Ray(actors=2, cpus_per_actor=1, gpus_per_actor=0)
    engine = RayEngine(opener, actors, rows=1, hash_of=lambda batch: int(scoring.batch_key(batch), 16))
    assert scoring.score(samples, batches(samples), lambda: engine, tmp_path / "actors", SETTINGS) == local


def test_agreement_tells_equal_opposite_and_unrelated_rankings_apart():
    random_ = random.Random(4)
    scores = [random_.random() for _ in range(400)]
    assert scoring.agreement(scores, [2 * one + 1 for one in scores]) == {
        "spearman": 1.0,
        "overlap_10": 1.0,
        "overlap_25": 1.0,
        "overlap_50": 1.0,
    }
    assert scoring.agreement(scores, [-one for one in scores]) == {
        "spearman": -1.0,
        "overlap_10": 0.0,
        "overlap_25": 0.0,
        "overlap_50": 0.0,
    }
    unrelated = scoring.agreement(scores, [random_.random() for _ in scores])
    assert abs(unrelated["spearman"]) < 0.2
    assert unrelated["overlap_50"] == pytest.approx(0.5, abs=0.1)


def test_a_proxy_scores_in_the_students_place_and_is_compared_with_it(project, tmp_path):
    """The student as its own proxy: the same scores, and full agreement."""

    def change(values):
        values["prepare_models"]["proxy"] = {"source": "path", "path": ".cache/smoke/student"}
        values["score_difficulty"]["model"] = "proxy"

    project.copy_of_files(tmp_path, change)
    (tmp_path / "models/proxy/origin.json").write_text((tmp_path / "models/student_base/origin.json").read_text())
    finish(start(tmp_path, "score_difficulty"))
    name = "data/difficulty.csv"
    assert (tmp_path / name).read_bytes() == (project.folder / name).read_bytes()
    metrics = json.loads((tmp_path / "metrics/score_difficulty.json").read_text())
    assert metrics["proxy_spearman"] == metrics["proxy_overlap_10"] == 1.0


def test_the_perplexity_and_the_flags_are_given(tiny_student):
    model, _ = tiny_student
    cut, whole = score_ids(model, [([5, 6], list(range(20, 60))), ([5, 6], [7])], max_length=11)
    assert isinstance(cut, Difficulty)
    assert (cut.truncated, cut.answer_cut, whole.truncated, whole.answer_cut) == (True, True, False, False)
    assert whole.ppl == pytest.approx(math.exp(whole.nll))
