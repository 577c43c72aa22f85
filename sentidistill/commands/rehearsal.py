"""A stage's own code, run up to its last question: nothing is asked, and nothing written.

So `make plan` counts, `make record` collects and `make spot-check` repeats exactly what the stages ask.
"""

import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sentidistill import config
from sentidistill.errors import SentiDistillError
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.inference.model import Answers, CachedTeacher, LookUp, Mode
from sentidistill.inference.opening import Role
from sentidistill.inference.requests import Reader, Request, Response
from sentidistill.inference.store import Cache
from sentidistill.pipeline import graph
from sentidistill.pipeline.graph import Stage

ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
NOT_ASKED = Response.failed("not asked, only rehearsed")


@dataclass(frozen=True)
class Question:
    """What a stage asked at once, under one label, and what is known of it."""

    label: str
    requests: Sequence[Request]
    known: LookUp


class Rehearsal(CachedTeacher):
    """Answers from what is stored and recorded, and notes what it was asked.

    `changed` are answers by key that take the place of those. `verdicts` say by key whether the stage could use an
    answer.
    """

    rehearses = True

    def __init__(
        self,
        reader: Reader,
        cache: Cache,
        recordings: Answers | None,
        mode: Mode = "read",
        changed: Mapping[str, Response] | None = None,
    ):
        super().__init__(reader, _no_engine, cache, mode, recordings)
        self.changed = changed or {}
        self.questions: list[Question] = []
        self.verdicts: dict[str, bool] = {}

    def generate(self, requests: Sequence[Request], label: str = "teacher") -> list[Response]:
        known = self.look_up(requests)
        self.questions.append(Question(label, requests, known))
        found = {**known.found, **self.changed}
        return [self._within_limit(found.get(key, NOT_ASKED)) for key in known.keys]

    def judged(self, request: Request, usable: bool) -> None:
        self.verdicts[self.key(request)] = usable

    @property
    def missing(self) -> int:
        """How many answers are not there."""
        return sum(len(question.known.missing) for question in self.questions)


class _Stop(Exception):
    """The stage has asked for all that it can ask for before there are answers."""


def _no_engine():
    raise AssertionError("a rehearsal asks nothing")


def asking() -> list[tuple[Stage, Role]]:
    """The stages that ask a model, in the order of the pipeline, with the model that they ask."""
    callers = set(CALLING_STAGES) - ({"collect_responses"} if config.load().collect_responses.released else set())
    return [
        (one, ROLES[one.arguments[0]] if one.template == "evaluate" else "teacher")
        for one in graph.load()
        if one.template == "evaluate" or one.name in callers
    ]


def has_inputs(one: Stage) -> bool:
    return all(Path(path).exists() for path in one.inputs)


def rehearse(one: Stage, model: Rehearsal) -> None:
    """Run a stage that asks a model, on its inputs as they are, until it has asked `model`."""

    @contextmanager
    def opened(*_) -> Iterator[Rehearsal]:
        yield model
        raise _Stop

    try:
        _main(one)(*one.arguments, open_model=opened)
    except _Stop:
        pass
    except SentiDistillError:
        # Where answers are missing or changed, a stage may say that too many failed: what is next is not known.
        if not model.missing and not model.changed:
            raise


def run_on_stored(one: Stage, model: Rehearsal | None) -> None:
    """Run a stage to its end in the current folder; one that asks a model, on the answers that `model` has."""

    @contextmanager
    def opened(*_) -> Iterator[Rehearsal | None]:
        yield model

    with redirect_stderr(io.StringIO()):
        _main(one)(*one.arguments, **({"open_model": opened} if model else {}))


def _main(one: Stage) -> Callable[..., None]:
    return importlib.import_module(f"stages.{one.template}").main
