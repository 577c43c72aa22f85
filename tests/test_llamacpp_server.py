"""The openai engine against a server of llama.cpp on loopback, beside llama.cpp in process."""

import json
import urllib.request

import pytest

from sentidistill.config.runtime import Server
from sentidistill.inference.engines.server import ServerEngine
from sentidistill.inference.requests import Reader, Request, answer
from sentidistill.prompts import Prompt
from tests.test_llamacpp import LABELS, SCHEMA, TEXTS, free_requests, label_requests, open_engine, reader

KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def engine(gguf_file):
    """llama.cpp in process."""
    return open_engine(gguf_file)


@pytest.fixture(scope="module")
def url(gguf_file):
    """The server's address, whose every other setting is llama.cpp's own."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.api_keys, params.verbosity = str(gguf_file), [KEY], -1
    params.n_parallel, params.n_ctx = 2, 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    # A server that is closed before its port has answered waits for ever.
    urllib.request.urlopen(f"{server.listening_address}/health").close()


@pytest.fixture(scope="module")
def tokenizer(default_student, tmp_path_factory):
    from sentidistill.sources import models

    return models.load_tokenizer(default_student, tmp_path_factory.mktemp("root"))


@pytest.fixture
def served(url, monkeypatch):
    """served(api): an engine that asks the server."""
    monkeypatch.setenv("TEST_KEY", KEY)
    settings = Server(
        base_url=url,
        model="",
        key_variable="TEST_KEY",
        requests_per_minute=0,
        timeout=120,
        attempts=2,
        first_wait=0.01,
        max_wait=0.05,
        max_tokens_field="max_tokens",
        schemas=True,
    )
    return lambda api: ServerEngine(settings, "any", api=api, extra_body={}, concurrency=4)


def test_completions_choose_as_in_process(served, engine, tokenizer):
    """Also a label that is not among the likeliest tokens is scored."""
    asked, read = label_requests(TEXTS[:2], (*LABELS, "zygote")), reader(tokenizer)
    answers, expected = answer(served("completions"), read, asked), answer(engine, read, asked)
    for one, other in zip(answers, expected):
        assert one.error is None
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.6)


def test_completions_write_as_in_process(served, engine, tokenizer):
    asked, read = free_requests(TEXTS[:4], max_new_tokens=6), reader(tokenizer)
    answers, expected = answer(served("completions"), read, asked), answer(engine, read, asked)
    assert [one.error for one in answers] == [None] * 4
    assert sum(one.text == other.text for one, other in zip(answers, expected)) >= 3
    assert [one.prompt_tokens for one in answers] == [one.prompt_tokens for one in expected]


def test_completions_stop_and_obey_a_schema(served, tokenizer):
    (schema,) = answer(
        served("completions"), reader(tokenizer), free_requests(TEXTS[:1], json_schema=SCHEMA, max_new_tokens=60)
    )
    assert json.loads(schema.text)["mood"] in ("glad", "sad")
    (whole,) = answer(served("completions"), reader(tokenizer), free_requests(TEXTS[:1], max_new_tokens=12))
    stop = whole.text.strip()[4:7]
    (cut,) = answer(served("completions"), reader(tokenizer), free_requests(TEXTS[:1], max_new_tokens=12, stop=(stop,)))
    assert (cut.finish_reason, cut.text) == ("stop", whole.text[: whole.text.index(stop)])


def test_chats_are_answered_and_choose_by_a_schema(served):
    read = Reader("served", "chat", 1000)
    chosen = answer(served("chat"), read, label_requests(TEXTS[:4]))
    assert {one.finish_reason for one in chosen} == {"choice"}
    assert {one.text for one in chosen} <= set(LABELS)
    (free,) = answer(served("chat"), read, free_requests(TEXTS[:1], max_new_tokens=8))
    assert free.error is None
    assert 0 < free.completion_tokens <= 8


def test_a_prompt_beyond_the_servers_context_is_an_error_of_its_request_alone(served, tokenizer):
    long = Request(Prompt("word " * 2000, "x"), max_new_tokens=2)
    bad, good = answer(served("completions"), reader(tokenizer), [long, *free_requests(TEXTS[:1], max_new_tokens=2)])
    assert "refused" in bad.error
    assert good.error is None
