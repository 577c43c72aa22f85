"""What a run would ask and cost, and how long it takes: `make plan`, or with `PROFILE=NAME` a run with params/NAME.yaml

python -m sentidistill.commands.plan [--json] [--profile NAME]

Every stage that asks a model is run on its real inputs up to its last question: the requests are looked up among what
is recorded and cached, and the rest is counted with the model's own tokenizer. Nothing is asked, fetched or written.
Where the inputs of a stage will be others, as a setting or a file changed, its requests follow from params.yaml (~).
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console
from rich.table import Column, Table

from sentidistill import config
from sentidistill.commands import estimates
from sentidistill.commands.profiles import PARAMS, with_profile
from sentidistill.commands.rehearsal import Rehearsal, asking, has_inputs, rehearse
from sentidistill.config import Params
from sentidistill.construct import reviews
from sentidistill.inference.opening import Role, cache_path, make_reader, recordings
from sentidistill.inference.requests import Reader
from sentidistill.inference.store import Cache, Rate
from sentidistill.pipeline import graph, runs, stage
from sentidistill.pipeline.graph import Stage
from sentidistill.sources import models
from sentidistill.student.checks import GB


@dataclass(frozen=True)
class Work:
    """One stage; None: not known. `asks` is whether it asks a model at all.

    `asked`, `too_long`, the tokens, hours and money are of requests that are neither recorded nor cached, and there
    may be more of these than can be told now: what is asked next depends on the answers. `max_new_tokens` bounds the
    tokens of the answers. `hours` are those of asking, at the pace of this model's last run, each kind of request at
    its own. `basis` says what the figures rest on: "inputs" as they are; "old inputs", from answers that will be
    others; "params", an estimate of `requests` and of their tokens and hours, if none is stored; or "no inputs yet".
    `gpu_gb` is what a hub model takes on each GPU, by arithmetic: its weights by vLLM, or all of its training, whose
    hours are then at most. `seconds` is what the stage last took without asking, on a `processor`.
    """

    stage: str
    asks: bool = False
    requests: int | None = None
    recorded: int | None = None
    cached: int | None = None
    asked: int | None = None
    too_long: int | None = None
    prompt_tokens: int | None = None
    max_new_tokens: int | None = None
    hours: float | None = None
    money: float | None = None
    basis: str = ""
    gpu_gb: float | None = None
    seconds: float | None = None
    processor: str = ""


def counted(model: Rehearsal, reader: Reader, counts_tokens: bool, rates: Mapping[str, Rate], params: Params) -> dict:
    """Fields of `Work` by what a rehearsal has asked; tokens are counted with the tokenizer, if `counts_tokens`."""
    found = dict.fromkeys(("requests", "recorded", "cached", "asked", "too_long", "prompt_tokens", "max_new_tokens"), 0)
    hours: float | None = 0.0
    for question in model.questions:
        known, missing = question.known, list(question.known.missing.values())
        found["requests"] += len(question.requests)
        found["recorded"] += sum(key in known.recorded for key in known.keys)
        found["cached"] += sum(key in known.cached for key in known.keys)
        if counts_tokens:
            lengths = [len(reader.job(request).prompt_ids) for request in missing]
            sent = [(request, length) for request, length in zip(missing, lengths) if reader.refusal(length) is None]
            found["too_long"] += len(missing) - len(sent)
            found["prompt_tokens"] += sum(length for _, length in sent)
            missing = [request for request, _ in sent]
        found["asked"] += len(missing)
        found["max_new_tokens"] += sum(0 if request.choices else request.max_new_tokens for request in missing)
        if missing and hours is not None:
            rate = rates.get(question.label)
            hours = hours + len(missing) * rate.seconds / rate.requests / 3600 if rate and rate.requests else None
    prices = params.runtime.prices
    money = (found["prompt_tokens"] * prices.prompt + found["max_new_tokens"] * prices.completion) / 1e6
    if found["asked"] and not counts_tokens:
        return found | {"hours": hours, "too_long": None, "prompt_tokens": None, "money": None}
    return found | {"hours": hours, "money": money}


def rates_of(role: Role, cache: Cache) -> dict[str, Rate]:
    """The pace of a model by kind of request, here or else in the recorded run, whose model is that of dvc.lock."""
    folder = Path("models", role)
    identity = models.identity(folder) if folder.exists() else None
    here = cache.rates(identity) if identity else {}
    return {work: Rate(**values) for work, values in runs.recorded_pace(identity).items()} | here


def of_stage(one: Stage, role: Role, params: Params, cache: Cache, root: Path) -> dict:
    """Fields of `Work` for a stage that asks a model and whose inputs are there."""
    reader = make_reader(role, params, root)
    model = Rehearsal(reader, cache, recordings(role), params.runtime.cache)
    rehearse(one, model)
    counts_tokens = models.tokenizer_is_here(Path("models", role), root)
    return counted(model, reader, counts_tokens, rates_of(role, cache), params)


def estimated(
    one: Stage, requests: int, new_tokens: int, is_other: bool, params: Params, cache: Cache, role: Role
) -> dict:
    """Fields of `Work` for a stage whose inputs are not there; `is_other`: the model is not that of the last run."""
    pace = {work: Rate(**values) for work, values in runs.recorded_pace().items()}
    tokens = estimates.prompt_tokens(one, requests, pace)
    hours = None if is_other else estimates.hours(one, requests, rates_of(role, cache))
    if hours is None and tokens is not None and (held := estimates.OnGpus.of(role, params)):
        hours = held.hours(tokens, new_tokens)
    return {
        "requests": requests,
        "prompt_tokens": tokens,
        "max_new_tokens": new_tokens,
        "hours": hours,
        "basis": "params",
    }


def plan(params: Params, cache: Cache, cache_root: Path) -> list[Work]:
    """Every stage, in the order of the pipeline."""
    roles = {one.name: role for one, role in asking()}
    last, stages = runs.last(cache_root), graph.load()
    changed = estimates.changed(stages, yaml.safe_load(PARAMS.read_text(encoding="utf-8")))
    works = []
    rerun = estimates.made_anew(stages)
    # Paths that will be written anew, and verdicts that no stage has read yet.
    pending = {str(reviews.PATH)} if estimates.edited(reviews.PATH) else set()
    resized: set[str] = set()  # those of them that follow from other settings or files
    for one in stages:
        fields: dict = {}
        if one.name in roles:
            fields = {"asks": True, "basis": "no inputs yet"}
            if has_inputs(one) and not one.reads(resized):
                fields |= of_stage(one, roles[one.name], params, cache, cache_root.parent)
                fields["basis"] = "old inputs" if one.reads(pending) else "inputs"
            elif about := estimates.requests(one, params):
                fields |= estimated(one, *about, f"models/{roles[one.name]}" in resized, params, cache, roles[one.name])
            if held := estimates.OnGpus.of(roles[one.name], params):
                fields["gpu_gb"] = round(held.weights / GB, 1)
        elif one.name == "train_student" and (needed := estimates.training(params)):
            fields = {"basis": "params", "gpu_gb": round(needed[0] / GB, 1), "hours": round(needed[1], 2)}
        if run := last.get(one.name):
            fields |= {"seconds": run.own_seconds, "processor": run.processor}
        works.append(Work(one.name, **fields))
        if one.name in changed or one.reads(resized):
            resized |= set(one.outs)
        outdated = one.name in rerun or fields.get("asked") or not all(Path(out).exists() for out in one.outs)
        if outdated or one.reads(pending):
            pending |= set(one.outs)
    return works


def number(count: int) -> str:
    return f"{count:,}" if count < 1e6 else f"{count / 1e6:,.1f} M"


def show(works: list[Work], console: Console) -> None:
    counts = ("requests", "recorded", "cached", "asked", "too_long", "prompt_tokens", "max_new_tokens")
    headings = ("requests", "recorded", "cached", "to ask", "too long", "prompt tokens", "new tokens, at most")
    table = Table(Column("stage", no_wrap=True), *headings, "hours", "money", "GB a GPU", "from", "else")

    def cells(of: dict) -> list[str]:
        shown = {name: "?" if of[name] is None else number(of[name]) for name in counts}
        shown |= {name: "?" if of[name] is None else f"{of[name]:,.2f}" for name in ("hours", "money")}
        for name in ("requests", "prompt_tokens", "max_new_tokens", "hours"):
            shown[name] = "~" * (of["basis"] == "params" and of[name] is not None) + shown[name]
        return list((shown | {"asked": shown["asked"] + ("+" if of["asked"] and of["basis"] else "")}).values())

    for work in works:
        took = "?" if work.seconds is None else runs.minutes(work.seconds)
        asked = cells(asdict(work)) if work.asks else [""] * (len(counts) + 2)
        if not work.asks and work.hours is not None:
            asked[-2] = f"~{work.hours:,.2f}"
        table.add_row(work.stage, *asked, f"{work.gpu_gb or ''}", work.basis, took)
    sums = {name: sum(getattr(work, name) or 0 for work in works) for name in (*counts, "hours", "money", "seconds")}
    table.add_section()
    table.add_row("sum of what is known", *cells(sums | {"basis": ""}), "", "", runs.minutes(sums["seconds"]))
    console.print(table)
    processors = sorted({work.processor for work in works if work.processor})
    where = f", on {' and '.join(processors)}" if processors else ""
    console.print(
        "Recorded and cached answers cost nothing. +: at least; what is asked next, retries too, depends on the "
        "answers. ~: by params.yaml, with prompts as long as last time, and hours by arithmetic for GPUs like an A100. "
        "?: not known before the stages above have run, or never measured. Hours of "
        "asking are at the pace of this model's last run, money is by runtime.prices; else is what a stage last took "
        f"without asking{where}. 'old inputs' will change before the stage runs."
    )


@contextmanager
def other_file(changed: Path, text: str) -> Iterator[None]:
    """The project as it is, but for the file `changed`, in the current folder meanwhile.

    What stages write there to data/, metrics/ and plots/ is gone afterwards.
    """
    home = Path.cwd()
    with TemporaryDirectory() as folder:
        for path in home.iterdir():
            if path.name in ("data", "metrics", "plots"):
                shutil.copytree(path, Path(folder, path.name), copy_function=os.symlink)
            elif path.name != changed.name:
                Path(folder, path.name).symlink_to(path)
        Path(folder, changed).write_text(text, encoding="utf-8")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(home)


def planned() -> list[Work]:
    params, cache_root = config.load(), stage.cache_root()
    with closing(Cache(cache_path(cache_root))) as cache:
        return plan(params, cache, cache_root)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="plan", description="What a run would ask and cost.")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--profile", metavar="NAME", help="as if params/NAME.yaml were laid over params.yaml")
    options = parser.parse_args(arguments)
    if options.profile:
        with other_file(PARAMS, yaml.safe_dump(with_profile(options.profile))):
            works = planned()
    else:
        works = planned()
    if options.json:
        print(json.dumps([asdict(work) for work in works], indent=2))
    else:
        show(works, stage.console())


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
