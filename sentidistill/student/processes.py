"""Training by several processes, each with a device of its own: how they are started, and their common settings."""

import os
import subprocess
import sys

from sentidistill.config.runtime import Runtime, Train
from sentidistill.errors import SentiDistillError

STARTED = "SENTIDISTILL_LAUNCHED"  # a launcher's own variables are not there where it starts one process alone


def several(settings: Train) -> bool:
    """Whether `runtime.train` asks for a launcher."""
    return bool(settings.processes or settings.config)


def launched() -> bool:
    """Whether `launch` has started this process, which trains, mostly together with others."""
    return STARTED in os.environ


def is_first() -> bool:
    """Whether this is the process that shows and writes; alone, it is."""
    return not launched() or os.environ.get("RANK", "0") == "0"


def own_device(runtime: Runtime) -> Runtime:
    """`runtime` for this process, which has a GPU of its own where several train together."""
    import torch

    if not launched() or runtime.device == "cpu" or not torch.cuda.is_available():
        return runtime
    return runtime.model_copy(update={"device": f"cuda:{os.environ.get('LOCAL_RANK', '0')}"})


def launch(settings: Train, module: str) -> None:
    """Run `module` in the processes that `settings` ask for, and wait for their end.

    accelerate starts them where a file says how. On CPUs it would start one alone, so torchrun does it without a file.
    Raises `SentiDistillError` where one of them fails, which has said why.
    """
    if settings.config:
        options = ["accelerate.commands.launch", "--config_file", settings.config]
        options += ["--num_processes", str(settings.processes)] if settings.processes else []
    else:
        options = ["torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}"]
    command = [sys.executable, "-m", *options, "-m", module]
    with subprocess.Popen(command, env={**os.environ, STARTED: "1"}) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    if code:
        raise SentiDistillError("train_student: a process of runtime.train has failed; what it said stands above")


def passes(batch_size: int, rows_per_step: int) -> int:
    """Forward passes of each process for one step of the optimiser, which sees `batch_size` rows of all of them.

    Raises `SentiDistillError` where the rows cannot be shared out.
    """
    number = int(os.environ.get("WORLD_SIZE", "1")) if launched() else 1
    if batch_size % (rows_per_step * number):
        raise SentiDistillError(
            f"train_student.batch_size ({batch_size}) is no multiple of runtime.train_rows_per_step ({rows_per_step}) "
            f"times the processes that train ({number}); change one of them"
        )
    return batch_size // (rows_per_step * number)
