"""What the teacher's labels are worth, and which correction serves them best: python -m benchmarks.labels

The teacher labels the polarity of validation texts of the default tasks, of which people's labels and mean ratings are
known. Three ways are compared: the likeliest label without correction; with the mean over the texts themselves
subtracted; and with the label bias subtracted that is measured on other texts, balanced over the labels, as in
`write_demonstrations` and `collect_responses`. These other texts are real ones of the training split and, if a run has
made such a task, those that the teacher wrote for the labels. All of it is repeated with 85 % negative texts. Run
after `prepare_benchmark`; about eight minutes on 2 cores. Answers are kept in the cache.
"""

from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from sentidistill import config, records
from sentidistill.construct.instructions import Instruction
from sentidistill.construct.labelling import corrected
from sentidistill.evaluation.default_tasks import Example
from sentidistill.inference.calibration import calibrate, normalised
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import open_model
from sentidistill.inference.requests import Request
from sentidistill.pipeline import stage
from sentidistill.predict import sentiment
from sentidistill.samples import prompt, with_labels

PER_CLASS = 20  # validation texts of each class of each default task
REFERENCE_PER_CLASS = 4  # training texts, likewise
SKEWED = 0.85
DRAWS = 200
SHRINKAGE = 8
TASK = sentiment()


def drawn(tasks: list[str], split: str, per_class: int) -> list[Example]:
    random = np.random.default_rng(0)
    chosen: list[Example] = []
    for task in tasks:
        rows = records.read_jsonl(Path("data/benchmark", task, f"{split}.jsonl"), Example)
        for label in TASK.labels:
            of_class = [row for row in rows if row.label == label]
            chosen += [of_class[int(place)] for place in random.permutation(len(of_class))[:per_class]]
    return chosen


def written() -> list[tuple[str, str]]:
    """Texts that the teacher wrote for the labels of a polarity task, and the label; empty if there is none."""
    path = Path("data/instructions.jsonl")
    rows = records.read_jsonl(path, Instruction) if path.exists() else []
    return [pair for row in rows if sorted(row.labels) == sorted(TASK.labels) for pair in row.reference]


def scores(teacher: CachedTeacher, texts: list[str], label: str) -> np.ndarray:
    instruction = with_labels(TASK.instruction, TASK.labels)
    asked = [Request(prompt(instruction, TASK.cue, text, []), choices=TASK.labels) for text in texts]
    return normalised(np.array([answer.choice_logprobs for answer in teacher.generate(asked, label)]))


def figures(found: np.ndarray, gold: np.ndarray) -> str:
    predicted = found.argmax(axis=1)
    macro = f1_score(gold, predicted, average="macro", labels=range(len(TASK.labels)), zero_division=0)
    return f"macro-F1 {100 * macro:5.1f}  accuracy {100 * (predicted == gold).mean():5.1f}"


def skewed(gold: np.ndarray) -> list[np.ndarray]:
    """Places of draws in which the first label has the share `SKEWED` and the others the rest."""
    random = np.random.default_rng(1)
    size = int((gold == 0).sum() / SKEWED)
    shares = np.where(gold == 0, SKEWED, (1 - SKEWED) / 2) / np.bincount(gold)[gold]
    return [random.choice(len(gold), size, replace=False, p=shares / shares.sum()) for _ in range(DRAWS)]


def main() -> None:
    params = config.load()
    tasks = list(params.prepare_benchmark.tasks)
    texts, train = drawn(tasks, "validation", PER_CLASS), drawn(tasks, "train", REFERENCE_PER_CLASS)
    place = {label: number for number, label in enumerate(TASK.labels)}
    gold, of_train = (np.array([place[row.label] for row in rows]) for rows in (texts, train))
    made = written()
    with open_model("teacher", params, stage.cache_root()) as teacher:
        asked = scores(teacher, [row.sentence for row in texts], "validation texts")
        real = scores(teacher, [row.sentence for row in train], "training texts")
        own = scores(teacher, [text for text, _ in made], "written texts") if made else None
    ratings = [row.rating for row in texts]
    print(f"Correlation of log-odds with the ratings of {len(texts)} texts: ", end="")
    print(f"{np.corrcoef(asked[:, place['positive']] - asked[:, place['negative']], ratings)[0, 1]:.2f}")
    ways = {
        "as they stand": lambda rows: rows,
        "minus the texts' own mean": lambda rows: calibrate(rows, rows),
        f"minus the bias of {len(train)} real texts": lambda rows: corrected(rows, real, of_train, SHRINKAGE),
    }
    if own is not None:
        of_own = np.array([place[label] for _, label in made])
        ways[f"minus the bias of {len(made)} written texts"] = lambda rows: corrected(rows, own, of_own, SHRINKAGE)
    draws = skewed(gold)
    for name, way in ways.items():
        print(f"{name:40} {figures(way(asked), gold)}", end="   ")
        accuracy = np.mean([(way(asked[rows]).argmax(axis=1) == gold[rows]).mean() for rows in draws])
        print(f"{SKEWED:.0%} negative: accuracy {100 * accuracy:5.1f}")


if __name__ == "__main__":
    main()
