"""A model on the tasks of the benchmark: questions in, one outcome for each record and seed out, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np

from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.config.evaluation import Evaluate
from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import metrics, tuples
from sentidistill.evaluation.metrics import Estimate, draws_of, score, tuple_counts
from sentidistill.evaluation.questions import Demonstrations, Question, answer_of, limited, questions, schema
from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.evaluation.tuples import Counts
from sentidistill.inference.calibration import calibrate
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Request, Response
from sentidistill.prompts import stop_strings
from sentidistill.records import Record

# "output" is the plain answer.
Column = Literal["output", "calibrated"]


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

    @classmethod
    def of(cls, task: EvaluationTask, section: Evaluate) -> "Settings":
        """Those of the pipeline for `task`: SentiBench has its own protocol."""
        if task.name in SENTIBENCH:
            own: dict[str, Any] = section.sentibench.model_dump()
        else:
            shots = len(task.labels) * section.shots_per_label
            own = {"shots": shots, "seeds": (section.seed,), "label_limit": section.limit}
        return cls(**own, calibration_texts=section.calibration_texts, bootstrap_samples=section.bootstrap_samples)


class Outcome(Record):
    """What a model answered to one record. `shown` are places of its demonstrations in the training file.

    `scores` are log-probabilities in the order of the task's labels. `output` is the likeliest label, or the text
    that was written; `calibrated` is the likeliest label after the label bias is subtracted, which is the mean of the
    scores over unlabelled training texts; None if there are no scores. If the request failed, both are empty, and
    `error` says why.
    """

    task: str
    record: int
    seed: int
    text: str
    gold: str
    output: str
    calibrated: str | None
    right: bool
    finish_reason: str
    error: str | None
    shown: list[int]
    scores: list[float]


def evaluate(
    model: CachedTeacher,
    name: str,
    task: EvaluationTask,
    records: Sequence[dict],
    train: Sequence[dict],
    settings: Settings,
) -> list[Outcome]:
    """Outcomes of `task`, for every seed. A prompt that does not fit, or a request that fails, gives an empty output.

    Raises `SentiDistillError` if all requests fail, as that says nothing about the model.
    """
    labels = task.labels
    places = limited(task, records, settings.label_limit if labels else settings.tuple_limit, seed=0)
    chosen = [records[place] for place in places]
    asked = [
        (seed, question)
        for seed in settings.seeds
        for question in questions(
            task,
            chosen,
            train,
            shots=settings.shots,
            demonstrations=settings.demonstrations,
            max_chars=settings.max_demonstration_chars,
            seed=seed,
            calibration_texts=settings.calibration_texts if labels else 0,
        )
    ]
    form = schema(task, train) if settings.with_schema and not labels else None
    requests = [_request(question, form, model.prompt_format, settings) for _, question in asked]
    answers = model.generate(requests, f"{name}, {task.name}")
    if all(answer.error for answer in answers):
        raise SentiDistillError(
            f"{name}, {task.name}: all {len(answers)} requests failed; the first: {answers[0].error}"
        )
    outcomes = []
    for seed in settings.seeds:
        of_seed = [(question, answer) for (of, question), answer in zip(asked, answers) if of == seed]
        tested = [(one.record, one, answer) for one, answer in of_seed if one.record is not None]
        references = [answer for question, answer in of_seed if question.record is None]
        calibrated = _calibrated([answer for _, _, answer in tested], references, labels)
        outcomes += [
            Outcome(
                task=task.name,
                record=places[number],
                seed=seed,
                text=question.prompt.input,
                gold=answer_of(task, chosen[number]),
                output=answer.text,
                calibrated=label,
                right=_right(task, chosen[number], answer.text),
                finish_reason=answer.finish_reason,
                error=answer.error,
                shown=list(question.shown),
                scores=list(answer.choice_logprobs),
            )
            for (number, question, answer), label in zip(tested, calibrated)
        ]
    return outcomes


def _request(
    question: Question, form: dict[str, Any] | None, prompt_format: PromptFormat, settings: Settings
) -> Request:
    if question.choices:
        return Request(question.prompt, choices=question.choices)
    stops = () if form else stops_of(prompt_format)
    return Request(question.prompt, json_schema=form, max_new_tokens=settings.max_new_tokens, top_k=1, stop=stops)


def stops_of(prompt_format: PromptFormat) -> tuple[str, ...]:
    """What ends the answer to a tuple task.

    A model that continues a transcript writes another example after an empty line. A chat model ends its turn by
    itself, and an empty line may stand between a word of introduction and the answer.
    """
    further = ("\n\n", "\nText:") if prompt_format == "transcript" else ()
    return (*stop_strings(prompt_format), *further)


def _calibrated(answers: Sequence[Response], references: Sequence[Response], labels: Sequence[str]) -> list[str | None]:
    """The calibrated label of each answer: None if there are no scores, empty if the request failed."""
    reference = [answer.choice_logprobs for answer in references if answer.choice_logprobs]
    scores = [answer.choice_logprobs for answer in answers if answer.choice_logprobs]
    if not reference or not scores:
        return [None] * len(answers)
    best = iter(calibrate(np.array(scores), np.array(reference)).argmax(axis=1))
    return [labels[int(next(best))] if answer.choice_logprobs else "" if answer.error else None for answer in answers]


def _right(task: EvaluationTask, record: dict, output: str) -> bool:
    if task.labels:
        return score(task, [record], [output])["accuracy"] == 100
    counts, _ = tuple_counts(task, record, output)
    return counts.predicted == counts.gold == counts.matched_predicted == counts.matched_gold


def scores(task: EvaluationTask, records: Sequence[dict], outcomes: Sequence[Outcome], samples: int) -> dict[str, Any]:
    """Scores of a task: the mean over seeds and their deviation, and the central 95 % over resampled records.

    `records` are all of the split, which the outcomes point into. `main` is macro-F1 or F1, in percent; `calibrated`
    holds the same of the calibrated labels, None without. Failed requests count as wrong, and as `empty`, too.
    """
    main = "macro_f1" if task.labels else "f1"
    by_seed = []
    for seed in sorted({one.seed for one in outcomes}):
        rows = [one for one in outcomes if one.seed == seed]
        by_seed.append(score(task, [records[one.record] for one in rows], [one.output for one in rows]))

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 2)

    values = [one[main] for one in by_seed]
    means: dict[str, Any] = {
        name: mean([one[name] for one in by_seed]) for name in ("accuracy", "precision", "recall") if name in by_seed[0]
    }
    if task.labels:
        means["f1"] = {label: mean([one["f1"][label] for one in by_seed]) for label in task.labels}
    calibrated = estimate(task, records, outcomes, samples, "calibrated")
    return {
        **estimate(task, records, outcomes, samples, "output").rounded(),
        "deviation": round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None,
        "calibrated": calibrated and calibrated.rounded(),
        "records": by_seed[0]["records"],
        "seeds": len(by_seed),
        **means,
        "failed": sum(one.error is not None for one in outcomes),
        **{
            name: sum(one[name] for one in by_seed)
            for name in ("empty", "invalid", "salvaged", "cut", "invalid_tuples")
            if name in by_seed[0]
        },
    }


@overload
def estimate(
    task: EvaluationTask,
    records: Sequence[dict],
    outcomes: Sequence[Outcome],
    samples: int,
    column: Literal["output"],
) -> Estimate: ...


@overload
def estimate(
    task: EvaluationTask, records: Sequence[dict], outcomes: Sequence[Outcome], samples: int, column: Column
) -> Estimate | None: ...


def estimate(
    task: EvaluationTask, records: Sequence[dict], outcomes: Sequence[Outcome], samples: int, column: Column
) -> Estimate | None:
    """The main score in percent, the mean over seeds, also for `samples` draws of records with replacement.

    None where an outcome has nothing in the `column`. The draws depend on the task and the number of records alone,
    so that estimates of two models on the same records are paired. `records` are looked at for tuple tasks only.
    """
    if any(getattr(one, column) is None for one in outcomes):
        return None
    by_seed = []
    for seed in sorted({one.seed for one in outcomes}):
        rows = sorted((one for one in outcomes if one.seed == seed), key=lambda one: one.record)
        outputs = [getattr(one, column) for one in rows]
        draws = draws_of(task.name, len(rows), samples)
        if task.labels:
            by_seed.append(metrics.macro_f1(task.labels, [one.gold for one in rows], outputs, draws))
        else:
            found = [tuple_counts(task, records[one.record], output)[0] for one, output in zip(rows, outputs)]
            table = np.array([[c.predicted, c.gold, c.matched_predicted, c.matched_gold] for c in found])
            sums = (Counts(*map(float, table[draw].sum(axis=0))) for draw in draws)
            values = np.array([tuples.precision_recall_f1(counts)[2] for counts in sums])
            by_seed.append(Estimate(float(values[0]), values[1:]))
    return metrics.mean(by_seed)
