"""Whole stages on engines that die: the outputs are the same bytes, and little is paid for twice."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.local_server import running
from tests.project import finish, start, stored_answers
from tests.scripted_teacher import ScriptedTeacher

KILLS = 10
CONCURRENCY = 4
CHOICE_CALLS = 20  # at most so many beginnings have the labels of a smoke task
TEACHER = ScriptedTeacher()


def outputs(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def served(project, folder: Path, url: str) -> Path:
    def change(values):
        values["runtime"]["server"]["base_url"] = url
        values["runtime"]["concurrency"] = CONCURRENCY

    project.copy_of_files(folder, change)
    return folder


@pytest.mark.slow
def test_ten_kills_change_no_byte_and_cost_at_most_what_was_under_way(project, tmp_path):
    names = ("data/responses.jsonl", "data/calls/collect_responses.jsonl", "metrics/collect_responses.json")
    with running(answer=TEACHER) as server:
        folder = served(project, tmp_path / "undisturbed", server.url)
        finish(start(folder, "collect_responses"))
        expected, needed = outputs(folder, *names), Counter(server.calls)
    assert set(needed.values()) == {1}, "an undisturbed run asks nothing twice"
    moments = random.Random(5)
    killed_while_asking = 0
    with running(seconds=0.02, answer=TEACHER) as server:
        folder = served(project, tmp_path / "killed", server.url)
        for name in names:
            (folder / name).unlink()
        for _ in range(KILLS):
            before = len(server.calls)
            after = before + moments.randint(1, len(needed) // KILLS)
            process = start(folder, "collect_responses")
            while len(server.calls) < after and process.poll() is None:
                time.sleep(0.002)
            killed_while_asking += process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        finish(start(folder, "collect_responses"))
        paid = Counter(server.calls)
    assert killed_while_asking == KILLS
    assert outputs(folder, *names) == expected
    assert set(paid) == set(needed)
    assert paid.total() - needed.total() <= KILLS * CONCURRENCY * CHOICE_CALLS


@pytest.mark.slow
def test_an_actor_killed_in_the_middle_changes_no_byte(project, tmp_path):
    """Two Ray actors that each ask a slow server; the stage's own run, without Ray, is the reference."""
    names = ("data/mentions.jsonl", "data/calls/enumerate_attributes.jsonl")
    with running(seconds=0.5, answer=TEACHER) as server:

        def change(values):
            values["runtime"] |= {"concurrency": 2, "ray": {"actors": 2, "cpus_per_actor": 1, "gpus_per_actor": 0}}
            values["runtime"]["server"]["base_url"] = server.url

        project.copy_of_files(tmp_path, change)
        for name in names:
            (tmp_path / name).unlink()
        process = start(tmp_path, "enumerate_attributes")
        try:
            actor = next_actor(process, tmp_path)
            stored = len(stored_answers(tmp_path))
            os.kill(actor, signal.SIGKILL)
            finish(process)
        finally:
            end(process)
    assert 0 < stored < len(stored_answers(tmp_path)), "the actor was killed in the middle"
    assert outputs(tmp_path, *names) == outputs(project.folder, *names)


def next_actor(process: subprocess.Popen, folder: Path) -> int:
    """Process id of an actor, once the first answers are stored."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        if stored_answers(folder):
            for child in psutil.Process(process.pid).children(recursive=True):
                if "MapWorker" in " ".join(child.cmdline()):
                    return child.pid
        time.sleep(0.01)
    pytest.fail("no actor answered anything")


def end(process: subprocess.Popen) -> None:
    """End what the process has started, if it did not do so itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
