"""rated sentences -> data/benchmark/<task>/{train,validation,test}.jsonl, classes equally frequent.

Beside these default tasks, those of SentiBench that `evaluate.tasks` names, from the user's copy, as they are; and the
user's own labelled files, split by content hash, with data/benchmark/<task>/task.json for their labels and wording.

A row: {"id": "5f1c...", "sentence": "Yay. Another good phone interview.", "label": "positive", "rating": 1.44}
"""

import sys
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

from sentidistill import config, records
from sentidistill.config import SENTIBENCH, PrepareBenchmark
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.default_tasks import SENTIMENTS, Example, label
from sentidistill.evaluation.tasks import EvaluationTask, LabelledText, tasks_of
from sentidistill.pipeline import stage
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
    found = [LabelledText(id=corpus.text_id(text), sentence=text, label=task.find(given)) for text, given in texts]
    if missing := set(task.labels) - {row.label for row in found}:
        raise SentiDistillError(f"{path}: no text has the label {sorted(missing)[0]!r}; see prepare_benchmark.own")
    parts = apportion(len(found), list(sizes.values()), list(sizes.values()))
    if not all(parts):
        raise SentiDistillError(
            f"{path}: {len(found)} different texts are too few for a training, validation and test set"
        )
    ends = list(accumulate(parts))
    return {name: found[end - part : end] for name, part, end in zip(sizes, parts, ends)}, left_out


def main() -> None:
    params = config.load()
    section, tasks = params.prepare_benchmark, tasks_of(params.prepare_benchmark)
    made: dict[str, tuple[dict[str, list], dict[str, int]]] = {}
    for task, file in section.tasks.items():
        rated = corpus.rated_sentences(params.vader, stage.cache_root() / "downloads", file)
        made[task] = split(rated, section, task)
    for own in section.own:
        path = stage.cache_root().parent / own.path
        rows = corpus.read_rows(path, own.text_field, own.label_field)
        made[own.name] = split_own(rows, tasks[own.name], path, section.own_records.model_dump())
        records.write_json(f"data/benchmark/{own.name}/task.json", asdict(tasks[own.name]))
    sizes = {}
    for task, (splits, left_out) in made.items():
        for name, examples in splits.items():
            records.write_jsonl(f"data/benchmark/{task}/{name}.jsonl", examples)
            sizes[f"{task} {name}"] = len(examples)
        sizes |= {f"{task} {reason}": number for reason, number in left_out.items()}
    for task in params.evaluate.tasks:
        if task in SENTIBENCH:
            for name in section.per_label.model_dump():
                rows = sentibench.load(stage.cache_root().parent / section.sentibench, task, name)
                sentibench.write(Path("data/benchmark", task, f"{name}.jsonl"), rows)
                sizes[f"{task} {name}"] = len(rows)
    stage.finish("prepare_benchmark", sizes)


if __name__ == "__main__":
    stage.run(main)
