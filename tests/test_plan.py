"""`make plan`, and a replay of stored answers without the model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from sentidistill.benchmark import sentibench
from sentidistill.calls import CALLING_STAGES
from tests.project import environment

TASKS = ("tweet", "twitter", "atsa_rest16")


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def plan(folder: Path) -> dict[str, dict]:
    return {work["stage"]: work for work in json.loads(run(folder, "sentidistill.plan", "--json"))}


def calls(folder: Path, stage: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"data/calls/{stage}.jsonl").open()]


def test_after_a_run_everything_is_cached_and_a_plan_writes_nothing(project):
    before = project.run("dvc", "status", "--json").stdout, project.run("git", "status", "--short").stdout
    works = plan(project.folder)
    tested = {f"evaluate@{model}-{task}" for model in ("student_base", "student", "teacher") for task in TASKS}
    assert set(works) == {*CALLING_STAGES, *tested}
    assert all(work["cached"] == work["requests"] > 0 for work in works.values())
    assert {(work["prompt_tokens"], work["hours"], work["money"]) for work in works.values()} == {(0, 0.0, 0.0)}
    assert (project.run("dvc", "status", "--json").stdout, project.run("git", "status", "--short").stdout) == before


def test_without_a_cache_the_requests_and_tokens_are_those_of_the_run(project, tmp_path):
    def change(values):
        values["runtime"]["prices"] = {"prompt": 2.0, "completion": 10.0}

    project.copy_of_files(tmp_path, change)
    works = plan(tmp_path)
    for stage in ("enumerate_attributes", "define_tasks", "collect_responses"):
        done, work = calls(project.folder, stage), works[stage]
        assert (work["requests"], work["cached"], work["too_long"]) == (len(done), 0, 0)
        assert work["prompt_tokens"] == sum(call["prompt_tokens"] for call in done)
        assert work["money"] == (2.0 * work["prompt_tokens"] + 10.0 * work["max_new_tokens"]) / 1e6
        assert work["hours"] is None, "nothing was measured yet"
    assert works["enumerate_attributes"]["basis"] == "inputs"
    assert works["enumerate_attributes"]["max_new_tokens"] == 24 * 200
    assert works["define_tasks"]["basis"] == "old inputs"


def test_what_does_not_exist_yet_is_estimated_from_the_params(project, tmp_path):
    project.copy_of_files(tmp_path, lambda values: values["teacher"].update(max_prompt_tokens=100))
    for path in tmp_path.glob("data/*.jsonl"):
        if path.name != "corpus.jsonl":
            path.unlink()
    shutil.rmtree(tmp_path / "models/student")
    works = plan(tmp_path)
    first = works["enumerate_attributes"]
    assert first["basis"] == "inputs"
    assert 0 < first["too_long"] <= first["requests"] == 24
    assert {works[stage]["basis"] for stage in CALLING_STAGES[1:]} == {"params"}
    assert works["collect_responses"]["requests"] == 30 + 12 + 8 + 8 + 6
    assert works["evaluate@teacher-tweet"]["requests"] == 3 * 8 + 6
    for task, requests, tokens in (("tweet", 30, 0), ("twitter", 2 * (6 + 6), 0), ("atsa_rest16", 2 * 4, 2 * 4 * 20)):
        work = works[f"evaluate@student-{task}"]
        assert (work["requests"], work["max_new_tokens"], work["basis"]) == (requests, tokens, "params")


def test_a_benchmark_task_without_limit_is_counted_in_the_users_copy(project, tmp_path):
    copy = project.folder / ".cache/smoke/sentibench"

    def change(values):
        values["prepare_benchmark"]["sentibench"] = str(copy)
        values["evaluate"]["sentibench"]["label_limit"] = 0

    project.copy_of_files(tmp_path, change)
    shutil.rmtree(tmp_path / "models/student")
    records = len(sentibench.load(copy, "twitter", "test"))
    assert plan(tmp_path)["evaluate@student-twitter"]["requests"] == 2 * (records + 6) > 2 * (6 + 6)


def test_prompts_that_only_a_server_can_count_are_not_counted_as_none(project, tmp_path):
    def change(values):
        values["prepare_models"]["teacher"] = {"source": "server", "model": "large"}
        values["teacher"]["api"] = "chat"
        values["collect_responses"]["calibrate"] = False

    project.copy_of_files(tmp_path, change)
    (tmp_path / "models/teacher/origin.json").write_text('{"source": "server", "model": "large"}')
    work = plan(tmp_path)["enumerate_attributes"]
    assert work["requests"] == 24
    assert (work["prompt_tokens"], work["money"]) == (None, None)


def test_the_hours_follow_from_what_the_last_run_took(project, tmp_path):
    project.copy_of_files(tmp_path, lambda values: values["runtime"].update(cache="refresh"))
    run(tmp_path, "stages.enumerate_attributes")
    work = plan(tmp_path)["enumerate_attributes"]
    assert work["cached"] == 0
    assert 0 < work["hours"] < 0.1
    lines = run(tmp_path, "sentidistill.plan").splitlines()
    (row,) = [line for line in lines if "enumerate_attributes" in line]
    assert f"{work['prompt_tokens']:,}" in row


def test_the_pace_of_a_task_is_not_that_of_another_whose_name_begins_alike():
    from sentidistill.config import load
    from sentidistill.plan import Work, priced
    from sentidistill.teacher.cache import Rate

    rates = {"evaluate student, tweet": Rate(10, 100, 0, 3600.0), "evaluate student, tweeteval": Rate(10, 100, 0, 36.0)}
    work = Work("evaluate@student-tweet", 20, 0, 0, 200, 0, "inputs")
    assert priced(work, rates, load("params.yaml")).hours == 2.0
    demonstrations = {
        "write_demonstrations": Rate(10, 1, 1, 1800.0),
        "write_demonstrations, labels": Rate(10, 1, 1, 1800.0),
    }
    work = Work("write_demonstrations", 20, 0, 0, 200, 0, "inputs")
    assert priced(work, demonstrations, load("params.yaml")).hours == 1.0


def test_an_exported_cache_replays_a_stage_without_the_teacher(project, tmp_path):
    run(project.folder, "sentidistill.cache", "export", str(tmp_path / "answers.jsonl.gz"))

    def change(values):
        values["runtime"]["cache"] = "read"
        values["runtime"]["server"]["base_url"] = "http://127.0.0.1:9/v1"

    project.copy_of_files(tmp_path / "there", change)
    there = tmp_path / "there"
    names = ["data/mentions.jsonl", "data/calls/enumerate_attributes.jsonl", "metrics/enumerate_attributes.json"]
    shutil.rmtree(there / ".cache/smoke/teacher")
    for name in names:
        (there / name).unlink()
    run(there, "sentidistill.cache", "import", str(tmp_path / "answers.jsonl.gz"))
    run(there, "stages.enumerate_attributes")
    assert [(there / name).read_bytes() for name in names] == [(project.folder / n).read_bytes() for n in names]
