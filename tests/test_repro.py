"""`make repro`: a dvc.lock that a kill cut off is put back, and DVC goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sentidistill.commands import repro
from sentidistill.errors import SentiDistillError
from tests.project import ROOT, environment

WHOLE = (ROOT / "dvc.lock").read_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_lock_that_was_cut_off_is_put_back(folder, share, caplog):
    repro.LOCK.write_bytes(WHOLE)
    repro.keep_lock()
    # In the middle of a path: the YAML is whole, and yet DVC cannot read it.
    cut = WHOLE.index(b"- path: ", int(share * len(WHOLE))) + len(b"- pa") if share else 0
    repro.LOCK.write_bytes(WHOLE[:cut])
    repro.keep_lock()
    assert repro.LOCK.read_bytes() == WHOLE
    assert "dvc.lock was damaged" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\x00\x00", b"schema: '2.0'\nstages: [", b"- 1\n", b"schema: '1.0'\n"])
def test_without_a_copy_the_command_that_gets_it_back_is_named(folder, content, monkeypatch):
    monkeypatch.setattr(repro, "committed", lambda: "schema: '2.0'")
    repro.LOCK.write_bytes(content)
    with pytest.raises(SentiDistillError, match=r"git checkout dvc\.lock"):
        repro.keep_lock()
    assert repro.LOCK.read_bytes() == content


def test_a_lock_of_which_there_is_no_copy_anywhere_is_made_anew(folder, caplog):
    repro.LOCK.write_bytes(b"schema: '2.0'\nstages: [")
    repro.keep_lock()
    assert not repro.LOCK.exists()
    assert "dvc.lock was damaged" in caplog.text


def test_a_lock_that_is_whole_is_left_alone_and_kept(folder):
    for content in (WHOLE, b"schema: '2.0'\nstages: {}\n"):
        repro.LOCK.write_bytes(content)
        repro.keep_lock()
        assert repro.LOCK.read_bytes() == repro.GOOD.read_bytes() == content


PIPELINE = {
    "stages": {
        "quick": {"cmd": "python -c \"open('a', 'w').write('1')\"", "outs": ["a"], "desc": "-"},
        "slow": {"cmd": "python -m slow", "deps": ["a"], "outs": ["b"], "desc": "-"},
    }
}


def test_a_device_that_is_not_there_is_refused_before_hours_of_asking(folder):
    text = (ROOT / "params.yaml").read_text()
    assert "device: auto" in text
    (folder / "params.yaml").write_text(text.replace("device: auto", "device: cuda:99"))
    with pytest.raises(SentiDistillError, match="is cuda:99, but this machine has"):
        repro.main()


def dvc_init(folder: Path) -> Callable[[int], str]:
    """A pipeline of one stage; returns a function for the list of paths in use by a process that makes its output."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text("stages: {one: {cmd: echo done > a, outs: [a]}}")
    repro.IN_USE.parent.mkdir(parents=True, exist_ok=True)
    return lambda process: json.dumps({"write": {str(folder / "a"): {"pid": process, "cmd": "dvc repro"}}})


@pytest.mark.parametrize("content", ["", '{"data/a": {"wri'])
def test_a_list_of_paths_in_use_that_was_cut_off_is_removed(folder, content, caplog):
    """DVC refuses to start as long as it is there."""
    dvc_init(folder)
    repro.IN_USE.write_text(content)
    assert subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, capture_output=True).returncode
    repro.mend_in_use()
    assert "rwlock was damaged" in caplog.text
    assert repro.dvc_repro(()) == 0


def test_paths_are_not_in_use_by_a_dvc_that_was_killed_or_by_another_program(folder):
    """DVC looks only whether there is a process with the id, and so there is one until its parent notices its end."""
    held = dvc_init(folder)
    command = [sys.executable, "-c", "print(flush=True); input()", "dvc"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        killed.stdout.readline()  # only now does it surely have its own command line
        repro.IN_USE.write_text(held(killed.pid))
        repro.mend_in_use()
        assert repro.IN_USE.exists(), "a DVC that runs has them in use"
        killed.kill()
        while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)
        assert subprocess.run([sys.executable, "-m", "dvc", "repro"], capture_output=True).returncode
        repro.mend_in_use()
        assert not repro.IN_USE.exists()
    repro.IN_USE.write_text(held(os.getpid()))
    repro.mend_in_use()
    assert repro.dvc_repro(()) == 0


def test_what_is_not_as_in_the_committed_run_is_named(folder):
    lock = {"schema": "2.0", "stages": {"a": {"cmd": "x", "outs": [{"path": "data/a", "md5": "1"}]}, "b": {"cmd": "y"}}}
    repro.LOCK.write_text(json.dumps(lock))
    assert repro.hashes(repro.committed()) == {}, "nothing is committed"
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    before = repro.hashes(repro.committed())
    assert before == {"data/a": "1"}
    assert repro.beside(before, before) == ("1 of 1 outputs are the same bytes as those of the committed run", [])
    text, others = repro.beside({"data/a": "2", "data/b": "3"}, before)
    assert text.startswith("0 of 2")
    assert others == [("data/a", "1", "2"), ("data/b", "none", "3")]


SLOW = """
from sentidistill.pipeline import interrupts
interrupts.listen(follow=True)
import pathlib, time
def wait():
    pathlib.Path("begun").touch()
    while pathlib.Path("wait").exists(): time.sleep(0.1)
    pathlib.Path("b").touch()
wait()
"""


def start(folder: Path) -> subprocess.Popen:
    environ = {**environment(), "PYTHONPATH": f"{ROOT}:{folder}"}
    command = [sys.executable, "-m", "sentidistill.commands.repro"]
    return subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_run_that_is_ended_ends_its_stage_and_goes_on_with_what_was_done(folder):
    (folder / "dvc.yaml").write_text(json.dumps(PIPELINE))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "slow.py").write_text(SLOW)
    (folder / "wait").touch()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
    process = start(folder)
    while not (folder / "begun").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "interrupted" in output
    assert "Traceback" not in output
    repro.LOCK.write_bytes(b"schema: '2.0'\nstages:\n  quick:\n")
    repro.GOOD.write_bytes(b"schema: '2.0'\nstages: {}\n")
    (folder / "wait").unlink()
    process = start(folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (folder / "b").exists()
    assert "dvc.lock was damaged" in output
    assert "What each stage last took" in output
