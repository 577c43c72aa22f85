"""How long each stage last took, and where its answers came from.

No output of a stage holds this: outputs are the same bytes wherever answers come from, and however long they take.
A run is noted in .cache/runs; `make record` puts the notes into git, so that a fresh clone knows what is ahead.
"""

import os
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import graph
from sentidistill.records import Record

RECORDED = Path("recordings/default/runs.json")


class Run(Record):
    """One run of one stage. `asking` are those of its `seconds` in which a model answered, or was loaded for it."""

    processor: str
    seconds: float
    asking: float
    recorded: int
    cached: int
    asked: int

    @property
    def own_seconds(self) -> float:
        """The seconds of the stage without asking."""
        return max(0.0, self.seconds - self.asking)


SINCE = "SENTIDISTILL_SINCE"  # environment variable: when `make repro` began

_noted: Counter[str] = Counter()
_asking: list[float] = []


def note(recorded: int, cached: int, asked: int, asking: float) -> None:
    """Count further answers to the stage that runs in this process."""
    _noted.update(recorded=recorded, cached=cached, asked=asked)
    _asking.append(asking)


def name_of(program: str, arguments: tuple[str, ...]) -> str | None:
    """The stage's name in dvc.yaml where `program` (argv[0]) is one: evaluate@student-tweet.

    None also for a process that a stage has started to train together with others.
    """
    path = Path(program)
    if path.parent.name != "stages" or "LOCAL_RANK" in os.environ:
        return None
    return "@".join([path.stem, "-".join(arguments)]) if arguments else path.stem


def write(cache_root: Path, name: str, seconds: float) -> None:
    asking = round(sum(_asking), 1)
    counts = {key: _noted[key] for key in ("recorded", "cached", "asked")}
    run = Run(processor=processor(), seconds=seconds, asking=asking, **counts)
    records.write_json(cache_root / "runs" / f"{name}.json", run.model_dump())


def last(cache_root: Path) -> dict[str, Run]:
    """The last run of each stage here or else, where it is known, in the recorded run."""
    return recorded() | here(cache_root)


def here(cache_root: Path) -> dict[str, Run]:
    """The last run of each stage that ran in this clone."""
    found = {}
    for path in sorted((cache_root / "runs").glob("*.json")):
        try:
            found[path.stem] = Run.model_validate(records.read_json(path))
        except ValidationError:
            continue  # a note of another version of this file
    return found


def recorded() -> dict[str, Run]:
    if not RECORDED.exists():
        return {}
    return {name: Run.model_validate(run) for name, run in records.read_json(RECORDED)["stages"].items()}


def recorded_pace(model: str | None = None) -> dict[str, dict[str, Any]]:
    """The fields of the recorded run's `Rate` by kind of work; none where another model than `model` answered in it."""
    if not RECORDED.exists():
        return {}
    found = records.read_json(RECORDED)
    return found["pace"] if model in (None, found["model"]) else {}


def place(name: str, cache_root: Path) -> str:
    """ "stage 12 of 33, about 9 min to the end"; "" for what is no stage of the pipeline.

    To come are the stages that depend on this one or, in `make repro`, on one that it has run, and those whose outputs
    are not there. Time in which the teacher
    answers is left out: its answers may be recorded, and `make plan` tells how much has to be asked.
    """
    try:
        every = graph.load()
    except (SentiDistillError, ValueError, LookupError, TypeError, AttributeError):
        return ""  # what is wrong with these files, the stage itself says
    names = [one.name for one in every]
    if name not in names:
        return ""
    since = float(os.environ.get(SINCE, "inf"))
    ran = [path.stem for path in (cache_root / "runs").glob("*.json") if path.stat().st_mtime >= since]
    depending = {one.name for of in [name, *ran] for one in graph.dependents(every, of)} - set(ran)
    to_come = [
        one.name
        for one in every[names.index(name) + 1 :]
        if one.name in depending or not all(Path(out).exists() for out in one.outs)
    ]
    known = last(cache_root)
    text = f"stage {names.index(name) + 1} of {len(names)}: {name}"
    if not all(one in known for one in [name, *to_come]):
        return text
    seconds = sum(
        known[one].seconds if one.startswith("evaluate@student") else known[one].own_seconds for one in [name, *to_come]
    )
    processors = sorted({known[one].processor for one in [name, *to_come]})
    return f"{text}; about {minutes(seconds)} to the end, as last measured on {' and '.join(processors)}"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def processor() -> str:
    """What kind of processor this is, as far as it changes how long a stage takes: "AVX2, 2 cores".

    Where this process has worked on GPUs, these: "2 x NVIDIA H100 80GB HBM3".
    """
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    kinds = {"avx512f": "AVX-512", "avx2": "AVX2"}
    kind = next((name for flag, name in kinds.items() if flag in flags), platform.machine())
    return f"{kind}, {cores} core{'' if cores == 1 else 's'}"
