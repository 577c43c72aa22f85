"""Many engines at once: Ray Data actors on this machine or a cluster, each with a model of its own."""

import logging
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sentidistill.config.runtime import Ray
from sentidistill.errors import SentiDistillError


class _Actor:
    """Lives in a process of its own and answers one shard of jobs after the other."""

    def __init__(self, open_engine: Callable[[], Any]):
        self._engine = open_engine()

    def __call__(self, row: dict) -> dict:
        answers = [pair for finished in self._engine.stream(pickle.loads(row["jobs"])) for pair in finished]
        return {"shard": row["shard"], "answers": pickle.dumps(answers)}


class RayEngine:
    """Spreads jobs, by a hash, over actors that each hold what `open_engine` opens.

    A shard of about `rows` jobs is answered, and can be stored, as a whole. An actor that dies is
    started again, and asked its shard again. Joins the cluster that RAY_ADDRESS names, if set.
    """

    def __init__(
        self,
        open_engine: Callable[[], Any],
        settings: Ray,
        *,
        rows: int,
        hash_of: Callable[[Any], int] = lambda job: job.request.random_seed(),
    ):
        self._open_engine, self._settings, self._rows, self._hash_of = open_engine, settings, rows, hash_of

    def stream(self, jobs: Sequence[Any]) -> Iterator[list[tuple[int, Any]]]:
        if not jobs:
            return
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise SentiDistillError(
                f"runtime.ray needs the ray package ({error}): `pip install -r requirements-ray.txt`"
            ) from error
        if not ray.is_initialized():
            package = Path(__file__).resolve().parents[2]
            ray.init(logging_level=logging.ERROR, log_to_driver=False, runtime_env={"py_modules": [str(package)]})
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        number = max(self._settings.actors, math.ceil(len(jobs) / self._rows))
        # By a hash that does not depend on the other jobs.
        shards: dict[int, list[int]] = {}
        for place, job in enumerate(jobs):
            shards.setdefault(self._hash_of(job) % number, []).append(place)
        rows = [
            {"shard": shard, "jobs": pickle.dumps([jobs[place] for place in shards[shard]])} for shard in sorted(shards)
        ]
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,  # type: ignore[arg-type]  # ray's annotation names functions alone, not the classes that it takes
            fn_constructor_args=(self._open_engine,),
            compute=ray.data.ActorPoolStrategy(size=self._settings.actors),
            num_cpus=self._settings.cpus_per_actor,
            num_gpus=self._settings.gpus_per_actor,
        )
        try:
            for row in answered.iter_rows():
                shard = shards[row["shard"]]
                yield [(shard[index], response) for index, response in pickle.loads(row["answers"])]
        except ray.exceptions.RayTaskError as error:
            raise _fault_of_ours(error) or error from None


def _fault_of_ours(error: BaseException) -> SentiDistillError | None:
    """The error with a message for the user that an actor ended with, if it was one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SentiDistillError):
            return SentiDistillError(str(cause))
        cause = getattr(cause, "cause", None) or cause.__cause__
    return None
