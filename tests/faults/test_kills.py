"""The small pipeline, killed fifty times: every stage once, DVC the rest, and the run goes on each time."""

import os
import random
import signal
import sys
import time
from collections import Counter

import psutil

from tests.faults.tally import RUN_HANG, STAGES, Started, Tally, outputs
from tests.local_server import running
from tests.project import set_up
from tests.scripted_teacher import ScriptedTeacher

PART = "SIGKILL of stages and of DVC"
KILLS = 50
SEED = 11
LOCK_SECONDS = 1.6  # that DVC takes to write dvc.lock, at most
UNDER_WAY = 64  # answers of a stage that a kill may lose: those that are being asked, and labels are asked one by one
REPRO = [sys.executable, "-m", "sentidistill.commands.repro"]


def test_fifty_kills_change_no_file_and_cost_what_was_under_way(project, tiny_models, tmp_path, tally: Tally):
    moments = random.Random(SEED)
    seconds = {one.name: project.json(f".cache/runs/{one.name}.json")["seconds"] for one in STAGES}
    hit: set[str] = set()
    seen, command = hit, REPRO
    with running(seconds=0.005, answer=ScriptedTeacher()) as server:
        folder = set_up(tmp_path / "pipeline", tiny_models, server.url).folder
        for number in range(KILLS):
            of_lock = number % 2 == 1 and KILLS - number > len(STAGES) - len(hit) and command is REPRO
            started = Started(folder, command)
            name = next_lock(started) if of_lock else next_stage(started, seen)
            if name is None:
                tally.ended_well("a run that nobody killed", started, RUN_HANG)
                seen, command = set(), [*REPRO, "--force"]  # from the beginning
                started, of_lock = Started(folder, command), False
                name = next_stage(started, seen) or ""
            name = pause(started, moments.uniform(0, LOCK_SECONDS if of_lock else seconds[name])) or name
            seen.add(name)
            hit.add(name)
            victims = ("dvc", "all") if of_lock else ("stage", "dvc", "all")
            victim = moments.choice(victims)
            kill(started, victim)
            said = started.end(RUN_HANG)
            tally.ended(f"kill {number + 1}, of {victim}, from {name} on", said, failed=False)
            tally.add("handled by a named remedy", number=said is not None and "dvc.lock was damaged" in said)
            assert not left_over(started), "a stage goes on without its run"
        for name in sorted({one.name for one in STAGES} - hit):  # those that began and ended between two looks
            started = Started(folder, [*REPRO, "--single-item", "--force", name])
            next_stage(started, set())
            time.sleep(moments.uniform(0, seconds[name] / 2))
            kill(started, "stage")
            tally.ended(f"a further kill, of {name}", started.end(RUN_HANG), failed=False)
        tally.ended_well("the last run", Started(folder, REPRO), RUN_HANG)
        paid = Counter(server.calls)
    tally.compare("after all kills", outputs(folder), outputs(project.folder))
    twice = paid.total() - len(paid)
    tally.add("paid twice", number=twice)
    if twice > KILLS * UNDER_WAY:
        tally.faults.append(f"{twice} answers were paid twice")
    tally.check()


def next_stage(started: Started, hit: set[str]) -> str | None:
    """The first stage that runs and was not hit before."""
    seen = 0
    while started.wait_for("Running stage '", seen):
        place = started.said.index("Running stage '", seen)
        name = started.said[place:].split("'")[1]
        if name not in hit:
            return name
        seen = place + 1
    return None


def next_lock(started: Started) -> str | None:
    """The first stage after which dvc.lock is written."""
    if not started.wait_for("Updating lock file"):
        return None
    before = started.said.partition("Updating lock file")[0]
    return before.rpartition("Running stage '")[2].partition("'")[0]


def pause(started: Started, seconds: float) -> str | None:
    """Wait, but no longer than to the start of the next stage, as it might end unhit; its name, if it started."""
    deadline, seen = time.monotonic() + seconds, len(started.said)
    while time.monotonic() < deadline:
        if begun := started.said[seen:].partition("Running stage '")[2]:
            return begun.partition("'")[0]
        time.sleep(0.02)
    return None


def kill(started: Started, victim: str) -> None:
    """Kill the processes of `victim`; all of them where there is none of it, as between two stages."""
    words = {"dvc": ("dvc", "repro"), "stage": ("-m", "stages.")}.get(victim)
    found = [one for one in members(started) if words and is_victim(started, one, words)]
    for one in found:
        one.send_signal(signal.SIGKILL)
    if not found:
        started.kill_all()


def is_victim(started: Started, one: psutil.Process, words: tuple[str, ...]) -> bool:
    line = " ".join(one.cmdline())
    return all(word in line for word in words) and "-c" not in one.cmdline() and one.pid != started.process.pid


def members(started: Started) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == started.process.pid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def left_over(started: Started) -> list[psutil.Process]:
    """Processes of the run that are still there after the time in which a stage has to notice its end."""
    return psutil.wait_procs(members(started), timeout=30)[1]
