"""`make curve`: the runs that it asks for, and the table that comes of them."""

import json

import pandas as pd
import pytest

from sentidistill.commands.curve import Run, by_point, differences, markdown, markdown_differences, runs, summary
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import KNOWN, EvaluationTask


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
