"""Disjoint training, validation and test sets, by content hash."""

import sys
from itertools import islice
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
    rows: list[tuple[str, str, str]], task: EvaluationTask, path: Path, sizes: dict[str, int]
) -> tuple[dict[str, list[LabelledText]], dict[str, int]]:
    """(disjoint splits of (text, label, place in the file) rows, by content hash; texts left out, by reason).

    Where there are fewer texts than `sizes` sum up to, each split gets its share of them. Labels are as frequent in
    each split as they are in the file, and none lacks one. A text that has two labels is left out.
    """
    labels: dict[str, set[str]] = {}  # by text
    for text, given, place in rows:
        named = task.find(given)
        if named is None:
            raise SentiDistillError(
                f"{path}, {place}: label {given!r} is none of {', '.join(task.labels)}; see prepare_benchmark.own"
            )
        labels.setdefault(corpus.text_id(text), set()).add(named)
    texts, left_out = corpus.distinct(((text, None) for text, _, _ in rows), min_chars=1, max_chars=sys.maxsize)
    by_label: dict[str, list[LabelledText]] = {label: [] for label in task.labels}
    for text, _ in texts:
        key = corpus.text_id(text)
        if len(labels[key]) == 1:
            (of,) = labels[key]
            by_label[of].append(LabelledText(id=key, sentence=text, label=of))
    left_out["of_two_labels"] = len(texts) - sum(map(len, by_label.values()))
    numbers = _numbers({label: len(found) for label, found in by_label.items()}, list(sizes.values()))
    if numbers is None:
        raise SentiDistillError(
            f"{path}: too few texts for a training, validation and test set with all labels: "
            + ", ".join(f"{len(found)} have {label!r}" for label, found in by_label.items())
            + "; add texts, or see prepare_benchmark.own and own_records"
        )
    splits: dict[str, list[LabelledText]] = {name: [] for name in sizes}
    for of, found in by_label.items():
        parted = iter(found)
        for name, number in zip(sizes, numbers[of]):
            splits[name] += islice(parted, number)
    return {name: sorted(found, key=lambda row: row.id) for name, found in splits.items()}, left_out


def _numbers(of: dict[str, int], sizes: list[int]) -> dict[str, list[int]] | None:
    """How many texts of each label each split gets, at least one; None where they are too few for that."""
    there, least = list(of.values()), len(sizes)
    parts = apportion(sum(there), sizes, sizes)
    if min(there) < least or min(parts) < len(of):
        return None
    more = apportion(sum(parts) - least * len(of), there, [number - least for number in there])
    rest, found = [part - len(of) for part in parts], {}
    for name, number in zip(of, more):
        cells = apportion(number, rest, rest)
        rest = [part - cell for part, cell in zip(rest, cells)]
        found[name] = [1 + cell for cell in cells]
    return found
