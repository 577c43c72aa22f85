"""SIGINT and SIGTERM at every stage: it ends soon, with one line, and the next run makes the same bytes."""

import random
import signal
import time

import pytest

from tests.faults.tally import ONE_OF_EACH, Started, Tally, command_of, copy_of, outputs

PART = "SIGINT and SIGTERM of stages"
SEED = 12


@pytest.fixture(scope="module")
def folder(project, tmp_path_factory):
    return copy_of(project, tmp_path_factory.mktemp("signals"))


def test_an_interrupted_stage_says_one_line_and_goes_on(project, folder, tally: Tally):
    moments = random.Random(SEED)
    for one in ONE_OF_EACH:
        took = project.json(f".cache/runs/{one.name}.json")["seconds"]
        for number in (signal.SIGINT, signal.SIGTERM):
            case = f"{number.name} at {one.name}"
            started = Started(folder, command_of(one))
            if started.wait_for(f": {one.name}"):
                time.sleep(moments.uniform(0, took))
            ended = started.process.poll() is not None
            started.process.send_signal(number)
            said = started.end()
            tally.ended(case, said, failed=not ended and started.process.returncode != 0)
            if said is not None and started.process.returncode and said.count("interrupted") != 1:
                tally.faults.append(f"{case}: not one line: {said[-600:]}")
        again = Started(folder, command_of(one))
        said = again.end()
        if said is None or again.process.returncode:
            tally.faults.append(f"{one.name}: does not go on: {said and said[-600:]}")
        tally.compare(one.name, outputs(folder, [one]), outputs(project.folder, [one]))
    tally.check()
