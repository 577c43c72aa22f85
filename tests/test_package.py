"""The package as people install it, without the repository."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import vulnerabilities
from sentidistill.config import load
from sentidistill.student import folder
from tests.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    """Pinned versions by name, in a requirements file and those that it includes."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= pins(line[3:].strip())
        elif "==" in line and not line.startswith("#"):
            package, version = line.split("==")
            found[package.split("[")[0]] = version
    return found


@pytest.mark.parametrize(
    ("declared", "pinned"),
    [
        (PROJECT["dependencies"], "requirements.txt"),
        (PROJECT["optional-dependencies"]["ray"], "requirements-ray.txt"),
        (PROJECT["optional-dependencies"]["vllm"], "requirements-vllm.txt"),
        (PROJECT["optional-dependencies"]["dev"], "requirements-dev.txt"),
    ],
)
def test_the_package_takes_the_versions_that_a_clone_runs_with(declared, pinned):
    versions = pins(pinned)
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(versions[requirement.name]), requirement
    if pinned == "requirements.txt":
        assert {Requirement(one).name for one in declared} == set(versions)


def locked(name: str) -> dict[str, set[str]]:
    """Versions by name in a lock; some packages have one for each version of Python."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w-]+)==(\S+)", (ROOT / "locks" / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize(
    ("name", "locks"),
    [
        ("requirements.txt", ["requirements.txt", "cuda.txt"]),
        ("requirements-dev.txt", ["requirements-dev.txt", "requirements.txt", "cuda.txt"]),
        ("requirements-vllm.txt", ["requirements-vllm.txt", "requirements-dev.txt", "requirements.txt", "cuda.txt"]),
    ],
)
def test_the_locks_hold_the_pinned_versions_with_hashes_and_no_address(name, locks):
    for package, version in pins(name).items():
        found = [locked(lock).get(package.lower(), set()) for lock in locks]
        assert {version} in found, f"{package}: run `make lock`"
    for lock in locks:
        entries = (ROOT / "locks" / lock).read_text().splitlines()
        assert not [line for line in entries if "://" in line]
        assert sum(" --hash=sha256:" in line for line in entries) >= sum("==" in line for line in entries) > 0


@pytest.mark.slow
def test_a_wheel_answers_and_has_the_commands_where_the_repository_is_not(tiny_models, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "sentidistill", source / "sentidistill", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, *pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("sentidistill-*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, *pip, "install", "--no-deps", wheel], check=True)
    (installed,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    # The dependencies are those of this environment: what is tried is the package's own content.
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    away = tmp_path / "away"
    away.mkdir()
    student = shutil.copytree(tiny_models / "student", tmp_path / "student")
    folder.describe(student, load(ROOT / "params.yaml").student, {})
    run = subprocess.run(
        [python, "-m", "sentidistill.predict", student],
        input='{"text": "What a day!"}\n',
        cwd=away,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["answer"]
    said = "import sentidistill.report.scores, sentidistill.evaluation.questions; print(sentidistill.__file__)"
    where = subprocess.run([python, "-c", said], cwd=away, capture_output=True, text=True, check=True).stdout
    assert Path(where.strip()).is_relative_to(installed)
    for command in sorted((ROOT / "sentidistill" / "commands").glob("[a-z]*.py")):
        subprocess.run([python, "-c", f"import sentidistill.commands.{command.stem}"], cwd=away, check=True)


def test_known_vulnerabilities_of_the_locked_packages_fail_and_an_unreachable_database_says_so():
    faulty = {"name": "torch", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
    listed = [faulty, {"name": "rich", "version": "15.0", "vulns": []}, {"name": "x", "skip_reason": "not found"}]
    text, status = vulnerabilities.report(json.dumps({"dependencies": listed}), "")
    assert (text.splitlines()[1:], status) == (["torch 1.0: CVE-1; fixed in 1.1"], 1)
    assert vulnerabilities.report(json.dumps({"dependencies": listed[1:]}), "")[1] == 0
    text, status = vulnerabilities.report("", "ERROR\nConnectionError: no route")
    assert (text.startswith("skipped, nothing was checked"), status) == (True, 0)
