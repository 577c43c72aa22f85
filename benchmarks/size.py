"""What teacher and student need for the same labels: python -m benchmarks.size [TEXTS]     default: 100 test texts

Each is in a process of its own, in turn, and asked as the evaluation asks it. Weights are those of its files; memory is
the most that its process held, Python and its libraries included.
Run after `make repro`.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.timing import spread
from sentidistill import config
from sentidistill.evaluation import tasks
from sentidistill.inference.opening import Role, make_engine, make_reader
from sentidistill.inference.requests import answer
from sentidistill.predict import sentiment
from sentidistill.sources import gguf, models
from sentidistill.student.folder import which_label

ROLES: tuple[Role, ...] = ("student", "teacher")
ROUNDS = 3


class Need(NamedTuple):
    """Gigabytes of weights and of memory, and labels a second."""

    weights: float
    memory: float
    rate: float


def measured(role: Role, number: int) -> Need:
    params, root, asked = config.load(), Path.cwd(), sentiment()
    texts = [text for text, _ in tasks.for_use(Path("data/benchmark"), "test")["sentiment"][1]]
    requests = [which_label(asked.instruction, asked.cue, asked.labels, text) for text in dict.fromkeys(texts)]
    folder = Path("models", role)
    files = [gguf.file(models.origin(folder), root)] if models.is_gguf(folder) else list(folder.glob("*.safetensors"))
    reader, engine = make_reader(role, params, root), make_engine(role, params, root)
    answer(engine, reader, requests[:8])
    started = time.perf_counter()
    answer(engine, reader, requests[:number])
    rate = number / (time.perf_counter() - started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return Need(sum(file.stat().st_size for file in files) / 1e9, memory, rate)


def main(number: str = "100") -> None:
    found: dict[Role, list[Need]] = {role: [] for role in ROLES}
    for _ in range(ROUNDS):
        for role in ROLES:
            with multiprocessing.get_context("spawn").Pool(1) as process:
                found[role].append(process.apply(measured, (role, int(number))))
    print(f"{number} texts, {ROUNDS} rounds\n\n| | weights, GB | memory, GB | labels a second |\n|---|---|---|---|")
    for role, needs in found.items():
        weights, memory, rate = (statistics.median(one) for one in zip(*needs))
        print(f"| {role} | {weights:.2f} | {memory:.2f} | {rate:.1f} |")
    ratios = (ours.rate / its.rate for ours, its in zip(found["student"], found["teacher"]))
    print(f"\nThe student is so many times as fast: {spread(ratios)}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
