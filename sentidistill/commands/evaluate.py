"""The tasks of the benchmark on any model, outside the pipeline:

    python -m sentidistill.commands.evaluate models/student --data ../datasets
    python -m sentidistill.commands.evaluate my/model --data ../datasets --label-limit 200 --seeds 42 52 62
    python -m sentidistill.commands.evaluate Qwen3-32B --server http://localhost:8000/v1 --data ../datasets
    python -m sentidistill.commands.evaluate models/student_base models/student baselines --data ../datasets
    python -m sentidistill.commands.evaluate my/model baselines --tasks tweet amazon movie editorial --shots 0

--data is a copy of the folder `datasets` of HITSZ-HLT/Sentiment-Distillation; the default tasks (tweet, amazon,
movie, editorial) and your own (prepare_benchmark.own) are read from data/benchmark, where `dvc repro prepare_benchmark`
puts them. MODEL is a folder of
transformers' layout, the name of a model at a server, or `baselines`: majority, TF-IDF with logistic regression, and
VADER where it applies. Of several, the first is what the others are compared with, record by record. Results go to
--out/MODEL: predictions/TASK.jsonl, one row for each record, and metrics.json. Answers are cached, so a run that was
interrupted goes on; `runtime` in params.yaml holds what depends on the machine.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from rich.table import Column, Table

from sentidistill import config, records
from sentidistill.config import SENTIBENCH, Params, PathModel
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import baselines, sentibench, suite
from sentidistill.evaluation.sentibench import GROUPS
from sentidistill.evaluation.tasks import EvaluationTask, tasks_of
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import cache_path, local_engine, over_actors
from sentidistill.inference.requests import Reader
from sentidistill.inference.store import Cache
from sentidistill.pipeline import stage
from sentidistill.sources import models

BASELINES = "baselines"
COUNTS = ("failed", "empty", "invalid", "salvaged", "cut")
Tested = dict[EvaluationTask, list[suite.Outcome]]
TASKS = [task for tasks in GROUPS.values() for task in tasks]


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m sentidistill.commands.evaluate",
        description="The tasks of the benchmark on any model.",
        epilog=__doc__.split("\n\n")[2],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for name, settings in {
        "models": {
            "nargs": "+",
            "metavar": "MODEL",
            "help": "folder of a model, its name at the server, or `baselines`",
        },
        "--data": {"type": Path, "help": "a copy of SentiBench's data sets"},
        "--out": {"type": Path, "default": Path("sentibench"), "help": "folder for the results"},
        "--tasks": {"nargs": "+", "default": TASKS, "metavar": "TASK"},
        "--split": {"choices": ("validation", "test"), "default": "test"},
        "--shots": {"type": int, "default": 4, "help": "demonstrations"},
        "--seeds": {"type": int, "nargs": "+", "default": [42], "help": "draws of demonstrations"},
        "--demonstrations": {"choices": ("shared", "per_record"), "default": "shared"},
        "--label-limit": {
            "type": int,
            "default": 0,
            "help": "records of a label task, classes in their shares; 0: all",
        },
        "--tuple-limit": {"type": int, "default": 0, "help": "records of a tuple task; 0: all"},
        "--calibrate": {"type": int, "default": 48, "help": "also by so many unlabelled training texts; 0: not"},
        "--schema": {"action": "store_true", "help": "constrain tuples to the task's JSON schema"},
        "--max-new-tokens": {"type": int, "default": 512, "help": "of the answer to a tuple task"},
        "--max-prompt-tokens": {"type": int, "default": 8000, "help": "longer prompts count as empty outputs"},
        "--format": {"choices": ("transcript", "chat"), "default": "transcript", "help": "how prompts are written"},
        "--engine": {"choices": ("transformers", "vllm"), "default": "transformers"},
        "--server": {"default": "", "help": "address of an OpenAI-compatible server"},
    }.items():
        made.add_argument(name, **settings)
    return made


@contextmanager
def opened(model: str, chosen: argparse.Namespace, params: Params, cache_root: Path) -> Iterator[CachedTeacher]:
    """The model that is tested, asked through the generation cache."""
    with closing(Cache(cache_path(cache_root))) as cache:
        if chosen.server:
            from sentidistill.inference.engines.server import ServerEngine

            settings = params.runtime.server.model_copy(update={"base_url": chosen.server})
            identity = records.content_id("server", chosen.server, model)
            extra = params.teacher.extra_body
            reader = Reader(identity, "chat", chosen.max_prompt_tokens, extra_body=extra, messages_only=True)
            open_engine = partial(
                ServerEngine,
                settings,
                model,
                api="chat",
                extra_body=extra,
                concurrency=params.runtime.concurrency,
            )
        else:
            folder = known_folder(Path(model), cache_root)
            tokenizer = models.load_tokenizer(folder, Path())
            reader = Reader(models.identity(folder), chosen.format, chosen.max_prompt_tokens, lambda: tokenizer)
            open_engine = partial(
                local_engine, chosen.engine, folder.resolve(), cache_root.parent.resolve(), params.runtime
            )
        yield CachedTeacher(reader, partial(over_actors, open_engine, params.runtime), cache, params.runtime.cache)


def known_folder(model: Path, cache_root: Path) -> Path:
    """A folder that stands for the model and tells it from any other by the hashes of its files."""
    if (model / models.ORIGIN).exists():
        return model
    out = cache_root / "tested" / records.content_id(str(model.resolve()))
    source = PathModel(source="path", path=str(model.resolve()))
    models.prepare(source, out, cache_root / "downloads", cache_root.parent)
    return out


def table(name: str, metrics: dict[str, dict], group_means: dict[str, float]) -> Table:
    shown = Table(Column("task", no_wrap=True), "records", "F1", "95 %", "±", "calibrated", *COUNTS, title=name)
    for task, row in metrics.items():
        optional = [row["deviation"], row["calibrated"] and row["calibrated"]["main"]]
        shown.add_row(
            task,
            str(row["records"]),
            f"{row['main']:.1f}",
            f"{row['low']:.1f} to {row['high']:.1f}",
            *("" if value is None else f"{value:.1f}" for value in optional),
            *(str(row.get(kind, "")) for kind in COUNTS),
        )
    shown.add_section()
    for group, mean in group_means.items():
        shown.add_row(f"mean, {group.replace('_', '-')}", "", f"{mean:.1f}")
    return shown


def run(chosen: argparse.Namespace) -> None:
    params = config.load()
    settings = suite.Settings(
        shots=chosen.shots,
        seeds=tuple(chosen.seeds),
        demonstrations=chosen.demonstrations,
        label_limit=chosen.label_limit,
        tuple_limit=chosen.tuple_limit,
        calibration_texts=chosen.calibrate,
        with_schema=chosen.schema,
        max_new_tokens=chosen.max_new_tokens,
    )
    tasks = [tasks_of(params.prepare_benchmark)[name] for name in chosen.tasks]
    data = {task: {split: read(chosen.data, task.name, split) for split in ("train", chosen.split)} for task in tasks}
    cache_root = stage.cache_root()
    found: dict[str, Tested] = {}
    for model in chosen.models:
        tested: dict[str, Tested] = {}
        if model == BASELINES:
            for task, rows in data.items():
                for kind in baselines.kinds(task):
                    outcomes = baselines.outcomes(kind, task, rows[chosen.split], rows["train"], settings)
                    tested.setdefault(f"{BASELINES}/{kind}", {})[task] = outcomes
        else:
            name = Path(model).name
            with opened(model, chosen, params, cache_root) as answering:
                tested[name] = {
                    task: suite.evaluate(answering, name, task, rows[chosen.split], rows["train"], settings)
                    for task, rows in data.items()
                }
        for name, outcomes in tested.items():
            report(name, chosen.out / name, outcomes, data, chosen.split, settings)
        found |= tested
    if len(found) > 1:
        stage.console().print(comparison(found, data, chosen.split, settings.bootstrap_samples))


def read(root: Path, task: str, split: str) -> list[dict]:
    if task in SENTIBENCH:
        return sentibench.load(root, task, split)
    return sentibench.read(Path("data/benchmark", task, f"{split}.jsonl"))


def report(name: str, out: Path, found: Tested, data: dict, split: str, settings: suite.Settings) -> None:
    """Write predictions and metrics, and show the scores."""
    metrics = {
        task.name: suite.scores(task, data[task][split], rows, settings.bootstrap_samples)
        for task, rows in found.items()
    }
    for task, rows in found.items():
        records.write_jsonl(out / "predictions" / f"{task.name}.jsonl", rows)
    group_means = sentibench.group_means({task: row["main"] for task, row in metrics.items()})
    records.write_json(out / "metrics.json", {"split": split, "mean": group_means, **metrics})
    stage.console().print(table(name, metrics, group_means))


def comparison(found: dict[str, Tested], data: dict, split: str, samples: int) -> Table:
    """What each model has more than the first, with the central 95 % over records drawn anew for both at once."""
    first, *others = found
    shown = Table(Column("task", no_wrap=True), *others, title=f"more than {first}")
    for task, base in found[first].items():
        test = data[task][split]
        first_estimate = suite.estimate(task, test, base, samples, "output")
        cells = []
        for name in others:
            cells.append("")
            if rows := found[name].get(task):
                gain = (suite.estimate(task, test, rows, samples, "output") - first_estimate).rounded()
                cells[-1] = f"{gain['main']:+.1f} ({gain['low']:+.1f} to {gain['high']:+.1f})"
        shown.add_row(task.name, *cells)
    return shown


def main(*arguments: str) -> None:
    chosen = options().parse_args(arguments)
    known = tasks_of(config.load().prepare_benchmark)
    if unknown := next((task for task in chosen.tasks if task not in known), None):
        raise SentiDistillError(f"unknown task {unknown}; known are {', '.join(known)}")
    if missing := next((task for task in chosen.tasks if task in SENTIBENCH and not chosen.data), None):
        raise SentiDistillError(f"{missing} is a task of SentiBench: name a copy of its data sets by --data")
    for model in chosen.models:
        if model != BASELINES and not chosen.server and not Path(model).is_dir():
            raise SentiDistillError(f"{model}: no such folder; for a model at a server give its address by --server")
    names = [Path(model).name for model in chosen.models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SentiDistillError(
            f"two models are both named {twice!r}; their results would overwrite each other: test them in separate runs"
        )
    run(chosen)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
