"""Two runs at once, by DVC and by hand: neither breaks the other."""

import sys
from collections import Counter

from tests.faults.tally import RUN_HANG, STAGES, Started, Tally, command_of, copy_of, outputs
from tests.local_server import running
from tests.project import set_up
from tests.scripted_teacher import ScriptedTeacher

PART = "two runs at once"
REPRO = [sys.executable, "-m", "sentidistill.commands.repro"]


def test_two_runs_of_the_pipeline(project, tiny_models, tmp_path, tally: Tally):
    """The second may be sent away, and run again it finds everything done."""
    with running(answer=ScriptedTeacher()) as server:
        folder = set_up(tmp_path / "pipeline", tiny_models, server.url).folder
        both = [Started(folder, REPRO) for _ in range(2)]
        for number, one in enumerate(both, 1):
            tally.ended(f"run {number} of two", one.end(RUN_HANG), failed=one.process.returncode != 0)
        last = Started(folder, REPRO)
        said = last.end(RUN_HANG)
        if said is None or last.process.returncode:
            tally.faults.append(f"the run after the two fails: {said and said[-1000:]}")
        calls = Counter(server.calls)
    tally.add("paid twice", number=calls.total() - len(calls))
    tally.compare("two runs", outputs(folder), outputs(project.folder))
    tally.check()


def test_one_stage_twice_by_hand(project, tmp_path, tally: Tally):
    """Of an answer that both asked for, the first that was stored counts for both."""
    for one in STAGES:
        if one.template not in ("enumerate_attributes", "collect_responses", "score_difficulty"):
            continue
        with running(seconds=0.01, answer=ScriptedTeacher()) as server:

            def change(values: dict, url: str = server.url) -> None:
                values["runtime"]["server"]["base_url"] = url

            folder = copy_of(project, tmp_path / one.name, change)
            both = [Started(folder, command_of(one)) for _ in range(2)]
            for number, started in enumerate(both, 1):
                said = started.end()
                tally.ended(f"{one.name}, number {number} of two", said, failed=False)
                if said is None or started.process.returncode:
                    tally.faults.append(f"{one.name} beside itself fails: {said and said[-1000:]}")
            calls = Counter(server.calls)
        tally.add("paid twice", number=calls.total() - len(calls))
        tally.compare(one.name, outputs(folder, [one]), outputs(project.folder, [one]))
    tally.check()
