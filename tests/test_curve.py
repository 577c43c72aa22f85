"""`make curve`: the runs that it asks for, and the table that comes of them."""

import json
import os
import signal
import subprocess
import time

import pandas as pd
import pytest

from sentidistill.commands import curve
from sentidistill.commands.curve import Queue, Run, by_point, differences, markdown, markdown_differences, runs, summary
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import KNOWN, EvaluationTask
from tests.project import environment


def row(run: Run, score: float) -> dict:
    """A row as dvc.api.exp_show gives it."""
    return {
        "Experiment": run.name,
        "kept": 1000 * run.rate,
        "kept_tokens": 50_000 * run.rate,
        "macro_f1.student": score,
        "student.low": score - 2,
        "student.high": score + 2,
    }


def test_every_rate_has_both_strategies_and_two_seeds_and_the_whole_pool_is_there():
    found = pd.DataFrame([vars(run) for run in runs()])
    assert len({run.name for run in runs()}) == len(runs())
    part = found[found["rate"] < 1].groupby(["rate", "strategy"])["seed"].nunique()
    assert part.index.to_list() == [(rate, name) for rate in (0.1, 0.25, 0.5) for name in ("random", "soft")]
    assert (part >= 2).all()
    assert (found["rate"] == 1).sum() >= 1


def test_the_seeds_of_a_point_are_put_together_and_what_is_not_done_is_left_out():
    done = [row(run, 50 + 10 * run.rate + run.seed) for run in runs() if run.rate in (0.1, 1.0)]
    # Those of the pipeline before the run, as DVC has it.
    of_others = [
        row(Run("soft", 0.25, 1), 99) | {"State": "Running"},
        {"Experiment": Run("soft", 0.5, 1).name, "State": "Queued", "kept": None, "kept_tokens": None},
    ]
    points = by_point(summary([*done, *of_others, {"Experiment": None, "kept": 1}]))
    assert points["strategy"].to_list() == ["random", "soft", "all"]
    first = points.iloc[0]
    assert (first["seeds"], first["kept"], first["mean"], first["least"], first["most"]) == (2, 100, 52.5, 52, 53)
    lines = markdown(points).splitlines()
    assert len(lines) == 2 + 3
    assert lines[-1].startswith("| 100 % | all | 1000 | 2 | 61.5 | 61.0 to 62.0 |")


def predictions(right: int) -> dict[EvaluationTask, list[Outcome]]:
    """60 records of two tasks, the first `right` of each answered rightly, the others with the next label."""
    labels = ("positive", "neutral", "negative")
    return {
        KNOWN[task]: [
            Outcome(
                task=task,
                record=number,
                seed=42,
                text="",
                gold=labels[number % 3],
                output=labels[(number + (number >= right)) % 3],
                calibrated=None,
                right=number < right,
                finish_reason="choice",
                error=None,
                shown=[],
                scores=[],
            )
            for number in range(60)
        ]
        for task in ("tweet", "movie")
    }


def test_differences_are_of_strategies_at_the_same_rate_with_their_seeds_together():
    of_runs = {
        Run("soft", 0.1, 1): predictions(48),
        Run("random", 0.1, 1): predictions(30),
        Run("soft", 0.1, 2): predictions(36),
        Run("random", 0.1, 2): predictions(30),
        Run("random", 1.0, 1): predictions(42),
    }
    found = differences(of_runs, "output", samples=500)
    assert found[["rate", "one", "other", "mean"]].to_dict("records") == [
        {"rate": 0.1, "one": "soft", "other": "random", "mean": 20.0},
        {"rate": 0.1, "one": "soft", "other": "all", "mean": 0.0},
    ]
    first, second = found.itertuples()
    assert 0 < first.low < 20 < first.high
    assert second.low < 0 < second.high
    # A model without scores has no calibrated labels: the cells are empty.
    lines = markdown_differences(found, differences(of_runs, "calibrated", samples=500)).splitlines()
    assert lines[-2] == f"| 10 % | soft - random | +20.0 ({first.low:+.1f} to {first.high:+.1f}) |  |"


STATUS = """\
Task     Name               Created    Status
1a2b3c4  curve-soft-10-1    10:01 AM   Running
2a2b3c4  curve-random-10-1  Sep 12, 2025  Failed
3a2b3c4                     10:01 AM   Queued
4a2b3c4  curve-soft-10-11   10:01 AM   Queued

Worker status: 1 active, 2 idle
"""


def test_the_queue_is_read_by_the_names_of_our_runs():
    found = Queue.of(STATUS)
    assert found.states == {"curve-soft-10-1": "Running", "curve-random-10-1": "Failed"}
    assert found.workers == 3
    assert found.named("Queued", "Running") == ["curve-soft-10-1"]
    assert Queue.of("No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n") == Queue({}, 0)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A pipeline of one stage and one run, which waits for the file `go` and fails where there is a file `bad`."""
    files = {
        "params.yaml": "select_samples: {strategy: soft, rate: 0.5, seed: 1}\ntrain_student: {seed: 1}\n",
        "stage.py": "import pathlib, sys, time, yaml\n"
        f"top = pathlib.Path({str(tmp_path)!r})\n"
        "while yaml.safe_load(open('params.yaml'))['select_samples']['rate'] != 0.5 and not (top / 'go').exists():\n"
        "    time.sleep(0.2)\n"
        "sys.exit((top / 'bad').exists())\n",
        "dvc.yaml": "stages: {one: {cmd: python stage.py, params: [select_samples, train_student]}}\n",
        ".gitignore": "go\nbad\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for command in ("git init -q", "dvc init -q", "dvc repro -q", "git add -A", "git commit -qm state"):
        subprocess.run(command.split(), check=True)
    monkeypatch.setattr(curve, "runs", lambda: runs()[:1])
    yield tmp_path
    (tmp_path / "go").touch()  # no process is left waiting
    subprocess.run(["dvc", "queue", "stop"])


def states() -> list[str]:
    return list(Queue.of(curve.output("queue", "status")).states.values())


@pytest.mark.slow
def test_a_run_that_failed_is_named_and_queued_again(small):
    (small / "go").touch()
    (small / "bad").touch()
    curve.queue()
    with pytest.raises(SentiDistillError, match=r"failed: curve-soft-10-1; .*`make curve` runs them again"):
        curve.wait()
    (small / "bad").unlink()
    curve.queue()
    assert states() == ["Queued"]
    curve.wait()
    assert states() == ["Success"]
    curve.queue()
    assert states() == ["Success"]


@pytest.mark.slow
def test_the_end_of_the_queues_worker_ends_the_wait_with_the_command(small, monkeypatch):
    curve.queue()
    curve.start()
    while states() != ["Running"]:
        time.sleep(0.5)
    (worker,) = (small / ".dvc/tmp/exps/celery").rglob("dvc-exp-worker-1.json")
    os.kill(json.loads(worker.read_text())["pid"], signal.SIGKILL)
    monkeypatch.setattr(curve, "POLL", 0.1)
    with pytest.raises(SentiDistillError, match="run `dvc queue kill curve-soft-10-1`, then `make curve` again"):
        curve.wait()


@pytest.mark.slow
def test_a_run_goes_through_the_queue_beside_the_workspace_into_the_table_and_the_figure(project):
    run = Run("soft", 0.25, 1)
    before = (project.folder / "metrics/report.json").read_bytes()
    project.run(*run.command())
    project.run("python", "-m", "sentidistill.commands.curve", "wait")
    status = project.run("dvc", "queue", "status").stdout
    assert "Success" in status, status + project.run("dvc", "queue", "logs", run.name).stdout
    assert (project.folder / "metrics/report.json").read_bytes() == before
    assert run.name in project.run("dvc", "exp", "show", "--csv").stdout
    shown = project.run("python", "-m", "sentidistill.commands.curve", "table").stdout
    try:
        table = pd.read_csv(project.folder / "plots/curve.csv")
        (one,) = table.to_dict("records")
        assert (one["strategy"], one["rate"], one["seed"]) == ("soft", 0.25, 1)
        samples = project.json("metrics/select_samples.json")["samples"]
        assert one["kept"] == pytest.approx(0.25 * samples, abs=1)
        assert one["low"] <= one["macro_f1"] <= one["high"]
        assert f"| 25 % | soft | {one['kept']} | 1 | {one['macro_f1']:.1f} |" in shown
        assert (project.folder / "plots/curve.png").stat().st_size > 1000
    finally:
        for name in ("curve.csv", "curve.png"):
            (project.folder / "plots" / name).unlink(missing_ok=True)


def test_a_pipeline_that_is_not_up_to_date_is_refused(project):
    with project.changed_params(lambda values: values["train_student"].update(learning_rate=0.01)):
        result = project.run("python", "-m", "sentidistill.commands.curve", "queue", check=False)
    assert result.returncode == 1
    assert "run `make repro`" in result.stderr
    assert json.loads(project.run("dvc", "status", "--json").stdout) == {}
