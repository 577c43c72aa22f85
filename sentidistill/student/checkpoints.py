"""What lies in the folder of a training's checkpoints, and whose folder it is."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sentidistill.student import processes

# The last file of a checkpoint, which is whole then: the random state that the order of its epoch's rows came from.
EPOCH_START = "whole"
# Folder beside the checkpoints: what a training by several processes, or of an adapter, ends with.
TRAINED = "trained"
LOSSES = "losses.json"


@contextmanager
def held(checkpoints: Path) -> Iterator[None]:
    """`checkpoints` for this training alone: another one with the same settings waits for its end.

    A training that ends well removes them, and those of other settings that no training holds. One that is killed or
    fails leaves all of them.
    """
    if processes.launched():  # whoever has started this process holds them
        yield
        return
    checkpoints.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock(checkpoints)):
        yield
        shutil.rmtree(checkpoints, ignore_errors=True)
    for other in filter(Path.is_dir, checkpoints.parent.iterdir()):
        try:
            with FileLock(_lock(other), timeout=0):
                shutil.rmtree(other, ignore_errors=True)
        except Timeout:
            continue


def _lock(checkpoints: Path) -> Path:
    return checkpoints.with_name(f"{checkpoints.name}.lock")


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{EPOCH_START}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)
