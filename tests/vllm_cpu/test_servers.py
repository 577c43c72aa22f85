"""The openai engine against real servers on loopback: `vllm serve` and `transformers serve`."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentidistill import config
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.inference.engines.server import ServerEngine
from sentidistill.inference.requests import NEUTRAL, Reader, Request, answer
from sentidistill.predict import Predictor
from sentidistill.samples import prompt
from sentidistill.student import folder
from tests.vllm_cpu.conftest import INSTRUCTION, ROOT, SHOWN, TEXTS, label_requests, reader

BIN = Path(sys.executable).parent
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["glad", "sad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[str]:
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def vllm_url(student, tmp_path_factory):
    port = free_port()
    options = ["--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "16"]
    command = [sys.executable, "-m", "scripts.vllm_cpu", "serve", str(student), "--served-model-name", "student"]
    command += ["--host", "127.0.0.1", "--override-generation-config", '{"repetition_penalty": 3.0, "min_p": 0.5}']
    command += ["--port", str(port), "--kv-cache-memory-bytes", str(2**29), *options]
    with serving(command, port, tmp_path_factory.mktemp("log") / "vllm.log") as url:
        yield url


@pytest.fixture(scope="module")
def transformers_url(student, tmp_path_factory):
    port = free_port()
    command = [str(BIN / "transformers"), "serve", str(student), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--device", "cpu", "--dtype", "float32"]
    with serving(command, port, tmp_path_factory.mktemp("log") / "transformers.log") as url:
        yield url


def engine(url: str, model: str, api, **extra_body) -> ServerEngine:
    settings = config.load(ROOT / "params.yaml").runtime.server.model_copy(update={"base_url": url})
    return ServerEngine(settings, model, api=api, extra_body=extra_body, concurrency=8)


def test_a_vllm_server_writes_what_transformers_writes(vllm_url, transformers_engine, tokenizer):
    asked = [
        Request(prompt("Say what the author of the text feels.", "Answer", text, []), max_new_tokens=12)
        for text in TEXTS[:16]
    ]
    read = reader(tokenizer)
    answers, expected = (
        answer(one, read, asked) for one in (engine(vllm_url, "student", "completions"), transformers_engine)
    )
    assert all(one.error is None for one in answers)
    assert sum(one.text == other.text for one, other in zip(answers, expected)) >= 14


def test_a_vllm_server_writes_what_transformers_writes_whatever_the_models_own_settings_are(
    vllm_url, transformers_engine, tokenizer
):
    """The fixture's server has a repetition penalty of 3 in its generation_config."""
    shown = [(text, "again and again and again") for text in TEXTS[:4]]
    asked = [Request(prompt("Write.", "Answer", text, shown), max_new_tokens=8) for text in TEXTS[4:10]]
    answers, expected = (
        answer(one, reader(tokenizer), asked)
        for one in (engine(vllm_url, "student", "completions"), transformers_engine)
    )
    assert sum(one.text == other.text for one, other in zip(answers, expected)) >= 5


def test_a_vllm_server_chooses_what_transformers_chooses(vllm_url, transformers_engine, tokenizer):
    asked, read = label_requests(100), reader(tokenizer)
    answers, expected = (
        answer(one, read, asked) for one in (engine(vllm_url, "student", "completions"), transformers_engine)
    )
    assert sum(one.text == other.text for one, other in zip(answers, expected)) >= 95
    for one, other in zip(answers, expected):
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.02)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_vllm_server_obeys_a_json_schema(vllm_url, tokenizer, api):
    asked = [
        Request(prompt("Answer.", "Answer", text, []), json_schema=SCHEMA, max_new_tokens=40) for text in TEXTS[:4]
    ]
    answers = answer(engine(vllm_url, "student", api, **NEUTRAL), reader(tokenizer, "chat"), asked)
    assert {json.loads(one.text)["mood"] for one in answers} <= {"glad", "sad"}


def test_a_vllm_server_chooses_in_a_chat(vllm_url):
    asked = [Request(prompt(INSTRUCTION, "Feeling", text, SHOWN), choices=SENTIMENTS) for text in TEXTS[:8]]
    answers = answer(engine(vllm_url, "student", "chat", **NEUTRAL), Reader("student", "chat", 1000), asked)
    assert {one.finish_reason for one in answers} == {"choice"}
    assert {one.text for one in answers} <= set(SENTIMENTS)


def test_a_prompt_beyond_the_servers_context_is_an_error_of_its_request_alone(vllm_url, tokenizer):
    long = Request(prompt("word " * 1500, "Answer", "x", []), max_new_tokens=4)
    short = Request(prompt("Answer.", "Answer", "x", []), max_new_tokens=4)
    bad, good = answer(engine(vllm_url, "student", "completions"), reader(tokenizer, limit=5000), [long, short])
    assert "refused" in bad.error
    assert good.error is None


def test_the_openai_client_gets_the_predictors_labels(vllm_url, student, tmp_path):
    """By the code of docs/serving.md, with offsets that change labels."""
    folder_of = tmp_path / "student"
    folder_of.mkdir()
    for file in student.iterdir():
        (folder_of / file.name).symlink_to(file.resolve())
    task = folder.KnownTask(
        instruction="Say how the author feels.",
        cue="Feeling",
        labels=list(SENTIMENTS),
        offsets=[-1.0, 0.5, 0.5],
        temperature=2.0,
    )
    folder.describe(folder_of, config.load(ROOT / "params.yaml").student, {"sentiment": task})
    code = (ROOT / "docs/serving.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    for old, new in (("http://localhost:8000/v1", vllm_url), ("models/student", str(folder_of))):
        code = code.replace(old, new)
    lines = [line for line in code.splitlines() if not line.startswith("texts = ")]
    values = {"texts": TEXTS[:40]}
    exec("\n".join(lines), values)
    expected = Predictor(folder_of, device="cpu").predict(TEXTS[:40])
    assert sum(one.answer == other.answer for one, other in zip(values["found"], expected)) >= 39
    for one, other in zip(values["found"], expected):
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=0.02)
    assert len({one.probabilities["negative"] for one in expected}) > 20


def test_transformers_serve_answers_chats(transformers_url, student, transformers_engine, tokenizer):
    asked = [
        Request(prompt("Say what the author of the text feels.", "Answer", text, []), max_new_tokens=12)
        for text in TEXTS[:6]
    ]
    answers = answer(engine(transformers_url, str(student), "chat"), Reader("student", "chat", 1000), asked)
    expected = answer(transformers_engine, reader(tokenizer, "chat"), asked)
    assert all(one.error is None and one.text for one in answers)
    assert sum(one.text.strip() == other.text.strip() for one, other in zip(answers, expected)) >= 5


def test_transformers_serve_that_knows_no_schema_gives_a_choice_or_an_error_that_shows_its_answer(
    transformers_url, student
):
    asked = [
        Request(prompt(INSTRUCTION, "Feeling", text, SHOWN), choices=SENTIMENTS, max_new_tokens=8) for text in TEXTS[:4]
    ]
    for one in answer(engine(transformers_url, str(student), "chat"), Reader("student", "chat", 1000), asked):
        assert one.text in SENTIMENTS or "names none of the choices" in one.error
