"""What the teacher's labels are worth: python -m benchmarks.labels

On 120 texts of the validation split (10 of each class of each default task), of whose sentiment people's mean ratings
are known: how the labels that the teacher gives correlate with the ratings, asked without and with anchors as in
`write_demonstrations`; and, of pairs of labels that differ or say the same, how its scores correlate when the labels
of the anchors are exchanged. Run after `make repro`; about six minutes on 2 cores, and nothing is kept in the cache.
"""

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from sentidistill import config, records
from sentidistill.benchmark.tasks import LABELS, Example
from sentidistill.instructions import LabelCheck, TaskDefinition
from sentidistill.labelling import Question, ask_labels, check_labels, draw_anchors
from sentidistill.teacher.cache import Cache
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import make_engine, make_reader

PER_CLASS = 10
# Attribute, question, labels from low to high.
QUESTIONS = [
    ("overall sentiment", "Decide how the author of the text feels about something.", ("negative", "positive")),
    ("happiness", "Decide whether the author of the text is happy or sad.", ("sad", "happy")),
    ("happiness", "Decide whether the author of the text is happy.", ("not happy", "happy")),
    ("satisfaction", "Decide how satisfied the author of the text is.", ("not satisfied", "satisfied")),
    ("friendliness", "Decide whether the author of the text is friendly.", ("not friendly", "friendly")),
    ("overall sentiment", "Rate how positive the text is.", ("1", "5")),
    ("overall sentiment", "Rate how positive the text is.", ("not positive", "very positive")),
]
DIFFERENT = [
    ("positive", "negative"),
    ("happy", "sad"),
    ("honest", "dishonest"),
    ("friendly", "not friendly"),
    ("funny", "sad"),
    ("grateful", "not grateful"),
    ("confident", "unsure"),
    ("objective", "subjective"),
    ("polite", "rude"),
    ("changed", "not changed"),
]
SAME = [
    ("happy", "cheerful"),
    ("honest", "truthful"),
    ("entertaining", "funny"),
    ("ironic", "sarcastic"),
    ("kind", "nice"),
    ("afraid", "scared"),
    ("angry", "furious"),
    ("sad", "unhappy"),
    ("funny", "amusing"),
    ("affectionate", "loving"),
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
    """Texts and their ratings in random order."""
    random = np.random.default_rng(0)
    chosen = []
    for task in tasks:
        rows = records.read_jsonl(Path("data/benchmark", task, "validation.jsonl"), Example)
        for label in LABELS:
            of_class = [row for row in rows if row.label == label]
            chosen += [of_class[int(place)] for place in random.permutation(len(of_class))[:PER_CLASS]]
    return {chosen[int(place)].text: chosen[int(place)].rating for place in random.permutation(len(chosen))}


def correlation(scores: dict[str, np.ndarray], ratings: dict[str, float]) -> float:
    return float(np.corrcoef([row[1] - row[0] for row in scores.values()], [ratings[text] for text in scores])[0, 1])


def main() -> None:
    params = config.load()
    root = Path.cwd()
    ratings = validation_texts(list(params.prepare_benchmark.tasks))
    texts = list(ratings)
    half = len(texts) // 2
    questions = [closed_task(number, *row) for number, row in enumerate(QUESTIONS)]
    pairs = [
        closed_task(100 + number, pair[0], f"Decide whether the author of the text is {pair[0]} or {pair[1]}.", pair)
        for number, pair in enumerate([*DIFFERENT, *SAME])
    ]
    with tempfile.TemporaryDirectory() as folder, closing(Cache(Path(folder) / "responses.sqlite")) as cache:
        reader = make_reader("teacher", params, root)
        teacher = CachedTeacher(reader, partial(make_engine, "teacher", params, root), cache)
        tasks = [*questions, *pairs]
        first = ask_labels(teacher, [Question(task, texts, []) for task in tasks], "without anchors")
        anchors = [draw_anchors(task, scores, texts[:half], 0) for task, scores in zip(tasks, first)]
        asked = [Question(task, texts[half:], shown) for task, shown in zip(questions, anchors)]
        second = ask_labels(teacher, asked, "with anchors")
        checks = check_labels(
            teacher, pairs, first[len(questions) :], anchors[len(questions) :], texts[half:], True, "exchanged"
        )
    print(f"Correlation with the ratings of {len(texts) - half} texts, without and with anchors:")
    for task, before, after in zip(questions, first, second):
        without = correlation({text: before[text] for text in texts[half:]}, ratings)
        print(f"  {without:5.2f} {correlation(after, ratings):5.2f}  {task.text()}")
    found = [float(check.exchanged_correlation or 0) for check in checks]
    for name, values in (("differ", found[: len(DIFFERENT)]), ("say the same", found[len(DIFFERENT) :])):
        print(f"Exchanged correlation of labels that {name}: {' '.join(f'{value:.2f}' for value in sorted(values))}")
    print("Lowest of the first:", " / ".join(min(checks[: len(DIFFERENT)], key=_value).closest_labels or ()))
    print("Highest of the second:", " / ".join(max(checks[len(DIFFERENT) :], key=_value).closest_labels or ()))


def _value(check: LabelCheck) -> float:
    return float(check.exchanged_correlation or 0)


if __name__ == "__main__":
    main()
