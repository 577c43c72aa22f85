"""The whole pipeline with params/smoke.yaml, by DVC, in a temporary clone: what reruns, and what never does."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.construct.checks import CHECKS
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.pipeline.graph import stages
from tests.local_server import running
from tests.project import ROOT, SMOKE, Project, finish, rated_archive, run_stages, start, stored_answers

# Those that ask the teacher or decide what it is asked, up to the pool of prompts.
UP_TO_PROMPTS = (
    *("enumerate_attributes", "collect_attributes", "cluster_attributes", "select_perspectives"),
    *("write_analysis_instructions", "propose_tasks", "define_tasks", "write_demonstrations"),
    *("build_instructions", "compose_prompts"),
)

# What a stage reads with some settings alone.
UNREAD = {"collect_responses": {"data/benchmark"}}  # collect_responses.released


def stage_names() -> set[str]:
    return {one.name for one in stages(yaml.safe_load((ROOT / "dvc.yaml").read_text()), SMOKE)}


def test_every_stage_ran_and_the_report_has_its_figures(project):
    assert set(project.ran) == stage_names()
    report = project.json("metrics/report.json")
    assert set(report["macro_f1"]) == {"student_base", "student", "teacher"}
    for figures in (report, report["calibrated"]):
        assert figures["gain"]["low"] <= figures["gain"]["mean"] <= figures["gain"]["high"]
    text = (project.folder / "report.md").read_text()
    for figure in ("scores", "clusters", "difficulty", "training_loss"):
        assert f"plots/{figure}.png" in text
        assert (project.folder / f"plots/{figure}.png").stat().st_size > 1000


def test_stages_read_and_write_what_dvc_yaml_says(project):
    """Code is compared in tests/test_dvc_graph.py; the cache and recordings are no data of a stage."""
    all_stages = {one.name: one for one in stages(yaml.safe_load((ROOT / "dvc.yaml").read_text()), SMOKE)}
    assert {name for name, _, _ in project.opened} == set(all_stages)
    read: dict[str, set[str]] = {name: set() for name in all_stages}
    for name, how, path in project.opened:
        one, parts = all_stages[name], Path(path).parts
        if parts[0] not in ("data", "models", "metrics", "plots", "prompts", "params") or parts[-1].startswith("."):
            continue
        written, declared = [*one.outs, *one.metrics], one.inputs
        within = [known for known in (*written, *declared) if path == known or path.startswith(f"{known}/")]
        assert within, f"{name} opens {path}, which dvc.yaml does not name"
        assert how == "r" or not set(within) <= set(declared), f"{name} writes {path}, one of its inputs"
        read[name] |= set(within)
    for name, one in all_stages.items():
        unread = {path for path in one.inputs if path.startswith("data/")} - read[name] - UNREAD.get(name, set())
        assert not unread, f"{name} does not read {', '.join(unread)}"


def test_git_sees_metrics_and_plots_and_nothing_large(project):
    tracked = project.run("git", "ls-files").stdout.split()
    assert {"dvc.lock", "report.md", "metrics/report.json", "plots/training_loss.csv"} <= set(tracked)
    assert not [name for name in tracked if name.startswith(("data/", "models/")) and not name.endswith("README.md")]


def test_a_change_of_the_list_of_tasks_reruns_no_other_task(project):
    with project.changed_params(lambda values: values["evaluate"]["tasks"].remove("atsa_rest16")):
        fewer = set(project.repro("--dry"))
    assert not {name for name in fewer if name.startswith("evaluate@")}
    assert "train_student" not in fewer


def test_predictions_by_record_are_in_git_without_texts(project):
    rows = list(csv.DictReader((project.folder / "metrics/predictions.csv").open()))
    tasks = [name for name in SMOKE["evaluate"]["tasks"] if name not in SENTIBENCH]
    records = len(SENTIMENTS) * SMOKE["prepare_benchmark"]["per_label"]["test"]
    assert len(rows) == 3 * records * len(tasks)
    assert {row["model"] for row in rows} == {"student_base", "student", "teacher"}
    for name in tasks:
        path = project.folder / f"data/benchmark/{name}/test.jsonl"
        gold = {row["id"]: row["label"] for row in map(json.loads, path.open())}
        assert {row["id"]: row["gold"] for row in rows if row["task"] == name} == gold
    assert all(
        len(row["scores"].split()) == 3 and {row["output"], row["calibrated"]} <= set(SENTIMENTS) for row in rows
    )
    assert "metrics/predictions.csv" in project.run("git", "ls-files").stdout.split()


def test_tasks_of_sentibench_stand_in_the_report_beside_baselines(project):
    text = (project.folder / "report.md").read_text()
    for task, records_tested in (("twitter", 6), ("atsa_rest16", 4)):
        for model in ("student_base", "student", "teacher"):
            metrics = project.json(f"metrics/evaluate/{model}/{task}.json")
            assert (metrics["records"], metrics["seeds"]) == (records_tested, 2)
        assert f"| {task} | {records_tested} |" in text


def test_nothing_of_the_benchmark_is_in_the_corpus(project):
    from sentidistill.sources.corpus import fold

    corpus = {fold(json.loads(line)["text"]) for line in (project.folder / "data/corpus.jsonl").open()}
    held_out = [
        fold(json.loads(line)["sentence"])
        for path in (project.folder / "data/benchmark").glob("*/*.jsonl")
        if path.parent.name in SMOKE["prepare_benchmark"]["tasks"]
        for line in path.open()
    ]
    per_label = SMOKE["prepare_benchmark"]["per_label"]
    assert len(held_out) == 3 * sum(per_label.values()) * len(SMOKE["prepare_benchmark"]["tasks"])
    assert not corpus & set(held_out)


def test_selection_kept_what_the_rate_says_and_training_used_it(project):
    selection, training = project.json("metrics/select_samples.json"), project.json("metrics/train_student.json")
    assert selection["kept"] == pytest.approx(0.5 * selection["samples"], abs=1)
    assert training["rows"] + training["dropped"] == selection["kept"]
    before = project.folder / "models/student_base"
    assert (before / "origin.json").exists()


def test_the_teachers_answer_is_the_label_that_it_finds_likeliest(project):
    def rows(name: str) -> list[dict]:
        return [json.loads(line) for line in (project.folder / f"data/{name}.jsonl").open()]

    answered = {row["id"]: row for row in rows("responses")}
    assert any(row["labels"] for row in answered.values())
    for row in answered.values():
        likely = dict(zip(row["labels"], row["probabilities"], strict=True))
        assert not likely or (likely[row["answer"]] == max(likely.values()) and sum(likely.values()) > 0.999)
    soft, kept = {row["id"]: row["probabilities"] for row in rows("soft_labels")}, {row["id"] for row in rows("train")}
    assert soft.keys() == {key for key in kept if answered[key]["labels"]}
    for key, likely in soft.items():
        assert likely == dict(zip(answered[key]["labels"], answered[key]["probabilities"]))


@pytest.mark.slow
def test_a_student_of_soft_labels_is_another_one_and_says_what_they_weigh(project, tmp_path):
    project.copy_of_files(tmp_path, lambda values: values["train_student"].update(targets="soft"))
    finish(start(tmp_path, "train_student"))
    (first, *_) = csv.DictReader((tmp_path / "plots/training_loss.csv").open())
    assert 0 < float(first["soft_share"]) < 1
    before, after = ((one / "models/student/model.safetensors").read_bytes() for one in (project.folder, tmp_path))
    assert before != after


def test_a_second_run_runs_nothing(project):
    assert project.repro() == []


def test_metrics_plots_and_status_are_readable(project):
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").stdout)
    found = next(iter(shown.values()))["data"]
    assert set(found) == {"metrics/report.json", "metrics/train_student.json"}
    assert "gain" in found["metrics/report.json"]["data"]
    project.run("dvc", "plots", "show")
    assert "up to date" in project.run("dvc", "status").stdout


def test_who_goes_back_to_earlier_settings_gets_the_student_without_training(project):
    student = project.folder / "models/student/model.safetensors"
    before = student.read_bytes()

    def change(values):
        values["train_student"]["seed"] += 1

    with project.changed_params(change):
        assert project.repro("train_student") == ["train_student"]
        assert student.read_bytes() != before
    assert project.repro("train_student") == []
    assert student.read_bytes() == before
    assert "up to date" in project.run("dvc", "status").stdout


def test_machine_settings_rerun_nothing(project):
    def change(values):
        values["runtime"] |= {"concurrency": 5, "engine": {"teacher": "transformers", "student": "vllm"}}

    with project.changed_params(change):
        assert "up to date" in project.run("dvc", "status").stdout


def test_teacher_answers_are_not_paid_for_twice(project):
    """A rerun of a stage with all its answers in the cache gives the same bytes."""
    output = project.folder / "data/mentions.jsonl"
    before = output.read_bytes()
    result = project.run("python", "-m", "stages.enumerate_attributes")
    assert output.read_bytes() == before
    calls = project.json("metrics/enumerate_attributes.json")["calls"]
    assert f"{calls}/{calls}, 0.0/s, {calls} cached" in result.stderr


def test_the_rated_texts_are_the_package_that_the_params_name():
    """After a change of tests/data, its SHA-256 has to be changed in params/smoke.yaml."""
    assert SMOKE["vader"]["package"]["sha256"] == hashlib.sha256(rated_archive()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("torch", "onednn", "blas", "threads"), [("default", "SSE41", "Nehalem", "1"), ("avx2", "AVX2", "Haswell", "2")]
)
def test_the_teacher_is_asked_the_same_on_every_processor(project, tmp_path, torch, onednn, blas, threads):
    project.copy_of_files(tmp_path, lambda values: None)
    written = [*(f"data/calls/{name}.jsonl" for name in CALLING_STAGES[:-1]), "data/prompts.jsonl"]
    for name in written:
        (tmp_path / name).unlink()
    run_stages(
        tmp_path,
        UP_TO_PROMPTS,
        ATEN_CPU_CAPABILITY=torch,
        ONEDNN_MAX_CPU_ISA=onednn,
        OPENBLAS_CORETYPE=blas,
        OMP_NUM_THREADS=threads,
        OPENBLAS_NUM_THREADS=threads,
    )
    for name in written:
        assert (tmp_path / name).read_bytes() == (project.folder / name).read_bytes(), name
    asked = stored_answers(tmp_path)
    assert len(asked) > 100
    assert asked.items() <= stored_answers(project.folder).items()


@pytest.mark.slow
def test_an_experiment_with_another_rate_reruns_selection_and_what_follows(project):
    result = project.run("dvc", "exp", "run", "-S", "select_samples.rate=0.3")
    ran = [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]
    tested = [f"evaluate@student-{task}" for task in SMOKE["evaluate"]["tasks"]]
    assert sorted(ran) == sorted(["select_samples", "train_student", *tested, "report"])
    selection = project.json("metrics/select_samples.json")
    assert selection["kept"] == pytest.approx(0.3 * selection["samples"], abs=1)
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout", "-q")


def test_the_hand_written_baseline_takes_the_place_of_the_methods_instructions(project, tmp_path):
    project.copy_of_files(tmp_path, lambda values: values["build_instructions"].update(source="hand_written"))
    for stage in ("build_instructions", "compose_prompts"):
        finish(start(tmp_path, stage))
    written = yaml.safe_load((tmp_path / "prompts/hand_written.yaml").read_text())
    made = [json.loads(line) for line in (tmp_path / "data/instructions.jsonl").open()]
    assert len(made) == len(written)
    prompts = [json.loads(line) for line in (tmp_path / "data/prompts.jsonl").open()]
    assert {row["stratum"] for row in prompts} <= {row["id"] for row in made}
    assert {row["family"] for row in prompts} == {row["family"] for row in written}
    breadth = json.loads((tmp_path / "metrics/build_instructions.json").read_text())["breadth"]
    assert breadth == project.json("metrics/build_instructions.json")["breadth"], "both sets are always compared"


def test_a_report_counts_what_was_lost_and_shows_tasks_in_full(project):
    text = (project.folder / "report.md").read_text()
    lost = project.json("metrics/define_tasks.json")["lost"]
    for reason, number in lost.items():
        assert f"| define_tasks | {CHECKS[reason][1]} | {number} |" in text
    tasks = [json.loads(line) for line in (project.folder / "data/instructions.jsonl").open()]
    shown = [row for row in tasks if f"*{row['family']}*, {row['name']}: {row['text']}" in text]
    assert len(shown) >= min(10, sum(row["family"] != "analysis" for row in tasks))


def expect_failure(project, change, stage: str, message: str, output: str) -> None:
    """`stage` with changed params ends with `message` on one line, exit code 1 and `output` as it was."""
    kept = (project.folder / output).read_bytes()
    with project.changed_params(change):
        result = project.run("python", "-m", f"stages.{stage}", check=False)
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines() if line.startswith("error:") and message in line], result.stderr
    assert "Traceback" not in result.stderr
    assert (project.folder / output).read_bytes() == kept


def test_an_unknown_key_ends_a_stage(project):
    def change(values):
        values["select_samples"]["rat"] = 0.1

    expect_failure(project, change, "select_samples", "select_samples.rat", "data/train.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"text": "A fine day, and a long one too."}\nnot json\n', "mine.jsonl, line 2"), ("", "mine.jsonl: no rows")],
)
def test_an_unreadable_or_empty_file_ends_a_stage(project, text, message):
    path = project.folder / "own/mine.jsonl"
    path.write_text(text)

    def change(values):
        values["prepare_corpus"]["sources"] = [{"domain": "mine", "path": "own/mine.jsonl"}]

    try:
        expect_failure(project, change, "prepare_corpus", message, "data/corpus.jsonl")
    finally:
        path.unlink()


def test_an_own_file_that_is_edited_reruns_what_reads_it(project):
    path = project.folder / "own/shop.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + b'{"text": "The new lamp is bright, and it was cheap, too."}\n')
    try:
        stale = project.repro("--dry")
    finally:
        path.write_bytes(before)
    readers = ["prepare_benchmark", "prepare_corpus", "build_instructions", "collect_responses"]
    assert stale == readers, "what follows reruns if these write something else"


@pytest.mark.slow
def test_outputs_go_to_a_remote_and_a_clone_that_gets_them_runs_nothing(project, tmp_path):
    clone = Project(tmp_path / "clone")
    store = ["dvc", "remote", "add", "--local", "-d", "store", str(tmp_path / "store")]
    project.run(*store)
    try:
        project.run("dvc", "push", "-q", "--run-cache")
    finally:
        (project.folder / ".dvc/config.local").unlink()
    project.run("git", "clone", "-q", str(project.folder), str(clone.folder))
    shutil.copytree(project.folder / "own", clone.folder / "own", dirs_exist_ok=True)
    clone.run(*store)
    clone.run("dvc", "pull", "-q", "--run-cache")
    assert clone.repro("--dry") == []
    for path in ("data/train.jsonl", "models/student/model.safetensors"):
        assert (clone.folder / path).read_bytes() == (project.folder / path).read_bytes()
    history = [{run.name for run in (one.folder / ".dvc/cache/runs").glob("*/*/*")} for one in (project, clone)]
    assert history[0] == history[1] != set(), "the cache of runs came, too"


def test_a_missing_package_ends_a_stage(project):
    def change(values):
        values["vader"]["package"] |= {"name": "no-such-package-of-ours", "sha256": "0" * 64}

    expect_failure(project, change, "prepare_corpus", "no-such-package-of-ours==3.3.2", "data/corpus.jsonl")


def test_a_teacher_that_answers_nonsense_ends_a_stage(project):
    with running() as server:

        def change(values):
            values["runtime"]["server"]["base_url"] = server.url
            values["teacher"]["seed"] += 1  # to what was asked before, there are answers

        expect_failure(project, change, "define_tasks", "max_failure_rate", "data/task_definitions.jsonl")
    project.run("dvc", "checkout", "--force", "define_tasks")  # the calls of a stage that failed are kept
