"""What can be asked of a model in the evaluation: the default tasks, those of SentiBench, and a user's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import create_model

from sentidistill.config.benchmark import SENTIBENCH, PrepareBenchmark
from sentidistill.config.rules import Line, Text
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.sentibench import LABELS, TUPLE_TASKS, normal
from sentidistill.records import Record, Table, read_json
from sentidistill.yaml_files import read as read_yaml_as

KNOWN = (*LABELS, *TUPLE_TASKS)
WORDING_FILE = Path(str(files("sentidistill.evaluation").joinpath("wording.yaml")))


class Wording(Record):
    cue: Line
    instruction: Text


@cache
def wording(path: Path = WORDING_FILE) -> dict[str, dict[str, str]]:
    """How each known task is put to a model, by its name. Raises `SentiDistillError` with the lines of all faults."""
    names: dict[str, Any] = dict.fromkeys(("sentiment", *KNOWN), (Wording, ...))
    return read_yaml_as(path, create_model("Wordings", __base__=Record, **names)).model_dump()


class LabelledText(Record):
    """One text of a user's own task, in the form of SentiBench's records."""

    id: str
    sentence: str
    label: str


class TaskTexts(Record):
    """A task with the (text, label) pairs that a student may learn from, and those that it is calibrated on."""

    name: str
    instruction: str
    cue: str
    labels: tuple[str, ...]
    train: list[tuple[str, str]]
    validation: list[tuple[str, str]]


# The user's own tasks. Apart from data/benchmark, so that a further task of the evaluation trains no student anew.
OWN_TEXTS = Table("data/own_texts.jsonl", TaskTexts)


@dataclass(frozen=True)
class EvaluationTask:
    """A task by its name. `labels` are empty for a tuple task; their order decides ties."""

    name: str
    instruction: str
    cue: str
    labels: tuple[str, ...] = ()

    def find(self, label: str) -> str | None:
        """`label` as it stands in `labels`, whatever its case and blanks; None where it is none of them."""
        return {normal(one): one for one in self.labels}.get(normal(label))

    def gold_label(self, record: Mapping) -> str:
        """The label of a record. Raises `ValueError` where it is none of `labels`."""
        found = self.find(record["label"])
        if found is None:
            raise ValueError(f"{self.name}: label {record['label']!r} is none of {', '.join(self.labels)}")
        return found


def tasks_of(section: PrepareBenchmark) -> dict[str, EvaluationTask]:
    """All tasks by name: the known ones and the user's own."""
    own = {task.name: EvaluationTask(task.name, task.instruction, task.cue, tuple(task.labels)) for task in section.own}
    return {**{name: known(name) for name in KNOWN}, **own}


def known(name: str) -> EvaluationTask:
    """One of the default tasks or of SentiBench's. Raises `ValueError` for another name."""
    if name not in KNOWN:
        raise ValueError(f"unknown task {name!r}; known are {', '.join(KNOWN)}")
    return EvaluationTask(name, **wording()[name], labels=LABELS.get(name, ()))


def for_use(folder: Path, split: str = "validation") -> dict[str, tuple[EvaluationTask, list[tuple[str, str]]]]:
    """The tasks that a student is there for, each with the texts and labels of a split in `folder`.

    They are sentiment, with the texts of all default tasks, and the user's own; none of SentiBench's.
    """
    found: dict[str, tuple[EvaluationTask, list[tuple[str, str]]]] = {}
    for path in sorted(folder.glob(f"*/{split}.jsonl")):
        if path.parent.name in SENTIBENCH:
            continue
        task = read(path.parent)
        name = task.name if (path.parent / "task.json").exists() else "sentiment"
        _, texts = found.setdefault(name, (task, []))
        texts += [(row["sentence"], task.gold_label(row)) for row in sentibench.read(path)]
    return found


def read(folder: Path) -> EvaluationTask:
    """The task whose splits are in `folder`, by its name; a user's own task is described beside its splits."""
    described = folder / "task.json"
    if not described.exists():
        return known(folder.name)
    values = read_json(described)
    return EvaluationTask(**{**values, "labels": tuple(values["labels"])})
