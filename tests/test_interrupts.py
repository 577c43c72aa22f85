"""Stages that are interrupted, or whose run was killed: they end soon, say what is stored, and go on there."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sentidistill import records
from sentidistill.student.checkpoints import EPOCH_START
from tests.local_server import LocalServer, reply, running
from tests.project import environment, finish
from tests.recorded import ROOT, make_folder, write_texts

SECONDS = 60  # for a process to end, on a busy machine
TEXTS = tuple(f"Text number {number} is a long one, and a glad one." for number in range(30))
STAGE = "enumerate_attributes"
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


def answer(path: str, body: dict) -> dict:
    text = "1. **Candour** Attribute Description: How open the author is. Attribute Value: high"
    return reply({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}, 7, 3)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with running(seconds=0.05, answer=answer) as started:
        yield started


@pytest.fixture
def folder(tmp_path, server) -> Path:
    """What the first asking stage reads, with a teacher that is known by its name at a slow server alone."""

    def change(values: dict) -> None:
        values["prepare_models"]["teacher"] = {"source": "server", "model": "m"}
        values["collect_responses"]["calibrate"] = False
        values["runtime"]["engine"]["teacher"] = "openai"
        values["runtime"]["server"]["base_url"] = server.url
        values["runtime"]["concurrency"] = 1
        values["teacher"]["api"] = "chat"

    made = make_folder(tmp_path / "a", change)
    records.write_json(made / "models/teacher/origin.json", {"source": "server", "model": "m"})
    write_texts(made, TEXTS)
    return made


def here(folder: Path, *command: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests themselves run in the background, SIGINT is ignored, and a process inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


FOLLOWING = """
import subprocess, sys, time
from sentidistill.pipeline import interrupts
interrupts.listen(follow=True)
"""


def test_what_a_stage_has_started_ends_with_it_whatever_stands_between(tmp_path):
    worker = FOLLOWING + "print('begun', flush=True); time.sleep(600)"
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    stage = here(tmp_path, "-c", FOLLOWING + f"subprocess.run([sys.executable, '-c', {launcher!r}])")
    assert stage.stdout.readline() == "begun\n"
    below = psutil.Process(stage.pid).children(recursive=True)
    assert len(below) == 2
    stage.kill()
    _, left = psutil.wait_procs(below, timeout=SECONDS)
    for one in left:
        one.kill()
    assert not left


def wait_for_calls(server: LocalServer, number: int, process: subprocess.Popen) -> None:
    while len(server.calls) < number:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def interrupted(process: subprocess.Popen, number: int) -> str:
    """The one line that the process says when it gets the signal."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if "interrupted" in line]
    return line


@SIGNALS
def test_an_interrupted_stage_says_that_answers_are_stored_and_pays_for_none_twice(folder, server, number):
    process = here(folder, "-m", f"stages.{STAGE}")
    wait_for_calls(server, 5, process)
    assert interrupted(process, number) == ("interrupted; the answers that came are stored: run the same command again")
    finish(here(folder, "-m", f"stages.{STAGE}"))
    assert len(Counter(server.calls)) == len(TEXTS)
    assert len(server.calls) <= len(TEXTS) + 1, "but for the one that was under way"


@pytest.mark.parametrize(
    ("stage", "stored", "said"),
    [
        ("train_student", (), "training starts anew"),
        ("train_student", (f"train/0123/checkpoint-5/{EPOCH_START}",), "training goes on at its last checkpoint"),
        ("cluster_attributes", (), "nothing was to be stored yet"),
    ],
)
def test_an_interrupted_stage_does_not_speak_of_what_it_has_not_stored(tmp_path, stage, stored, said):
    (tmp_path / "params.yaml").touch()
    for name in stored:
        records.write_json(tmp_path / ".cache" / name, {})
    program = f"import sys, time; from sentidistill.pipeline import stage; sys.argv = ['stages/{stage}.py']; "
    process = here(tmp_path, "-c", program + "stage.run(lambda: (print('begun', flush=True), time.sleep(1000)))")
    process.stdout.readline()
    line = interrupted(process, signal.SIGTERM)
    assert said in line
    assert "answers" not in line


@SIGNALS
def test_work_that_python_cannot_interrupt_is_ended_too(tmp_path, number):
    program = (
        "import hashlib; from sentidistill.pipeline import stage\n"
        "def main(): print('begun', flush=True); hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)\n"
        "stage.run(main)"
    )
    process = here(tmp_path, "-c", program)
    process.stdout.readline()
    assert "run the same command again" in interrupted(process, number)


def test_an_interrupt_that_a_library_turns_into_another_error_is_still_one_line(tmp_path):
    program = (
        "import time; from sentidistill.pipeline import stage\n"
        "def main():\n"
        "    print('begun', flush=True)\n"
        "    try: time.sleep(1000)\n"
        "    finally: raise RuntimeError('cannot clean up')\n"
        "stage.run(main)"
    )
    process = here(tmp_path, "-c", program)
    process.stdout.readline()
    assert "run the same command again" in interrupted(process, signal.SIGTERM)


STARTERS = {
    "a process": "process = subprocess.Popen(command)",
    "a shell": "process = subprocess.Popen(['/bin/sh', '-c', shlex.join(command)])",
    "a shell that goes on": "process = subprocess.Popen(['/bin/sh', '-c', shlex.join(command) + '; true'])",
    "nohup": "signal.signal(signal.SIGHUP, signal.SIG_IGN); process = subprocess.Popen(command)",
}


def started_by(folder: Path, starter: str, **variables: str) -> subprocess.Popen:
    program = "import shlex, signal, subprocess, sys; command = [sys.executable, '-m', 'stages.enumerate_attributes']; "
    return here(folder, "-c", f"{program}{STARTERS[starter]}; process.wait()", **variables)


def the_stage(starter: subprocess.Popen) -> psutil.Process:
    while True:
        for one in psutil.Process(starter.pid).children(recursive=True):
            if one.cmdline()[1:] == ["-m", f"stages.{STAGE}"]:
                return one
        time.sleep(0.01)


@pytest.mark.parametrize("starter", STARTERS)
def test_a_stage_ends_with_the_run_that_started_it(folder, server, starter):
    process = started_by(folder, starter, DVC_STAGE=STAGE)
    wait_for_calls(server, 3, process)
    running_stage = the_stage(process)
    server.seconds = 5.0
    os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([running_stage], timeout=SECONDS)
    assert not alive
    _, stderr = process.communicate()
    assert stderr.count("interrupted; the answers that came are stored") == 1
    assert not (folder / "data/mentions.jsonl").exists()


def test_a_stage_that_is_to_outlive_its_terminal_goes_on(folder, server):
    process = started_by(folder, "nohup")
    wait_for_calls(server, 3, process)
    running_stage = the_stage(process)
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([running_stage], timeout=SECONDS)
    assert (folder / "data/mentions.jsonl").exists()
    process.communicate()


def test_what_a_killed_writer_left_is_removed_and_what_another_writes_is_not(folder, server):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, used = (folder / f"data/calls/.x.jsonl.{number}.tmp" for number in (dead.pid, os.getpid()))
    foreign = folder / "data/.notes.tmp"
    for path in (left, used, foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half a fi")
    server.seconds = 0.0
    finish(here(folder, "-m", f"stages.{STAGE}"))
    assert not left.exists()
    assert used.exists()
    assert foreign.exists()


@SIGNALS
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_command_that_has_done_its_work_cannot_be_interrupted_any_more(tmp_path, number, at):
    """A signal while libraries clean up: DVC would take the finished stage for one that failed."""
    program = (
        "import atexit, time\n"
        "from sentidistill.pipeline import stage\n"
        "def end(): print('ending', flush=True); time.sleep(2)\n"
        + {"last": "atexit.register(end); stage.run(lambda: None)", "first": "stage.run(lambda: atexit.register(end))"}[
            at
        ]
    )
    process = here(tmp_path, "-c", program)
    assert process.stdout.readline() == "ending\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=SECONDS)
    assert (process.returncode, stderr) == (0, "")
