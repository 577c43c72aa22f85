"""vLLM in this process, on the CPU, with the default student's weights."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sentidistill import records
from sentidistill.inference.requests import Request, answer
from sentidistill.prompts import Prompt
from sentidistill.samples import prompt
from sentidistill.sources.corpus import Text
from tests.project import ROOT, start, stored_answers
from tests.vllm_cpu.conftest import INSTRUCTION, OPTIONS, SHOWN, TEXTS, label_requests, reader

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["glad", "sad"]}, "strength": {"type": "integer"}},
    "required": ["mood", "strength"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(student):
    from sentidistill.inference.engines.vllm import VLLMEngine

    return VLLMEngine(student, dtype="float32", concurrency=16, options=OPTIONS)


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_greedy_answers_are_those_of_transformers(engine, transformers_engine, tokenizer, prompt_format):
    asked = [
        Request(prompt("Say what the author of the text feels.", "Answer", text, []), max_new_tokens=12, stop=("###",))
        for text in TEXTS[:24]
    ]
    read = reader(tokenizer, prompt_format)
    answers, expected = answer(engine, read, asked), answer(transformers_engine, read, asked)
    assert all(one.error is None for one in answers)
    same = sum(one.text == other.text for one, other in zip(answers, expected))
    assert same >= 22, [(one.text, other.text) for one, other in zip(answers, expected) if one.text != other.text]
    for one, other in zip(answers, expected):
        if one.text == other.text:
            assert (one.prompt_tokens, one.finish_reason) == (other.prompt_tokens, other.finish_reason)


def test_choices_are_those_of_transformers(engine, transformers_engine, tokenizer):
    asked, read = label_requests(100), reader(tokenizer)
    answers, expected = answer(engine, read, asked), answer(transformers_engine, read, asked)
    assert sum(one.text == other.text for one, other in zip(answers, expected)) >= 95
    for one, other in zip(answers, expected):
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.02)


def test_choices_of_several_tokens_are_scored_whole(engine, transformers_engine, tokenizer):
    choices = ("glad", "very glad indeed", "very sad")
    asked = [Request(prompt(INSTRUCTION, "Feeling", text, SHOWN), choices=choices) for text in TEXTS[:6]]
    answers, expected = (answer(one, reader(tokenizer), asked) for one in (engine, transformers_engine))
    for one, other in zip(answers, expected):
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.02)


def test_a_rating_that_begins_another_does_not_win_for_it(engine, transformers_engine, tokenizer):
    """The tokenizer splits digits: without its end, "1" is at least as likely as "10"."""
    shown = [(text, "10") for text in TEXTS[:6]]
    asked = Request(
        prompt("Rate the text from 1 to 10.", "Rating", "Simply wonderful!", shown),
        choices=tuple(map(str, range(1, 11))),
    )
    (one,), (other,) = (answer(each, reader(tokenizer), [asked]) for each in (engine, transformers_engine))
    assert one.text == other.text == "10"
    assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=0.02)


def test_answers_obey_a_json_schema(engine, tokenizer):
    asked = [
        Request(
            prompt("Answer in JSON.", "Answer", text, []),
            json_schema=SCHEMA,
            temperature=0.8,
            max_new_tokens=80,
            seed=s,
        )
        for s, text in enumerate(TEXTS[:8])
    ]
    answers = [json.loads(one.text) for one in answer(engine, reader(tokenizer), asked) if one.finish_reason == "stop"]
    assert len(answers) >= 6, "an integer may run on to the limit of tokens, seldom"
    assert all(set(one) == {"mood", "strength"} and one["mood"] in ("glad", "sad") for one in answers)


def test_a_bad_schema_and_what_does_not_fit_are_errors_of_their_requests_alone(engine, tokenizer):
    fine = Request(prompt(INSTRUCTION, "Feeling", TEXTS[0], SHOWN), max_new_tokens=4)
    beyond_limit = Request(Prompt("word " * 1000, "x"), max_new_tokens=4)
    beyond_context = Request(Prompt("word " * 1500, "x"), max_new_tokens=4)
    bad_schema = Request(fine.prompt, json_schema={"type": "no such type"}, max_new_tokens=4)
    (refused,) = answer(engine, reader(tokenizer, limit=100), [beyond_limit])
    assert "max_prompt_tokens" in refused.error
    answer_beyond = Request(fine.prompt, max_new_tokens=2000)
    asked = [bad_schema, beyond_context, answer_beyond, fine]
    bad, long, cut, good = answer(engine, reader(tokenizer, limit=10_000), asked)
    assert bad.error
    assert "1024 positions" in long.error
    assert "1024 positions" in cut.error
    assert good.error is None
    assert good.text


def test_a_shared_beginning_is_computed_once(engine, tokenizer):
    from vllm import SamplingParams

    read = reader(tokenizer)
    shown = [(text, "neutral") for text in TEXTS[40:70]]
    asked = [Request(prompt(INSTRUCTION, "Feeling", text, shown), max_new_tokens=2) for text in TEXTS[:5]]
    answer(engine, read, asked)
    (output,) = engine._llm.generate(
        {"prompt_token_ids": read.job(asked[0]).prompt_ids}, SamplingParams(max_tokens=1), use_tqdm=False
    )
    assert output.num_cached_tokens >= 256


def test_prompt_logprobs_give_the_difficulty_where_they_hold_the_nucleus(student, tokenizer, transformers_engine):
    from sentidistill.difficulty import score_ids
    from sentidistill.prompts import render
    from sentidistill.student.vllm_scoring import VLLMScorer

    asked = [prompt(INSTRUCTION, "Feeling", text, SHOWN) for text in TEXTS[:12]]
    rows = [
        (one.prompt_ids, one.completion_ids)
        for place, question in enumerate(asked)
        for one in [render(question, tokenizer, "transcript", ("positive", "glad about it, mostly")[place % 2])]
    ]
    options = {**OPTIONS, "enable_prefix_caching": False}
    (finished,) = VLLMScorer(student, "float32", options, 0.95, 512, shown=512).stream([rows])
    ((_, scores),) = finished
    expected = score_ids(transformers_engine._model, rows, max_length=512)
    assert sum(one.exact for one in scores) >= 6
    for one, other in zip(scores, expected):
        assert (one.n_tokens, one.truncated) == (other.n_tokens, other.truncated)
        assert one.nll == pytest.approx(other.nll, abs=1e-3)
        if one.exact:
            assert one.rank_score == pytest.approx(other.rank_score, abs=0.02)


def test_a_program_that_holds_an_engine_to_its_last_line_ends(student):
    """With multiprocessing's exit function before that of finalizers, as in a program that used one early."""
    lines = (
        "import weakref",
        "class Thing: pass",
        "thing = Thing()",
        "weakref.finalize(thing, print, 'finalized')",
        "from pathlib import Path",
        "from sentidistill.inference.engines.vllm import open_llm",
        "if __name__ == '__main__':",
        f"    llm = open_llm(Path({str(student)!r}), 'float32', {OPTIONS!r})",
    )
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]


def test_a_stage_killed_in_the_middle_goes_on_where_it_stopped(student, tmp_path):
    """With the student as its own teacher, on a few texts."""
    for name in ("stages", "sentidistill", "prompts"):
        (tmp_path / name).symlink_to(ROOT / name)
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["teacher"] |= {"worked_examples": False, "max_failure_rate": 1.0, "retries": 0}
    values["prepare_models"]["teacher"] = {"source": "path", "path": "models/teacher"}
    values["enumerate_attributes"]["sampling"] |= {"max_new_tokens": 24, "temperature": 0.7}
    values["runtime"]["vllm"]["teacher"] = OPTIONS
    values["runtime"] |= {"engine": {"teacher": "vllm", "student": "transformers"}, "concurrency": 4}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/teacher").symlink_to(student)
    texts = [Text(id=f"{i:02d}", domain="d", text=text, pool="enumeration") for i, text in enumerate(TEXTS[:40])]
    records.write_jsonl(tmp_path / "data/corpus.jsonl", texts)
    first = start(tmp_path, "enumerate_attributes")
    while stored_answers(tmp_path) == {}:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = stored_answers(tmp_path)
    assert 0 < len(before) < 40
    second = start(tmp_path, "enumerate_attributes")
    _, stderr = second.communicate(timeout=600)
    after = stored_answers(tmp_path)
    assert len(after) == 40, stderr
    assert {key: after[key] for key in before} == before
    assert f"{len(before)} cached" in stderr
