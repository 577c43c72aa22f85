"""llama.cpp in this process with the default student's GGUF file, beside transformers with the same weights."""

import json
import socket
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from sentidistill.errors import SentiDistillError
from sentidistill.inference.engines.llamacpp import LlamaCppEngine
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, Response, answer, stream
from sentidistill.prompts import Prompt
from sentidistill.samples import prompt
from sentidistill.sources import models

INSTRUCTION = "Say how the author of the text feels about it. Answer with one of: negative, neutral, positive."
LABELS = ("negative", "neutral", "positive")
SHOWN = (("What a waste of money.", "negative"), ("It is made of steel.", "neutral"), ("I love it!", "positive"))
SUBJECTS = ("The hotel", "This phone", "Her speech", "The film", "My new bike", "Their service")
VERDICTS = (
    "was a delight from start to finish.",
    "broke after two days, and nobody cared.",
    "is about four years old.",
    "is simply the best in town.",
    "let everybody down again.",
)
TEXTS = [f"{subject} {verdict}" for verdict in VERDICTS for subject in SUBJECTS]
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["glad", "sad"]}, "strength": {"type": "integer", "maximum": 5}},
    "required": ["mood", "strength"],
    "additionalProperties": False,
}


def open_engine(file, concurrency=4, **options) -> LlamaCppEngine:
    return LlamaCppEngine(file, concurrency=concurrency, threads=1, options=options)


@pytest.fixture(scope="module")
def engine(gguf_file):
    return open_engine(gguf_file)


@pytest.fixture(scope="module")
def tokenizer(default_student, tmp_path_factory):
    return models.load_tokenizer(default_student, tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def transformers_engine(default_student, tokenizer):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(default_student).eval()
    return TransformersEngine(model, tokenizer, rows_per_batch=32, batch_tokens=20_000)


def reader(tokenizer, prompt_format="transcript") -> Reader:
    return Reader("student", prompt_format, 20_000, lambda: tokenizer)


def label_requests(texts=TEXTS, choices=LABELS) -> list[Request]:
    return [Request(prompt(INSTRUCTION, "Feeling", text, SHOWN), choices=choices) for text in texts]


def free_requests(texts, **settings) -> list[Request]:
    return [Request(prompt("Say what the author feels.", "Answer", text, SHOWN), **settings) for text in texts]


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_labels_are_those_of_transformers_with_the_same_weights(engine, transformers_engine, tokenizer, prompt_format):
    """llama.cpp multiplies 4-bit weights with 8-bit numbers, transformers the same weights as 32-bit ones."""
    asked, read = label_requests(), reader(tokenizer, prompt_format)
    answers, expected = answer(engine, read, asked), answer(transformers_engine, read, asked)
    assert {one.finish_reason for one in answers} == {"choice"}
    assert [one.prompt_tokens for one in answers] == [one.prompt_tokens for one in expected]
    scores, others = (np.array([one.choice_logprobs for one in each]) for each in (answers, expected))
    print(
        f"correlation {np.corrcoef(scores.ravel(), others.ravel())[0, 1]:.4f}, apart {abs(scores - others).max():.3f}"
    )
    same = [one.text == other.text for one, other in zip(answers, expected)]
    second, first = np.sort(others, axis=1)[:, -2:].T
    assert all(alike for alike, lead in zip(same, first - second) if lead > 0.4)
    assert sum(same) >= len(asked) - 2
    assert scores == pytest.approx(others, abs=0.6)


def test_a_rating_that_begins_another_does_not_win_for_it(engine, tokenizer):
    """SmolLM2 splits digits: without its end, "1" is at least as likely as "10"."""
    shown = [(text, "10") for text in TEXTS[:6]]
    asked = Request(
        prompt("Rate the text from 1 to 10.", "Rating", "Simply wonderful!", shown),
        choices=tuple(map(str, range(1, 11))),
    )
    (one,) = answer(engine, reader(tokenizer), [asked])
    assert one.text == "10"


def test_a_shared_beginning_is_read_once_and_not_once_a_slot(gguf_file, tokenizer):
    engine, read = open_engine(gguf_file), reader(tokenizer)
    asked = free_requests([TEXTS[place] for place in (0, 1, 2, 4)], max_new_tokens=1)  # no two begin alike
    ids = [read.job(request).prompt_ids for request in asked]
    shared = next(place for place in range(len(ids[0])) if len({tuple(one[: place + 1]) for one in ids}) > 1)
    assert shared > 40
    answer(engine, read, asked)
    own = [len(one) - shared for one in ids]
    assert engine.read == shared + sum(own)
    assert engine.reused == shared * len(asked)


def test_a_prompt_reads_only_what_the_one_before_does_not_begin_with(gguf_file, tokenizer):
    engine, read = open_engine(gguf_file, concurrency=1), reader(tokenizer)
    first, second = free_requests(["It was good.", "It was good. Very good."], max_new_tokens=1)
    answer(engine, read, [first])
    before = engine.read
    answer(engine, read, [second])
    ids = [read.job(request).prompt_ids for request in (first, second)]
    common = next(place for place, (one, other) in enumerate(zip(*ids)) if one != other)
    assert engine.read - before == len(ids[1]) - common


def test_clear_answers_depend_on_their_request_and_not_on_its_neighbours(engine, tokenizer):
    """Neighbours change logits a little, so this holds where no two tokens are about as likely."""
    read = reader(tokenizer)
    capitals = [("France", "Paris"), ("Italy", "Rome"), ("Germany", "Berlin"), ("Spain", "Madrid")]
    facts = [
        Request(Prompt("Name the capital.", country, tuple(capitals[:2]), cue="Capital:"), max_new_tokens=1)
        for country in ("Germany", "Spain", "Japan", "Russia", "England")
    ]
    asked = [*label_requests(TEXTS[:8]), *facts]
    together = answer(engine, read, asked)
    assert together[8].text.strip() == "Berlin"
    alone = [answer(engine, read, [request])[0] for request in reversed(asked)][::-1]
    for one, other in zip(together, alone):
        assert one.text == other.text
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.6)


def test_every_attempt_and_seed_has_random_numbers_of_its_own(engine, tokenizer):
    settings = [{"seed": seed, "attempt": attempt} for seed in range(2) for attempt in range(2)]
    asked = [free_requests(TEXTS[:1], temperature=1.0, max_new_tokens=12, **one)[0] for one in settings]
    answers = answer(engine, reader(tokenizer), asked)
    assert len({one.text for one in answers}) == len(asked)


def test_stop_strings_end_an_answer_and_are_not_part_of_it(engine, tokenizer):
    read = reader(tokenizer)
    (whole,) = answer(engine, read, free_requests(TEXTS[:1], max_new_tokens=20))
    stop = whole.text.strip()[4:7]
    (cut,) = answer(engine, read, free_requests(TEXTS[:1], max_new_tokens=20, stop=(stop,)))
    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]


def test_a_limit_of_tokens_is_said(engine, tokenizer):
    (one,) = answer(engine, reader(tokenizer), free_requests(TEXTS[:1], max_new_tokens=2))
    assert (one.finish_reason, one.completion_tokens) == ("length", 2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_obey_a_json_schema(engine, tokenizer, temperature):
    asked = free_requests(TEXTS[:3], json_schema=SCHEMA, temperature=temperature, max_new_tokens=40)
    for one in answer(engine, reader(tokenizer, "chat"), asked):
        value = json.loads(one.text)
        assert value["mood"] in ("glad", "sad")
        assert value["strength"] <= 5
        assert one.text == json.dumps(value), "no blanks but between the parts"


def test_what_cannot_be_answered_is_an_error_of_its_request_alone(engine, tokenizer):
    fine = free_requests(TEXTS[:4], max_new_tokens=2)
    bad = free_requests(TEXTS[:1], json_schema={"type": "no such type"}, max_new_tokens=2)
    long = [Request(Prompt("word " * 9000, "x"), max_new_tokens=2)]
    read = reader(tokenizer)
    answers = answer(engine, read, [*fine[:2], *bad, *fine[2:]])
    assert [one.error is None for one in answers] == [True, True, False, True, True]
    assert "json_schema" in answers[2].error
    assert answer(engine, read, [*fine[:2]])[0].error is None
    small = open_engine(engine._file, concurrency=1)
    refused, answered = answer(small, read, [*long, fine[0]])
    assert "8192 positions" in refused.error
    assert answered.error is None


def test_a_label_that_nearly_never_comes_gets_its_score_all_the_same(engine, transformers_engine, tokenizer):
    asked, read = label_requests(TEXTS[:1], ("positive", "zygote quark")), reader(tokenizer)
    before = engine.widened
    answers, expected = answer(engine, read, asked), answer(transformers_engine, read, asked)
    assert engine.widened > before
    for one, other in zip(answers, expected):
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=1.0)
        assert one.choice_logprobs[1] < -15


def test_who_stops_asking_leaves_an_engine_that_answers(engine, tokenizer):
    read = reader(tokenizer)
    answers = stream(engine, read, free_requests(TEXTS[:12], max_new_tokens=4))
    assert isinstance(next(answers)[0][1], Response)
    answers.close()
    assert all(one.error is None for one in answer(engine, read, free_requests(TEXTS[:6], max_new_tokens=2)))


def test_more_room_is_made_by_a_server_in_place_of_the_old_one(gguf_file, tokenizer):
    import psutil

    engine, read = open_engine(gguf_file, concurrency=2), reader(tokenizer)
    answer(engine, read, free_requests(TEXTS[:2], max_new_tokens=1))
    room, threads, old = engine._room, psutil.Process().num_threads(), engine._server.listening_address
    (one,) = answer(engine, read, [Request(Prompt("word " * room, "x"), max_new_tokens=1)])
    assert one.error is None
    assert engine._room > room
    ended = time.monotonic() + 30  # threads of the old server may still be ending
    while psutil.Process().num_threads() > threads and time.monotonic() < ended:
        time.sleep(0.1)
    assert psutil.Process().num_threads() <= threads
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"{old}/health", timeout=5)


def test_the_port_is_on_the_loopback_address_and_wants_the_key(engine, tokenizer):
    import psutil

    answer(engine, reader(tokenizer), free_requests(TEXTS[:1], max_new_tokens=1))
    listening = [one.laddr.ip for one in psutil.Process().net_connections() if one.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}
    body = json.dumps({"prompt": "x", "max_tokens": 1}).encode()
    for key in ({}, {"Authorization": "Bearer wrong"}):
        url = f"{engine._server.listening_address}/v1/completions"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json", **key}))


def test_options_go_before_what_the_engine_sets(gguf_file, tokenizer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = open_engine(gguf_file, concurrency=8, port=port, n_parallel=2)
    answers = answer(engine, reader(tokenizer), free_requests(TEXTS[:6], max_new_tokens=1))
    assert all(one.error is None for one in answers)
    assert engine._server.listening_address.endswith(f":{port}")
    assert len(engine._call("/slots")) == 2


@pytest.mark.parametrize(
    ("options", "named"), [({"n_gpu_layer": 3}, "n_gpu_layer"), ({"n_gpu_layers": "all"}, "n_gpu_layers: 'all'")]
)
def test_an_option_that_llama_cpp_does_not_have_is_named(gguf_file, tokenizer, options, named):
    with pytest.raises(SentiDistillError, match=f"runtime.llamacpp.*{named}"):
        answer(open_engine(gguf_file, **options), reader(tokenizer), free_requests(TEXTS[:1]))


def test_a_file_that_is_no_model_is_named(tmp_path, tokenizer):
    (tmp_path / "torn.gguf").write_bytes(b"GGUF" * 100)
    with pytest.raises(SentiDistillError, match=r"torn\.gguf: llama.cpp cannot open it"):
        answer(open_engine(tmp_path / "torn.gguf"), reader(tokenizer), free_requests(TEXTS[:1]))
