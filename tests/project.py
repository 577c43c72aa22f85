"""The pipeline with params/smoke.yaml in a folder of its own, for tests of DVC and of whole stages."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.made_up_sentibench import write_copy

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RAN = ".cache/ran.txt"


def environment() -> dict[str, str]:
    """The environment of a command that finds this Python first and may commit."""
    names = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **names, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def start(folder: Path, stage: str) -> subprocess.Popen:
    """The stage as a process group of its own, which can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Wait for a stage that is to end well."""
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr


def stored_answers(folder: Path) -> dict[str, str]:
    """Responses in the cache by key, whatever state a killed process left it in."""
    path = folder / ".cache/generations/responses.sqlite"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as database:
        try:
            return dict(database.execute("SELECT key, response FROM answers").fetchall())
        except sqlite3.OperationalError:
            return {}


def make_project(folder: Path, models: Path) -> None:
    """A copy of the repository's files as they are now, in a git repository of its own, after one `dvc repro`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        skipped = name.startswith(("metrics/", "plots/", "recordings/")) and not name.endswith("README.md")
        if (ROOT / name).is_file() and not skipped and name not in {"dvc.lock", "report.md"}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copy(folder / "params/smoke.yaml", folder / "params.yaml")
    shutil.copytree(models, folder / ".cache/smoke")
    write_copy(folder / ".cache/smoke/sentibench", ("twitter", "atsa_rest16"))
    downloads = ROOT / ".cache/downloads"
    if downloads.exists():  # spares the registry; a machine without them fetches them
        shutil.copytree(downloads, folder / ".cache/downloads")
    project = Project(folder)
    project.run("git", "init", "-q")
    project.commit()
    (folder / RAN).write_text("\n".join(project.repro()))
    project.commit()


class Project:
    """The pipeline in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def ran(self) -> list[str]:
        """The stages that the first `dvc repro` ran, in order."""
        return (self.folder / RAN).read_text().splitlines()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment())
        assert not check or result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
        return result

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")

    def repro(self, *arguments: str) -> list[str]:
        """Stages that `dvc repro` ran, in order."""
        output = self.run("dvc", "repro", *arguments).stdout
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]

    def json(self, path: str):
        return json.loads((self.folder / path).read_text())

    def copy_of_files(self, folder: Path, change: Callable[[dict], None]) -> None:
        """Put the files, outputs of stages included, into `folder`, without repository and stored answers."""
        skipped = shutil.ignore_patterns(".git", ".dvc", "generations", "downloads")
        shutil.copytree(self.folder, folder, ignore=skipped, dirs_exist_ok=True)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        change(values)
        (folder / "params.yaml").write_text(yaml.safe_dump(values))
