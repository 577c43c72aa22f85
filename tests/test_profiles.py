"""Profiles: what differs from the default run, laid over params.yaml with its comments kept."""

import shutil
from pathlib import Path

import pytest
import yaml

from sentidistill import config
from sentidistill.commands import profiles
from sentidistill.errors import SentiDistillError
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

    changes = yaml.safe_load((folder / f"params/{name}.yaml").read_text())
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
    ],
)
def test_a_profile_that_does_not_fit_changes_nothing(folder, text, message):
    (folder / "params/mine.yaml").write_text(text)
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(SentiDistillError, match=message):
        profiles.main("mine")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_profile_is_told_which_there_are(folder):
    with pytest.raises(SentiDistillError, match="'fast'; NAME is one of own, paper-llama, quick, smoke"):
        profiles.main("fast")
