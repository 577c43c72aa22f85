"""What is noted of a run: seconds and where answers came from, beside the outputs and never in them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentidistill import records
from sentidistill.commands import record
from sentidistill.pipeline import graph, runs
from sentidistill.pipeline.runs import Run
from tests.recorded import ROOT, Scripted, answering, make_folder
from tests.test_recordings import stage


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(make_folder(tmp_path / "a"))
    return Path.cwd()


def run_of(seconds: float, asking: float = 0.0) -> Run:
    return Run(processor="AVX2, 2 cores", seconds=seconds, asking=asking, recorded=0, cached=0, asked=0)


def note_all(folder: Path, seconds: float) -> list[str]:
    names = [one.name for one in graph.load()]
    for name in names:
        records.write_json(folder / ".cache/runs" / f"{name}.json", run_of(seconds).model_dump())
    return names


def test_a_process_that_has_worked_on_gpus_is_named_by_them(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    assert runs.processor() == "2 x H100"


def test_a_stages_note_says_how_long_it_took_and_where_its_answers_came_from(folder):
    with answering(Scripted()):
        from stages import enumerate_attributes

        enumerate_attributes.main()
    record.main()
    result = stage()
    assert result.returncode == 0, result.stderr
    run = runs.last(Path(".cache"))["enumerate_attributes"]
    assert (run.recorded, run.cached, run.asked, run.asking) == (0, 4, 0, 0.0)
    assert 0 < run.seconds < 120
    assert run.processor == runs.processor()


def test_a_stage_says_which_one_it_is_and_how_long_the_rest_takes(folder):
    names = note_all(folder, 60)
    result = stage(("SENTIDISTILL_RECORDINGS", "off"))
    assert f"stage 7 of {len(names)}: enumerate_attributes; about {len(names) - 6} min to the end" in result.stderr
    assert result.returncode == 1
    assert runs.last(Path(".cache"))["enumerate_attributes"].seconds == 60, "a run that failed is not noted"


def test_stages_that_do_not_depend_on_this_one_and_are_done_are_not_to_come(folder):
    every = graph.load()
    note_all(folder, 60)
    for one in every:
        for out in one.outs:
            if not Path(out).exists():
                Path(out).mkdir(parents=True)
    after = [one.name for one in graph.dependents(every, "train_student")]
    assert after == [*(one.name for one in every if one.name.startswith("evaluate@student-")), "report"]
    assert f"about {len(after) + 1} min to the end" in runs.place("train_student", Path(".cache"))


def test_what_depends_on_a_stage_that_has_run_in_this_repro_is_to_come_too(folder, monkeypatch):
    """The models are tested one after the other, and none of these stages depends on another."""
    every = graph.load()
    names = note_all(folder, 60)
    for out in (out for one in every for out in one.outs if not Path(out).exists()):
        Path(out).mkdir(parents=True)
    first = next(name for name in names if name.startswith("evaluate@student-"))
    assert "about 2 min to the end" in runs.place(first, Path(".cache")), "itself and the report"
    for name in names:
        os.utime(f".cache/runs/{name}.json", (0, 0))
    os.utime(".cache/runs/train_student.json")
    monkeypatch.setenv(runs.SINCE, "1")
    after = [one.name for one in graph.dependents(every, "train_student")]
    assert f"about {len(after)} min to the end" in runs.place(first, Path(".cache"))


def test_what_the_student_has_to_be_asked_counts_and_what_the_teacher_may_not_have_to_be_does_not(folder):
    for name in note_all(folder, 60):
        if name.startswith("evaluate@"):
            records.write_json(folder / f".cache/runs/{name}.json", run_of(60, asking=60).model_dump())
    every = [one.name for one in graph.load()]
    students = sum(name.startswith("evaluate@student") for name in every)
    after = every.index("train_student") + 1
    others = sum(not name.startswith("evaluate@") for name in every[after:])
    assert f"about {students + others + 1} min to the end" in runs.place("train_student", Path(".cache"))


def test_where_a_stage_was_never_timed_no_time_is_promised(folder):
    names = note_all(folder, 60)
    Path(".cache/runs", f"{names[-1]}.json").write_text("{}")
    assert runs.place(names[0], Path(".cache")) == f"stage 1 of {len(names)}: {names[0]}"


def test_a_fresh_clone_knows_the_seconds_of_the_recorded_run_without_asking(folder):
    records.write_json(folder / "models/teacher/origin.json", {"source": "server", "model": "m"})
    records.write_json(".cache/runs/train_student.json", run_of(500, asking=300).model_dump())
    record.main()
    assert runs.last(Path("elsewhere"))["train_student"].own_seconds == 200
    found = json.loads(Path("recordings/default/runs.json").read_text())
    assert list(found["stages"]) == ["train_student"]
    before = Path("recordings/default/runs.json").read_bytes()
    Path(".cache/runs/train_student.json").unlink()
    record.main()
    assert Path("recordings/default/runs.json").read_bytes() == before, "what is known is kept"


def test_after_a_run_a_table_says_where_the_answers_came_from(folder):
    for name, counts in (("enumerate_attributes", (90, 8, 2)), ("propose_tasks", (10, 0, 0))):
        recorded, cached, asked = counts
        run = run_of(12).model_copy(update={"recorded": recorded, "cached": cached, "asked": asked})
        records.write_json(f".cache/runs/{name}.json", run.model_dump())
    result = subprocess.run(
        [sys.executable, "-m", "sentidistill.commands.runs"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("│ all")]
    assert [cell.strip() for cell in row.split("│")[2:7]] == ["24", "0", "100", "8", "2"]


def test_the_order_of_dvc_yaml_is_one_in_which_stages_can_run():
    """`stage N of M` counts in this order, and DVC keeps to it."""
    values = [yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("dvc.yaml", "params.yaml")]
    every = graph.stages(*values)
    written: set[str] = set()
    for one in every:
        later = {path for other in every for path in (*other.outs, *other.metrics)} - written
        assert not one.reads(later), f"{one.name} reads what is written after it"
        written |= {*one.outs, *one.metrics}


@pytest.mark.parametrize("program", ["/x/stages/evaluate.py", "/x/sentidistill/commands/plan.py", "pytest"])
def test_only_stages_are_noted(program):
    expected = "evaluate@student-tweet" if "stages" in program else None
    assert runs.name_of(program, ("student", "tweet")) == expected


def test_broken_params_are_the_stages_own_error(folder):
    Path("params.yaml").write_text("evaluate: [")
    result = subprocess.run(
        [sys.executable, "-m", "stages.enumerate_attributes"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "error: params.yaml, line 1: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("stages.enumerate_attributes",),
        ("sentidistill.commands.cache", "stats"),
        ("sentidistill.commands.inspect", "clusters"),
        ("sentidistill.commands.profiles", "quick"),
        ("sentidistill.commands.repro",),
        ("sentidistill.commands.runs",),
    ],
)
def test_a_command_in_another_folder_names_the_repository_and_writes_nothing(tmp_path, command):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path} is not the repository; run the command in {ROOT}\n"
    assert not list(tmp_path.iterdir())


def test_a_command_in_a_folder_of_a_repository_names_that_one(folder):
    (folder / "docs").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sentidistill.commands.runs"]
    result = subprocess.run(command, cwd=folder / "docs", env=environ, capture_output=True, text=True)
    assert result.stderr.endswith(f"run the command in {folder}\n")
