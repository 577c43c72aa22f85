"""Are the recorded answers the teacher's? `make spot-check`, or python -m sentidistill.commands.spot_check [--seed N]

Twenty requests that have a recorded answer are built by the stages' own code, drawn at random and asked again: ten
whose answer is a label, ten whose answer is a text. Labels have to be the same in nine of ten. Texts that are sampled
differ between processors: how many are equal, and how many pass the checks of their stage, is shown.
"""

import argparse
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from sentidistill import config
from sentidistill.commands.rehearsal import Rehearsal, asking, has_inputs, rehearse
from sentidistill.config import Params
from sentidistill.errors import SentiDistillError
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import make_engine, make_reader
from sentidistill.inference.recordings import Recordings
from sentidistill.inference.requests import Engine, Request, Response
from sentidistill.inference.store import Cache
from sentidistill.pipeline import stage
from sentidistill.pipeline.graph import Stage

# (stage, key, request, recorded answer)
Drawn = tuple[str, str, Request, Response]
EACH = 10
SAME_LABELS = 0.9  # share of the labels


@dataclass(frozen=True)
class Again:
    """A request with its recorded answer and the one that was given now.

    `passed` and `passes` say whether each could be used; None where the stage checks no such answer.
    """

    stage: str
    request: Request
    recorded: Response
    given: Response
    passed: bool | None
    passes: bool | None


def draw(by_stage: dict[str, Rehearsal], recordings: Recordings, seed: int) -> list[Drawn]:
    """Ten labels and ten texts, or all where there are fewer."""
    labels: dict[str, Drawn] = {}
    texts: dict[str, Drawn] = {}
    for name, model in by_stage.items():
        for question in model.questions:
            for key, request in zip(question.known.keys, question.requests):
                if (known := recordings.get(key)) and known.error is None:
                    (labels if request.choices else texts).setdefault(key, (name, key, request, known))
    chosen = random.Random(seed)
    return [kind[key] for kind in (labels, texts) for key in sorted(chosen.sample(sorted(kind), min(EACH, len(kind))))]


def spot_check(
    params: Params, root: Path, recordings: Recordings, open_engine: Callable[[], Engine], seed: int
) -> list[Again]:
    """Ask again what `draw` has chosen. Raises `SentiDistillError` where nothing is recorded that a stage asks."""
    cache = Cache(Path(":memory:"))  # what is cached here is no evidence
    reader = make_reader("teacher", params, root)
    stages: dict[str, Stage] = {one.name: one for one, role in asking() if role == "teacher" and has_inputs(one)}
    before = {name: Rehearsal(reader, cache, recordings) for name in stages}
    for name, one in stages.items():
        rehearse(one, before[name])
    drawn = draw(before, recordings, seed)
    if not drawn:
        raise SentiDistillError("no recorded answer is among what the stages ask: run `make repro`, then `make record`")
    teacher = CachedTeacher(reader, open_engine, Cache(Path(":memory:")))
    answers = teacher.generate([request for _, _, request, _ in drawn], "spot check")
    given = dict(zip((key for _, key, *_ in drawn), answers))
    after = {name: Rehearsal(reader, cache, recordings, changed=given) for name in {name for name, *_ in drawn}}
    for name, model in after.items():
        rehearse(stages[name], model)
    return [
        Again(
            name,
            request,
            recorded,
            given[key],
            before[name].verdicts.get(key),
            after[name].verdicts.get(key),
        )
        for name, key, request, recorded in drawn
    ]


def _shown(response: Response) -> str:
    scores = " ".join(f"{score:.2f}" for score in response.choice_logprobs)
    text = response.error or " ".join(response.text.split())[:60]
    return f"{text}  {scores}".strip()


def show(found: list[Again]) -> None:
    """Print the answers side by side. Raises `SentiDistillError` where fewer than nine in ten labels are the same."""
    labels, texts = ([one for one in found if bool(one.request.choices) == closed] for closed in (True, False))
    table = Table("stage", "recorded", "now", "same")
    for one in found:
        alike = one.recorded.text == one.given.text and one.given.error is None
        table.add_row(one.stage, *map(stage.visible, map(_shown, (one.recorded, one.given))), "yes" if alike else "no")
    stage.console().print(table, markup=False)
    same, equal = (
        sum(one.recorded.text == one.given.text and one.given.error is None for one in some) for some in (labels, texts)
    )
    checked = [one for one in texts if one.passes is not None]
    print(f"labels: {same} of {len(labels)} are the same")
    print(
        f"texts: {equal} of {len(texts)} are equal; of {len(checked)} that a stage checks, "
        f"{sum(bool(one.passes) for one in checked)} pass now and {sum(bool(one.passed) for one in checked)} did as "
        "recorded"
    )
    if same < math.floor(SAME_LABELS * len(labels)):
        raise SentiDistillError(
            f"only {same} of {len(labels)} labels are as recorded: another model, engine or library answers here. "
            "Compare the scores above; `make live` runs the pipeline without recorded answers"
        )


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sentidistill.commands.spot_check", description="Ask recorded requests."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the draw; default: a new one")
    seed = parser.parse_args(arguments).seed
    print(f"seed {seed}")
    params, root = config.load(), stage.cache_root().parent.resolve()
    show(spot_check(params, root, Recordings(), lambda: make_engine("teacher", params, root), seed))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
