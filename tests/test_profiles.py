"""Profiles: what differs from the default run, laid over params.yaml with its comments kept."""

import difflib
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from sentidistill import config
from sentidistill.commands import profiles
from sentidistill.errors import SentiDistillError
from sentidistill.student.processes import STARTED, passes
from tests.project import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with params.yaml and the profiles, as the working directory."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def comments(path: Path) -> set[str]:
    return {line.partition("#")[2].strip() for line in path.read_text().splitlines() if "#" in line}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "params").glob("*.yaml")))
def test_every_profile_is_valid_and_holds_differences_alone(folder, name):
    default = yaml.safe_load((folder / "params.yaml").read_text())
    changes = yaml.safe_load((folder / f"params/{name}.yaml").read_text())
    if "like" in changes:
        default = profiles.with_profile(changes.pop("like"))
    profiles.main(name)
    config.load()
    found = yaml.safe_load((folder / "params.yaml").read_text())

    def same(changes: dict, before: dict, path: str = "") -> list[str]:
        repeated = []
        for key, change in changes.items():
            if (
                isinstance(change, dict)
                and isinstance(before.get(key), dict)
                and before[key]
                and "source" not in change
            ):
                repeated += same(change, before[key], f"{path}{key}.")
            elif key in before and change == before[key]:
                repeated.append(f"{path}{key}")
        return repeated

    assert same(changes, default) == []
    assert same(changes, found)
    assert set(found) == set(default)


def test_a_profile_keeps_the_comments_and_can_be_laid_twice(folder):
    before = comments(folder / "params.yaml")
    profiles.main("quick")
    once = (folder / "params.yaml").read_bytes()
    assert before <= comments(folder / "params.yaml")
    profiles.main("quick")
    assert (folder / "params.yaml").read_bytes() == once


@pytest.mark.parametrize(
    ("setting", "lost", "gained"),
    [
        ("train_student.epochs=3", ["  epochs: 4"], ["  epochs: 3"]),
        ("compose_prompts.prompts.scoring=0", ["    scoring: 200"], ["    scoring: 0"]),
        ("evaluate.tasks=[tweet,amazon]", ["  - movie", "  - editorial"], []),
    ],
)
def test_an_experiments_setting_changes_its_own_lines_alone(folder, setting, lost, gained):
    """Comments, order and form of params.yaml survive `dvc exp run -S`, which writes the whole file anew."""
    before = (folder / "params.yaml").read_text().splitlines()
    apply_overrides(folder / "params.yaml", [setting])
    after = (folder / "params.yaml").read_text().splitlines()
    differing = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert [line[2:] for line in differing if line[0] == "-"] == lost
    assert [line[2:] for line in differing if line[0] == "+"] == gained


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train_student: {epoch: 1}", r"params/mine\.yaml: unknown key train_student\.epoch; did you mean epochs\?"),
        ("train_student: {epochs: 1, epochs: 2}", r"params/mine\.yaml, line 1: 'epochs' is given twice"),
        ("train_student: {epochs: 2024-13-45}", r"params/mine\.yaml, line 1: '2024-13-45' is no timestamp"),
        ("train_student: " + "[" * 3000, r"params/mine\.yaml, line 1: more than 50 levels"),
        ("- epochs", r"params/mine\.yaml: expected sections"),
        ("", r"params/mine\.yaml: expected sections"),
        ("teacher: 5\nstudent: {max_length: 1}", r"(?s)mine\.yaml: teacher: expected a mapping.*student\.max_length"),
        ("train_student: {epochs: -1}", r"train_student\.epochs"),
        ("like: nobody", r"no profile 'nobody'; NAME is one of"),
        ("like: paper-qwen", r"params/mine\.yaml: like: paper-qwen, which is itself like another"),
        ("like: mine", r"params/mine\.yaml: like: mine, which is itself like another"),
    ],
)
def test_a_profile_that_does_not_fit_changes_nothing(folder, text, message):
    (folder / "params/mine.yaml").write_text(text)
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(SentiDistillError, match=message):
        profiles.main("mine")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_profile_is_told_which_there_are(folder):
    known = "own, paper-gemma, paper-llama, paper-llama-tenth, paper-qwen, "
    with pytest.raises(SentiDistillError, match=f"'fast'; NAME is one of {known}"):
        profiles.main("fast")


def test_an_empty_mapping_of_a_profile_empties_that_of_another(folder):
    (folder / "params/base.yaml").write_text("select_samples: {budget: {samples: 500}}\n")
    (folder / "params/mine.yaml").write_text("like: base\nselect_samples: {budget: {}, rate: 0.1}\n")
    assert profiles.with_profile("mine")["select_samples"]["budget"] == {}


def test_what_a_profile_leaves_of_another_is_told(folder, capsys):
    for command in ("init -q", "add params.yaml", "-c user.name=a -c user.email=a@b commit -qm params"):
        subprocess.run(["git", *command.split()], check=True)
    profiles.main("quick")
    assert "What differed before" not in capsys.readouterr().out
    profiles.main("own")
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "What differed before and stays" in line]
    assert "train_student.learning_rate" in told
    assert "compose_prompts.prompts" not in told, "which the profile sets itself"


def test_a_profile_that_is_like_another_changes_what_that_one_changes(folder):
    (folder / "params/mine.yaml").write_text("like: quick\ntrain_student: {learning_rate: 0.001}\n")
    mine, quick = profiles.with_profile("mine"), profiles.with_profile("quick")
    assert mine["train_student"] == {**quick["train_student"], "learning_rate": 0.001}
    assert mine["compose_prompts"] == quick["compose_prompts"]


@pytest.mark.parametrize("family", ["llama", "qwen", "gemma"])
def test_the_paper_profiles_are_as_published(folder, monkeypatch, family):
    values = profiles.with_profile(f"paper-{family}")
    params = config.checked(values, "paper")
    assert sum(params.compose_prompts.prompts.values()) == 50_000
    assert (params.select_samples.rate, params.train_student.epochs, params.train_student.learning_rate) == (1, 4, 5e-5)
    # Rows of a step, on as many devices as a node has; 340 tokens is about the mean row, by params/paper-llama.yaml.
    assert params.train_student.batch_size * 340 == pytest.approx(128 * 2048, rel=0.01)
    monkeypatch.setenv(STARTED, "1")
    for devices in (1, 2, 4, 8):
        monkeypatch.setenv("WORLD_SIZE", str(devices))
        of_device = passes(params.train_student.batch_size, params.runtime.train_rows_per_step)
        assert of_device * params.runtime.train_rows_per_step * devices == params.train_student.batch_size
    enumeration = params.enumerate_attributes.sampling
    assert (enumeration.temperature, enumeration.max_new_tokens) == (0, 1048)
    assert params.propose_tasks.attributes_per_cluster == 1
    counted = params.collect_attributes
    assert (counted.count, counted.min_texts) == ("mentions", 11)
    assert (counted.same_spelling, counted.same_meaning) == (100, 2), "at these, nothing is merged"
    assert params.select_perspectives.method == "none"
    selection = params.select_samples
    assert (selection.metric, selection.stratify, selection.seed) == ("rank_score", "instruction", 142)
    assert (selection.strategy, selection.peak) == ("soft", 1)


def test_the_paper_profile_with_a_tenth_of_the_rows_differs_in_nothing_else(folder):
    whole, tenth = (profiles.with_profile(name) for name in ("paper-llama", "paper-llama-tenth"))
    assert tenth["select_samples"].pop("rate") * 10 == whole["select_samples"].pop("rate")
    assert tenth == whole


def test_the_paper_profile_of_qwen_asks_no_server_for_thoughts(folder):
    assert config.checked(profiles.with_profile("paper-qwen"), "paper").teacher.extra_body == {
        "chat_template_kwargs": {"enable_thinking": False}
    }
