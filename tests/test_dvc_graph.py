"""dvc.yaml says what the code really reads, and the README says what dvc.yaml says."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.closure import of_stage
from scripts.readme import data_readme, generated
from sentidistill import config
from sentidistill.pipeline.graph import Stage, outs, stages

ROOT = Path(__file__).resolve().parent.parent
DVC_YAML = (ROOT / "dvc.yaml").read_text()
STAGES = yaml.safe_load(DVC_YAML)["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def paths(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outputs(name: str) -> list:
    return [*outs(body(name)), *body(name).get("metrics", [])]


def single(name: str) -> list[Stage]:
    return [one for one in stages({"stages": STAGES}, PARAMS) if one.template == name]


def expanded(name: str, path: str) -> list[str]:
    """The paths, or params, that `path` of the stage `name` stands for."""
    pattern = re.sub(r"\\\$\\\{[^}]+\}", "[^/]+", re.escape(path))
    found = {one for stage in single(name) for one in [*stage.outs, *stage.metrics, *stage.params]}
    return sorted(one for one in found if re.fullmatch(pattern, one))


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_import_closure(name):
    code = {path for path in paths(body(name)["deps"]) if path.endswith(".py")}
    assert code == of_stage(name, DVC_YAML)


def test_a_change_of_a_sections_rules_reruns_its_stages_and_one_of_the_display_none():
    def depending(path: str) -> set[str]:
        return {name for name in STAGES if path in paths(body(name)["deps"])}

    assert depending("sentidistill/config/selection.py") == {"select_samples", "report"}
    assert depending("sentidistill/config/training.py") == {"train_student"}
    for neutral in ("config/__init__", "config/rules", "config/runtime", "pipeline/progress", "pipeline/runs"):
        assert (ROOT / f"sentidistill/{neutral}.py").exists()
        assert not depending(f"sentidistill/{neutral}.py")


@pytest.mark.parametrize("name", STAGES)
def test_files_of_the_package_that_the_code_reads_are_dependencies(name):
    """A module names what it reads by `joinpath("...")` in its own package, and a template by `rendered("...")`."""
    read = set()
    for path in of_stage(name, DVC_YAML):
        code = (ROOT / path).read_text()
        for package, file in re.findall(r'files\("([\w.]+)"\)\.joinpath\("([\w.]+)"\)', code):
            read.add(f"{package.replace('.', '/')}/{file}")
        read |= {f"sentidistill/report/{file}" for file in re.findall(r'\brendered\("([\w.]+)"', code)}
    declared = {
        path for path in paths(body(name)["deps"]) if path.startswith("sentidistill/") and not path.endswith(".py")
    }
    assert declared == read


@pytest.mark.parametrize("name", STAGES)
def test_stage_is_described_and_runs_the_module_of_its_name(name):
    assert body(name)["desc"]
    for one in single(name):
        assert one.cmd.split()[:3] == ["python", "-m", f"stages.{name}"]
        assert [part for part in one.cmd.split()[3:] if not part.startswith("--")] == one.arguments
    assert not {"always_changed", "frozen"} & set(body(name))


@pytest.mark.parametrize("name", STAGES)
def test_outputs_are_ignored_by_git_or_small_and_in_git(name):
    for entry in outputs(name):
        options = entry if isinstance(entry, dict) else {entry: {}}
        for path, settings in options.items():
            assert not settings.get("persist")
            for one in expanded(name, path):
                ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", one], cwd=ROOT).returncode == 0
                in_git = settings.get("cache") is False
                assert ignored != in_git, f"{one} must be either ignored by git or 'cache: false'"


def test_no_two_stages_write_one_path():
    written = [one for name in STAGES for path in paths(outputs(name)) for one in expanded(name, path)]
    assert len(written) == len(set(written))


@pytest.mark.parametrize("name", STAGES)
def test_params_exist_and_leave_the_machine_out(name):
    keys = [key for declared in body(name)["params"] for key in expanded(name, declared)]
    for key in keys:
        value = PARAMS
        for part in key.split("."):
            value = value[part]
        assert key.split(".")[0] != "runtime"


@pytest.mark.parametrize("name", STAGES)
def test_every_params_section_the_stage_reads_is_declared(name):
    """Sections are read as `params.SECTION`, or straight off `config.load()`."""
    text = (ROOT / "stages" / f"{name}.py").read_text()
    sections = "|".join(config.Params.model_fields)
    read = set(re.findall(rf"\b(?:params|config\.load\(\))\.({sections})\b", text))
    declared = {key.split(".")[0] for key in body(name)["params"]}
    assert read - {"runtime"} <= declared


def test_every_stage_has_a_module_a_section_and_a_metrics_file():
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(STAGES)
    for name in STAGES:
        assert any(path.startswith(f"metrics/{name}") for path in paths(outputs(name)))
    shared = {"vader", "teacher", "student", "runtime"}
    assert set(PARAMS) - shared == set(STAGES) - {"report"}


def test_the_figures_of_report_and_training_are_dvcs_metrics_and_counts_of_other_stages_are_not():
    """Or `dvc exp show` has hundreds of columns."""
    assert [name for name in STAGES if "metrics" in body(name)] == ["train_student", "report"]


def test_prompt_templates_are_dependencies():
    for template in (ROOT / "prompts").iterdir():
        users = [name for name in STAGES if f"prompts/{template.name}" in paths(body(name)["deps"])]
        if template.with_suffix(".jinja").exists():
            assert users == [template.stem]
        else:
            assert len(users) == 1


def test_the_readmes_show_what_dvc_yaml_and_the_tables_say():
    for file, expected in (("README.md", generated(DVC_YAML)), ("data/README.md", data_readme(DVC_YAML))):
        assert expected in (ROOT / file).read_text(), f"{file} is out of date: run `python -m scripts.readme`"
