"""The tasks of the benchmark on any model, outside the pipeline:

    python -m sentidistill.commands.evaluate models/student --data ../datasets
    python -m sentidistill.commands.evaluate my/model --data ../datasets --label-limit 200 --seeds 42 52 62
    python -m sentidistill.commands.evaluate my/model --data ../datasets --rules reference
    python -m sentidistill.commands.evaluate Qwen3-32B --server http://localhost:8000/v1 --data ../datasets
    python -m sentidistill.commands.evaluate models/student_base models/student baselines --data ../datasets
    python -m sentidistill.commands.evaluate my/model baselines my/classifier --tasks tweet amazon movie --shots 0
    python -m sentidistill.commands.evaluate models/student my/chat.gguf --format transcript chat --data ../datasets

--data is a copy of the folder `datasets` of HITSZ-HLT/Sentiment-Distillation; the default tasks (tweet, amazon, movie,
editorial) and your own (prepare_benchmark.own) are read from data/benchmark, where `dvc repro prepare_benchmark` puts
them. MODEL is a folder of transformers' layout or the id of a hub repository, of a language model or of a sequence
classifier; a GGUF file, or models/teacher; the name of a model at a server; or `baselines`: majority, TF-IDF with
logistic regression, and VADER where it applies. Of several, the first is what the others are compared with, record by
record. Results go to --out/MODEL: predictions/TASK.jsonl, one row for each record, and metrics.json. Answers are
cached, so a run that was interrupted goes on; `runtime` in params.yaml holds what depends on the machine.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ValidationError
from rich.table import Column, Table

from sentidistill import config, records
from sentidistill.commands.arguments import at_least
from sentidistill.commands.audit import by_seed
from sentidistill.config import Params
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.config.models import GgufModel, HubModel, LocalFile, PathModel
from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import baselines, sentibench, suite
from sentidistill.evaluation.sentibench import GROUPS
from sentidistill.evaluation.tasks import EvaluationTask, tasks_of
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import cache_path, local_engine, over_actors
from sentidistill.inference.requests import Engine, Reader
from sentidistill.inference.store import Cache
from sentidistill.pipeline import stage
from sentidistill.report.scores import MARGIN
from sentidistill.sources import models
from sentidistill.student.folder import read as read_about

BASELINES = "baselines"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COUNTS = ("failed", "empty", "invalid", "salvaged", "cut")
Tested = dict[EvaluationTask, list[suite.Outcome]]
Data = dict[EvaluationTask, dict[str, list[dict]]]
TASKS = [task for tasks in GROUPS.values() for task in tasks]


@dataclass(frozen=True)
class System:
    """What was tested: outcomes by task, texts a second (None where all answers were stored), size and licence."""

    outcomes: Tested
    texts_per_second: float | None
    megabytes: float | None = None
    licence: str | None = None

    def described(self) -> str:
        speed, size = self.texts_per_second, self.megabytes
        parts = [speed and f"{speed:.1f} texts a second", size and f"{size:.0f} MB", self.licence]
        return ", ".join(part for part in parts if part)


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m sentidistill.commands.evaluate",
        description="The tasks of the benchmark on any model.",
        epilog=__doc__.split("\n\n")[2],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    known: dict[str, dict[str, Any]] = {
        "models": {
            "nargs": "+",
            "metavar": "MODEL",
            "help": "folder, hub id or GGUF file of a model, its name at the server, or `baselines`",
        },
        "--data": {"type": Path, "help": "a copy of SentiBench's data sets"},
        "--out": {"type": Path, "default": Path("sentibench"), "help": "folder for the results"},
        "--tasks": {"nargs": "+", "default": TASKS, "metavar": "TASK"},
        "--split": {"choices": ("validation", "test"), "default": "test"},
        "--shots": {"type": at_least(0), "default": 4, "help": "demonstrations"},
        "--seeds": {"type": at_least(0), "nargs": "+", "default": [42], "help": "draws of demonstrations"},
        "--demonstrations": {"choices": ("shared", "per_record"), "default": "shared"},
        "--label-limit": {
            "type": at_least(0),
            "default": 0,
            "help": "records of a label task, classes in their shares; 0: all",
        },
        "--tuple-limit": {"type": at_least(0), "default": 0, "help": "records of a tuple task; 0: all"},
        "--calibrate": {
            "type": at_least(0),
            "default": 48,
            "help": "also by so many unlabelled training texts; 0: not",
        },
        "--rules": {
            "choices": ("ours", "reference"),
            "default": "ours",
            "help": "reference: SentiBench also by the published evaluator's rules, its faults included",
        },
        "--schema": {"action": "store_true", "help": "constrain tuples to the task's JSON schema"},
        "--max-new-tokens": {"type": at_least(1), "default": 512, "help": "of the answer to a tuple task"},
        "--max-prompt-tokens": {"type": at_least(1), "default": 8000, "help": "longer prompts count as empty outputs"},
        "--format": {
            "nargs": "+",
            "choices": ("transcript", "chat"),
            "default": [],
            "help": "how prompts are written: for all models, or for each (a student's own; else transcript)",
        },
        "--engine": {"choices": ("transformers", "vllm"), "default": "transformers", "help": "of model folders"},
        "--server": {"default": "", "help": "address of an OpenAI-compatible server"},
    }
    for name, settings in known.items():
        made.add_argument(name, **settings)
    return made


@contextmanager
def opened(
    model: str,
    folder: Path | None,
    prompt_format: PromptFormat,
    chosen: argparse.Namespace,
    params: Params,
    cache_root: Path,
) -> Iterator[CachedTeacher]:
    """The model that is tested, asked through the generation cache."""
    with closing(Cache(cache_path(cache_root))) as cache:
        if folder is None:
            from sentidistill.inference.engines.server import ServerEngine

            settings = params.runtime.server.model_copy(update={"base_url": chosen.server})
            identity = records.content_id("server", chosen.server, model)
            extra = params.teacher.extra_body
            reader = Reader(identity, "chat", chosen.max_prompt_tokens, extra_body=extra, messages_only=True)
            open_engine: Callable[[], Engine] = partial(
                ServerEngine,
                settings,
                model,
                api="chat",
                extra_body=extra,
                concurrency=params.runtime.concurrency,
            )
        else:
            tokenizer = models.load_tokenizer(folder, Path())
            reader = Reader(models.identity(folder), prompt_format, chosen.max_prompt_tokens, lambda: tokenizer)
            engine = "llamacpp" if models.is_gguf(folder) else chosen.engine
            open_engine = partial(
                local_engine,
                engine,
                folder.resolve(),
                cache_root.parent.resolve(),
                params.runtime,
                params.runtime.vllm.student,
            )
        yield CachedTeacher(reader, partial(over_actors, open_engine, params.runtime), cache, params.runtime.cache)


def known_folder(model: str, cache_root: Path) -> Path:
    """A folder that stands for the model, a folder, a GGUF file or a hub id, and tells it from any other."""
    path = Path(model)
    if (path / models.ORIGIN).exists():
        return path
    out = cache_root / "tested" / records.content_id(str(path.resolve()))
    source: PathModel | HubModel | GgufModel = PathModel(source="path", path=str(path.resolve()))
    if path.is_file():
        source = GgufModel(source="gguf", places=[LocalFile(path=str(path.resolve()))])
    elif not path.is_dir():
        try:
            source = HubModel(source="hub", repo=model, revision="main")
        except ValidationError as error:
            raise SentiDistillError(f"{model}: no such folder, and no repository of the hub, OWNER/NAME") from error
    models.prepare(source, out, cache_root / "downloads", cache_root.parent)
    return out


def table(name: str, metrics: dict[str, dict], group_means: dict[str, float]) -> Table:
    numbers = ("±", "calibrated", *(["reference"] if any("reference" in row for row in metrics.values()) else []))
    shown = Table(Column("task", no_wrap=True), "records", "F1", "95 %", *numbers, *COUNTS, title=stage.visible(name))
    for task, row in metrics.items():
        optional = [row["deviation"], row["calibrated"] and row["calibrated"]["main"], row.get("reference")]
        shown.add_row(
            task,
            str(row["records"]),
            f"{row['main']:.1f}",
            f"{row['low']:.1f} to {row['high']:.1f}",
            *("" if value is None else f"{value:.1f}" for value in optional[: len(numbers)]),
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
        seeds=tuple(dict.fromkeys(chosen.seeds)),
        demonstrations=chosen.demonstrations,
        label_limit=chosen.label_limit,
        tuple_limit=chosen.tuple_limit,
        calibration_texts=chosen.calibrate,
        with_schema=chosen.schema,
        max_new_tokens=chosen.max_new_tokens,
    )
    tasks = [tasks_of(params.prepare_benchmark)[name] for name in chosen.tasks]
    data = {task: {split: read(chosen.data, task.name, split) for split in ("train", chosen.split)} for task in tasks}
    check(data, chosen.split)
    without = [task.name for task, rows in data.items() if task.labels and not rows["train"]]
    if BASELINES in chosen.models and (without or not any(task.labels for task in data)):
        raise SentiDistillError(
            f"{', '.join(without) or 'these tasks'}: baselines learn from the training records of label tasks, and "
            "there are none; leave out `baselines`, or name other tasks by --tasks"
        )
    found: dict[str, Tested] = {}
    asked = chosen.format if len(chosen.format) > 1 else (chosen.format or [None]) * len(chosen.models)
    formats = [format_of(model, one) for model, one in zip(chosen.models, asked, strict=True)]
    for model, prompt_format in zip(chosen.models, formats):
        for name, system in systems(model, prompt_format, chosen, params, data, settings).items():
            report(name, chosen.out / name, system, data, chosen, settings)
            found[name] = system.outcomes
    if len(found) > 1:
        columns: tuple[suite.Column, ...] = ("output", "calibrated") if settings.calibration_texts else ("output",)
        for column in columns:
            stage.console().print(comparison(found, data, chosen.split, settings.bootstrap_samples, column))


def check(data: Data, split: str) -> None:
    """Raises `SentiDistillError` for a task without records, or with a label that the params do not have."""
    for task, rows in data.items():
        if not rows[split]:
            raise SentiDistillError(f"{task.name}: no records in its {split} split")
        strange = [row["label"] for of in rows.values() for row in of if task.labels and not task.find(row["label"])]
        if strange:
            raise SentiDistillError(
                f"{task.name}: its records have the label {strange[0]!r}, the task has {', '.join(task.labels)}; if "
                "params.yaml was changed, run `dvc repro prepare_benchmark`"
            )


def format_of(model: str, asked: PromptFormat | None) -> PromptFormat:
    """How a model is asked. Raises `SentiDistillError` where a student was trained in another way."""
    about = read_about(Path(model))
    if about and asked not in (None, about.prompt_format):
        raise SentiDistillError(
            f"{model} was trained on prompts of the format {about.prompt_format}; leave out --format"
        )
    return about.prompt_format if about else asked or "transcript"


def systems(
    model: str,
    prompt_format: PromptFormat,
    chosen: argparse.Namespace,
    params: Params,
    data: Data,
    settings: suite.Settings,
) -> dict[str, System]:
    """What `model` names, by name, tested on all tasks that it applies to."""
    cache_root = stage.cache_root()
    if model == BASELINES:
        kinds = {kind: [task for task in data if kind in baselines.kinds(task)] for kind in baselines.KINDS}
        return {
            f"{BASELINES}/{kind}": predicted(baselines.KINDS[kind], tasks, data, chosen.split, settings)
            for kind, tasks in kinds.items()
            if tasks
        }
    name = Path(model).name
    folder = None if chosen.server else known_folder(model, cache_root)
    known: dict[str, Any] = {}
    if folder and models.has_files(folder) and not models.is_gguf(folder):
        files = models.locate(folder, cache_root.parent)
        known = dict(zip(("megabytes", "licence"), size_and_licence(files)))
        if is_classifier(files):
            predict = baselines.classifier(files, models.device(params.runtime))
            labelled = [task for task in data if task.labels]
            return {name: replace(predicted(predict, labelled, data, chosen.split, settings), **known)}
    with opened(model, folder, prompt_format, chosen, params, cache_root) as answering:
        outcomes = {
            task: suite.evaluate(answering, name, task, rows[chosen.split], rows["train"], settings)
            for task, rows in data.items()
        }
    speed = answering.asked / answering.asking_seconds if answering.asked else None
    return {name: System(outcomes, speed, **known)}


def is_classifier(files: Path) -> bool:
    """Whether the model folder `files` holds a sequence classifier and no language model."""
    architectures = records.read_json(files / "config.json").get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def size_and_licence(files: Path) -> tuple[float, str]:
    """(megabytes of the weights in `files`, licence as the README there states it, or "not stated")."""
    weights = next((found for pattern in models.WEIGHTS if (found := sorted(files.glob(pattern)))), [])
    card = files / "README.md"
    text = card.read_text("utf-8", "replace") if card.exists() else ""
    licence = re.search(r"^license: *(\S+)", text, re.MULTILINE)
    return sum(file.stat().st_size for file in weights) / 1e6, licence[1] if licence else "not stated"


def predicted(
    predict: baselines.Predict, tasks: list[EvaluationTask], data: Data, split: str, settings: suite.Settings
) -> System:
    started = time.monotonic()
    outcomes = {
        task: baselines.outcomes(predict, task, data[task][split], data[task]["train"], settings) for task in tasks
    }
    return System(outcomes, sum(map(len, outcomes.values())) / (time.monotonic() - started))


def read(root: Path, task: str, split: str) -> list[dict]:
    if task in SENTIBENCH:
        return sentibench.load(root, task, split)
    return sentibench.read(Path("data/benchmark", task, f"{split}.jsonl"))


def report(
    name: str, out: Path, system: System, data: Data, chosen: argparse.Namespace, settings: suite.Settings
) -> None:
    """Write predictions and metrics, and show the scores."""
    metrics = {
        task.name: suite.scores(task, data[task][chosen.split], rows, settings.bootstrap_samples)
        for task, rows in system.outcomes.items()
    }
    if chosen.rules == "reference":
        for task, rows in system.outcomes.items():
            if task.name in SENTIBENCH:
                scores = by_seed(task.name, data[task][chosen.split], rows)
                metrics[task.name]["reference"] = round(fmean(one.published for one in scores), 2)
    for task, rows in system.outcomes.items():
        records.write_jsonl(out / "predictions" / f"{task.name}.jsonl", rows)
    group_means = sentibench.group_means({task: row["main"] for task, row in metrics.items()})
    of_system = {name: getattr(system, name) for name in ("texts_per_second", "megabytes", "licence")}
    about = {"split": chosen.split, "mean": group_means, "system": of_system}
    records.write_json(out / "metrics.json", {**about, **metrics})
    stage.console().print(table(f"{name} ({system.described()})", metrics, group_means))


def comparison(found: dict[str, Tested], data: Data, split: str, samples: int, column: suite.Column) -> Table:
    """What each model has more than the first, with the central 95 % over records drawn anew for both at once.

    Below it, on how many tasks a model is worse than the first by this interval, and on how many by less than a point.
    """
    first, *others = found
    labels = " (calibrated)" if column == "calibrated" else ""
    title = stage.visible(f"more than {first}{labels}")
    shown = Table(Column("task", no_wrap=True), *map(Column, map(stage.visible, others)), title=title)
    gains: dict[str, list[dict[str, float]]] = {name: [] for name in others}
    for task, base in found[first].items():
        test, cells = data[task][split], []
        of_first = suite.estimate(task, test, base, samples, column)
        for name in others:
            rows = found[name].get(task)
            theirs = suite.estimate(task, test, rows, samples, column) if rows else None
            cells.append("")
            if theirs and of_first:
                gain = (theirs - of_first).rounded()
                gains[name].append(gain)
                cells[-1] = f"{gain['main']:+.1f} ({gain['low']:+.1f} to {gain['high']:+.1f})"
        if any(cells):
            shown.add_row(task.name, *cells)
    shown.add_section()
    shown.add_row("worse", *(f"{sum(one['high'] < 0 for one in of)} of {len(of)}" for of in gains.values()))
    close = (f"{sum(one['low'] > -MARGIN for one in of)} of {len(of)}" for of in gains.values())
    shown.add_row("less than a point behind", *close)
    return shown


def main(*arguments: str) -> None:
    chosen = options().parse_args(arguments)
    known = tasks_of(config.load().prepare_benchmark)
    if unknown := next((task for task in chosen.tasks if task not in known), None):
        raise SentiDistillError(f"unknown task {unknown}; known are {', '.join(known)}")
    if missing := next((task for task in chosen.tasks if task in SENTIBENCH and not chosen.data), None):
        raise SentiDistillError(f"{missing} is a task of SentiBench: name a copy of its data sets by --data")
    if chosen.format and len(chosen.format) not in (1, len(chosen.models)):
        raise SentiDistillError(
            f"--format has {len(chosen.format)} values for {len(chosen.models)} models: give one for all, or one each"
        )
    for model in chosen.models:
        path, is_named = Path(model), model == BASELINES or chosen.server or HUB_ID.fullmatch(model)
        if not (is_named or path.is_dir() or (path.is_file() and path.suffix == ".gguf")):
            raise SentiDistillError(
                f"{model}: no such folder or GGUF file, and no id of a hub repository (OWNER/NAME); for a model at a "
                "server give its address by --server"
            )
    names = [Path(model).name for model in chosen.models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SentiDistillError(
            f"two models are both named {twice!r}; their results would overwrite each other: test them in separate runs"
        )
    run(chosen)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
