"""The paper's profiles through every stage, each at about a two-hundredth of its size.

A scripted teacher answers in the family's own chat template, and the student is a tiny one of its architecture class.
"""

import pytest
import yaml

from sentidistill.commands.profiles import laid_over
from sentidistill.predict import Predictor
from tests import tiny_models
from tests.local_server import running
from tests.project import ROOT, SMOKE, Project, set_up
from tests.scripted_teacher import ScriptedTeacher
from tests.test_families import CLASSES

# What is smaller than in the profile, and the machine. Texts, models and benchmark are those of the smoke run.
SMALLER = {
    "teacher": {"max_prompt_tokens": 8192, "max_failure_rate": 0.5},
    "prepare_corpus": {"max_chars": 240, "pool_sizes": {"enumeration": 24, "distillation": 72}},
    "collect_attributes": {"min_texts": 1},
    "define_tasks": {"max_tasks": {"classification": 4, "scoring": 2, "extraction": 2, "structured": 2}},
    "write_demonstrations": {"prompts_per_closed_task": 3, "prompts_per_open_task": 2},
    "compose_prompts": {
        "prompts": {"classification": 100, "scoring": 40, "extraction": 40, "structured": 30, "analysis": 40}
    },
    "collect_responses": {"sampling": {"max_new_tokens": 40}},
    "train_student": {"epochs": 1, "batch_size": 4, "max_failure_rate": 1.0},
    "runtime": {"dtype": "float32", "vllm": {"teacher": {}, "student": {}}, "save_steps": 0},
}
OF_SMOKE = ("vader", "prepare_models", "prepare_benchmark")


def values(family: str, teacher: str) -> dict:
    found = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in dict.fromkeys(["paper-llama", f"paper-{family}"]):
        changes = yaml.safe_load((ROOT / f"params/{name}.yaml").read_text())
        changes.pop("like", None)
        laid_over(found, changes)
    found |= {name: SMOKE[name] for name in OF_SMOKE}
    laid_over(found, SMALLER)
    found["prepare_corpus"]["sources"] = SMOKE["prepare_corpus"]["sources"]
    sentibench = {**SMOKE["evaluate"]["sentibench"], "demonstrations": "per_record"}
    found["evaluate"] = {**SMOKE["evaluate"], "sentibench": sentibench}
    found["runtime"]["engine"] = {"teacher": "openai", "student": "transformers"}
    found["runtime"]["server"]["base_url"] = teacher
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_paper_profile_goes_through_every_stage(tmp_path, family):
    tiny_models.build(tmp_path / "models", family)
    with running(answer=ScriptedTeacher(family)) as server:
        project = set_up(tmp_path / "run", tmp_path / "models", server.url)
        (project.folder / "params.yaml").write_text(yaml.safe_dump(values(family, server.url)))
        ran = project.repro()
    assert ran[-1] == "report"
    assert_as_published(project)
    assert CLASSES[family] in project.json("models/student/config.json")["architectures"]
    assert Predictor(project.folder / "models/student", device="cpu").predict("What a day!").answer


def assert_as_published(project: Project) -> None:
    perspectives = [yaml.safe_load(line) for line in (project.folder / "data/perspectives.jsonl").open()]
    assert all(one["kept"] for one in perspectives)
    lead = {one["id"]: one["attributes"][0]["name"] for one in perspectives}
    proposals = [yaml.safe_load(line) for line in (project.folder / "data/task_proposals.jsonl").open()]
    assert {one["attribute"] for one in proposals} <= set(lead.values()), "tasks are of the first attribute alone"
    attributes = [yaml.safe_load(line) for line in (project.folder / "data/attributes.jsonl").open()]
    assert all(one["count"] == sum(one["variants"].values()) for one in attributes)
    kept = project.json("metrics/select_samples.json")
    assert kept["kept"] == kept["samples"] == project.json("metrics/train_student.json")["rows"] > 100
