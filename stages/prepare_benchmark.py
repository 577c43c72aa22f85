"""rated sentences -> data/benchmark/<task>/{train,validation,test}.jsonl, classes equally frequent.

Besides these default tasks, it writes the tasks of SentiBench that `evaluate.tasks` names, unchanged from the user's
copy, and the user's own labelled files, split by content hash, with their labels and wording in
data/benchmark/<task>/task.json. For the training of the student, data/validation.jsonl repeats the validation texts of
the default tasks, and data/own_texts.jsonl the training and validation texts of the user's own tasks, without training
texts that are nearly the same as a text held out here.

A row: {"id": "5f1c...", "sentence": "Yay. Another good phone interview.", "label": "positive", "rating": 1.44}
"""

from dataclasses import asdict
from pathlib import Path

from sentidistill import config, records
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.default_tasks import VALIDATION
from sentidistill.evaluation.splits import split, split_own
from sentidistill.evaluation.tasks import OWN_TEXTS, TaskTexts, tasks_of
from sentidistill.pipeline import stage
from sentidistill.sources import corpus


def main() -> None:
    params = config.load()
    section, tasks = params.prepare_benchmark, tasks_of(params.prepare_benchmark)
    similarity = params.prepare_corpus.near_duplicate_similarity
    made: dict[str, tuple[dict[str, list], dict[str, int]]] = {}
    for task, file in section.tasks.items():
        rated = corpus.rated_sentences(params.vader, stage.cache_root() / "downloads", file)
        made[task] = split(rated, section, task)
    for own in section.own:
        path = stage.cache_root().parent / own.path
        rows, empty = corpus.read_rows(corpus.of_params(path, own.text_field), own.label_field)
        splits, left_out = split_own(rows, tasks[own.name], path, section.own_records.model_dump())
        shots = params.evaluate.shots_per_label * len(own.labels)
        if own.name in params.evaluate.tasks and shots >= len(splits["train"]):
            raise SentiDistillError(
                f"{path}: {shots} demonstrations leave none of {len(splits['train'])} training texts to calibrate by; "
                "lower evaluate.shots_per_label, or add texts"
            )
        made[own.name] = splits, {**left_out, "without_text": empty}
        records.write_json(f"data/benchmark/{own.name}/task.json", asdict(tasks[own.name]))
    sizes = {}
    for task, (splits, left_out) in made.items():
        for name, examples in splits.items():
            records.write_jsonl(f"data/benchmark/{task}/{name}.jsonl", examples)
            sizes[f"{task} {name}"] = len(examples)
        sizes |= {f"{task} {reason}": number for reason, number in left_out.items()}
    VALIDATION.write([example for task in section.tasks for example in made[task][0]["validation"]])
    for task in params.evaluate.tasks:
        if task in SENTIBENCH:
            for name in section.per_label.model_dump():
                rows = sentibench.load(stage.cache_root().parent / section.sentibench, task, name)
                sentibench.write(Path("data/benchmark", task, f"{name}.jsonl"), rows)
                sizes[f"{task} {name}"] = len(rows)
    held_out = [
        record["sentence"]
        for path in sorted(Path("data/benchmark").glob("*/*.jsonl"))
        if path.stem != "train"
        for record in sentibench.read(path)
    ]
    own_texts = []
    for own in section.own:
        pairs = {name: [(row.sentence, row.label) for row in rows] for name, rows in made[own.name][0].items()}
        near = corpus.near_duplicates([text for text, _ in pairs["train"]], held_out, similarity)
        train = [pair for pair, bad in zip(pairs["train"], near) if not bad]
        own_texts.append(TaskTexts(**asdict(tasks[own.name]), train=train, validation=pairs["validation"]))
        sizes[f"{own.name} not_to_be_learned"] = sum(near)
    OWN_TEXTS.write(own_texts)
    stage.finish("prepare_benchmark", sizes)


if __name__ == "__main__":
    stage.run(main)
