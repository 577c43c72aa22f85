"""Scoring that is cut off and goes on, and scoring spread over actors: the same digits, nothing computed twice."""

import copy
import json
import math
import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from scripts.closure import closure
from sentidistill import config, difficulty, records
from sentidistill.difficulty import Difficulty, score_ids
from sentidistill.errors import SentiDistillError
from sentidistill.prompts import end_ids, render
from sentidistill.samples import Sample
from sentidistill.student import scoring
from sentidistill.student.rows import tokenise
from sentidistill.uncertainty import uncertainty
from stages import score_difficulty
from tests.project import ROOT, finish, smoke_params, start
from tests.test_difficulty import token_by_token

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


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.", "0.1", 1),
        lambda text: json.dumps(json.loads(text)["scores"]),
        lambda text: "{}",
        lambda text: "[" * 100_000,
        lambda text: "",
    ],
    ids=["torn", "a changed score", "as written before", "no scores", "nested", "empty"],
)
def test_a_damaged_file_of_scores_is_scored_again(tiny_student, tmp_path, caplog, damage):
    model, _ = tiny_student
    samples = rows(30)
    whole = scoring.score(samples, batches(samples), lambda: Counting(model), tmp_path, SETTINGS)
    file = min(tmp_path.glob("*.json"))
    before = file.read_bytes()
    file.write_text(damage(file.read_text()))
    again = Counting(model)
    assert scoring.score(samples, batches(samples), lambda: again, tmp_path, SETTINGS) == whole
    assert again.done == 1
    assert file.read_bytes() == before
    assert "1 stored batches of scores are damaged" in caplog.text


def test_scores_of_other_code_are_not_taken(tiny_student, tmp_path, monkeypatch):
    model, _ = tiny_student
    samples = rows(10)
    scoring.score(samples, batches(samples), lambda: Counting(model), tmp_path, SETTINGS)
    monkeypatch.setattr(scoring, "_code", lambda: "another state of the code")
    again = Counting(model)
    scoring.score(samples, batches(samples), lambda: again, tmp_path, SETTINGS)
    assert again.done == len(batches(samples))


@pytest.mark.slow
def test_two_actors_give_the_same_digits(tiny_models, tmp_path):
    from sentidistill.config.runtime import Ray
    from sentidistill.inference.engines.actors import RayEngine

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


def test_scores_that_tell_no_samples_apart_agree_by_chance():
    tied = [0.0] * 995 + [0.1, 0.2, 0.3, 0.4, 0.5]
    found = scoring.agreement(tied, tied)
    assert found["overlap_10"] == pytest.approx(0.15, abs=0.08)
    assert found["overlap_50"] == pytest.approx(0.5, abs=0.08)


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
    for name in ("proxy_difficulty", "proxy_rank_score"):
        assert metrics[name]["spearman"] == 1.0
    assert metrics["proxy_difficulty"]["overlap_10"] == 1.0


def test_the_perplexity_and_the_flags_are_given(tiny_student):
    model, _ = tiny_student
    cut, whole = score_ids(model, [([5, 6], list(range(20, 60))), ([5, 6], [7])], max_length=11)
    assert isinstance(cut, Difficulty)
    assert (cut.truncated, cut.answer_cut, whole.truncated, whole.answer_cut) == (True, True, False, False)
    assert whole.ppl == pytest.approx(math.exp(whole.nll))


def test_the_code_that_keys_stored_scores_holds_all_that_computes_them():
    assert closure(ROOT / "sentidistill/difficulty.py") <= {f"sentidistill/{name}" for name in scoring.CODE}


LABELS = ["1", "2", "10", "very rude", "very polite indeed"]


def sample(number: int, labels: list[str], words: int = 6, shots: int = 3) -> Sample:
    draw = partial(random.Random(number).choices, ["so", "good", "bad", "the", "bus", "late", "thanks", "never"])
    shown = [(" ".join(draw(k=8)), "10" if labels else "some words") for _ in range(shots)]
    return Sample(
        id=f"p{number:03d}",
        stratum="s",
        cluster=0,
        family="scoring" if labels else "analysis",
        instruction="Rate how courteous the author is.",
        cue="Courtesy",
        labels=labels,
        text_id="t",
        text=" ".join(draw(k=words)),
        demonstrations=[],
        student_demonstrations=shown,
        answer="",
        label_scores=[],
        plain="",
        probabilities=[0.1, 0.9] if labels else [],
    )


def with_answer(one: Sample, answer: str) -> Sample:
    return one.model_copy(update={"answer": answer})


@pytest.fixture
def scored(tiny_models, tmp_path, monkeypatch):
    """scored(samples, answers, change): data/difficulty.csv and the metrics as the stage writes them."""

    def run(samples, answers, change=lambda values: None, weights=tiny_models / "student"):
        values = smoke_params()
        change(values)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
        records.write_json(tmp_path / "models/student_base/origin.json", {"source": "path", "path": str(weights)})
        records.write_jsonl(tmp_path / "data/responses.jsonl", map(with_answer, samples, answers))
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        score_difficulty.main()
        return pd.read_csv("data/difficulty.csv"), json.loads((tmp_path / "metrics/score_difficulty.json").read_text())

    return run


def test_uncertainty_is_high_where_no_label_stands_out_and_is_known_without_the_answer(scored):
    likely = np.log([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    closed = [sample(number, ["yes", "no"]) for number in range(3)]
    openly = [sample(3, [], words=4), sample(4, [], words=9)]
    found = uncertainty([*closed, *openly], [*likely.tolist(), [], []])
    assert found[:3] == pytest.approx([0.325, 0.325, math.log(2)], abs=1e-3)
    assert found[3:].tolist() == [4, 9]
    biased = uncertainty(closed, (likely + np.log([8, 1])).tolist())
    assert biased == pytest.approx(found[:3]), "what the student says more often whatever the text is subtracted"
    tables = [scored(closed, [answer] * 3)[0] for answer in ("yes", "no")]
    assert tables[0]["uncertainty"].tolist() == tables[1]["uncertainty"].tolist()
    assert tables[0]["difficulty"].tolist() != tables[1]["difficulty"].tolist()


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_the_difficulty_of_a_label_is_that_of_the_whole_label_with_any_of_its_ends(scored, tiny_student, prompt_format):
    """Against a computation token by token."""
    model, tokenizer = tiny_student
    ends = end_ids(tokenizer, prompt_format)
    samples = [sample(number, LABELS) for number in range(len(LABELS))]
    table, _ = scored(samples, LABELS, lambda values: values["student"].update(prompt_format=prompt_format))
    for one, answer, found in zip(samples, LABELS, table.itertuples()):
        data = tokenise([with_answer(one, label).train_row() for label in LABELS], tokenizer, prompt_format, 1024)
        weights = []
        for ids, mask in zip(data.input_ids, data.completion_mask):
            length = mask.index(1)
            completions = [[*ids[length:-1], end] for end in ends]
            each = [token_by_token(model, ids[:length], one, 0.95)[1] * len(one) for one in completions]
            weights.append(sum(math.exp(-nll) for nll in each))
        assert found.difficulty == pytest.approx(1 - weights[LABELS.index(answer)] / sum(weights), abs=1e-4)


def test_labels_that_the_published_score_does_not_tell_apart_have_difficulties_of_their_own(
    scored, tiny_student, tmp_path
):
    """A student that says the same label of one token whatever the text, more surely of some texts than of others."""
    import torch

    model, tokenizer = copy.deepcopy(tiny_student[0]), tiny_student[1]
    samples = [sample(number, ["a", "b"], shots=0) for number in range(30)]
    (label,) = tokenizer(" a", add_special_tokens=False)["input_ids"]
    prompts = [render(one.student_prompt(), tokenizer, "transcript").prompt_ids for one in samples]
    with torch.no_grad():
        last = torch.stack([model.model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in prompts])
        model.lm_head.weight[label] = 0.3 * last.mean(0)
    model.save_pretrained(tmp_path / "biased")
    tokenizer.save_pretrained(tmp_path / "biased")
    table, metrics = scored(samples, ["a"] * 30, weights=tmp_path / "biased")
    assert (table["rank_score"] == 0).all()
    assert table["difficulty"].nunique() == 30
    assert table["difficulty"].between(0, 1, inclusive="neither").all()
    assert (metrics["labels"], metrics["share_of_labels_without_difficulty"]) == (30, 0.0)
    assert table["lead"].tolist() == pytest.approx([one.lead for one in samples])


def test_the_difficulty_of_an_open_answer_is_its_published_score(scored):
    samples = [sample(number, []) for number in range(4)]
    table, metrics = scored(samples, ["so good", "the bus", "never", "thanks thanks"])
    assert (table["difficulty"] == table["rank_score"]).all()
    assert metrics["labels"] == 0
    assert table["lead"].isna().all()


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_what_is_scored_is_what_is_trained_on(scored, tiny_student, prompt_format):
    """Demonstrations go, the instruction and the begin token stay; what does not fit at all is in neither."""
    model, tokenizer = tiny_student
    samples = [sample(number, [], words=words) for number, words in enumerate((10, 22, 34, 46, 58, 300))]
    answers = ["so good"] * 6
    rows = [with_answer(one, answer).train_row() for one, answer in zip(samples, answers)]
    whole = [len(ids) for ids in tokenise(rows, tokenizer, prompt_format, 4000).input_ids]
    length = whole[2]
    data = tokenise(rows, tokenizer, prompt_format, length)
    assert data.truncated
    assert data.dropped

    def change(values):
        values["student"] = {"prompt_format": prompt_format, "max_length": length}
        values["score_difficulty"]["max_truncated_share"] = 1.0

    table, metrics = scored(samples, answers, change)
    assert (metrics["truncated"], metrics["dropped"]) == (data.truncated, data.dropped)
    assert table["id"].tolist() == [one.id for one in samples][: len(data.input_ids)]
    assert table["tokens"].tolist() == [len(ids) for ids in data.input_ids]
    for ids, mask, found in zip(data.input_ids, data.completion_mask, table.itertuples()):
        place = mask.index(1)
        _, nll = token_by_token(model, ids[:place], ids[place : place + found.n_tokens], 0.95)
        assert found.nll == pytest.approx(nll, abs=1e-4)
        assert found.n_tokens < sum(mask), "the end is trained on, and not in the published score"


def test_too_many_answers_that_do_not_fit_end_the_stage(scored):
    samples = [sample(number, [], words=40) for number in range(4)]

    def change(values):
        values["student"]["max_length"] = 20

    with pytest.raises(SentiDistillError, match=r"4 do not fit into student\.max_length = 20"):
        scored(samples, ["so good"] * 4, change)


def test_a_model_that_gives_no_probabilities_ends_the_stage(scored, tiny_student, tmp_path):
    import torch

    model, tokenizer = tiny_student
    broken = copy.deepcopy(model)
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(SentiDistillError, match=r"no finite probability for 2 of 2 answers.*runtime\.dtype"):
        scored([sample(1, []), sample(2, [])], ["good", "bad"], weights=tmp_path / "broken")
