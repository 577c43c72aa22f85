"""Disjoint training, validation and test sets, by content hash."""

import sys
from itertools import accumulate
from pathlib import Path

from sentidistill.config.benchmark import PrepareBenchmark
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS, Example, label
from sentidistill.evaluation.tasks import EvaluationTask, LabelledText
from sentidistill.sources import corpus
from sentidistill.sources.apportionment import apportion
from sentidistill.sources.corpus import Rated


def split(rows: list[Rated], params: PrepareBenchmark, task: str) -> tuple[dict[str, list[Example]], dict[str, int]]:
    """(disjoint splits with the same number of texts of each class, by content hash; texts left out, by reason)."""
    rated = ((row.text, row.rating) for row in rows)
    texts, left_out = corpus.distinct(rated, params.min_chars, params.max_chars)
    by_label: dict[str, list[Example]] = {name: [] for name in SENTIMENTS}
    for text, rating in texts:
        of = label(rating, params.negative_below, params.positive_above)
        by_label[of].append(Example(id=corpus.text_id(text), sentence=text, label=of, rating=rating))
    splits: dict[str, list[Example]] = {}
    start = 0
    for name, size in params.per_label.model_dump().items():
        for of, examples in by_label.items():
            if len(examples) < start + size:
                raise SentiDistillError(
                    f"task {task}: {len(examples)} {of} texts, the splits need {start + size}; "
                    "lower prepare_benchmark.per_label"
                )
            splits.setdefault(name, []).extend(examples[start : start + size])
        splits[name].sort(key=lambda example: example.id)
        start += size
    return splits, left_out


def split_own(
    rows: list[tuple[str, str]], task: EvaluationTask, path: Path, sizes: dict[str, int]
) -> tuple[dict[str, list[LabelledText]], dict[str, int]]:
    """(disjoint splits of (text, label) rows in the order of their content hash; texts left out, by reason).

    Where there are fewer texts than `sizes` sum up to, each split gets its share of them. Labels are as frequent as
    they are in the file.
    """
    for number, (_, given) in enumerate(rows, 1):
        if task.find(given) is None:
            raise SentiDistillError(
                f"{path}, text {number}: label {given!r} is none of {', '.join(task.labels)}; see prepare_benchmark.own"
            )
    texts, left_out = corpus.distinct(rows, min_chars=1, max_chars=sys.maxsize)
    found = [
        LabelledText(id=corpus.text_id(text), sentence=text, label=task.gold_label({"label": given}))
        for text, given in texts
    ]
    if missing := set(task.labels) - {row.label for row in found}:
        raise SentiDistillError(f"{path}: no text has the label {sorted(missing)[0]!r}; see prepare_benchmark.own")
    parts = apportion(len(found), list(sizes.values()), list(sizes.values()))
    if not all(parts):
        raise SentiDistillError(
            f"{path}: {len(found)} different texts are too few for a training, validation and test set"
        )
    ends = list(accumulate(parts))
    return {name: found[end - part : end] for name, part, end in zip(sizes, parts, ends)}, left_out
