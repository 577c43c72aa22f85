"""A disk that fills at every stage: one line with the remedy, and once there is room the same bytes."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentidistill.pipeline.graph import Stage
from tests.faults.tally import ONE_OF_EACH, Started, Tally, command_of, copy_of, outputs

PART = "a disk that fills at a stage"
SEED = 13
MOUNTED_MEGABYTES = 40  # of room beside the files of the small pipeline


@pytest.fixture(scope="module")
def mounted(project, tmp_path_factory) -> Iterator[Path]:
    """The pipeline on a small file system in memory, where one may be mounted."""
    place = tmp_path_factory.mktemp("disk")
    used = sum(path.stat().st_size for path in project.folder.rglob("*") if path.is_file())
    size = f"size={used + MOUNTED_MEGABYTES * 2**20}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        (place / "tmp").mkdir()
        yield copy_of(project, place / "pipeline")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def copied(project, tmp_path_factory) -> Path:
    return copy_of(project, tmp_path_factory.mktemp("limited"))


def fill(folder: Path, left: int) -> Path:
    """Leave `left` bytes of room on the file system of `folder`."""
    filler = folder.parent / "filler"
    with filler.open("wb") as file:
        room = os.statvfs(folder)
        file.write(b"\0" * max(0, room.f_bavail * room.f_frsize - left))
    return filler


def test_a_file_system_without_room(project, mounted, tally: Tally):
    moments = random.Random(SEED)
    variables = {"TMPDIR": str(mounted.parent / "tmp")}

    def with_little_room(one: Stage) -> Started:
        filler = fill(mounted, moments.randint(0, largest(project.folder, one)))
        started = Started(mounted, command_of(one), **variables)
        started.end()
        filler.unlink()
        return started

    every_stage(project, mounted, tally, "no room", with_little_room)


def test_a_limit_on_the_size_of_a_file(project, copied, tally: Tally):
    moments = random.Random(SEED)

    def with_limit(one: Stage) -> Started:
        # Blocks of 512 bytes, or of 1,024 in some shells.
        blocks = moments.randint(0, largest(project.folder, one) // 1024)
        # What the stage says goes through a pipe: the limit holds for a file that it would be written to, too.
        script = f'(ulimit -f {blocks}; exec "$@") 2>&1 | cat'
        limited = ["bash", "-o", "pipefail", "-c", script, "bash", *command_of(one)]
        started = Started(copied, limited)
        started.end()
        return started

    every_stage(project, copied, tally, "limit", with_limit)


def largest(folder: Path, one: Stage) -> int:
    return max((folder / path).stat().st_size for path in outputs(folder, [one]))


def every_stage(project, folder: Path, tally: Tally, kind: str, run: Callable[[Stage], Started]) -> None:
    for one in ONE_OF_EACH:
        started = run(one)
        hangs = started.process.returncode == -9
        tally.ended(f"{kind} at {one.name}", None if hangs else started.said, failed=started.process.returncode != 0)
        again = Started(folder, command_of(one))
        said = again.end()
        if said is None or again.process.returncode:
            tally.faults.append(f"{kind} at {one.name}: does not go on: {said and said[-600:]}")
        tally.compare(f"{kind} at {one.name}", outputs(folder, [one]), outputs(project.folder, [one]))
    tally.check()
