"""What the teacher's labels are worth: python -m benchmarks.labels

On 120 texts of the validation split (10 of each class of each default task), of whose sentiment people's mean ratings
are known: how the labels that the teacher gives correlate with the ratings when it is asked for the label, and when a
text is given the label that it is likeliest to be written for, as in `write_demonstrations`. Run after `make repro`;
about four minutes on 2 cores, and nothing is kept in the cache.
"""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from sentidistill import config, records
from sentidistill.benchmark.tasks import SENTIMENTS, Example
from sentidistill.instructions import TaskDefinition
from sentidistill.labelling import ask_labels, compare_likelihoods
from sentidistill.prompts import Template
from sentidistill.teacher.cache import Cache
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import make_engine, make_reader
from stages.write_demonstrations import to_write

PER_CLASS = 10
# Attribute, question, labels from low to high.
QUESTIONS = [
    ("overall sentiment", "Decide whether the author of the text is positive or negative.", ("negative", "positive")),
    ("happiness", "Decide whether the author of the text is happy or sad.", ("sad", "happy")),
    ("happiness", "Decide whether the author of the text is happy.", ("not happy", "happy")),
    ("satisfaction", "Decide how satisfied the author of the text is.", ("not satisfied", "satisfied")),
    ("friendliness", "Decide whether the author of the text is friendly.", ("not friendly", "friendly")),
    ("overall sentiment", "Rate how positive the text is.", ("not positive", "very positive")),
]


def closed_task(number: int, attribute: str, instruction: str, labels: tuple[str, str]) -> TaskDefinition:
    return TaskDefinition(
        id=f"{number:016x}",
        cluster=0,
        attribute=attribute,
        mentions=1,
        name=attribute,
        family="classification",
        instruction=instruction,
        labels=list(labels),
        format="",
        examples=[],
    )


def validation_texts(tasks: list[str]) -> dict[str, float]:
    """Texts and their ratings."""
    random = np.random.default_rng(0)
    chosen = []
    for task in tasks:
        rows = records.read_jsonl(Path("data/benchmark", task, "validation.jsonl"), Example)
        for label in SENTIMENTS:
            of_class = [row for row in rows if row.label == label]
            chosen += [of_class[int(place)] for place in random.permutation(len(of_class))[:PER_CLASS]]
    return {row.sentence: row.rating for row in chosen}


def correlation(scores: dict[str, np.ndarray], ratings: dict[str, float]) -> float:
    return float(np.corrcoef([row[1] - row[0] for row in scores.values()], [ratings[text] for text in scores])[0, 1])


def main() -> None:
    params = config.load()
    root = Path.cwd()
    ratings = validation_texts(list(params.prepare_benchmark.tasks))
    questions = [closed_task(number, *row) for number, row in enumerate(QUESTIONS)]
    texts = [list(ratings)] * len(questions)
    template = Template("write_demonstrations", exemplars=params.teacher.exemplars)
    prompts = [[to_write(template, task, label, [], ("", "")) for label in task.labels] for task in questions]
    with tempfile.TemporaryDirectory() as folder, closing(Cache(Path(folder) / "responses.sqlite")) as cache:
        reader = make_reader("teacher", params, root)
        teacher = CachedTeacher(reader, partial(make_engine, "teacher", params, root), cache)
        asked = ask_labels(teacher, questions, texts, "asked")
        likely = compare_likelihoods(teacher, prompts, texts, "likelihoods")
    print(f"Correlation with the ratings of {len(ratings)} texts, by asking and by likelihood:")
    for task, by_asking, by_likelihood in zip(questions, asked, likely):
        print(f"  {correlation(by_asking, ratings):5.2f} {correlation(by_likelihood, ratings):5.2f}  {task.text()}")


if __name__ == "__main__":
    main()
