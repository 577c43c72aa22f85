"""The transformers engine against plain forwards, and what answers are stored under."""

import json

import numpy as np
import pytest

from sentidistill.prompts import Prompt, render
from sentidistill.teacher.base import Reader, Request, Response, answer
from sentidistill.teacher.transformers import TransformersEngine

LONG = "Decide how courteous the author of the text is towards others. Answer with one of: polite, neutral, rude."
TEXTS = ["Thank you!", "Get out of my way, you useless clown.", "The parcel is at the front desk of the hotel.", "ok"]
DEMONSTRATIONS = (("Input: Thank you so much for your help", "polite"), ("Input: Go away", "rude"))


def prompts(instruction: str = LONG) -> list[Prompt]:
    return [Prompt(instruction, f"Input: {text}", DEMONSTRATIONS) for text in TEXTS]


def reader(tokenizer, prompt_format="transcript", identity="tiny") -> Reader:
    return Reader(identity, prompt_format, max_prompt_tokens=400, tokenizer=lambda: tokenizer)


def generate(model, tokenizer, requests, rows_per_batch=8, batch_tokens=100_000) -> list[Response]:
    engine = TransformersEngine(model, tokenizer, rows_per_batch=rows_per_batch, batch_tokens=batch_tokens)
    return answer(engine, reader(tokenizer), requests)


def plain_choice_scores(model, tokenizer, prompt: Prompt, choices: tuple[str, ...]) -> list[float]:
    import torch

    scores = []
    for choice in choices:
        one = render(prompt, tokenizer, "transcript", choice)
        ids = torch.tensor([one.prompt_ids + one.completion_ids])
        with torch.no_grad():
            logprobs = model(ids).logits[0].log_softmax(-1)
        start = len(one.prompt_ids) - 1
        scores.append(sum(float(logprobs[start + i, token]) for i, token in enumerate(one.completion_ids)))
    return scores


def test_what_a_chat_server_answers_is_not_taken_for_a_local_answer(tiny_student):
    """A server gives no scores of choices, so its answers must not be found by an engine that gives them."""
    _, tokenizer = tiny_student
    local, served = (
        Reader("m", "chat", max_prompt_tokens=400, tokenizer=lambda: tokenizer, messages_only=only)
        for only in (False, True)
    )
    request = Request(prompts()[0], choices=("polite", "rude"))
    assert local.cache_key(request) != served.cache_key(request)


@pytest.mark.parametrize("rows_per_batch", [1, 3, 8])
def test_choices_are_scored_as_by_one_forward_each(tiny_student, rows_per_batch):
    model, tokenizer = tiny_student
    choices = ("polite", "neutral", "very rude indeed")
    requests = [Request(prompt, choices=choices) for prompt in [*prompts(), *prompts("Short.")[:1]]]
    answers = generate(model, tokenizer, requests, rows_per_batch)
    for request, given in zip(requests, answers):
        expected = plain_choice_scores(model, tokenizer, request.prompt, choices)
        assert given.choice_logprobs == pytest.approx(expected, abs=1e-3)
        assert given.text == choices[int(np.argmax(expected))]
        assert given.finish_reason == "choice"


@pytest.mark.parametrize("kind", ["some layers", "all layers"])
@pytest.mark.parametrize(
    "window", [16, 230, 512], ids=["prefix wider than the window", "some prompts wider", "prompts within the window"]
)
def test_models_with_sliding_windows_get_the_same_scores(kind, window):
    from tests.tiny_models import tokenizer as make_tokenizer
    from tests.tiny_models import windowed

    tokenizer = make_tokenizer(["x"])
    model = windowed(kind, len(tokenizer), window)
    choices = ("polite", "very rude indeed", "rude")
    requests = [Request(Prompt(LONG, text, DEMONSTRATIONS), choices=choices) for text in TEXTS]
    answers = generate(model, tokenizer, requests)
    for request, given in zip(requests, answers):
        expected = plain_choice_scores(model, tokenizer, request.prompt, request.choices)
        assert given.choice_logprobs == pytest.approx(expected, abs=1e-3)


def test_greedy_answers_equal_the_librarys(tiny_models):
    """`generate` of transformers on each prompt alone is the reference."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "teacher")
    model = AutoModelForCausalLM.from_pretrained(tiny_models / "teacher").eval()
    requests = [Request(prompt, max_new_tokens=20) for prompt in prompts()]
    answers = generate(model, tokenizer, requests)
    for request, given in zip(requests, answers):
        ids = torch.tensor([render(request.prompt, tokenizer, "transcript").prompt_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        assert given.text == tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_sampled_answer_depends_on_its_request_and_not_on_its_neighbours(tiny_student):
    model, tokenizer = tiny_student
    requests = [Request(p, temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3) for p in prompts()]
    together = generate(model, tokenizer, requests)
    alone = [generate(model, tokenizer, [request])[0] for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    again = [Request(p, temperature=1.0, top_p=0.9, max_new_tokens=8, seed=3, attempt=1) for p in prompts()]
    assert [a.text for a in generate(model, tokenizer, again)] != [a.text for a in together]


def test_samples_follow_the_nucleus(tiny_student):
    """Over many seeds the first token is spread as top-p says, and nothing outside the nucleus is drawn."""
    import torch

    model, tokenizer = tiny_student
    prompt = prompts()[0]
    ids = torch.tensor([render(prompt, tokenizer, "transcript").prompt_ids])
    with torch.no_grad():
        probabilities = (model(ids).logits[0, -1] / 0.05).softmax(-1)
    ordered = probabilities.sort(descending=True)
    size = int((ordered.values.cumsum(-1) < 0.8).sum()) + 1
    nucleus = ordered.indices[:size]
    expected = ordered.values[:size] / ordered.values[:size].sum()
    requests = [
        Request(prompt, temperature=0.05, top_p=0.8, top_k=1000, max_new_tokens=1, seed=seed) for seed in range(600)
    ]
    answers = generate(model, tokenizer, requests, rows_per_batch=600, batch_tokens=10**7)
    texts = [answer.text for answer in answers]
    names = [tokenizer.decode([token], skip_special_tokens=True) for token in nucleus.tolist()]
    assert set(texts) <= set(names)
    share = texts.count(names[0]) / len(texts)
    assert share == pytest.approx(sum(float(p) for n, p in zip(names, expected) if n == names[0]), abs=0.08)


def test_a_frequency_penalty_stops_repetition(tiny_student):
    model, tokenizer = tiny_student
    repeats = []
    for penalty in (0.0, 5.0):
        request = Request(prompts()[0], max_new_tokens=30, frequency_penalty=penalty)
        ids = tokenizer(generate(model, tokenizer, [request])[0].text, add_special_tokens=False)["input_ids"]
        repeats.append(len(ids) - len(set(ids)))
    assert repeats[1] < repeats[0]


def test_stop_strings_end_an_answer_and_are_not_part_of_it(tiny_models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.tiny_models import worked_examples

    tokenizer = AutoTokenizer.from_pretrained(tiny_models / "teacher")
    model = AutoModelForCausalLM.from_pretrained(tiny_models / "teacher").eval()
    text, answer = worked_examples()[0]
    instruction, _, query = text.partition("\n\n")
    prompt = Prompt(instruction, query.rpartition("\n")[0], cue="Attributes:", prefill="1. **")
    (response,) = generate(model, tokenizer, [Request(prompt, max_new_tokens=300, stop=("###",))])
    assert response.finish_reason == "stop"
    assert "###" not in response.text
    assert response.text.strip() == answer.strip()


def test_an_over_long_prompt_is_an_error_and_its_neighbours_are_answered(tiny_student):
    model, tokenizer = tiny_student
    requests = [Request(p, max_new_tokens=2) for p in [Prompt("word " * 500, "x"), *prompts()]]
    bad, *good = generate(model, tokenizer, requests)
    assert bad.finish_reason == "error"
    assert "max_prompt_tokens" in bad.error
    assert all(answer.error is None for answer in good)


def test_the_cache_key_holds_all_that_the_answer_depends_on(tiny_student):
    _, tokenizer = tiny_student
    keys = reader(tokenizer)
    first = prompts()[0]
    different = [
        keys.cache_key(Request(first)),
        keys.cache_key(Request(prompts()[1])),
        keys.cache_key(Request(first, seed=1)),
        keys.cache_key(Request(first, attempt=1)),
        keys.cache_key(Request(first, temperature=0.5)),
        keys.cache_key(Request(first, max_new_tokens=5)),
        keys.cache_key(Request(first, stop=("x",))),
        keys.cache_key(Request(first, choices=("a", "b"))),
        keys.cache_key(Request(first, choices=("b", "a"))),
        keys.cache_key(Request(first, json_schema={"type": "object"})),
        reader(tokenizer, identity="other").cache_key(Request(first)),
        reader(tokenizer, prompt_format="chat").cache_key(Request(first)),
        Reader("tiny", "chat", 400).cache_key(Request(first)),
        Reader("tiny", "transcript", 400, lambda: tokenizer, {"top_k": 3}).cache_key(Request(first)),
    ]
    assert len(set(different)) == len(different)


SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["glad", "sad"]},
        "strength": {"type": "integer", "minimum": 1, "maximum": 5},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 3},
    },
    "required": ["mood", "strength", "words"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_obey_a_json_schema_even_of_a_model_that_knows_nothing(tiny_student, temperature):
    model, tokenizer = tiny_student
    asked = [
        Request(prompt, json_schema=SCHEMA, temperature=temperature, max_new_tokens=200, seed=seed)
        for prompt in prompts()
        for seed in range(3)
    ]
    free = [Request(prompt, max_new_tokens=5) for prompt in prompts()]
    answers = generate(model, tokenizer, asked + free)
    for one in answers[: len(asked)]:
        assert one.finish_reason == "stop"
        value = json.loads(one.text)
        assert set(value) == {"mood", "strength", "words"}
        assert value["mood"] in ("glad", "sad")
        assert 1 <= value["strength"] <= 5
        assert all(len(word) <= 8 for word in value["words"])
    assert [one.text for one in answers[len(asked) :]] == [one.text for one in generate(model, tokenizer, free)]


def test_a_schema_that_cannot_be_followed_is_an_error_of_its_request_alone(tiny_student):
    model, tokenizer = tiny_student
    bad, good = generate(
        model,
        tokenizer,
        [
            Request(prompts()[0], json_schema={"type": "no such type"}),
            Request(prompts()[1], json_schema=SCHEMA, max_new_tokens=200),
        ],
    )
    assert bad.finish_reason == "error"
    assert "json_schema" in bad.error
    assert json.loads(good.text)["mood"] in ("glad", "sad")


def test_tokens_of_choices_add_up_to_whole_choices():
    """Engines that score single tokens ask for each beginning once."""
    from sentidistill.teacher.choices import branches, summed

    choices = [[5], [7, 1], [7, 2, 3]]
    asked = branches(choices)
    assert asked == {(): [5, 7], (7,): [1, 2], (7, 2): [3]}
    logprobs = {(): {5: -1.0, 7: -0.5}, (7,): {1: -2.0, 2: -0.25}, (7, 2): {3: -0.125}}
    assert summed(choices, logprobs) == (-1.0, -2.5, -0.875)
