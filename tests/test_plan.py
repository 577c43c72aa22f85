"""`make plan`, and a replay of stored answers without the model."""

import io
import json
import shutil
from contextlib import chdir, closing, redirect_stdout
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from sentidistill import config
from sentidistill.commands import estimates, record
from sentidistill.commands.plan import counted, other_file, plan, show
from sentidistill.commands.profiles import PARAMS, with_profile
from sentidistill.commands.rehearsal import Rehearsal
from sentidistill.config.models import HubModel
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.inference.opening import cache_path
from sentidistill.inference.requests import Reader, Request
from sentidistill.inference.store import Cache, Rate
from sentidistill.pipeline import graph
from sentidistill.pipeline.stage import console
from sentidistill.prompts import Prompt
from stages import enumerate_attributes
from tests.project import ROOT
from tests.recorded import TEXTS, Scripted, answering, make_folder, write_texts

TASKS = ("tweet", "twitter", "atsa_rest16")


def run(folder: Path, module: str, *arguments: str) -> str:
    """What a command or stage prints in `folder`."""
    with chdir(folder), redirect_stdout(io.StringIO()) as shown:
        import_module(module).main(*arguments)
    return shown.getvalue()


def of_project(folder: Path) -> dict[str, dict]:
    return {
        work["stage"]: work for work in json.loads(run(folder, "sentidistill.commands.plan", "--json")) if work["asks"]
    }


def calls(folder: Path, stage: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"data/calls/{stage}.jsonl").open()]


def test_after_a_run_everything_is_cached_and_a_plan_writes_nothing(project):
    before = project.run("dvc", "status", "--json").stdout, project.run("git", "status", "--short").stdout
    works = of_project(project.folder)
    tested = {f"evaluate@{model}-{task}" for model in ("student_base", "student", "teacher") for task in TASKS}
    assert set(works) == {*CALLING_STAGES, *tested}
    assert all(work["cached"] == work["requests"] > 0 for work in works.values())
    spent = {(work["asked"], work["prompt_tokens"], work["hours"], work["money"]) for work in works.values()}
    assert spent == {(0, 0, 0.0, 0.0)}
    assert (project.run("dvc", "status", "--json").stdout, project.run("git", "status", "--short").stdout) == before


def test_without_a_cache_the_requests_and_tokens_are_those_of_the_run(project, tmp_path):
    def change(values):
        values["runtime"]["prices"] = {"prompt": 2.0, "completion": 10.0}

    project.copy_of_files(tmp_path, change)
    works = of_project(tmp_path)
    for stage in ("enumerate_attributes", "define_tasks", "collect_responses"):
        done, work = calls(project.folder, stage), works[stage]
        assert (work["requests"], work["cached"], work["too_long"]) == (len(done), 0, 0)
        assert work["prompt_tokens"] == sum(call["prompt_tokens"] for call in done)
        assert work["money"] == (2.0 * work["prompt_tokens"] + 10.0 * work["max_new_tokens"]) / 1e6
        assert work["hours"] is None, "nothing was measured yet"
    assert works["enumerate_attributes"]["basis"] == "inputs"
    assert works["enumerate_attributes"]["max_new_tokens"] == 24 * 200
    assert works["define_tasks"]["basis"] == "old inputs"


@pytest.fixture
def recorded(tmp_path, monkeypatch) -> Path:
    """Four texts whose answers are recorded, of a teacher whose file is nowhere; then one text is changed."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("SENTIDISTILL_RECORDINGS", raising=False)
    monkeypatch.chdir(make_folder(tmp_path / "a"))
    with answering(Scripted()):
        enumerate_attributes.main()
    record.main()
    Path(".cache").rename("../cache")
    write_texts(Path.cwd(), (*TEXTS[1:], "Quite another text."))
    return Path.cwd()


def planned() -> dict[str, dict]:
    with closing(Cache(cache_path(Path(".cache")))) as cache:
        return {work.stage: asdict(work) for work in plan(config.load(), cache, Path(".cache"))}


def set_mode(mode: str) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("cache: read-write", f"cache: {mode}"))


def test_after_a_change_what_is_new_is_counted_and_nothing_is_fetched(recorded, capsys):
    work = planned()["enumerate_attributes"]
    assert (work["requests"], work["recorded"], work["cached"], work["asked"]) == (4, 3, 0, 1)
    assert work["max_new_tokens"] == config.load().enumerate_attributes.sampling.max_new_tokens
    assert (work["prompt_tokens"], work["money"]) == (None, None), "only the teacher's tokenizer could count them"
    assert [path.name for path in Path(".cache").iterdir()] == ["generations"]
    with closing(Cache(Path(":memory:"))) as cache:
        show(plan(config.load(), cache, Path(".cache")), console())
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "enumerate_attributes" in line]
    assert [cell.strip() for cell in row.split("│")[2:6]] == ["4", "3", "0", "1+"]


def test_without_recordings_everything_is_to_be_asked(recorded, monkeypatch):
    monkeypatch.setenv("SENTIDISTILL_RECORDINGS", "off")
    assert planned()["enumerate_attributes"]["asked"] == 4
    monkeypatch.delenv("SENTIDISTILL_RECORDINGS")
    set_mode("refresh")
    assert planned()["enumerate_attributes"]["asked"] == 4


def test_what_a_stage_will_ask_is_not_known_before_its_inputs_are_there(recorded):
    works = planned()
    params = config.load()
    sized = {
        "define_tasks": sum(params.define_tasks.max_tasks.values()),
        "write_demonstrations": 3 * 5 * sum(params.define_tasks.max_tasks.values()),  # five calls, two texts each
        "collect_responses": sum(params.compose_prompts.prompts.values()),
    }
    for stage in CALLING_STAGES[1:]:
        assert works[stage]["basis"] == ("params" if stage in sized else "no inputs yet")
        assert works[stage]["requests"] == sized.get(stage)
    assert not works["train_student"]["asks"]


def test_hours_are_at_the_pace_of_the_recorded_run_or_of_the_last_one_here(recorded):
    path = Path("recordings/default/runs.json")
    noted = json.loads(path.read_text())
    noted["pace"]["enumerate_attributes"] |= {"requests": 10, "seconds": 3600.0}
    path.write_text(json.dumps(noted))
    assert planned()["enumerate_attributes"]["hours"] == pytest.approx(0.1)
    with closing(Cache(cache_path(Path(".cache")))) as cache:
        cache.set_rate(noted["model"], "enumerate_attributes", Rate(10, 100, 100, 7200.0))
    assert planned()["enumerate_attributes"]["hours"] == pytest.approx(0.2)
    with closing(Cache(cache_path(Path(".cache")))) as cache:
        cache.set_rate("another model", "enumerate_attributes", Rate(10, 100, 100, 1.0))
    assert planned()["enumerate_attributes"]["hours"] == pytest.approx(0.2)


def test_cheap_and_dear_requests_are_counted_each_at_its_own_pace(recorded):
    reader = Reader("m", "chat", 100)
    model = Rehearsal(reader, Cache(Path(":memory:")), None)
    model.generate([Request(Prompt("Write.", "text"))], "write_demonstrations")
    model.generate([Request(Prompt("Which?", str(n)), choices=("a", "b")) for n in range(100)], "labels")
    rates = {"write_demonstrations": Rate(1, 1, 1, 3600.0), "labels": Rate(1000, 1, 1, 3600.0)}
    params = config.load()
    assert counted(model, reader, False, rates, params)["hours"] == pytest.approx(1.1)
    del rates["labels"]
    assert counted(model, reader, False, rates, params)["hours"] is None, "half of the hours are no estimate"


def test_prompts_that_only_a_server_can_count_are_not_counted_as_none(recorded):
    def change(values):
        values["prepare_models"]["teacher"] = {"source": "server", "model": "large"}
        values["teacher"] |= {"prompt_format": "chat", "api": "chat"}
        values["runtime"]["engine"]["teacher"] = "openai"
        values["runtime"]["server"]["base_url"] = "http://localhost:1/v1"
        values["collect_responses"]["calibrate"] = False

    make_folder(Path("served"), change)
    Path("served/models/teacher/origin.json").write_text('{"source": "server", "model": "large"}')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("served")
        work = planned()["enumerate_attributes"]
    assert (work["requests"], work["asked"]) == (4, 4)
    assert (work["prompt_tokens"], work["money"]) == (None, None)


def test_an_exported_cache_replays_a_stage_without_the_teacher(project, tmp_path):
    run(project.folder, "sentidistill.commands.cache", "export", str(tmp_path / "answers.jsonl.gz"))

    def change(values):
        values["runtime"]["cache"] = "read"
        values["runtime"]["server"]["base_url"] = "http://127.0.0.1:9/v1"

    project.copy_of_files(tmp_path / "there", change)
    there = tmp_path / "there"
    names = ["data/mentions.jsonl", "data/calls/enumerate_attributes.jsonl", "metrics/enumerate_attributes.json"]
    shutil.rmtree(there / ".cache/smoke/teacher")
    for name in names:
        (there / name).unlink()
    run(there, "sentidistill.commands.cache", "import", str(tmp_path / "answers.jsonl.gz"))
    run(there, "stages.enumerate_attributes")
    assert [(there / name).read_bytes() for name in names] == [(project.folder / n).read_bytes() for n in names]


def test_other_settings_make_what_follows_an_estimate(project, tmp_path):
    """The sizes are those of params.yaml; nothing that was asked under other settings counts."""
    project.copy_of_files(tmp_path)
    shutil.copytree(project.folder / ".cache/generations", tmp_path / ".cache/generations")
    assert {work["basis"] for work in of_project(tmp_path).values()} == {"inputs"}
    params = (tmp_path / "params.yaml").read_text()
    values = yaml.safe_load(params)
    values["prepare_corpus"]["pool_sizes"]["enumeration"] = 100
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    works = of_project(tmp_path)
    assert (works["enumerate_attributes"]["requests"], works["enumerate_attributes"]["basis"]) == (100, "params")
    assert (works["propose_tasks"]["requests"], works["propose_tasks"]["basis"]) == (None, "no inputs yet")
    assert works["collect_responses"]["requests"] == sum(values["compose_prompts"]["prompts"].values())
    assert works["evaluate@student_base-tweet"]["basis"] == "inputs"
    assert "~100" in run(tmp_path, "sentidistill.commands.plan")


def test_a_file_of_ones_own_that_changed_counts_as_a_setting(project, tmp_path):
    project.copy_of_files(tmp_path)
    (tmp_path / "own/more.txt").write_text("Edited.")
    assert of_project(tmp_path)["enumerate_attributes"]["basis"] == "params"


def test_what_follows_a_stage_that_was_run_by_itself_is_not_called_up_to_date(project, tmp_path):
    project.copy_of_files(tmp_path)
    shutil.copytree(project.folder / ".cache/generations", tmp_path / ".cache/generations")
    path = tmp_path / "data/task_definitions.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    works = of_project(tmp_path)
    assert works["write_demonstrations"]["basis"] == "inputs"
    assert works["collect_responses"]["basis"] == "old inputs"


def test_verdicts_make_no_estimate_of_what_they_hardly_change(project, tmp_path):
    project.copy_of_files(tmp_path)
    (tmp_path / "reviews.jsonl").write_text('{"id": "answer-0123456789abcdef", "verdict": "right", "answer": ""}\n')
    works = of_project(tmp_path)
    assert {works[stage]["basis"] for stage in CALLING_STAGES} == {"inputs", "old inputs"}
    assert sum(works[stage]["requests"] for stage in CALLING_STAGES) > 0


def test_the_committed_run_is_that_of_the_committed_settings(monkeypatch):
    """Also where DVC has written a number as YAML reads it as text, such as 5e-05."""
    monkeypatch.chdir(ROOT)
    assert "learning_rate: 5e-05" in Path("dvc.lock").read_text(), "or there is nothing to read wrongly"
    assert "train_student" not in estimates.changed(graph.load(), yaml.safe_load(Path("params.yaml").read_text()))


@pytest.mark.parametrize("name", ["a/b", "../evil", ""])
def test_a_recordings_name_is_that_of_a_folder_beside_the_default(name, capsys):
    with pytest.raises(SystemExit):
        record.main("--name", name)
    assert "expected a name of letters, digits, _ and -" in capsys.readouterr().err


def test_an_estimate_keeps_to_the_limit_of_records():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["evaluate"]["limit"] = 60
    params = config.checked(values, "params.yaml")
    every = graph.stages(yaml.safe_load((ROOT / "dvc.yaml").read_text()), values)
    one = next(one for one in every if one.template == "evaluate")
    assert estimates.requests(one, params) == (60 + params.evaluate.calibration_texts, 0)


def test_a_profile_is_planned_without_being_applied(project, tmp_path):
    project.copy_of_files(tmp_path)
    (tmp_path / "params/more.yaml").write_text("prepare_corpus: {pool_sizes: {enumeration: 77}}\n")
    before = (tmp_path / "params.yaml").read_bytes()
    works = json.loads(run(tmp_path, "sentidistill.commands.plan", "--json", "--profile", "more"))
    assert {work["stage"]: work["requests"] for work in works}["enumerate_attributes"] == 77
    assert (tmp_path / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(("name", "billions"), [("Llama-3.1-70B-Instruct", 70), ("gemma-3-4b-it", 4), ("x-0.6B", 0.6)])
def test_the_size_of_a_hub_model_is_read_from_its_name(name, billions):
    assert estimates.parameters(HubModel(source="hub", repo=f"someone/{name}")) == billions * 1e9


@pytest.mark.parametrize("name", ["someone/model", "someone/8bit", "someone/v2-base"])
def test_a_hub_model_whose_name_tells_no_size_has_none(name):
    assert estimates.parameters(HubModel(source="hub", repo=name)) is None


@pytest.mark.parametrize(("family", "teacher"), [("llama", 140), ("qwen", 64), ("gemma", 54)])
def test_the_papers_runs_are_planned_without_models_and_fit_their_gpus(tmp_path, monkeypatch, family, teacher):
    """As in a fresh clone: calls, tokens, hours, and memory of each GPU of 80 GiB, of which there are four."""
    for name in ("params.yaml", "params", "dvc.yaml", "recordings", "prompts", "sentidistill", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with other_file(PARAMS, yaml.safe_dump(with_profile(f"paper-{family}"))):
        works = planned()
    asked = {name: works[name] for name in ("enumerate_attributes", "define_tasks", "collect_responses")}
    assert [work["requests"] for work in asked.values()] == [20_000, 1_900, 50_000]
    assert asked["enumerate_attributes"]["max_new_tokens"] == 20_000 * 1048
    assert all(work["prompt_tokens"] > 0 and 0 < work["hours"] < 100 for work in asked.values())
    assert {work["gpu_gb"] for work in asked.values()} == {teacher / 4}
    training = works["train_student"]
    assert 40 < training["gpu_gb"] < 80
    assert 0 < training["hours"] < 100


def test_teacher_and_student_have_vllm_options_of_their_own():
    params = config.checked(with_profile("paper-llama"), "paper")
    assert [estimates.OnGpus.of(role, params).together for role in ("teacher", "student_base")] == [4, 1]


def test_memory_of_training_by_a_models_size_is_near_that_by_its_shape():
    """Llama 3.2 of 3.2B, 4 rows of 2,048 tokens with checkpointing: 51 GB of states and 15 beside them."""
    params = config.checked(with_profile("paper-llama"), "paper")
    memory, _ = estimates.training(params)
    assert memory / 1e9 == pytest.approx(51 * 3 / 3.2 + 15, rel=0.05)
