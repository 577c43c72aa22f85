"""`make runs`: what each run has other, and its scores, in a table that fits a terminal."""

import subprocess
import sys
from pathlib import Path

import yaml
from rich.console import Console

from sentidistill.commands import all_runs


def commit(params: dict) -> str:
    Path("params.yaml").write_text(yaml.safe_dump(params))
    user = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["add", "-A"], [*user, "commit", "-qm", "state"]):
        subprocess.run(["git", *command], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def test_runs_are_shown_by_what_they_have_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    before = commit({"select_samples": {"rate": 0.5, "seed": 1}, "train_student": {"seed": 1}})
    after = commit({"select_samples": {"rate": 0.25, "seed": 1}, "train_student": {"seed": 1}})
    scores = {"macro_f1.student": 42.48, "gain.mean": 13.07, "calibrated.macro_f1.student": 61.35}
    rows = [
        {"rev": "workspace", "typ": "baseline", "Experiment": None, "State": None},
        {"rev": before, "typ": "baseline", "Experiment": "main", "State": None, **scores},
        {"rev": after, "typ": "branch_base", "Experiment": "quarter", "State": "Success", **scores},
        {"rev": after, "typ": "branch_base", "Experiment": "n" * 30, "State": "Queued", **scores},
    ]
    console = Console(width=all_runs.WIDTH, record=True)
    console.print(all_runs.table(rows))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= all_runs.WIDTH
    (main,) = [line for line in lines if "main" in line]
    (quarter,) = [line for line in lines if "quarter" in line]
    (queued,) = [line for line in lines if "nnn" in line]
    assert "42.5 (+13.1)" in main
    assert "rate" not in main
    assert "select_samples.rate=0.25" in quarter
    assert "seed" not in quarter
    assert "61.4" in quarter
    assert "42.5" not in queued
