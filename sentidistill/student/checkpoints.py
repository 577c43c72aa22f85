"""What lies in the folder of a training's checkpoints."""

from pathlib import Path

# The last file of a checkpoint, which is whole then: the random state that the order of its epoch's rows came from.
EPOCH_START = "whole"
# Folder beside the checkpoints: what a training by several processes, or of an adapter, ends with.
TRAINED = "trained"
LOSSES = "losses.json"


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{EPOCH_START}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)
