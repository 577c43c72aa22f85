"""The pipeline with params/smoke.yaml in a folder of its own, for tests of DVC and of whole stages.

`python -m tests.project` runs it once: `make smoke`.
"""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from sentidistill.commands.profiles import laid_over
from tests.made_up_sentibench import write_copy

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RAN, OPENED = ".cache/ran.txt", ".cache/opened.txt"


def smoke_params() -> dict:
    """The values of params/smoke.yaml laid over those of params.yaml."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    laid_over(values, yaml.safe_load((ROOT / "params/smoke.yaml").read_text()))
    return values


SMOKE = smoke_params()


def environment() -> dict[str, str]:
    """The environment of a command that finds this Python first, may commit, and looks for no model hub."""
    names = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **names, "HF_HUB_OFFLINE": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def start(folder: Path, stage: str, **variables: str) -> subprocess.Popen:
    """The stage as a process group of its own, which can be killed, with environment `variables`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        env=environment() | variables,
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


def run_stages(folder: Path, names: Sequence[str], **variables: str) -> None:
    """Run stages one after the other in one process, which is faster than by DVC, with environment `variables`."""
    lines = ["import importlib", *(f"importlib.import_module('stages.{name}').main()" for name in names)]
    command = [sys.executable, "-c", "\n".join(lines)]
    result = subprocess.run(command, cwd=folder, env=environment() | variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def rated_archive() -> bytes:
    """The rated texts of tests/data, for all tasks the same ones, packed like the sources of vaderSentiment.

    The same bytes on every machine: nothing is compressed, and no file has a time or an owner.
    """
    rated = (ROOT / "tests/data/rated.txt").read_bytes()
    files = {f"texts/{name}_GroundTruth.txt": rated for name in SMOKE["prepare_benchmark"]["tasks"].values()}
    return _tar({f"package{SMOKE['vader']['inner_archive'].removeprefix('*')}": _tar(files)})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def set_up(folder: Path, models: Path, teacher: str) -> "Project":
    """A copy of the repository's files as they are now, in a git repository of its own, with all that a run needs.

    `teacher` is the address of the scripted teacher.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        skipped = name.startswith(("metrics/", "plots/", "recordings/")) and not name.endswith("README.md")
        if (ROOT / name).is_file() and not skipped and name not in {"dvc.lock", "report.md", "report.html"}:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(models, folder / ".cache/smoke")
    for name in ("shop.jsonl", "letters.jsonl"):
        shutil.copy2(ROOT / "tests/data" / name, folder / "own" / name)
    write_copy(folder / ".cache/smoke/sentibench", ("twitter", "atsa_rest16"))
    archive = rated_archive()
    downloads = folder / ".cache/downloads"
    downloads.mkdir()
    (downloads / hashlib.sha256(archive).hexdigest()).write_bytes(archive)
    project = Project(folder)
    project.run("python", "-m", "sentidistill.commands.profiles", "smoke")
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace(SMOKE["runtime"]["server"]["base_url"], teacher))
    project.run("git", "init", "-q")
    project.commit()
    return project


def make_project(folder: Path, models: Path, teacher: str) -> None:
    """The pipeline of `set_up` after one `dvc repro`."""
    project = set_up(folder, models, teacher)
    watched = {"PYTHONPATH": str(folder / "tests/audit"), "OPENED_FILES": str(folder / OPENED)}
    (folder / RAN).write_text("\n".join(project.repro(**watched)))
    project.commit()


class Project:
    """The pipeline in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def ran(self) -> list[str]:
        """The stages that the first `dvc repro` ran, in order."""
        return (self.folder / RAN).read_text().splitlines()

    @property
    def opened(self) -> list[tuple[str, str, str]]:
        """(stage, "r" or "w", path) of the files that the stages of the first `dvc repro` opened."""
        return sorted({tuple(line.split("\t")) for line in (self.folder / OPENED).read_text().splitlines()})

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
        environ = environment() | variables
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environ)
        assert not check or result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
        return result

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")

    def repro(self, *arguments: str, **variables: str) -> list[str]:
        """Stages that `dvc repro` ran, in order, with environment `variables`."""
        output = self.run("dvc", "repro", *arguments, **variables).stdout
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]

    def json(self, path: str):
        return json.loads((self.folder / path).read_text())

    @contextmanager
    def changed_params(self, change: Callable[[dict], None]) -> Iterator[None]:
        """Other params for a while."""
        path = self.folder / "params.yaml"
        before = path.read_text()
        values = yaml.safe_load(before)
        change(values)
        path.write_text(yaml.safe_dump(values))
        try:
            yield
        finally:
            path.write_text(before)

    def copy_of_files(self, folder: Path, change: Callable[[dict], None] = lambda values: None) -> None:
        """Put the files, outputs of stages included, into `folder`, without repository and stored answers."""
        skipped = shutil.ignore_patterns(".git", ".dvc", "generations", "downloads")
        shutil.copytree(self.folder, folder, ignore=skipped, dirs_exist_ok=True)
        values = yaml.safe_load((folder / "params.yaml").read_text())
        change(values)
        (folder / "params.yaml").write_text(yaml.safe_dump(values))


def main() -> None:
    from tests import tiny_models
    from tests.local_server import running
    from tests.scripted_teacher import ScriptedTeacher

    started = time.monotonic()
    top = Path(tempfile.mkdtemp(prefix="sentidistill-smoke-"))
    tiny_models.build(top / "models")
    with running(answer=ScriptedTeacher()) as server:
        project = set_up(top / "pipeline", top / "models", server.url)
        ended = subprocess.run(["dvc", "repro"], cwd=project.folder, env=environment())
    if ended.returncode:
        sys.exit(f"the pipeline failed; its folder is {project.folder}")
    print(f"{project.folder / 'report.md'}: made in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
