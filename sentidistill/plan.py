"""What a run would ask and cost: `make plan`, or python -m sentidistill.plan [--json]

Every stage that asks a model is run on its real inputs up to the call: the requests are rendered and
counted with the model's own tokenizer and looked up in the cache, and nothing is asked or written.
Where inputs do not exist yet, the number of requests is estimated from params.yaml.
"""

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Column, Table

from sentidistill import config, models, records, stage
from sentidistill.benchmark import sentibench, suite
from sentidistill.benchmark.sentibench import LABELS, TUPLE_TASKS
from sentidistill.calls import CALLING_STAGES
from sentidistill.config import DEFAULT_TASKS, Params
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import Stage, stages
from sentidistill.teacher.base import Reader, Request, Response
from sentidistill.teacher.cache import Cache, Rate
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import Role, cache_path, make_reader


@dataclass(frozen=True)
class Work:
    """What one stage would ask. Tokens, hours and money are of what is not in the cache; None: not known.

    `max_new_tokens` bounds the tokens of the answers. `basis` says what the figures rest on: "inputs"
    as they are, "old inputs", which will change before the stage runs, or "params".
    """

    stage: str
    requests: int
    cached: int
    too_long: int
    prompt_tokens: int | None
    max_new_tokens: int
    basis: str
    hours: float | None = None
    money: float | None = None


class _Stop(Exception):
    """The stage has asked for all that it can ask for before there are answers."""


class _Planner(CachedTeacher):
    """Counts what it is asked, and answers from the cache alone."""

    def __init__(self, reader: Reader, cache: Cache, mode: str):
        super().__init__(reader, _no_engine, cache, mode)
        self.requests = self.cached = self.too_long = self.max_new_tokens = 0
        self.prompt_tokens: int | None = 0 if reader.counts_tokens else None

    def generate(self, requests: Sequence[Request], label: str = "teacher") -> list[Response]:
        keys, found, missing = self.look_up(requests)
        self.requests += len(requests)
        self.cached += sum(key in found for key in keys)
        for request in missing.values():
            job = self._reader.job(request)
            if self._reader.refusal(job):
                self.too_long += 1
            else:
                if self.prompt_tokens is not None:
                    self.prompt_tokens += len(job.prompt_ids)
                self.max_new_tokens += 0 if request.choices else request.max_new_tokens
        return [found.get(key, Response.failed("not asked, only planned")) for key in keys]


def _no_engine():
    raise AssertionError("a plan asks nothing")


def real(one: Stage, role: Role, params: Params, cache: Cache) -> Work:
    """What the stage would ask on its inputs as they are."""
    planners: list[_Planner] = []

    @contextmanager
    def planning(role: Role, params: Params, cache_root: Path) -> Iterator[_Planner]:
        planners.append(_Planner(make_reader(role, params, cache_root.parent), cache, params.runtime.cache))
        yield planners[0]
        raise _Stop

    try:
        importlib.import_module(f"stages.{one.template}").main(*one.cmd.split()[3:], open_model=planning)
    except _Stop:
        pass
    except SentiDistillError:
        # Answers are missing, and the stage says that too many failed: what it would do next is not known.
        if not planners or planners[0].cached == planners[0].requests:
            raise
    (planner,) = planners
    return Work(
        one.name,
        planner.requests,
        planner.cached,
        planner.too_long,
        planner.prompt_tokens,
        planner.max_new_tokens,
        "inputs",
    )


def estimated(one: Stage, params: Params) -> Work:
    """What the stage would ask, by the params: at most so much, where they set a limit.

    The number of clusters is taken to be `cluster_attributes.n_clusters`, whatever the method.
    """
    clusters = params.cluster_attributes.n_clusters
    proposals = clusters * params.propose_tasks.attributes_per_cluster
    tasks, demonstrations = params.define_tasks.max_tasks, params.write_demonstrations
    closed = tasks.get("classification", 0) + tasks.get("scoring", 0)
    written = (
        closed * demonstrations.prompts_per_closed_task
        + (sum(tasks.values()) - closed) * demonstrations.prompts_per_open_task
    )
    pool = params.compose_prompts.prompts
    open_prompts = sum(number for family, number in pool.items() if family not in ("classification", "scoring"))
    benchmark, test = params.prepare_benchmark, params.evaluate
    tested = answered = 0
    if one.template == "evaluate":
        task = one.cmd.split()[4]
        settings = suite.Settings.of(task, test)
        extraction = task in TUPLE_TASKS
        records_tested = settings.tuple_limit if extraction else settings.label_limit
        if task in DEFAULT_TASKS:
            records_tested = len(LABELS[task]) * getattr(benchmark.per_label, test.split)
        records_tested = records_tested or len(sentibench.load(Path(benchmark.sentibench), task, test.split))
        tested = len(settings.seeds) * (records_tested + (0 if extraction else settings.calibration_texts))
        answered = tested * settings.max_new_tokens if extraction else 0
    requests, sampled, section = {
        "enumerate_attributes": (params.prepare_corpus.pool_sizes.enumeration, None, params.enumerate_attributes),
        "select_perspectives": (clusters, 0, None),
        "write_analysis_instructions": (clusters, None, params.write_analysis_instructions),
        "propose_tasks": (proposals, None, params.propose_tasks),
        "define_tasks": (proposals * params.propose_tasks.max_per_attribute, None, params.define_tasks),
        "write_demonstrations": (written, None, demonstrations),
        "collect_responses": (sum(pool.values()), open_prompts, params.collect_responses),
    }.get(one.template, (tested, 0, None))
    new = answered + (requests if sampled is None else sampled) * (section.sampling.max_new_tokens if section else 0)
    last = Path("metrics", f"{one.name}.json")
    tokens = None
    if section and last.exists():
        figures = records.read_json(last)
        tokens = round(requests * figures["prompt_tokens"] / max(figures["calls"], 1))
    return Work(one.name, requests, 0, 0, tokens, new, "params")


def priced(work: Work, rates: dict[str, Rate], params: Params) -> Work:
    """`work` with hours, at the pace of the last run of the stage or else of all stages, and money."""
    asked = work.requests - work.cached - work.too_long
    name = label_of(work.stage)
    own = [rate for label, rate in rates.items() if label == name or label.startswith(f"{name}, ")]
    hours = money = None
    if asked == 0:
        return replace(work, hours=0.0, money=0.0)
    if own:
        hours = asked * sum(rate.seconds for rate in own) / sum(rate.requests for rate in own) / 3600
    elif rates and work.prompt_tokens is not None:
        tokens = sum(rate.prompt_tokens + rate.completion_tokens for rate in rates.values())
        seconds = sum(rate.seconds for rate in rates.values())
        hours = (work.prompt_tokens + work.max_new_tokens) * seconds / tokens / 3600
    if work.prompt_tokens is not None:
        prices = params.runtime.prices
        money = (work.prompt_tokens * prices.prompt + work.max_new_tokens * prices.completion) / 1e6
    return replace(work, hours=hours, money=money)


def label_of(name: str) -> str:
    """What the progress of a stage is called: "evaluate@student-tweet" is "evaluate student, tweet"."""
    return name.replace("@", " ").replace("-", ", ", 1)


def plan(params: Params, cache: Cache) -> list[Work]:
    """What every stage that asks a model would ask, in the order of the pipeline."""
    works = []
    pending: set[str] = set()
    for one in _stages():
        name = one.name
        inputs = [dep for dep in one.deps if not dep.endswith(".py")]
        changing = any(dep == path or dep.startswith(f"{path}/") for dep in inputs for path in pending)
        asks = name in CALLING_STAGES or one.template == "evaluate"
        asks |= name == "select_perspectives" and params.select_perspectives.method == "teacher"
        if asks:
            role = one.cmd.split()[3] if one.template == "evaluate" else "teacher"
            exists = all(Path(dep).exists() for dep in inputs)
            work = real(one, role, params, cache) if exists else estimated(one, params)
            if exists and changing:
                work = replace(work, basis="old inputs")
            rates = cache.rates(models.identity(Path("models", role))) if Path("models", role).exists() else {}
            works.append(priced(work, rates, params))
        if (
            changing
            or not all(Path(out).exists() for out in one.outs)
            or (asks and works[-1].cached < works[-1].requests)
        ):
            pending |= set(one.outs)
    return works


def _stages() -> list[Stage]:
    dvc_yaml, params = (yaml.safe_load(Path(name).read_text(encoding="utf-8")) for name in ("dvc.yaml", "params.yaml"))
    return stages(dvc_yaml, params)


def show(works: list[Work], console: Console) -> None:
    columns = ("requests", "cached", "too long", "prompt tokens", "new tokens, at most", "hours", "money", "from")
    table = Table(Column("stage", no_wrap=True), *columns)
    for work in works:
        cells = [work.requests, work.cached, work.too_long, work.prompt_tokens, work.max_new_tokens]
        shown = ["?" if cell is None else f"{cell:,}" for cell in cells]
        shown += ["?" if cell is None else f"{cell:,.2f}" for cell in (work.hours, work.money)]
        table.add_row(work.stage, *shown, work.basis)
    totals = [sum(getattr(work, name) or 0 for work in works) for name in ("hours", "money")]
    table.add_section()
    table.add_row("sum of what is known", "", "", "", "", "", *(f"{total:,.2f}" for total in totals), "")
    console.print(table)
    console.print(
        "Retries of unusable answers are not counted. Hours are at the pace of the last uncached run with this model, "
        "money is by runtime.prices. 'old inputs' will change before the stage runs; 'params' is an estimate."
    )


def main(*arguments: str) -> None:
    params = config.load()
    with closing(Cache(cache_path(stage.cache_root()))) as cache:
        works = plan(params, cache)
    if "--json" in arguments:
        print(json.dumps([asdict(work) for work in works], indent=2))
    else:
        show(works, stage.console())


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
