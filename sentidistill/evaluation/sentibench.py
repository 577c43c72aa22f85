"""The labels of all tasks, and the twelve of SentiBench (Xie et al., 2025): the records of the user's copy."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model

from sentidistill.config.benchmark import DEFAULT_TASKS
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.records import first_problem, lines_of, write_text

# The order decides ties.
LABELS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(DEFAULT_TASKS, SENTIMENTS),
    "imdb": ("negative", "positive"),
    "yelp2": ("negative", "positive"),
    "sst2": ("negative", "positive"),
    "twitter": ("negative", "neutral", "positive"),
    "irony18": ("non-irony", "irony"),
    "irony18_stripped": ("non-irony", "irony"),
    "tweeteval": ("anger", "joy", "sadness", "optimism"),
    "pstance": ("against", "favor"),
    "intimacy": ("not intimate", "moderately intimate", "highly intimate"),
}
TUPLE_TASKS = ("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener")
GROUPS: dict[str, tuple[str, ...]] = {
    "basic": ("imdb", "yelp2", "sst2", "twitter"),
    "multifaceted": ("irony18", "tweeteval", "pstance", "intimacy"),
    "fine_grained": ("asqp_rest16", "opener", "atsa_rest16", "acsa_rest16"),
}
MEANS = {**GROUPS, "all": tuple(task for tasks in GROUPS.values() for task in tasks)}
# Beside the twelve: irony without the hashtags by which the tweets were collected. All ironic test tweets carry one of
# them, and only a quarter of the others do; no training tweet does.
VARIANTS = {"irony18_stripped": "irony18"}
_GIVING_AWAY = re.compile(r"\s*#(?:irony|sarcasm|not)\b", re.IGNORECASE)
_WITHOUT_VALIDATION = ("atsa_rest16", "acsa_rest16")
_VALIDATION_SHARE = 5  # one in so many training records, where no list of them is there
_FOLDERS = {"basic": "sc", "multifaceted": "multifaced", "fine_grained": "absa"}  # the public repository's spelling
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def group_means(scores: dict[str, float]) -> dict[str, float]:
    """Mean score by group, and over all twelve tasks, of each whose tasks all have one."""
    return {
        name: round(sum(scores[task] for task in tasks) / len(tasks), 2)
        for name, tasks in MEANS.items()
        if set(tasks) <= set(scores)
    }


def normal(label: str) -> str:
    """The form in which two labels are the same."""
    return " ".join(label.lower().split())


def path_of(root: Path, task: str, split: str) -> Path:
    """File of `task` and `split` ("train", "validation" or "test") in a copy of the data sets."""
    task = VARIANTS.get(task, task)
    group = next(name for name, tasks in GROUPS.items() if task in tasks)
    split = "train" if split == "validation" and task in _WITHOUT_VALIDATION else split
    return root / _FOLDERS[group] / task / f"{_SPLITS[split]}.json"


def load(root: Path, task: str, split: str) -> list[dict]:
    """Records of a split, checked. Raises `SentiDistillError` naming the file, and the record of a fault.

    Texts are left as they are, escapes and markup included. The restaurant reviews of atsa and acsa have no
    validation file: it is the training records that absa/rest16_dev_ids.json lists or else, by the hash of
    their ID, one in five; the training split is then without them.
    """
    path = path_of(root, task, split)
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SentiDistillError(
            f"{path} is missing; the path has to be a copy of the folder datasets of HITSZ-HLT/Sentiment-Distillation"
        ) from error
    except (OSError, ValueError) as error:
        raise SentiDistillError(f"{path}: {error}") from error
    if not isinstance(rows, list):
        raise SentiDistillError(f"{path}: not a list of records")
    for number, row in enumerate(rows):
        if fault := _fault(task, row):
            raise SentiDistillError(f"{path}, record {number}: {fault}")
    if task in _WITHOUT_VALIDATION and split != "test":
        listed = path.parent.parent / "rest16_dev_ids.json"
        ids = set(json.loads(listed.read_text(encoding="utf-8"))) if listed.exists() else None
        return [row for row in rows if _is_validation(row["ID"], ids) == (split == "validation")]
    if task in VARIANTS:
        return [{**row, "sentence": _GIVING_AWAY.sub("", row["sentence"]).strip()} for row in rows]
    return rows


def read(path: Path) -> list[dict]:
    """Records of a split as `prepare_benchmark` keeps them, one on a line."""
    try:
        return [json.loads(line) for line in lines_of(path.read_text(encoding="utf-8"))]
    except FileNotFoundError as error:
        raise SentiDistillError(f"{path} is missing; make it with `dvc repro prepare_benchmark`") from error


def write(path: Path, rows: list[dict]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows))


def _is_validation(key: str, ids: set[str] | None) -> bool:
    if ids is not None:
        return key in ids
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) % _VALIDATION_SHARE == 0


def _fault(task: str, row: Any) -> str:
    """What is wrong with a record of `task`; "" if nothing."""
    try:
        _FORMS[task].model_validate(row)
    except ValidationError as error:
        return first_problem(error)
    if task in LABELS and normal(row["label"]) not in LABELS[task]:
        return f"label {row['label']!r} is none of {', '.join(LABELS[task])}"
    return ""


def _as_many(span: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    if len(span[0]) != len(span[1]):
        raise ValueError("not as many texts as offsets")
    return span


_Offset = Annotated[str, Field(pattern=r"^\d+:\d+$")]
_Span = Annotated[tuple[list[str], list[_Offset]], AfterValidator(_as_many)]


class _Aspect(BaseModel):
    target: str
    category: str
    polarity: str


class _Quadruple(BaseModel):
    aspect: str
    category: str
    opinion: str
    sentiment: str


class _Opinion(BaseModel):
    Source: _Span
    Target: _Span
    Polar_expression: _Span
    Polarity: str


_FORMS: dict[str, type[BaseModel]] = {
    **dict.fromkeys(LABELS, create_model("Labelled", sentence=str, label=str)),
    "pstance": create_model("Targeted", sentence=str, label=str, target=str),
    **dict.fromkeys(_WITHOUT_VALIDATION, create_model("Aspects", sentence=str, ID=str, aspects=list[_Aspect])),
    "asqp_rest16": create_model("Quadruples", sentence=str, quards=list[_Quadruple]),
    "opener": create_model("Opinions", sentence=str, opinions=list[_Opinion]),
}
