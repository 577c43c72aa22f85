"""Scores against an independent computation, token by token, as the paper defines them."""

import math

import pytest

from sentidistill.difficulty import Difficulty, label_difficulty, score_ids, score_samples

SAMPLES = [
    ("Input: Thank you so much\nOutput:", " polite"),
    ("Decide how courteous the author of the text is.\n\nInput: Get out!\nOutput:", " rude, very rude indeed"),
    ("Rate it.\n", " 5"),
    ("Input: The parcel is at the front desk.\nOutput:", " the exact words of the text, or none at all"),
]


def token_by_token(model, prompt: list[int], completion: list[int], top_p: float) -> tuple[list[float], float]:
    import torch

    scores, nll = [], 0.0
    for place, token in enumerate(completion):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion[:place]])).logits[0, -1]
        probabilities = torch.softmax(logits.double(), -1)
        order = probabilities.argsort(descending=True)
        nucleus = mass = 0
        while mass < top_p and nucleus < len(order):
            mass += float(probabilities[order[nucleus]])
            nucleus += 1
        rank = int((order == token).nonzero())
        scores.append(rank / nucleus if rank < nucleus else 1.0)
        nll -= float(probabilities[token].log())
    return scores, nll / len(completion)


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
@pytest.mark.parametrize("top_p", [0.5, 0.95])
def test_scores_equal_a_token_by_token_computation(tiny_student, batch_tokens, top_p):
    model, tokenizer = tiny_student
    results = score_samples(model, tokenizer, SAMPLES, top_p=top_p, batch_tokens=batch_tokens)
    for (prompt, completion), result in zip(SAMPLES, results):
        prompt_ids = tokenizer(prompt)["input_ids"]
        completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
        scores, nll = token_by_token(model, prompt_ids, completion_ids, top_p)
        hard = [score for score in scores if score > 0]
        assert result.rank_score == pytest.approx(sum(hard) / len(hard) if hard else 0, abs=1e-4)
        assert result.rank_score_all == pytest.approx(sum(scores) / len(scores), abs=1e-4)
        assert result.nll == pytest.approx(nll, abs=1e-4)
        assert (result.n_tokens, result.truncated) == (len(completion_ids), False)


@pytest.mark.parametrize("kind", ["some layers", "all layers"])
def test_layers_with_a_sliding_window_see_only_that_of_shared_beginnings(kind):
    from tests.tiny_models import windowed

    model = windowed(kind, 60, window=8)
    beginning = list(range(5, 25))
    rows = [
        ([*beginning, 30, 31], [32, 33]),
        ([*beginning, 30], [34]),
        (beginning, [35, 36, 37]),
        ([40, 41], [42]),
        ([40, 41, 42], [43]),
    ]
    for (prompt, completion), result in zip(rows, score_ids(model, rows)):
        scores, nll = token_by_token(model, prompt, completion, 0.95)
        assert result.rank_score_all == pytest.approx(sum(scores) / len(scores), abs=1e-4)
        assert result.nll == pytest.approx(nll, abs=1e-4)


def test_a_nucleus_wider_than_the_sorted_top_is_counted_whole(tiny_student, monkeypatch):
    model, tokenizer = tiny_student
    whole = score_samples(model, tokenizer, SAMPLES)
    monkeypatch.setattr("sentidistill.difficulty.TOP", 8)
    assert score_samples(model, tokenizer, SAMPLES) == whole


def test_the_padding_side_of_the_tokenizer_does_not_matter(tiny_student):
    model, tokenizer = tiny_student
    scores = []
    for side in ("left", "right"):
        tokenizer.padding_side = side
        scores.append(score_samples(model, tokenizer, SAMPLES))
    assert scores[0] == scores[1]


def test_an_over_long_prompt_is_cut_at_its_beginning_and_the_answer_is_kept(tiny_student):
    model, _ = tiny_student
    prompt, answer = list(range(20, 60)), [7, 8, 9]
    (cut,) = score_ids(model, [(prompt, answer)], max_length=13)
    (same,) = score_ids(model, [(prompt[-10:], answer)])
    assert cut.truncated
    assert not same.truncated
    assert cut.n_tokens == 3
    assert cut.nll == pytest.approx(same.nll, abs=1e-5)


def test_an_over_long_answer_is_cut_at_its_end_and_flagged(tiny_student):
    model, _ = tiny_student
    (result,) = score_ids(model, [([5, 6, 7], list(range(20, 60)))], max_length=11)
    assert (result.truncated, result.n_tokens) == (True, 10)


def test_an_empty_answer_scores_zero(tiny_student):
    model, _ = tiny_student
    empty, normal = score_ids(model, [([5, 6], []), ([5, 6], [7])])
    assert (empty.n_tokens, empty.rank_score, empty.nll) == (0, 0, 0)
    assert normal.n_tokens == 1


def test_an_answer_that_the_model_would_give_is_easy(tiny_student):
    import torch

    model, _ = tiny_student
    ids = [5, 6, 7]
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    (easy,) = score_ids(model, [(ids[:3], ids[3:])])
    assert easy.rank_score == easy.rank_score_all == 0


def test_the_difficulty_of_a_label_is_what_the_other_labels_have():
    logprobs = [math.log(one) for one in (0.02, 0.06, 0.12)]
    assert [label_difficulty(logprobs, place) for place in range(3)] == pytest.approx([0.9, 0.7, 0.4])
    lower = [one - 5000 for one in logprobs]
    assert label_difficulty(lower, 2) == pytest.approx(0.4), "long labels are unlikely, but not all alike"


def test_labels_that_are_next_to_certain_still_differ_in_difficulty():
    surer, sure = label_difficulty([0.0, -60.0], 0), label_difficulty([0.0, -50.0], 0)
    assert 0 < surer < sure < 1e-15


def test_an_answer_that_a_model_would_never_give_has_an_infinite_perplexity():
    found = Difficulty.of([1.0], [800.0], truncated=False, answer_cut=False)
    assert (found.nll, found.ppl) == (800.0, math.inf)
