"""What answers are stored under: all that they depend on, and nothing else."""

import hashlib
from dataclasses import replace

import pytest

from sentidistill import config, records
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import make_reader
from sentidistill.inference.requests import Reader, Request, Response
from sentidistill.inference.store import Cache
from sentidistill.prompts import Prompt
from sentidistill.sources import models
from tests.project import ROOT

PROMPT = Prompt("Decide.", "Text: x", (("Text: a", "yes"),), cue="Answer:")
GREEDY = Request(PROMPT)
SAMPLED = Request(PROMPT, temperature=0.7)
SCHEMA = {"type": "object", "properties": {"mood": {"type": "string"}}}
TOKENIZER = object  # opened only where token ids are needed


def reader(identity="m", prompt_format="transcript", tokenizer=TOKENIZER, **change) -> Reader:
    return Reader(identity, prompt_format, 400, tokenizer, **change)


def test_the_key_holds_all_that_the_answer_depends_on():
    different = [
        reader().cache_key(GREEDY),
        reader().cache_key(replace(GREEDY, prompt=replace(PROMPT, input="Text: y"))),
        reader().cache_key(replace(GREEDY, prompt=replace(PROMPT, instruction="Decide!"))),
        reader().cache_key(replace(GREEDY, prompt=replace(PROMPT, demonstrations=()))),
        reader().cache_key(replace(GREEDY, prompt=replace(PROMPT, cue="Label:"))),
        reader().cache_key(replace(GREEDY, max_new_tokens=5)),
        reader().cache_key(replace(GREEDY, frequency_penalty=0.5)),
        reader().cache_key(replace(GREEDY, stop=("x",))),
        reader().cache_key(replace(GREEDY, choices=("a", "b"))),
        reader().cache_key(replace(GREEDY, choices=("b", "a"))),
        reader().cache_key(replace(GREEDY, json_schema=SCHEMA)),
        reader().cache_key(SAMPLED),
        reader().cache_key(replace(SAMPLED, seed=1)),
        reader().cache_key(replace(SAMPLED, attempt=1)),
        reader().cache_key(replace(SAMPLED, temperature=0.8)),
        reader().cache_key(replace(SAMPLED, top_p=0.9)),
        reader().cache_key(replace(SAMPLED, top_k=10)),
        reader("other").cache_key(GREEDY),
        reader(prompt_format="chat").cache_key(GREEDY),
        reader(prompt_format="chat", messages_only=True).cache_key(GREEDY),
        reader(extra_body={"top_k": 3}).cache_key(GREEDY),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    "request_",
    [GREEDY, replace(SAMPLED, top_k=1), replace(SAMPLED, choices=("a", "b"))],
    ids=["greedy", "the likeliest alone", "choices"],
)
def test_where_nothing_is_drawn_seed_and_attempt_pay_no_answer_again(request_):
    keys = {
        reader().cache_key(replace(request_, **change))
        for change in ({}, {"seed": 7}, {"attempt": 3}, {"top_p": 0.5}, {"temperature": 0.0})
    }
    assert len(keys) == 1


def test_choices_do_not_depend_on_how_texts_are_sampled():
    asked = replace(GREEDY, choices=("a", "b"))
    assert reader().cache_key(asked) == reader().cache_key(replace(asked, max_new_tokens=3, stop=("x",), top_k=5))


def test_a_server_that_gets_messages_needs_no_tokenizer_for_the_same_key():
    served = reader(prompt_format="chat", messages_only=True)
    assert served.cache_key(GREEDY) == reader(prompt_format="chat", tokenizer=None).cache_key(GREEDY)


@pytest.fixture
def of_params(tmp_path, monkeypatch):
    """of_params(changes of runtime and teacher) gives the teacher's reader; two models lie in models/."""
    monkeypatch.chdir(tmp_path)
    for role in ("teacher", "student"):
        (tmp_path / "models" / role).mkdir(parents=True)
        records.write_json(
            tmp_path / "models" / role / models.ORIGIN, {"source": "hub", "repo": "a/b", "revision": "c"}
        )
    params = config.load(ROOT / "params.yaml")

    def make(role="teacher", engine="openai", server_model="", **teacher) -> Reader:
        server = params.runtime.server.model_copy(update={"base_url": "http://localhost", "model": server_model})
        engines = params.runtime.engine.model_copy(update={"teacher": engine})
        runtime = params.runtime.model_copy(update={"engine": engines, "server": server})
        settings = {"prompt_format": "chat", "api": "completions", "extra_body": {}, **teacher}
        changed = params.model_copy(update={"runtime": runtime, "teacher": params.teacher.model_copy(update=settings)})
        return make_reader(role, changed, tmp_path)

    return make


def test_the_name_of_the_model_at_the_server_counts_where_it_is_sent(of_params):
    assert of_params(server_model="m1").cache_key(GREEDY) != of_params(server_model="m2").cache_key(GREEDY)
    assert of_params(server_model="m1").cache_key(GREEDY) != of_params().cache_key(GREEDY)
    assert of_params(engine="vllm", server_model="m1").cache_key(GREEDY) == of_params(engine="vllm").cache_key(GREEDY)


def test_an_extra_body_counts_where_it_is_sent(of_params):
    extra = {"chat_template_kwargs": {"enable_thinking": True}}
    assert of_params(extra_body=extra).cache_key(GREEDY) != of_params().cache_key(GREEDY)
    for local in ("vllm", "transformers"):
        assert of_params(engine=local, extra_body=extra).cache_key(GREEDY) == of_params(engine=local).cache_key(GREEDY)
    assert of_params("student", extra_body=extra).cache_key(GREEDY) == of_params("student").cache_key(GREEDY)


def test_answers_of_a_chat_server_and_of_a_local_chat_are_kept_apart(of_params):
    """The server puts messages into a template of its own, and gives no scores of choices."""
    assert of_params(api="chat").cache_key(GREEDY) != of_params(engine="vllm").cache_key(GREEDY)
    assert of_params(api="completions").cache_key(GREEDY) == of_params(engine="vllm").cache_key(GREEDY)


def test_an_answer_that_was_stored_under_a_higher_limit_is_refused_under_a_lower_one(tmp_path):
    class Engine:
        def stream(self, jobs):
            yield [(place, Response("yes", "stop", 300, 1)) for place in range(len(jobs))]

    def ask(limit: int) -> Response:
        served = Reader("m", "chat", limit, None)
        (one,) = CachedTeacher(served, Engine, Cache(tmp_path / "answers")).generate([GREEDY])
        return one

    assert ask(400).text == "yes"
    assert ask(200).finish_reason == "error"
    assert "max_prompt_tokens is 200" in ask(200).error
    assert ask(400).text == "yes"


# Whoever changes one of these makes all stored answers of its kind worthless: they are asked and paid again.
ASKED = [
    (reader(), GREEDY),
    (reader(), SAMPLED),
    (reader(), replace(SAMPLED, seed=42, attempt=1)),
    (reader(), replace(GREEDY, choices=("yes", "no"))),
    (reader(), replace(GREEDY, json_schema=SCHEMA, max_new_tokens=200)),
    (reader(prompt_format="chat"), GREEDY),
    (reader(prompt_format="chat"), replace(SAMPLED, stop=("###",), frequency_penalty=0.5)),
    (reader(prompt_format="chat", messages_only=True), GREEDY),
    (reader(prompt_format="chat", tokenizer=None, extra_body={"a": 1}), GREEDY),
    (reader("other", "chat"), replace(GREEDY, prompt=Prompt("Décide.", "Text: 😀"))),
]
KEYS = [
    "c63c359cca898329ef1d9676bdbae2cdd73cdea3f2acc9548d2185e98d5bea74",
    "992a4b170d213d1627dd5e1ccf71b06590915be0d6ae16c732c119f3e7c91f8f",
    "751228d12a2107f5ffab0e9c116ab888e6c8820ea0eb1cd47fa95c53ae6faec4",
    "4d2a810315fb95ece352fcf6e31ff265438c7c4a8110000aedf466f1dae4cf70",
    "84f33366ccfb34dc90035cb25a66d00ee838d520b3850e3fc484c51aef3bcd4f",
    "82cdae4fc8db66bf1345364f8083b6a141ad9ad858e50dabe811551db9256c37",
    "1769dc7a5f05e0771eb46426423f3f4d0a6225947f614a20e54c500abfdce2de",
    "26b3e01a913a1de3ac584339f43a5c0efbb26304d47ff8cfb4a808d1c66a67aa",
    "28c9723c8ccb5d80a6afc96dfdbb26e975686489c0585da76b57345f98d3a93e",
    "3f95b589b805413154f811d63bad93bf1ddd412378269deec57c232d8d6ca21c",
]
SEEDS = [
    3577908498042923125,
    533934822211270508,
    6023205009167905822,
    2791339664173416502,
    8782935154253542287,
    3577908498042923125,
    10308358741227919415,
    3577908498042923125,
    3577908498042923125,
    12661447572613729879,
]


@pytest.mark.parametrize("number", range(10))
def test_keys_and_seeds_stay_as_they_are(number):
    asked_of, request = ASKED[number]
    assert hashlib.sha256(asked_of.cache_key(request).encode()).hexdigest() == KEYS[number]
    assert request.random_seed() == SEEDS[number]
