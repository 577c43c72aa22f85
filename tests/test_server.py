"""The openai engine against a server on loopback: what is sent, what comes back, and every way to fail."""

import base64
import json
import logging
import re
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import quote

import pytest

from sentidistill.config.runtime import Server
from sentidistill.errors import SentiDistillError
from sentidistill.inference.engines import server as server_engine
from sentidistill.inference.engines.server import ServerEngine, _asked_to_wait
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Job, Reader, Request, Response, answer
from sentidistill.inference.store import Cache
from sentidistill.prompts import Prompt, render
from tests.local_server import running
from tests.test_teacher import plain_choice_scores

KEY = "sk-a-secret-that-must-not-be-seen"
CHAT = Reader("served", "chat", max_prompt_tokens=10_000)
JSON_TYPE = {"Content-Type": "application/json"}
SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["glad", "sad"]}}, "required": ["mood"]}


def engine(url: str, api="chat", concurrency=4, extra_body=None, **change) -> ServerEngine:
    settings = {
        "base_url": url,
        "model": "",
        "key_variable": "TEST_KEY",
        "requests_per_minute": 0,
        "timeout": 5,
        "attempts": 4,
        "first_wait": 0.01,
        "max_wait": 0.05,
        "max_tokens_field": "max_tokens",
        "schemas": True,
    }
    served = Server(**{**settings, **change})
    return ServerEngine(served, "local", api=api, extra_body=extra_body or {}, concurrency=concurrency)


def requests(n: int, **change) -> list[Request]:
    return [Request(Prompt("Do.", f"text {i:02d}"), max_new_tokens=9, **change) for i in range(n)]


def is_about(body: dict, number: int) -> bool:
    return f"text {number:02d}" in json.dumps(body)


def test_answers_come_in_order_and_several_requests_are_under_way_at_once():
    with running(seconds=0.05) as server:
        answers = answer(engine(server.url), CHAT, requests(12))
        assert 2 <= server.most_at_once <= 4
        again = answer(engine(server.url, concurrency=1), CHAT, requests(12))
    assert answers == again
    assert len({one.text for one in answers}) == 12
    assert {one.finish_reason for one in answers} == {"stop"}
    assert {(one.prompt_tokens, one.completion_tokens) for one in answers} == {(7, 3)}


def test_a_server_is_told_all_settings():
    request = Request(
        Prompt("Do.", "a text"),
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.2,
        max_new_tokens=11,
        stop=("###",),
        seed=3,
    )
    with running() as server:
        extra = {"chat_template_kwargs": {"enable_thinking": False}}
        answer(engine(server.url, extra_body=extra, max_tokens_field="max_completion_tokens"), CHAT, [request])
        path, body = json.loads(server.calls[0])
    assert path.endswith("/chat/completions")
    assert body["messages"] == [
        {"role": "system", "content": "Do."},
        {"role": "user", "content": "a text\nOutput:"},
    ]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    sent = {key: body[key] for key in ("temperature", "top_p", "frequency_penalty", "max_completion_tokens", "stop")}
    assert sent == {
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.2,
        "max_completion_tokens": 11,
        "stop": ["###"],
    }
    assert body["seed"] == request.random_seed() % 2**31


def test_completions_are_asked_with_the_ids_that_a_local_model_would_read(tiny_student):
    _, tokenizer = tiny_student
    reader = Reader("served", "transcript", 400, lambda: tokenizer)
    with running() as server:
        (one,) = answer(engine(server.url, "completions"), reader, requests(1))
        _, body = json.loads(server.calls[0])
    assert body["prompt"] == render(requests(1)[0].prompt, tokenizer, "transcript").prompt_ids
    assert one.text.startswith(" answer")
    assert one.prompt_tokens == len(body["prompt"])


def test_completions_leave_nothing_to_the_models_generation_config(tiny_student):
    """vLLM's server takes from there what it is not told, and a model in process does not."""
    reader = Reader("served", "transcript", 400, lambda: tiny_student[1])
    with running() as server:
        answer(engine(server.url, "completions"), reader, requests(1, temperature=0.7, top_k=9))
        _, body = json.loads(server.calls[0])
    told = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
    assert {name: body[name] for name in told} == {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 9,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def logprobs_of(model, kind: str):
    """An answer to completions by `model`, in the form of a kind of server."""
    import torch

    def respond(body: dict, before: int):
        with torch.no_grad():
            logprobs = model(torch.tensor([body["prompt"]])).logits[0, -1].log_softmax(-1)
        if kind == "vLLM":
            shown = {f"token_id:{token}": float(logprobs[token]) for token in body["logprob_token_ids"]}
            given = {"top_logprobs": [shown], "tokens": [], "token_logprobs": [], "text_offset": []}
        else:
            top = logprobs.topk(min(body["n_probs"], len(logprobs)))
            pairs = zip(top.indices.tolist(), top.values.tolist())
            given = {"content": [{"top_logprobs": [{"id": token, "logprob": value} for token, value in pairs]}]}
        choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": given}
        return (200, JSON_TYPE, json.dumps({"id": "1", "object": "text_completion", "choices": [choice]}).encode())

    return respond


@pytest.mark.parametrize("kind", ["vLLM", "llama.cpp"])
def test_completions_score_whole_choices_with_their_end(tiny_student, kind):
    """As by one forward for each choice; most tokens are not among the likeliest that llama.cpp shows at first."""
    model, tokenizer = tiny_student
    reader = Reader("served", "transcript", 400, lambda: tokenizer)
    asked = requests(3, choices=("glad", "very glad", "sad", "s"))
    with running(logprobs_of(model, kind)) as server:
        answers = answer(engine(server.url, "completions"), reader, asked)
    for request, one in zip(asked, answers):
        expected = plain_choice_scores(model, reader.job(request))
        assert one.finish_reason == "choice"
        assert one.choice_logprobs == pytest.approx(expected, abs=1e-3)
        assert one.text == request.choices[expected.index(max(expected))]


def test_a_server_that_shows_no_scores_of_tokens_is_said_to_need_chats(tiny_student):
    reader = Reader("served", "transcript", 400, lambda: tiny_student[1])
    named = {"top_logprobs": [{" glad": -0.5}], "tokens": [], "token_logprobs": [], "text_offset": []}
    for given in (None, named):
        choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": given}
        body = json.dumps({"id": "1", "object": "text_completion", "choices": [choice]}).encode()
        with running(lambda *_, body=body: (200, JSON_TYPE, body)) as server:
            (one,) = answer(engine(server.url, "completions"), reader, requests(1, choices=("glad", "sad")))
            assert len(server.calls) == 1
        assert "use teacher.api: chat" in one.error


def test_chat_chooses_by_a_schema_and_says_nothing_of_log_probabilities():
    with running() as server:
        answers = answer(engine(server.url), CHAT, requests(8, choices=("glad", "sad")))
    assert {one.text for one in answers} == {"glad", "sad"}
    assert {one.choice_logprobs for one in answers} == {()}


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_json_schema_is_passed_on(api, tiny_student):
    reader = CHAT if api == "chat" else Reader("served", "transcript", 400, lambda: tiny_student[1])
    with running() as server:
        (one,) = answer(engine(server.url, api), reader, requests(1, json_schema=SCHEMA))
    assert json.loads(one.text)["mood"] in ("glad", "sad")


def test_an_over_long_prompt_is_never_sent(tiny_student):
    reader = Reader("served", "transcript", 60, lambda: tiny_student[1])
    with running() as server:
        long, short = answer(
            engine(server.url, "completions"), reader, [Request(Prompt("word " * 99, "x")), *requests(1)]
        )
        assert len(server.calls) == 1
    assert "max_prompt_tokens" in long.error
    assert short.error is None


PASSING = {
    "busy": (429, {"Retry-After": "0"}, b'{"error": {"message": "slow down"}}'),
    "broken": (500, {}, b"Internal Server Error"),
    "garbage": (200, {"Content-Type": "text/html"}, b"<html>a proxy's page</html>"),
    "half a JSON": (200, JSON_TYPE, b'{"choices": [{"mess'),
    "cut off": (200, {**JSON_TYPE, "Content-Length": "999"}, b'{"choices": ['),
    "no choices": (200, JSON_TYPE, b'{"choices": []}'),
    "nothing": None,
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_overcome_by_trying_again(kind):
    def misbehave(body, before):
        return PASSING[kind] if before < 2 and is_about(body, 3) else "answer"

    with running(misbehave) as server:
        answers = answer(engine(server.url), CHAT, requests(6))
        assert len(server.calls) == 6 + 2
    assert [one.error for one in answers] == [None] * 6


@pytest.mark.parametrize("kind", PASSING)
def test_one_request_that_always_fails_is_an_error_and_its_neighbours_are_answered(kind):
    with running(lambda body, before: PASSING[kind] if is_about(body, 3) else "answer") as server:
        answers = answer(engine(server.url), CHAT, requests(6))
    assert [one.error is None for one in answers] == [True, True, True, False, True, True]
    assert "after 4 attempts" in answers[3].error


def test_a_refused_request_is_an_error_at_once():
    refusal = (400, JSON_TYPE, b'{"error": {"message": "too long for this model"}}')
    with running(lambda body, before: refusal if is_about(body, 1) else "answer") as server:
        answers = answer(engine(server.url), CHAT, requests(4))
        assert len(server.calls) == 4
    assert "too long for this model" in answers[1].error
    assert [one.error is None for one in answers] == [True, False, True, True]


@pytest.mark.parametrize("kind", PASSING)
def test_a_server_that_fails_for_good_ends_the_run_with_one_error_and_what_was_answered_is_kept(kind, tmp_path):
    def misbehave(body, before):
        return "answer" if any(is_about(body, number) for number in range(8)) else PASSING[kind]

    cache = Cache(tmp_path / "c")
    with running(misbehave) as server:
        teacher = CachedTeacher(CHAT, lambda: engine(server.url), cache)
        with pytest.raises(SentiDistillError, match="does not answer, after 4 attempts"):
            teacher.generate(requests(40))
        asked = len(server.calls)
    assert sum(entry.parsed().error is None for entry in cache.entries()) == 8
    assert asked < 40 * 4, "it is not tried for every request in turn"


def test_a_server_that_is_not_there_ends_the_run():
    with running() as server:
        url = server.url
    with pytest.raises(SentiDistillError, match=url):
        answer(engine(url), CHAT, requests(3))


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_the_run_at_once_and_is_shown_nowhere(status, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    with running(lambda body, before: (status, JSON_TYPE, echo)) as server:
        teacher = CachedTeacher(CHAT, lambda: engine(server.url), Cache(tmp_path / "c"))
        with pytest.raises(SentiDistillError, match="TEST_KEY") as raised:
            teacher.generate(requests(20))
        assert len(server.calls) <= 4
        assert set(server.keys) == {f"Bearer {KEY}"}
    seen = f"{raised.value} {caplog.text} {capfd.readouterr()} {(tmp_path / 'c').read_bytes()}"
    assert KEY not in seen


def test_a_key_that_a_server_repeats_in_an_error_is_not_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    echo = json.dumps({"error": {"message": f"bad request by {KEY}"}}).encode()
    with running(lambda body, before: (400, JSON_TYPE, echo)) as server:
        CachedTeacher(CHAT, lambda: engine(server.url), Cache(tmp_path / "c")).generate(requests(2))
    stored = (tmp_path / "c").read_bytes()
    assert b"bad request by" in stored
    assert KEY.encode() not in stored


def test_a_spent_quota_ends_the_run():
    spent = (429, JSON_TYPE, b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}')
    with running(lambda body, before: spent) as server:
        with pytest.raises(SentiDistillError, match="exceeded your quota"):
            answer(engine(server.url), CHAT, requests(9))
        assert len(server.calls) <= 4


def test_a_wait_that_the_server_asks_for_is_kept():
    import time

    times = []

    def misbehave(body, before):
        times.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"{}") if before == 0 else "answer"

    with running(misbehave) as server:
        answer(engine(server.url), CHAT, requests(1))
    assert times[1] - times[0] >= 1.0


def test_no_more_requests_are_sent_than_the_limit_allows():
    import time

    with running() as server:
        started = time.monotonic()
        answer(engine(server.url, requests_per_minute=600), CHAT, requests(6))
    assert time.monotonic() - started >= 0.4


def test_an_unknown_model_ends_the_run_and_is_named():
    missing = (404, JSON_TYPE, b'{"error": {"message": "The model does not exist"}}')
    with running(lambda body, before: missing) as server, pytest.raises(SentiDistillError, match="'local'"):
        answer(engine(server.url), CHAT, requests(3))


def said(content, finish_reason="stop", **usage) -> tuple[int, dict, bytes]:
    """A whole reply of a chat server."""
    counts = usage.get("usage", {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": counts}
    return 200, JSON_TYPE, json.dumps(whole).encode()


LABELS = ("negative", "neutral", "positive", "not positive")


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"answer": "positive"}\n```',
        "<think>It could be negative.</think>\n\npositive",
        "reasoning whose tag stood in the prompt</think>positive",
        "[THINK]negative?[/THINK]positive",
        "**positive**",
        "Answer: positive",
        "Positive!",
        '{"label": "positive"}',
        '{"answer": ["positive"]}',
        '["positive"]',
        [{"type": "thinking", "thinking": "negative"}, {"type": "text", "text": "positive"}],
    ],
)
def test_a_label_is_read_however_it_is_wrapped(content):
    with running(lambda body, before: said(content)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1, choices=LABELS))
    assert (found.text, found.finish_reason, found.error) == ("positive", "choice", None)


@pytest.mark.parametrize("content", ['{"answer": "(a)"}', "(a)"])
def test_a_label_with_marks_of_its_own_is_read(content):
    with running(lambda body, before: said(content)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1, choices=("a", "(a)", "(b)")))
    assert (found.text, found.error) == ("(a)", None)


@pytest.mark.parametrize("content", ["cannot say", '{"answer": 3}', '{"answer": []}', "unpositive", "[" * 5000])
def test_what_names_no_label_is_an_error(content):
    with running(lambda body, before: said(content)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1, choices=LABELS))
    assert "names none of the choices" in found.error


@pytest.mark.parametrize("reason", ["stop", "eos_token", None, "STOP", "end_turn"])
def test_a_text_is_an_answer_whatever_the_server_calls_its_end(reason):
    with running(lambda body, before: said("Fine.", reason)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert (found.text, found.finish_reason) == ("Fine.", "stop")


@pytest.mark.parametrize(
    "usage",
    [{}, None, {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": 1.5, "completion_tokens": -1}],
)
def test_tokens_that_a_server_does_not_count_are_none(usage):
    with running(lambda body, before: said("Fine.", usage=usage)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert (found.text, found.prompt_tokens, found.completion_tokens) == ("Fine.", 0, 0)


@pytest.mark.parametrize(
    "content",
    [
        *(None, "", "  ", "<think>so</think>", [{"type": "thinking", "thinking": "so"}], 5, {}),
        *([{"type": "text", "text": text}] for text in ({"value": "so"}, None, 5)),
        [{"type": "text", "text": "so"}, {"type": "text"}],
    ],
)
def test_an_empty_answer_is_asked_for_again_and_then_an_error(content, tmp_path):
    def once(body, before):
        return said(content) if before == 0 or is_about(body, 1) else "answer"

    with running(once) as server:
        first, second = answer(engine(server.url), CHAT, requests(2))
        assert len(server.calls) == 2 + 4
    assert first.error is None
    assert "after 4 attempts" in second.error


def test_an_empty_completion_is_what_the_model_wrote(tiny_student):
    reader = Reader("served", "transcript", 400, lambda: tiny_student[1])
    choice = {"index": 0, "text": "", "finish_reason": "stop"}
    whole = {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}
    with running(lambda body, before: (200, JSON_TYPE, json.dumps(whole).encode())) as server:
        (found,) = answer(engine(server.url, "completions"), reader, requests(1))
        assert len(server.calls) == 1
    assert (found.text, found.finish_reason, found.error) == ("", "stop", None)


def test_an_answer_that_is_all_reasoning_says_what_to_raise():
    with running(lambda body, before: said("<think>hmm", "length")) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert "raise max_new_tokens" in found.error


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls"])
def test_an_answer_that_is_none_is_an_error_with_its_reason(reason):
    with running(lambda body, before: said("Fine.", reason)) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert reason in found.error


def test_a_server_that_refuses_schemas_is_asked_without_them():
    refusal = (400, JSON_TYPE, b'{"error": {"message": "response_format is not supported"}}')
    with running(lambda body, before: refusal if "response_format" in body else said("positive")) as server:
        found = answer(engine(server.url, concurrency=1), CHAT, requests(4, choices=LABELS))
        assert [one.text for one in found] == ["positive"] * 4
        assert len(server.calls) == 4 + 1
        (found,) = answer(engine(server.url, schemas=False), CHAT, requests(1, json_schema=SCHEMA))
        assert len(server.calls) == 4 + 2


def test_a_spent_balance_ends_the_run_and_keeps_what_was_answered(tmp_path):
    spent = (402, JSON_TYPE, b'{"error": {"message": "Insufficient Balance"}}')
    cache = Cache(tmp_path / "c")
    with (
        running(lambda body, before: "answer" if any(is_about(body, n) for n in range(4)) else spent) as server,
        pytest.raises(SentiDistillError, match="Insufficient Balance"),
    ):
        CachedTeacher(CHAT, lambda: engine(server.url), cache).generate(requests(20))
    assert [entry.parsed().error for entry in cache.entries()] == [None] * 4


def test_requests_that_are_refused_in_the_same_words_end_the_run():
    refusal = (400, JSON_TYPE, b'{"error": {"message": "this key has no access"}}')
    with running(lambda body, before: refusal) as server:
        with pytest.raises(SentiDistillError, match=r"refused 5 requests in a row alike.*no access"):
            answer(engine(server.url), CHAT, requests(40))
        assert len(server.calls) < 12


def test_a_redirect_is_not_followed():
    with running() as other:
        away = (307, {"Location": f"{other.url}/chat/completions"}, b"")
        with running(lambda body, before: away) as server, pytest.raises(SentiDistillError):
            answer(engine(server.url), CHAT, requests(9))
        assert not other.calls


def test_a_server_that_sends_byte_by_byte_is_given_up_after_the_timeout():
    import time

    def drip() -> Iterator[bytes]:
        while True:
            time.sleep(0.05)
            yield b" "

    started = time.monotonic()
    with running(lambda body, before: (200, {**JSON_TYPE, "Content-Length": "999"}, drip())) as server:
        (found,) = answer(engine(server.url, timeout=0.3, attempts=2), CHAT, requests(1))
    assert "within 0.3 seconds" in found.error
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("2", 2),
        ("1e9", 600),
        ("inf", 600),
        ("nan", 0),
        ("-3", 0),
        ("soon", 0),
        ("", 0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0),
    ],
)
def test_a_wait_is_a_number_or_a_date_and_ten_minutes_at_most(asked, seconds):
    assert _asked_to_wait(Waiting(asked)) == seconds


def test_a_date_to_wait_for_is_waited_for():
    import time
    from email.utils import formatdate

    assert 25 <= _asked_to_wait(Waiting(formatdate(time.time() + 30, usegmt=True))) <= 30


class Waiting(Exception):
    def __init__(self, asked: str):
        class Reply:
            headers: ClassVar[dict] = {"retry-after": asked}

        self.response = Reply


@pytest.mark.parametrize("kind", ["Windows line end", "blanks"])
def test_a_key_with_blanks_around_is_stripped(kind, monkeypatch):
    monkeypatch.setenv("TEST_KEY", f"{KEY}\r\n" if kind == "Windows line end" else f" {KEY} ")
    with running() as server:
        answer(engine(server.url), CHAT, requests(1))
        assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("key", [f"{KEY}\r\nX: 1", f"{KEY}é", f"\x1b[0m{KEY}"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key, monkeypatch):
    monkeypatch.setenv("TEST_KEY", key)
    with running() as server, pytest.raises(SentiDistillError, match="TEST_KEY") as raised:
        answer(engine(server.url), CHAT, requests(1))
    assert KEY not in str(raised.value)
    assert not server.calls


def test_a_gateway_that_repeats_the_key_in_its_answer_has_it_masked(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk/a secret")
    with running(lambda body, before: said("the header was Bearer sk/a secret, or sk%2Fa%20secret")) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert found.text == "the header was Bearer [key], or [key]"


def test_a_short_key_is_a_word_and_stays_in_answers(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "none")
    with running(lambda body, before: said("They had none, and said none was due.")) as server:
        (found,) = answer(engine(server.url), CHAT, requests(1))
    assert found.text == "They had none, and said none was due."


MARKED_KEY = 'sk-"secret\\that/must not be seen'
WRITTEN = {
    "as it is": MARKED_KEY,
    "in JSON": json.dumps(MARKED_KEY)[1:-1],
    "in percents": quote(MARKED_KEY, safe=""),
    "in base64": base64.b64encode(MARKED_KEY.encode()).decode(),
}


@pytest.mark.parametrize(
    ("status", "form"), [(200, "as it is"), (200, "in percents"), *((400, form) for form in WRITTEN)]
)
def test_no_part_of_a_key_is_shown_wherever_in_a_long_reply_and_however_it_stands(status, form, monkeypatch):
    monkeypatch.setenv("TEST_KEY", MARKED_KEY)
    monkeypatch.setattr(server_engine, "GIVE_UP_AFTER", 10**9)

    def reply(body, before):
        number = int(re.search(r"text (\d+)", body["messages"][-1]["content"])[1])
        text = "." * 8 * number + WRITTEN[form] + "." * 400
        return status, JSON_TYPE, json.dumps({"error": {"message": text}}).encode()

    with running(reply) as server:
        errors = [one.error for one in answer(engine(server.url, attempts=1), CHAT, requests(40))]
    assert all(WRITTEN[form][:4] not in error for error in errors)
    assert sum("[key]" in error for error in errors) > 20
    assert max(map(len, errors)) < 400


@pytest.mark.parametrize("status", [200, 400])
def test_a_reply_in_a_charset_that_is_none_of_texts_is_an_error(status):
    kind = {"Content-Type": "application/json; charset=zlib"}
    with running(lambda body, before: (status, kind, said("Fine.")[2])) as server:
        (found,) = answer(engine(server.url, attempts=1), CHAT, requests(1))
    assert "a reply that cannot be decoded" in found.error


@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "https://host/v1?api-key=secret"])
def test_an_address_with_a_secret_is_refused(url):
    with pytest.raises(ValueError, match="key_variable"):
        engine(url)


JUNK = (None, True, 10**30, float("nan"), "-1.5", [None], {"text": 3})


def places(value, path=()) -> Iterator[tuple]:
    """Where the values of some JSON stand, its own place first."""
    yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*path, key))


def with_junk(value, path: tuple, junk):
    if not path:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_junk(copy[path[0]], path[1:], junk)
    return copy


TOP_LOGPROBS = {"top_logprobs": [{"token_id:5": -1.5, "token_id:7": -0.5}], "tokens": [], "token_logprobs": []}
CONTENT = {"content": [{"top_logprobs": [{"id": 5, "logprob": -1.5}, {"id": 7, "logprob": -0.5}]}]}
WHOLE_REPLIES = {
    "chat": ("chat", {}, json.loads(said("glad")[2])),
    **{
        name: (
            "completions",
            {"choices": ("glad", "sad")},
            {
                "id": "1",
                "object": "text_completion",
                "choices": [{"index": 0, "text": "glad", "finish_reason": "stop", "logprobs": given}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3},
            },
        )
        for name, given in {"vLLM": TOP_LOGPROBS, "llama.cpp": CONTENT}.items()
    },
}


class TwoTokens:
    """A reader for which each of two choices is one token, and each of these ends an answer."""

    def job(self, request):
        number = int(request.prompt.input.removeprefix("text "))
        return Job(request, [number], [[5], [7]] if request.choices else [], [5, 7] if request.choices else [])

    def refusal(self, prompt_tokens):
        return None


@pytest.mark.parametrize("kind", WHOLE_REPLIES)
def test_no_value_in_a_reply_ends_a_run_or_is_taken_for_what_it_is_not(kind, monkeypatch):
    monkeypatch.setattr(server_engine, "GIVE_UP_AFTER", 10**9)
    api, change, whole = WHOLE_REPLIES[kind]
    replies = [whole, *(with_junk(whole, path, junk) for path in places(whole) for junk in JUNK)]
    bodies = [json.dumps(reply).encode() for reply in replies]
    asked = requests(len(replies), **change)

    def reply(body, before):
        said = body["messages"][-1]["content"] if api == "chat" else ""
        return 200, JSON_TYPE, bodies[int(re.search(r"text (\d+)", said)[1]) if said else body["prompt"][0]]

    with running(reply) as server:
        answers = answer(engine(server.url, api, attempts=1, concurrency=16), TwoTokens(), asked)
    checked = [one.checked(request) for one, request in zip(answers, asked)]
    assert checked[0].error is None
    for one, request in zip(checked, asked):
        assert Response.from_json(one.to_json()) == one, "what is stored is read again"
        assert one.error or not request.choices or one.text in request.choices
        assert all(-1e9 < score <= 1e-4 for score in one.choice_logprobs)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 5.0, "-1.5", None, True])
def test_a_log_probability_that_is_none_is_an_error_and_no_label(value, tmp_path):
    logprobs = {"top_logprobs": [{"token_id:5": value, "token_id:7": -6.0}], "tokens": [], "token_logprobs": []}
    choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": logprobs}
    body = json.dumps({"id": "1", "object": "text_completion", "choices": [choice]}).encode()
    with running(lambda *_: (200, JSON_TYPE, body)) as server:
        (found,) = answer(engine(server.url, "completions"), TwoTokens(), requests(1, choices=("glad", "sad")))
    assert "log-probability" in found.error
