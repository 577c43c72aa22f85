"""`make experiment`: what a file may ask for, the runs that it gets, and the answer that comes of them."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from sentidistill import config, records, yaml_files
from sentidistill.commands import ablations, experiment, trials
from sentidistill.commands.ablations import more_seeds
from sentidistill.commands.experiment import Queue, Result, comparisons, trials_of
from sentidistill.commands.trials import Answers, Kept, Trial
from sentidistill.config.experiment import Experiment
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.metrics import Estimate
from tests.project import ROOT, environment, run_stages

VALUES = {
    "question": "Which?",
    "split": "test",
    "minutes": 1,
    "arms": {"hard": ["select_samples.strategy=hard"], "easy": ["select_samples.strategy=easy"]},
    "compare": [["hard", "easy"]],
}
BOTH = Experiment.model_validate(VALUES)
FILES = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_valid_with_all_settings_of_its_arms(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment.read(name)


def test_the_page_of_experiments_is_that_of_their_files():
    expected = ablations.page(ROOT / ablations.FOLDER)
    assert (ROOT / ablations.PAGE).read_text(encoding="utf-8") == expected, "run `python -m scripts.readme`"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compare": [["hard", "esay"]]}, "compare names esay: no such arm\n.*compare leaves out easy"),
        ({"compare": [["hard", "hard"]]}, "an arm beside itself"),
        ({"max_seeds": 2}, r"max_seeds \(2\) is below seeds \(3\)"),
        ({"arms": {**VALUES["arms"], "easy": ["train_student.seed=3"]}}, "arms set train_student.seed"),
        ({"arms": {**VALUES["arms"], "easy": ["evaluate.tasks=[tweet]"]}}, "arms set evaluate.tasks, which all arms"),
        ({"arms": {**VALUES["arms"], "easy": ["runtime.train.bf16=true"]}}, "arms set runtime.train.bf16, of the mach"),
        (
            {"arms": {**VALUES["arms"], "easy": ["select_samples.strategy=hard", "select_samples.peak=1.0"]}},
            "the arms easy and hard have the same settings",
        ),
        ({"arms": {**VALUES["arms"], "easy": ["strategy: easy"]}}, "arms.easy.0: expected a setting"),
        ({"arms": {**VALUES["arms"], "easy": ["select_samples.rte=1"]}}, "arm easy: .*'select_samples.rte'"),
        ({"arms": {**VALUES["arms"], "easy": ["select_samples.rate=2"]}}, "arm easy: select_samples.rate: .*found 2"),
        ({"arms": {**VALUES["arms"], "easy": ["train_student.batch_size=7"]}}, "arm easy: .*must divide"),
        ({"seed": 3}, "unknown key seed; did you mean seeds"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_before_anything_is_queued(tmp_path, monkeypatch, change, message):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/one.yaml").write_text(yaml.safe_dump(VALUES | change))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SentiDistillError, match=message):
        experiment.main("one")
    with pytest.raises(SentiDistillError, match="NAME is one of one"):
        experiment.main("two")


KEPT = Kept(
    settings={},
    inputs={},
    commit="abc",
    processor="a Z80",
    samples=100,
    supervised_tokens=2000,
    tasks={"tweet": Answers(gold=["positive"] * 60, output=["positive"] * 60, calibrated=["negative"] * 60)},
)


def test_a_run_does_not_hold_for_settings_that_were_empty_then(monkeypatch):
    monkeypatch.chdir(ROOT)
    (one, *_) = trials_of("one", BOTH, {"hard": 1, "easy": 0})
    then = trials.settings_of(trials.values_of(one))
    assert trials.holds(then, one)
    with_budget = dataclasses.replace(one, settings=(*one.settings, "+select_samples.budget.samples=50"))
    assert not trials.holds(then, with_budget)


@pytest.mark.parametrize("text", ["", "stages:\n<<<<<<< HEAD\n  a: {}\n", "- 1\n"])
def test_a_damaged_lock_is_named_with_the_remedy(text):
    with pytest.raises(SentiDistillError, match=r"dvc\.lock: damaged, or in conflict .*`git checkout dvc\.lock`"):
        trials.inputs_of(text)


def results(hard: list[float], easy: list[float]) -> dict[Trial, Result]:
    """Calibrated scores by seed; plain ones are 10 lower. Records add a point or so."""
    spread = np.random.default_rng(1).normal(size=500)
    found = {}
    for one in trials_of("one", BOTH, {"hard": len(hard), "easy": len(easy)}):
        score = {"hard": hard, "easy": easy}[one.arm][one.seed - 1]
        own = spread if one.arm == "hard" else 0 * spread
        scores = {name: Estimate(score - less, score - less + own) for name, less in (("calibrated", 0), ("plain", 10))}
        found[one] = Result(KEPT, scores)
    return found


def test_arms_are_compared_on_the_seeds_that_both_have_and_get_more_while_the_interval_is_wide():
    (sure,) = comparisons(BOTH, results([60, 61, 60.5, 90], [50, 51, 50]))
    assert (sure["seeds"], sure["verdict"]) == (3, "better")
    assert sure["calibrated"] == sure["plain"]
    assert sure["calibrated"]["value"] == pytest.approx(10.17, abs=0.01)
    assert sure["calibrated"]["half_width"] == pytest.approx(2.2, abs=0.3)  # a point of the records, and t
    assert more_seeds(BOTH, [sure]) == {}
    (wide,) = comparisons(BOTH, results([60, 50, 55], [50, 60, 55]))
    assert wide["verdict"].startswith("not answered (half-width ")
    assert more_seeds(BOTH, [wide]) == {"hard": 4, "easy": 4}
    assert more_seeds(BOTH, [wide | {"seeds": 8}]) == {}


def test_the_page_has_every_command_and_the_results_of_the_arms_as_they_are_now(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = json.loads(json.dumps(experiment.results_of(BOTH, results([60, 61, 60.5], [50, 51, 50]))))
    shown = ablations.report("one", BOTH, found)
    assert "dvc exp run -S select_samples.strategy=hard -S evaluate.split=test -S select_samples.seed=1 -S" in shown
    assert "| hard | 3 | 100 | 2,000 | 60.5 (60.0 to 61.0) | 50.5 (50.0 to 51.0) |" in shown
    assert "| hard minus easy | 3 | +10.2 (" in shown
    assert "60 records of the test split. On a Z80 (hard, easy; commits abc)." in shown
    changed = BOTH.model_copy(update={"arms": BOTH.arms | {"hard": ["select_samples.rate=0.1"]}})
    changed = changed.model_copy(update={"not_run": "It costs a day."})
    assert "Not run since its arms were changed" in ablations.report("one", changed, found)
    assert "It costs a day." in ablations.report("one", changed, found)


def test_runs_that_are_missing_are_named_with_the_reason():
    why = BOTH.model_copy(update={"not_run": "It costs a day."})

    def shown(hard: list[float], easy: list[float]) -> str:
        return ablations.report("one", why, experiment.results_of(why, results(hard, easy)))

    assert "Not run to its end: hard from seed 3. It costs a day." in shown([60, 61], [50, 51, 50])
    assert "Not run to its end: hard from seed 4, easy from seed 4. It costs" in shown([60, 50, 55], [50, 60, 55])
    assert "Not run" not in shown([60, 61, 60.5], [50, 51, 50])
    assert comparisons(why, results([60], [50, 51, 50])) == [], "one seed in common gives no interval"


@pytest.mark.parametrize("name", [name for name in FILES if (ROOT / f"experiments/{name}.json").exists()])
def test_committed_tables_are_those_of_the_runs_that_are_kept(name, tmp_path, monkeypatch):
    for file in ("params.yaml", "dvc.lock", f"experiments/{name}.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(ROOT / "experiments" / name, tmp_path / "experiments" / name)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    experiment.main(name, "--kept")
    for file in (f"experiments/{name}.md", f"experiments/{name}.json"):
        assert (tmp_path / file).read_text() == (ROOT / file).read_text(), f"run `make experiment NAME={name} KEPT=1`"
    for kept in (tmp_path / "experiments" / name).iterdir():
        kept.unlink()
    with pytest.raises(SentiDistillError, match="no two arms have two seeds in common yet; leave out --kept"):
        experiment.main(name, "--kept")


LOCK = """
schema: '2.0'
stages:
  collect_responses: {cmd: x, outs: [{path: data/responses.jsonl, md5: one}, {path: data/other.jsonl, md5: two}]}
  train_student: {cmd: x, outs: [{path: models/student, md5: three}]}
"""


def test_what_is_kept_of_a_run_counts_while_its_settings_and_inputs_are_those_of_now(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    lock, (one,) = tmp_path / "dvc.lock", trials_of("one", BOTH, {"hard": 1, "easy": 0})
    lock.write_text(LOCK)

    def keep(settings: dict) -> dict[Trial, Kept]:
        of_one = KEPT.model_copy(update={"settings": settings, "inputs": {"data/responses.jsonl": "one"}})
        records.write_json(one.path, of_one.model_dump())
        return trials.kept([one])

    now = trials.settings_of(trials.values_of(one))
    assert set(keep(now)) == {one}
    assert trials.scores(one, trials.kept([one])[one])["plain"].value == pytest.approx(100 / 3)
    assert set(keep({key: value for key, value in now.items() if key != "train_student.keep"})) == {one}, (
        "a new setting"
    )
    assert not keep(now | {"train_student.epochs": 9})
    assert not keep(now | {"train_student.gone": 1})
    keep(now)
    assert now["train_student.learning_rate"] == 5e-5
    said = dataclasses.replace(one, settings=(*one.settings, "train_student.learning_rate=5.0e-5"))
    assert trials.kept([said]), "DVC writes 5e-05, which YAML reads as text"
    other = dataclasses.replace(one, experiment="two")
    unlike = dataclasses.replace(other, arm="easy", settings=("select_samples.strategy=easy",))
    trials.take_over([other, unlike])
    assert trials.kept([other, unlike]) == {other: trials.kept([one])[one]}, "what one experiment ran, another has"
    lock.write_text(LOCK.replace("three", "four"))
    assert trials.kept([one]), "what a run makes anew is no input"
    lock.write_text(LOCK.replace("md5: one", "md5: five"))
    assert not trials.kept([one])
    third = dataclasses.replace(one, experiment="three")
    trials.take_over([third])
    assert not third.path.exists(), "its inputs are others"
    one.path.write_text('{"settings": 3}')
    with pytest.raises(SentiDistillError, match=r"hard-1\.json: damaged; remove it"):
        trials.kept([one])


STATUS = """\
Task     Name        Created    Status
1a2b3c4  one-hard-1  10:01 AM   Running
2a2b3c4  one-easy-1  Sep 12, 2025  Failed
3a2b3c4              10:01 AM   Queued
4a2b3c4  one-hard-11 10:01 AM   Queued
5a2b3c4  one-hard-1  10:01 AM   Success

Worker status: 1 active, 2 idle
"""


def test_the_queue_is_read_by_the_names_of_our_runs():
    trials = trials_of("one", BOTH, {"hard": 2, "easy": 2})
    found = Queue.of(STATUS, trials)
    assert found.tasks == [("one-hard-1", "Running"), ("one-easy-1", "Failed"), ("one-hard-1", "Success")]
    assert found.named("Queued", "Running") == ["one-hard-1"]
    nothing = "No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n"
    assert Queue.of(nothing, trials) == Queue([])


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A pipeline of one stage and one run, which waits for the file `go` and fails where there is a file `bad`."""
    files = {
        "stage.py": "import json, pathlib, sys, time, yaml\n"
        f"top = pathlib.Path({str(tmp_path)!r})\n"
        "values = yaml.safe_load(open('params.yaml'))\n"
        "pathlib.Path('metrics').mkdir(exist_ok=True)\n"
        "rows = [f'{task},{model},neutral,neutral,negative'\n"
        "        for task in values['evaluate']['tasks'] for model in ('student', 'student_base')]\n"
        "rows = ['task,model,gold,output,calibrated', *rows]\n"
        "pathlib.Path('metrics/predictions.csv').write_text('\\n'.join(rows))\n"
        "pathlib.Path('metrics/train_student.json').write_text('{\"rows\": 2, \"supervised_tokens\": 3}')\n"
        "changed = values['select_samples']['strategy'] == 'hard'\n"
        "while changed and not (top / 'go').exists():\n"
        "    time.sleep(0.2)\n"
        "sys.exit((top / 'bad').exists())\n",
        "dvc.yaml": "stages: {one: {cmd: python stage.py, params: [select_samples, train_student], "
        "metrics: [metrics/train_student.json: {cache: false}, metrics/predictions.csv: {cache: false}]}}\n",
        ".gitignore": "go\nbad\n",
    }
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    for command in ("git init -q", "dvc init -q", "dvc repro -q", "git add -A", "git commit -qm state"):
        subprocess.run(command.split(), check=True)
    yield tmp_path
    (tmp_path / "go").touch()  # no process is left waiting
    subprocess.run(["dvc", "queue", "stop"])


ONE = trials_of("one", BOTH, {"hard": 1, "easy": 0})


def states() -> list[str]:
    return [state for _, state in experiment.look(ONE).tasks]


@pytest.mark.slow
def test_a_run_that_failed_is_named_and_queued_again_and_one_that_is_done_is_not(small):
    (small / "go").touch()
    (small / "bad").touch()
    experiment.queue(ONE)
    experiment.start()
    with pytest.raises(SentiDistillError, match=r"failed: one-hard-1; .*`make experiment NAME=one` runs them again"):
        experiment.wait(ONE)
    (small / "bad").unlink()
    experiment.queue(ONE)
    assert states() == ["Queued"]
    experiment.start()
    experiment.wait(ONE)
    trials.keep_done(ONE)
    assert list(trials.done(ONE)) == ONE
    (of_one,) = trials.kept(ONE).values()
    tokens = 3 * config.load().train_student.epochs
    assert (of_one.samples, of_one.supervised_tokens, of_one.records) == (2, tokens, 4)
    assert of_one.tasks["tweet"] == Answers(gold=["neutral"], output=["neutral"], calibrated=["negative"])
    # A commit that changes nothing of the pipeline takes nothing away.
    (small / "notes.md").touch()
    for command in ("git add -A", "git commit -qm notes"):
        subprocess.run(command.split(), check=True)
    experiment.queue(ONE)
    assert states() == ["Success"]
    other = dataclasses.replace(ONE[0], settings=("select_samples.strategy=easy",))
    with pytest.raises(SentiDistillError, match="one-hard-1 was run with other settings"):
        experiment.run([other])


@pytest.mark.slow
def test_the_end_of_the_queues_worker_ends_the_wait_with_the_command(small, monkeypatch):
    experiment.queue(ONE)
    assert not experiment.has_worker()
    experiment.start()
    while states() != ["Running"]:
        time.sleep(0.5)
    assert experiment.has_worker()
    (worker,) = (small / ".dvc/tmp/exps/celery").rglob("dvc-exp-worker-1.json")
    os.kill(json.loads(worker.read_text())["pid"], signal.SIGKILL)
    monkeypatch.setattr(experiment, "POLL", 0.1)
    with pytest.raises(SentiDistillError, match="run `dvc queue kill one-hard-1`, then `make experiment NAME=one`"):
        experiment.wait(ONE)


@pytest.mark.slow
def test_an_experiment_goes_on_after_a_kill_beside_the_workspace_into_its_answer(project):
    before = (project.folder / "metrics/report.json").read_bytes()
    page = (project.folder / ablations.PAGE).read_bytes()
    written = [project.folder / f"experiments/one.{kind}" for kind in ("yaml", "json", "md", "png")]
    settings = {"seeds": 2, "max_seeds": 2, "half_width": 0.01}
    written[0].write_text(yaml.safe_dump(VALUES | settings))
    command = [sys.executable, "-m", "sentidistill.commands.experiment", "one"]
    try:
        with subprocess.Popen(
            command, cwd=project.folder, env=environment(), stdout=subprocess.PIPE, text=True
        ) as first:
            for line in first.stdout:
                if "running" in line:
                    first.kill()
                    break  # the queue's worker goes on, and holds the pipe open
        shown = project.run(*command).stdout
        assert "--queue" not in shown, "all that the killed command queued was there"
        assert project.run("dvc", "queue", "status").stdout.count("Success") == 4
        assert (project.folder / "metrics/report.json").read_bytes() == before
        found = json.loads(written[1].read_text())
        assert [(run["arm"], run["seed"]) for run in found["runs"]] == [
            (arm, seed)
            for seed in (1, 2)
            for arm in ("easy", "hard")  # as YAML's writer orders them
        ]
        (one,) = found["comparisons"]
        means = [np.mean([run["calibrated"] for run in found["runs"] if run["arm"] == arm]) for arm in ("hard", "easy")]
        assert one["calibrated"]["value"] == pytest.approx(means[0] - means[1], abs=0.02)
        assert f"hard minus easy, 2 seeds: {one['verdict']}" in shown
        table = written[2].read_text()
        assert f"| {one['verdict']} |" in table
        assert table.partition("| arm |")[2].partition("![")[0] in (project.folder / ablations.PAGE).read_text()
        assert written[3].stat().st_size > 1000
        again = project.run(*command).stdout
        assert "--queue" not in again
        assert json.loads(written[1].read_text()) == found
    finally:
        for path in written:
            path.unlink(missing_ok=True)
        (project.folder / ablations.PAGE).write_bytes(page)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_arm_of_every_file_trains_a_student(project, tmp_path, name):
    project.copy_of_files(tmp_path)
    params = tmp_path / "params.yaml"
    before, stages = params.read_text(), ["select_samples", "train_student"]
    perspectives = [row for row in map(json.loads, (tmp_path / "data/perspectives.jsonl").open()) if row["kept"]]
    known = {"overall sentiment": perspectives[0]["exemplar"], "excitement": perspectives[-1]["exemplar"]}
    asked = yaml_files.read(ROOT / f"experiments/{name}.yaml", Experiment)
    for arm in asked.arms:
        settings = asked.settings(arm, 1)
        for mine, theirs in known.items():
            settings = [one.replace(mine, theirs) for one in settings]
        params.write_text(before)
        apply_overrides(str(params), settings)
        earlier = ("build_instructions", "compose_prompts")
        new_pool = any(one.startswith(earlier) for one in settings)
        run_stages(tmp_path, [*earlier, "collect_responses", "score_difficulty", *stages] if new_pool else stages)
        counts = json.loads((tmp_path / "metrics/train_student.json").read_text())
        assert counts["supervised_tokens"] > 0, arm
        assert (tmp_path / "models/student/sentidistill.json").exists()
        shutil.rmtree(tmp_path / "models/student")


def test_a_pipeline_that_is_not_up_to_date_is_refused(project):
    with project.changed_params(lambda values: values["train_student"].update(learning_rate=0.01)):
        result = project.run("python", "-m", "sentidistill.commands.experiment", "curve", check=False)
    assert result.returncode == 1
    assert "run `make repro`" in result.stderr
    assert json.loads(project.run("dvc", "status", "--json").stdout) == {}
