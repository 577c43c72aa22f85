"""one model x one task -> data/predictions/MODEL/TASK.jsonl and metrics/evaluate/MODEL/TASK.json.

Run as `python -m stages.evaluate MODEL TASK`, MODEL being student_base, student or teacher. A row of a default task:
{"id": "5f1c...", "task": "tweet", "gold": "positive", "draw": 0, "scores": [-3.1, -2.0, -0.9],
"predicted": "positive", "calibrated": "neutral"}
Of a task of SentiBench: {"task": "twitter", "record": 17, "seed": 42, "text": "Text: ...", "gold": "neutral",
"output": "neutral", "right": true, "finish_reason": "choice", "shown": [3, 8], "scores": [-3.1, -2.0, -0.9]}
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sentidistill import config, records, stage
from sentidistill.benchmark import sentibench, suite
from sentidistill.benchmark.metrics import bootstrap_macro_f1, indices, interval, label_scores
from sentidistill.benchmark.predictions import Prediction
from sentidistill.benchmark.prompting import draw_sets, task_prompt
from sentidistill.benchmark.tasks import LABELS, Example
from sentidistill.calibration import calibrate
from sentidistill.config import Evaluate
from sentidistill.errors import SentiDistillError
from sentidistill.teacher.base import Request, Response
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.opening import OpenModel, open_model

BENCHMARK = Path("data/benchmark")


@dataclass(frozen=True)
class Asked:
    """A request, and the text of the benchmark that it is about. `draw` is the number of the demonstrations."""

    draw: int
    kind: Literal["reference", "test"]
    example: Example
    request: Request


def prompts(task: str, params: Evaluate) -> list[Asked]:
    """What is asked for `task`: calibration texts and test records under each set of demonstrations."""
    test = records.read_jsonl(BENCHMARK / task / f"{params.split}.jsonl", Example)
    train = records.read_jsonl(BENCHMARK / task / "train.jsonl", Example)
    sets = draw_sets(train, params.shots_per_label, params.demonstration_draws, task, params.seed)
    asked = []
    for draw, demonstrations in enumerate(sets):
        shown = {one.id for one in demonstrations}
        unseen = [one for one in train if one.id not in shown]
        for kind, examples in (("reference", unseen[: params.calibration_texts]), ("test", test[draw :: len(sets)])):
            asked += [
                Asked(draw, kind, one, Request(task_prompt(task, one.text, demonstrations), choices=LABELS))
                for one in examples
            ]
    return asked


def predictions(task: str, answers: list[tuple[Asked, Response]]) -> list[Prediction]:
    """Predictions for the test records of one task under one set of demonstrations, by label log-likelihood.

    Where a server gives no scores, there is nothing to calibrate, and the calibrated label is the plain one.
    """
    tested = [(asked, answer) for asked, answer in answers if asked.kind == "test"]
    calibrated = [answer.text for _, answer in tested]
    if all(answer.choice_logprobs for _, answer in answers):
        reference = np.array([answer.choice_logprobs for asked, answer in answers if asked.kind == "reference"])
        scores = np.array([answer.choice_logprobs for _, answer in tested])
        calibrated = [LABELS[int(place)] for place in calibrate(scores, reference).argmax(axis=1)]
    return [
        Prediction(
            id=asked.example.id,
            task=task,
            gold=asked.example.label,
            draw=asked.draw,
            scores=list(answer.choice_logprobs),
            predicted=answer.text,
            calibrated=label,
        )
        for (asked, answer), label in zip(tested, calibrated)
    ]


def default_task(model: CachedTeacher, role: str, task: str, section: Evaluate) -> tuple[list[Prediction], dict]:
    asked = prompts(task, section)
    answers = model.generate([one.request for one in asked], f"evaluate {role}, {task}")
    if failed := [answer.error for answer in answers if answer.error]:
        raise SentiDistillError(f"evaluate {role} {task}: {len(failed)} of {len(answers)} prompts failed: {failed[0]}")
    groups = defaultdict(list)
    for one, answer in zip(asked, answers):
        groups[one.draw].append((one, answer))
    rows = sorted((row for group in groups.values() for row in predictions(task, group)), key=lambda row: row.id)
    gold, predicted = [row.gold for row in rows], [row.predicted for row in rows]
    arrays = [(indices(gold, LABELS), [indices(predicted, LABELS)])]
    low, high = interval(bootstrap_macro_f1(arrays, len(LABELS), section.bootstrap_samples, section.seed)[:, 0])
    metrics = {
        "records": len(rows),
        **label_scores(gold, predicted, LABELS),
        "macro_f1_calibrated": label_scores(gold, [row.calibrated for row in rows], LABELS)["macro_f1"],
        "low": low,
        "high": high,
    }
    return rows, metrics


def sentibench_task(model: CachedTeacher, role: str, task: str, section: Evaluate) -> tuple[list[suite.Outcome], dict]:
    test, train = (sentibench.read(BENCHMARK / task / f"{name}.jsonl") for name in (section.split, "train"))
    settings = suite.Settings(**section.sentibench.model_dump(), bootstrap_samples=section.bootstrap_samples)
    rows = suite.evaluate(model, f"evaluate {role}", task, test, train, settings)
    return rows, suite.scores(task, test, rows, settings.bootstrap_samples)


def main(role: str, task: str, open_model: OpenModel = open_model) -> None:
    params = config.load()
    run: Callable = default_task if task in params.prepare_benchmark.tasks else sentibench_task
    with open_model(role, params, stage.cache_root()) as model:
        rows, metrics = run(model, role, task, params.evaluate)
    records.write_jsonl(f"data/predictions/{role}/{task}.jsonl", rows)
    stage.finish(f"evaluate/{role}/{task}", {"split": params.evaluate.split, **metrics})


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
