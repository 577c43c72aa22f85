"""rated sentences -> data/benchmark/<task>/{train,validation,test}.jsonl, classes equally frequent.

Beside these default tasks, those of SentiBench that `evaluate.tasks` names, from the user's copy, as they are.

A row: {"id": "5f1c...", "sentence": "Yay. Another good phone interview.", "label": "positive", "rating": 1.44}
"""

from pathlib import Path

from sentidistill import config, records
from sentidistill.config import PrepareBenchmark
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.default_tasks import SENTIMENTS, Example, label
from sentidistill.pipeline import stage
from sentidistill.sources import corpus
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


def main() -> None:
    params = config.load()
    sizes = {}
    for task, file in params.prepare_benchmark.tasks.items():
        rows = corpus.rated_sentences(params.vader, stage.cache_root() / "downloads", file)
        splits, left_out = split(rows, params.prepare_benchmark, task)
        for name, examples in splits.items():
            records.write_jsonl(f"data/benchmark/{task}/{name}.jsonl", examples)
            sizes[f"{task} {name}"] = len(examples)
        sizes |= {f"{task} {reason}": number for reason, number in left_out.items()}
    for task in params.evaluate.tasks:
        if task not in params.prepare_benchmark.tasks:
            for name in params.prepare_benchmark.per_label.model_dump():
                rows = sentibench.load(stage.cache_root().parent / params.prepare_benchmark.sentibench, task, name)
                sentibench.write(Path("data/benchmark", task, f"{name}.jsonl"), rows)
                sizes[f"{task} {name}"] = len(rows)
    stage.finish("prepare_benchmark", sizes)


if __name__ == "__main__":
    stage.run(main)
