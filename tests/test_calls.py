"""Asking a teacher that answers badly: what is asked again, what is lost, and how a definition is repaired."""

import json
from contextlib import contextmanager

import pytest

from sentidistill.config import load
from sentidistill.config.prompting import Sampling
from sentidistill.errors import SentiDistillError
from sentidistill.inference.calls import StageTeacher, stage_teacher, summary, table_of
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Reader, Response
from sentidistill.inference.store import Cache
from sentidistill.parsing.tasks import Proposal
from sentidistill.prompts import Prompt
from tests.project import ROOT

SAMPLING = Sampling(temperature=0.5, top_p=1.0, top_k=50, frequency_penalty=0.0, max_new_tokens=20)
SCALE = "Instruction: Rate the joy, from 1 (no joy) to 5 (much joy)."
BAD = f"{SCALE}\nLabels: 1\nExamples:\nInput: What a day!\nOutput: 1"
GOOD = f"{SCALE}\nLabels: 1, 2\nExamples:\nInput: What a day!\nOutput: 2\nInput: Oh no!\nOutput: 3"


class Scripted:
    """Answers every prompt by a function of the prompt and the attempt."""

    def __init__(self, answer, error=None):
        self.answer, self.error, self.prompts = answer, error, []

    def stream(self, jobs):
        self.prompts += [job.request.prompt for job in jobs]
        texts = [self.answer(job.request.prompt, job.request.attempt) for job in jobs]
        responses = [Response.failed(self.error) if self.error else Response(text, "stop", 10, 5) for text in texts]
        yield list(enumerate(responses))


def teacher(engine, folder) -> CachedTeacher:
    return CachedTeacher(Reader("scripted", "chat", 10**6), lambda: engine, Cache(folder / "cache"))


def opened(engine, folder):
    """What opens a model with `engine`, as the stages open theirs."""

    @contextmanager
    def open_model(*_):
        yield teacher(engine, folder)

    return open_model


def numbers(_: str, answer: Response) -> tuple[list[int] | None, list[str]]:
    parts = answer.text.split()
    found = [int(part) for part in parts if part.isdigit()]
    return found or None, ["no_number"] * (len(parts) - len(found))


def test_only_unusable_answers_are_asked_again_and_every_loss_has_its_reason(tmp_path):
    answers = {"a": ["1 2"], "b": ["3 x y"], "c": ["x", "4"], "d": ["x", "y z"]}
    engine = Scripted(lambda prompt, attempt: answers[prompt.input][attempt])
    params = load("params.yaml").teacher.model_copy(update={"retries": 1, "max_failure_rate": 0.25})
    asked = StageTeacher(teacher(engine, tmp_path), "define_tasks", params)
    values = asked.ask({key: Prompt("Do.", key) for key in answers}, SAMPLING, numbers)
    assert values == {"a": [1, 2], "b": [3], "c": [4]}
    assert [(call.key, call.status, call.attempts) for call in asked.calls] == [
        ("a", "parsed", 1),
        ("b", "repaired", 1),
        ("c", "parsed", 2),
        ("d", "failed", 2),
    ]
    assert summary(asked.calls)["lost"] == {"no_number": 4}
    assert len(engine.prompts) == 6


@pytest.mark.parametrize("part", ["texts", "labels"])
def test_too_many_failures_end_the_stage_with_a_record_of_every_call(part, tmp_path, monkeypatch):
    """Whatever is asked: texts that cannot be used, or labels that end in an error."""
    monkeypatch.chdir(tmp_path)
    error = None if part == "texts" else "out of memory"
    prompts = {"a": Prompt("Do.", "a"), "b": Prompt("Do.", "b")}

    def asking() -> None:
        open_model = opened(Scripted(lambda *_: "no number", error), tmp_path)
        with stage_teacher("define_tasks", load(ROOT / "params.yaml"), open_model) as asked:
            if part == "texts":
                asked.ask(prompts, SAMPLING, numbers)
            else:
                asked.choose(prompts, {"a": ["x", "y"], "b": ["x", "y"]}, part="labels")

    with pytest.raises(SentiDistillError, match=r"2 of 2 .*max_failure_rate.*data/calls/define_tasks.jsonl"):
        asking()
    assert [(call.key, call.status, call.error) for call in table_of("define_tasks").read()] == [
        ("a", "failed", error),
        ("b", "failed", error),
    ]


def test_a_stage_that_has_nothing_to_ask_ends_with_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nobody = stage_teacher("define_tasks", load(ROOT / "params.yaml"), opened(Scripted(lambda *_: "1"), tmp_path))
    with pytest.raises(SentiDistillError, match="define_tasks: there was nothing to ask"), nobody as asked:
        asked.ask({}, SAMPLING, numbers)


def test_an_instruct_teacher_repairs_a_definition_that_it_is_shown_with_its_faults(project, tmp_path, monkeypatch):
    """The stage on two proposals; the teacher only gets right what it is told to mend."""
    from stages import define_tasks

    def change(values):
        values["teacher"] |= {"worked_examples": False, "max_failure_rate": 1.0}

    project.copy_of_files(tmp_path, change)
    proposal = Proposal(name="Joy Rating", family="scoring", description="Rate the joy.").model_dump()
    rows = [
        {"id": f"{number:016x}", "cluster": 0, "attribute": name, "mentions": 3, **proposal, "name": name}
        for number, name in enumerate(["Joy", "Hope"])
    ]
    (tmp_path / "data/task_proposals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = Scripted(lambda prompt, _: GOOD if "- The part Labels lists too few" in prompt.input else BAD)
    monkeypatch.chdir(tmp_path)
    define_tasks.main(opened(engine, tmp_path))
    assert len(engine.prompts) == 4
    assert all(BAD in prompt.input for prompt in engine.prompts[2:])
    (task,) = [json.loads(line) for line in (tmp_path / "data/task_definitions.jsonl").open()]
    assert task["labels"] == ["1", "2"]
    assert task["examples"] == [["What a day!", "2"]]
    metrics = json.loads((tmp_path / "metrics/define_tasks.json").read_text())
    assert (metrics["retried"], metrics["repeated"], metrics["lost"]) == (2, 1, {"label": 2})
