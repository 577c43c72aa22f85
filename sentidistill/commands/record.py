"""The teacher's answers of a run, put into git: `make record`, or python -m sentidistill.commands.record [STAGE ...]

Writes recordings/default/STAGE.jsonl.gz for each stage that is done: the answers that it uses, and no others. Every
stage is run up to its last question, on its inputs as they are; nothing is asked. With --name, an experiment's answers
go to recordings/NAME, and what is recorded elsewhere is left out. recordings/default/runs.json keeps how long the
stages took, and how fast the teacher was.
"""

import argparse
import re
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from sentidistill import config, records
from sentidistill.commands.rehearsal import Rehearsal, asking, has_inputs, rehearse
from sentidistill.config import Params
from sentidistill.errors import SentiDistillError
from sentidistill.inference.opening import cache_path, make_reader
from sentidistill.inference.recordings import DEFAULT, FOLDER, Recordings, path_of, rows, write
from sentidistill.inference.requests import Response
from sentidistill.inference.store import Cache
from sentidistill.pipeline import graph, runs, stage
from sentidistill.sources import models

MEGABYTES = 8.0
NAME = r"[A-Za-z0-9][\w-]{0,99}"


def used(
    params: Params, cache: Cache, root: Path, chosen: list[str]
) -> tuple[dict[str, dict[str, Response]], dict[str, str]]:
    """(answers by key that each stage uses, by stage; why others are not done, by stage), of those `chosen`, if any.

    The tasks of `evaluate` are taken together, and only the teacher's.
    """
    found: dict[str, dict[str, Response]] = defaultdict(dict)
    not_done: dict[str, str] = {}
    recordings = Recordings()
    for one, role in asking():
        if role != "teacher" or (chosen and one.template not in chosen):
            continue
        if not has_inputs(one):
            not_done[one.template] = "its inputs are not there"
            continue
        model = Rehearsal(make_reader(role, params, root), cache, recordings)
        rehearse(one, model)
        if model.missing:
            not_done[one.template] = f"{model.missing} of its answers are not there"
        for question in model.questions:
            found[one.template] |= question.known.found
    return {name: answers for name, answers in found.items() if name not in not_done}, not_done


def record(params: Params, cache: Cache, root: Path, name: str, chosen: list[str]) -> None:
    """Write the files of the stages `chosen`, or of all that are done, and remove those of stages that ask nothing.

    Raises `SentiDistillError` where one of `chosen` is not done.
    """
    found, not_done = used(params, cache, root, chosen)
    for one in chosen:
        if one not in found:
            reason = not_done.get(one, "it does not ask the teacher")
            raise SentiDistillError(f"{one} cannot be recorded: {reason}; run `dvc repro` first")
    elsewhere: set[str] = set()
    if name != DEFAULT:
        for path in FOLDER.glob("*/*.jsonl.gz"):
            if path.parent.name != name:
                elsewhere |= {row.key for row in rows(path)}
    for one in chosen or found:
        answers = {key: answer for key, answer in found[one].items() if key not in elsewhere}
        path = path_of(name, one)
        write(path, answers)
        errors = sum(answer.error is not None for answer in answers.values())
        note = f", {errors} of them errors" if errors else ""
        print(f"{path}: {len(answers)} answers{note}, {path.stat().st_size / 1e6:.2f} MB")
    if not chosen:
        for path in (FOLDER / name).glob("*.jsonl.gz"):
            if path.name.partition(".")[0] not in {*found, *not_done}:
                path.unlink()
                print(f"{path}: removed, the stage asks nothing")
        for one, reason in not_done.items():
            print(f"{one} is not recorded: {reason}")


def record_runs(cache: Cache, cache_root: Path) -> None:
    """Put what is noted here of the stages' runs and of the teacher's pace beside what was recorded before."""
    model = models.identity(Path("models/teacher"))
    known = runs.last(cache_root)
    stages = {one.name: known[one.name].model_dump() for one in graph.load() if one.name in known}
    pace = runs.recorded_pace(model) | {work: asdict(rate) for work, rate in cache.rates(model).items()}
    records.write_json(runs.RECORDED, {"model": model, "pace": pace, "stages": stages})


def folder_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise argparse.ArgumentTypeError(f"expected a name of letters, digits, _ and -, found {text!r}")
    return text


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="python -m sentidistill.commands.record", description="Put answers into git.")
    parser.add_argument("stages", nargs="*", help="only these; all that are done if none is named")
    parser.add_argument("--name", type=folder_name, default=DEFAULT, help="folder of recordings/; default: default")
    options = parser.parse_args(arguments)
    params, cache_root = config.load(), stage.cache_root()
    with closing(Cache(cache_path(cache_root))) as cache:
        record(params, cache, cache_root.parent, options.name, options.stages)
        if options.name == DEFAULT:
            record_runs(cache, cache_root)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) / 1e6
    print(f"{FOLDER}: {size:.2f} of {MEGABYTES:.0f} MB; commit it with `git add {FOLDER}`")
    if size > MEGABYTES:
        raise SentiDistillError(f"{FOLDER} holds {size:.2f} MB, more than {MEGABYTES:.0f}: keep fewer experiments")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
