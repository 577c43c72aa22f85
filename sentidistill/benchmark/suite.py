"""SentiBench on a model: questions in, one outcome for each record and seed out, and the scores of a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentidistill.benchmark import tuples
from sentidistill.benchmark.metrics import f1_by_class, score, tuple_counts
from sentidistill.benchmark.outputs import parse_label
from sentidistill.benchmark.questions import Demonstrations, Question, answer_of, limited, questions, schema
from sentidistill.benchmark.sentibench import LABELS
from sentidistill.benchmark.tuples import Counts
from sentidistill.calibration import calibrate
from sentidistill.prompts import SEPARATOR
from sentidistill.records import Record
from sentidistill.teacher.base import Request, Response
from sentidistill.teacher.cached import CachedTeacher

# A model that goes on after its answer writes another example.
STOPS = ("\n\n", SEPARATOR, "\nText:")


@dataclass(frozen=True)
class Settings:
    """How a model is tested. The limits are records of a task, 0 for all; seeds draw demonstrations."""

    shots: int = 4
    seeds: tuple[int, ...] = (42,)
    demonstrations: Demonstrations = "shared"
    max_demonstration_chars: int = 600
    label_limit: int = 0
    tuple_limit: int = 0
    calibration_texts: int = 0
    with_schema: bool = False
    max_new_tokens: int = 512
    bootstrap_samples: int = 1000


class Outcome(Record):
    """What a model answered to one record. `shown` are places of its demonstrations in the training file."""

    task: str
    record: int
    seed: int
    text: str
    gold: str
    output: str
    right: bool
    finish_reason: str
    shown: list[int]
    scores: list[float]


def evaluate(
    model: CachedTeacher, name: str, task: str, records: Sequence[dict], train: Sequence[dict], settings: Settings
) -> list[Outcome]:
    """Outcomes of `task`, for every seed. A prompt that does not fit, or a request that fails, is an empty output."""
    limit = settings.label_limit if task in LABELS else settings.tuple_limit
    places = limited(task, records, limit, seed=0)
    chosen = [records[place] for place in places]
    asked: list[tuple[int, Question]] = []
    references: list[tuple[int, Question]] = []
    for seed in settings.seeds:
        drawn = {
            "shots": settings.shots,
            "demonstrations": settings.demonstrations,
            "max_chars": settings.max_demonstration_chars,
            "seed": seed,
        }
        asked += [(seed, question) for question in questions(task, chosen, train, **drawn)]
        if settings.calibration_texts and task in LABELS:
            unlabelled = [train[place] for place in limited(task, train, settings.calibration_texts, seed=seed)]
            references += [(seed, question) for question in questions(task, unlabelled, train, **drawn)]
    form = schema(task, train) if settings.with_schema and task not in LABELS else None
    requests = [_request(question, form, settings) for _, question in [*asked, *references]]
    answers = model.generate(requests, f"{name}, {task}")
    labels = _labels(asked, references, answers, LABELS.get(task, ()))
    return [
        Outcome(
            task=task,
            record=places[question.record],
            seed=seed,
            text=question.prompt.input,
            gold=answer_of(task, chosen[question.record]),
            output=output,
            right=_right(task, chosen[question.record], output),
            finish_reason=answer.finish_reason,
            shown=list(question.shown),
            scores=list(answer.choice_logprobs),
        )
        for (seed, question), answer, output in zip(asked, answers, labels)
    ]


def _request(question: Question, form: dict[str, Any] | None, settings: Settings) -> Request:
    if question.choices:
        return Request(question.prompt, choices=question.choices)
    stops = () if form else STOPS
    return Request(question.prompt, json_schema=form, max_new_tokens=settings.max_new_tokens, top_k=1, stop=stops)


def _labels(
    asked: Sequence[tuple[int, Question]],
    references: Sequence[tuple[int, Question]],
    answers: Sequence[Response],
    labels: Sequence[str],
) -> list[str]:
    """The output for each question: what was answered or, with references, the label after calibration by seed."""
    outputs = [answer.text for answer in answers[: len(asked)]]
    for seed in {seed for seed, _ in references}:
        reference = [
            answer.choice_logprobs
            for (of, _), answer in zip(references, answers[len(asked) :])
            if of == seed and answer.choice_logprobs
        ]
        places = [n for n, (of, _) in enumerate(asked) if of == seed and answers[n].choice_logprobs]
        if reference and places:
            scores = calibrate(np.array([answers[n].choice_logprobs for n in places]), np.array(reference))
            for place, best in zip(places, scores.argmax(axis=1)):
                outputs[place] = labels[int(best)]
    return outputs


def _right(task: str, record: dict, output: str) -> bool:
    if task in LABELS:
        return score(task, [record], [output])["accuracy"] == 100
    counts, _ = tuple_counts(task, record, output)
    return counts.predicted == counts.gold == counts.matched_predicted == counts.matched_gold


def scores(task: str, records: Sequence[dict], outcomes: Sequence[Outcome], samples: int) -> dict[str, Any]:
    """Scores of a task: the mean over seeds and their deviation, and the central 95 % over resampled records.

    `records` are all of the split, which the outcomes point into. `main` is macro-F1 or F1, in percent.
    """
    main = "macro_f1" if task in LABELS else "f1"
    seeds = sorted({one.seed for one in outcomes})
    by_seed = []
    for seed in seeds:
        rows = [one for one in outcomes if one.seed == seed]
        by_seed.append(score(task, [records[one.record] for one in rows], [one.output for one in rows]))
    resampled = bootstrap(task, records, outcomes, samples)
    low, high = np.percentile(resampled, [2.5, 97.5])
    means = {
        name: round(float(np.mean([one[name] for one in by_seed])), 2)
        for name in ("accuracy", "precision", "recall")
        if name in by_seed[0]
    }
    counts = ("empty", "invalid", "salvaged", "cut", "invalid_tuples")
    values = [one[main] for one in by_seed]
    return {
        "main": round(float(np.mean(values)), 2),
        "deviation": round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None,
        "low": round(float(low), 2),
        "high": round(float(high), 2),
        "records": by_seed[0]["records"],
        "seeds": len(seeds),
        **means,
        **{name: sum(one[name] for one in by_seed) for name in counts if name in by_seed[0]},
    }


def bootstrap(task: str, records: Sequence[dict], outcomes: Sequence[Outcome], samples: int) -> np.ndarray:
    """The main score for `samples` draws of records with replacement (samples), the mean over seeds for each draw.

    The draws depend on the number of records alone, so differences of two models on the same records are paired.
    """
    drawn = None
    total = 0.0
    seeds = sorted({one.seed for one in outcomes})
    for seed in seeds:
        rows = sorted((one for one in outcomes if one.seed == seed), key=lambda one: one.record)
        if drawn is None:
            drawn = np.random.default_rng(0).integers(len(rows), size=(samples, len(rows)))
        if task in LABELS:
            table = _label_table(rows, LABELS[task])
            counts = table[drawn].sum(axis=1)
            size = len(LABELS[task])
            values = f1_by_class(counts.reshape(samples, size + 1, size + 1))[:, :size].mean(axis=1)
            total = total + 100 * values
        else:
            found = [tuple_counts(task, records[one.record], one.output)[0] for one in rows]
            sums = np.array([[c.predicted, c.gold, c.matched_predicted, c.matched_gold] for c in found])[drawn].sum(
                axis=1
            )
            total = total + np.array([tuples.precision_recall_f1(Counts(*map(float, row)))[2] for row in sums])
    return total / len(seeds)


def _label_table(rows: Sequence[Outcome], labels: Sequence[str]) -> np.ndarray:
    """One cell of a confusion matrix for each row (n x (k + 1)^2); an output that is no label is a class of its own."""
    place = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(rows), (len(labels) + 1) ** 2), dtype=np.int32)
    for number, row in enumerate(rows):
        named = parse_label(row.output, labels)
        table[number, place[row.gold] * (len(labels) + 1) + (len(labels) if named is None else place[named])] = 1
    return table
