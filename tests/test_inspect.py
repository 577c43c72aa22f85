"""`python -m sentidistill.commands.inspect` on the pipeline's own outputs."""

import json
import subprocess
import sys

import pytest

from tests.project import ROOT, environment


@pytest.fixture
def inspect(project):
    def run(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "sentidistill.commands.inspect", *arguments],
            cwd=project.folder,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def rows(project, name: str) -> list[dict]:
    return [json.loads(line) for line in (project.folder / f"data/{name}.jsonl").open()]


def test_clusters_are_listed_and_one_is_shown_with_its_attributes(project, inspect):
    clusters = rows(project, "perspectives")
    assert f"{min(20, len(clusters))} of {len(clusters)} rows" in inspect("clusters")
    one = inspect("clusters", "--cluster", str(clusters[0]["id"]), "--limit", "0")
    assert f"{len(clusters[0]['attributes'])} of {len(clusters[0]['attributes'])} rows" in one
    assert "0 of 0 rows" in inspect("clusters", "--status", "left-out")


def test_instructions_and_demonstrations_are_filtered_by_cluster_family_and_status(project, inspect):
    made = rows(project, "instructions")
    cluster, family = made[0]["cluster"], made[0]["family"]
    chosen = [row for row in made if row["cluster"] == cluster and row["family"] == family]
    shown = inspect("instructions", "--cluster", str(cluster), "--family", family, "--limit", "0")
    assert f"{len(chosen)} of {len(chosen)} rows" in shown
    examples = [row for row in rows(project, "demonstrations") if row["shown"]]
    assert f"of {len(examples)} rows" in inspect("demonstrations", "--status", "shown", "--limit", "1")


def test_failed_calls_are_shown_with_their_faults(project, inspect):
    calls = rows(project, "calls/define_tasks")
    fault = next(fault for call in calls for fault in call["faults"])
    number = sum(fault in call["faults"] for call in calls)
    shown = inspect("calls", "define_tasks", "--fault", fault)
    assert f"of {number} rows" in shown
    assert fault in shown


def test_wrong_predictions_of_the_pipeline_are_shown_with_their_texts(project, inspect):
    made = rows(project, "predictions/student/tweet")
    wrong = [row for row in made if row["output"] != row["gold"]]
    assert f"of {len(made)} rows" in inspect("predictions", "student", "--task", "tweet", "--limit", "1")
    shown = inspect("predictions", "student", "--task", "tweet", "--wrong", "--limit", "0")
    assert f"{len(wrong)} of {len(wrong)} rows" in shown
    texts = rows(project, "benchmark/tweet/test")
    assert texts[wrong[0]["record"]]["sentence"].split()[0] in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predictions", "studnet"], "no predictions of a model 'studnet'"),
        (["predictions", "student", "--task", "twet"], "no row with task 'twet'; there are "),
        (["clusters", "--limit", "-5"], "--limit: expected a whole number from 0, found -5"),
    ],
)
def test_what_is_not_there_is_named(project, arguments, message):
    command = [sys.executable, "-m", "sentidistill.commands.inspect", *arguments]
    result = subprocess.run(command, cwd=project.folder, env=environment(), capture_output=True, text=True)
    assert result.returncode
    assert message in " ".join(result.stderr.split())


def test_a_stage_that_has_not_run_is_named(tmp_path):
    (tmp_path / "params.yaml").touch()
    result = subprocess.run(
        [sys.executable, "-m", "sentidistill.commands.inspect", "clusters"],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "data/perspectives.jsonl" in result.stderr
