"""The transformers engine against plain forwards."""

import json

import numpy as np
import pytest

from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Job, Reader, Request, Response, answer
from sentidistill.prompts import Prompt, render
from tests.tiny_models import language_model, windowed
from tests.tiny_models import tokenizer as make_tokenizer

LONG = "Decide how courteous the author of the text is towards others. Answer with one of: polite, neutral, rude."
TEXTS = ["Thank you!", "Get out of my way, you useless clown.", "The parcel is at the front desk of the hotel.", "ok"]
DEMONSTRATIONS = (("Input: Thank you so much for your help", "polite"), ("Input: Go away", "rude"))


# Transcripts that begin alike, longer than a window of 16 tokens.
PROMPTS_OF_THREE_LENGTHS = [Prompt(LONG, text, DEMONSTRATIONS) for text in ("ok", "ok, " * 9, "never again! " * 3)]


def prompts(instruction: str = LONG) -> list[Prompt]:
    return [Prompt(instruction, f"Input: {text}", DEMONSTRATIONS) for text in TEXTS]


def reader(tokenizer, prompt_format="transcript", identity="tiny") -> Reader:
    return Reader(identity, prompt_format, max_prompt_tokens=400, tokenizer=lambda: tokenizer)


def generate(
    model, tokenizer, requests, rows_per_batch=8, batch_tokens=100_000, prompt_format="transcript"
) -> list[Response]:
    engine = TransformersEngine(model, tokenizer, rows_per_batch=rows_per_batch, batch_tokens=batch_tokens)
    return answer(engine, reader(tokenizer, prompt_format), requests)


def plain_choice_scores(model, job: Job) -> list[float]:
    """Log-probability of each choice and one of the ends after it, by a forward for each choice."""
    import torch

    scores = []
    for choice in job.choice_ids:
        with torch.no_grad():
            logprobs = model(torch.tensor([job.prompt_ids + choice])).logits[0].log_softmax(-1)
        start = len(job.prompt_ids) - 1
        of_tokens = sum(float(logprobs[start + i, token]) for i, token in enumerate(choice))
        scores.append(of_tokens + float(logprobs[-1, job.end_ids].exp().sum().log()))
    return scores


def sharpen(model) -> None:
    """Make random weights large, so that an answer depends on what the model attends to."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight *= 8 if "lm_head" in name or "embed" in name else 4


def bigrams(tokenizer, pairs: list[tuple[str, str]]):
    """A model that after the first token of a pair all but always writes the second; None stands for the end token."""
    import torch

    model = language_model(len(tokenizer), seed=0)
    ids = [[tokenizer.convert_tokens_to_ids(token or tokenizer.eos_token) for token in pair] for pair in pairs]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        read = torch.nn.functional.normalize(model.model.embed_tokens.weight, dim=-1)
        for first, second in ids:
            model.lm_head.weight[second] += 10 * read[first]
    return model


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
@pytest.mark.parametrize("rows_per_batch", [1, 3, 8])
def test_choices_are_scored_with_their_end_as_by_one_forward_each(tiny_student, rows_per_batch, prompt_format):
    model, tokenizer = tiny_student
    choices = ("polite", "neutral", "neutral indeed", "very rude indeed")
    requests = [Request(prompt, choices=choices) for prompt in [*prompts(), *prompts("Short.")[:1]]]
    answers = generate(model, tokenizer, requests, rows_per_batch, prompt_format=prompt_format)
    for request, given in zip(requests, answers):
        expected = plain_choice_scores(model, reader(tokenizer, prompt_format).job(request))
        assert given.choice_logprobs == pytest.approx(expected, abs=1e-3)
        assert given.text == choices[int(np.argmax(expected))]
        assert given.finish_reason == "choice"


@pytest.mark.parametrize("after_one", ["0", None], ids=["ten", "one"])
def test_a_label_that_begins_another_is_not_likelier_for_it(after_one):
    """With a tokenizer that splits digits, whose P("1") is at least P("10")."""
    tokenizer = make_tokenizer(["x"])
    model = bigrams(tokenizer, [(":", "Ġ"), ("Ġ", "1"), ("1", after_one), ("0", None)])
    choices = tuple(str(number) for number in range(11))
    (given,) = generate(model, tokenizer, [Request(Prompt("Rate.", "Input: wonderful"), choices=choices)])
    assert given.text == ("10" if after_one else "1")


@pytest.mark.parametrize("kind", ["some layers", "all layers"])
@pytest.mark.parametrize(
    "window", [16, 230, 512], ids=["prefix wider than the window", "some prompts wider", "prompts within the window"]
)
def test_models_with_sliding_windows_get_the_same_scores(kind, window):
    tokenizer = make_tokenizer(["x"])
    model = windowed(kind, len(tokenizer), window)
    choices = ("polite", "very rude indeed", "rude")
    requests = [Request(Prompt(LONG, text, DEMONSTRATIONS), choices=choices) for text in TEXTS]
    answers = generate(model, tokenizer, requests)
    for request, given in zip(requests, answers):
        expected = plain_choice_scores(model, reader(tokenizer).job(request))
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


@pytest.mark.parametrize("kind", ["no window", "some layers", "all layers"])
def test_a_sampled_answer_depends_on_its_request_and_not_on_its_neighbours(kind):
    """Also where the prompts are longer than a window, and padding would take room in it."""
    tokenizer = make_tokenizer(["x"])
    model = language_model(len(tokenizer)) if kind == "no window" else windowed(kind, len(tokenizer), window=16)
    sharpen(model)
    prompts = [*PROMPTS_OF_THREE_LENGTHS, *(Prompt(LONG, text, DEMONSTRATIONS) for text in TEXTS)]
    requests = [Request(p, temperature=1.0, top_p=0.9, max_new_tokens=24, seed=3) for p in prompts]
    together = generate(model, tokenizer, requests)
    alone = [generate(model, tokenizer, [request])[0] for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    again = [Request(p, temperature=1.0, top_p=0.9, max_new_tokens=24, seed=3, attempt=1) for p in prompts]
    assert [a.text for a in generate(model, tokenizer, again)] != [a.text for a in together]


@pytest.mark.parametrize("kind", ["some layers", "all layers"])
def test_answers_beyond_a_window_are_those_of_plain_forwards(kind):
    """Greedy, from prompts of several lengths at once; the reference has neither a cache nor padding."""
    import torch

    tokenizer = make_tokenizer(["x"])
    model = windowed(kind, len(tokenizer), window=16)
    sharpen(model)
    requests = [Request(prompt, max_new_tokens=24) for prompt in PROMPTS_OF_THREE_LENGTHS]
    answers = generate(model, tokenizer, requests)
    for request, given in zip(requests, answers):
        ids = reader(tokenizer).job(request).prompt_ids
        new: list[int] = []
        while len(new) < 24 and (not new or new[-1] != tokenizer.eos_token_id):
            with torch.no_grad():
                new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert given.text == tokenizer.decode(new, skip_special_tokens=True)


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


def test_stop_strings_end_an_answer_and_are_not_part_of_it(tiny_student):
    model, tokenizer = tiny_student
    (whole,) = generate(model, tokenizer, [Request(prompts()[0], max_new_tokens=30)])
    assert whole.finish_reason == "length"
    stop = whole.text[12:15]
    (cut,) = generate(model, tokenizer, [Request(prompts()[0], max_new_tokens=30, stop=(stop, "never"))])
    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.completion_tokens < whole.completion_tokens


def test_an_over_long_prompt_is_an_error_and_its_neighbours_are_answered(tiny_student):
    model, tokenizer = tiny_student
    requests = [Request(p, max_new_tokens=2) for p in [Prompt("word " * 500, "x"), *prompts()]]
    bad, *good = generate(model, tokenizer, requests)
    assert bad.finish_reason == "error"
    assert "max_prompt_tokens" in bad.error
    assert all(answer.error is None for answer in good)


def test_a_job_beyond_the_models_positions_is_refused_and_its_neighbours_are_answered():
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = make_tokenizer(["x"])
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    ).eval()
    short, long = Prompt("Do.", "x"), Prompt("Do.", "x" * 60)
    asked = [
        Request(short, max_new_tokens=8),
        Request(long, max_new_tokens=8),
        Request(short, max_new_tokens=80),
        Request(short, choices=("a", "b")),
        Request(short, choices=("a", "b" * 64)),
    ]
    answers = generate(model, tokenizer, asked)
    assert [one.error is None for one in answers] == [True, False, False, True, False]
    assert "64 positions" in answers[1].error


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


def test_tokens_of_choices_add_up_to_whole_choices_with_their_end():
    """Engines that score single tokens ask for each beginning once."""
    from sentidistill.inference.choices import branches, summed

    job = Job(Request(Prompt("", ""), choices=("a", "b c", "b d e")), [], [[5], [7, 1], [7, 2, 3]], [0, 9])
    assert branches(job) == {
        (): [5, 7],
        (5,): [0, 9],
        (7,): [1, 2],
        (7, 1): [0, 9],
        (7, 2): [3],
        (7, 2, 3): [0, 9],
    }
    even = {0: np.log(0.25), 9: np.log(0.25)}
    impossible = {0: -1e38, 9: -2000.0}
    logprobs = {
        (): {5: -1.0, 7: -0.5},
        (5,): even,
        (7,): {1: -2.0, 2: -0.25},
        (7, 1): impossible,
        (7, 2): {3: -0.125},
        (7, 2, 3): even,
    }
    assert summed(job, logprobs) == pytest.approx((-1.0 + np.log(0.5), -2002.5, -0.875 + np.log(0.5)), abs=1e-5)


def test_a_choice_that_begins_another_shares_its_tokens():
    from sentidistill.inference.choices import branches

    job = Job(Request(Prompt("", ""), choices=("1", "10")), [], [[1], [1, 0]], [9])
    assert branches(job) == {(): [1], (1,): [0, 9], (1, 0): [9]}
