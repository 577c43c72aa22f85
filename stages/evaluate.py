"""one model x all tasks -> data/predictions/MODEL.jsonl and metrics/evaluate/MODEL.json.

Run as `python -m stages.evaluate MODEL`, MODEL being student_base, student or teacher. A row:
{"id": "5f1c...", "task": "tweet", "gold": "positive", "draw": 0, "scores": [-3.1, -2.0, -0.9],
"predicted": "positive", "calibrated": "neutral"}
"""

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sentidistill import config, records, stage
from sentidistill.benchmark.metrics import bootstrap_macro_f1, indices, interval, label_scores
from sentidistill.benchmark.predictions import Prediction
from sentidistill.benchmark.prompting import draw_sets, task_prompt
from sentidistill.benchmark.tasks import LABELS, Example
from sentidistill.calibration import calibrate
from sentidistill.config import Evaluate
from sentidistill.errors import SentiDistillError
from sentidistill.teacher.base import Request, Response
from sentidistill.teacher.opening import OpenModel, open_model


@dataclass(frozen=True)
class Asked:
    """A request, and the text of the benchmark that it is about. `draw` is the number of the demonstrations."""

    task: str
    draw: int
    kind: Literal["reference", "test"]
    example: Example
    request: Request


def prompts(task: str, params: Evaluate) -> list[Asked]:
    """What is asked for `task`: calibration texts and test records under each set of demonstrations."""
    folder = Path("data/benchmark", task)
    test = records.read_jsonl(folder / f"{params.split}.jsonl", Example)
    train = records.read_jsonl(folder / "train.jsonl", Example)
    sets = draw_sets(train, params.shots_per_label, params.demonstration_draws, task, params.seed)
    asked = []
    for draw, demonstrations in enumerate(sets):
        shown = {one.id for one in demonstrations}
        unseen = [one for one in train if one.id not in shown]
        for kind, examples in (("reference", unseen[: params.calibration_texts]), ("test", test[draw :: len(sets)])):
            asked += [
                Asked(task, draw, kind, one, Request(task_prompt(task, one.text, demonstrations), choices=LABELS))
                for one in examples
            ]
    return asked


def predictions(answers: list[tuple[Asked, Response]]) -> list[Prediction]:
    """Predictions for the test records of one task under one set of demonstrations, by label log-likelihood.

    Where a server gives no scores, there is nothing to calibrate, and the calibrated label is the plain one.
    """
    tested = [(asked.example, answer) for asked, answer in answers if asked.kind == "test"]
    calibrated = [answer.text for _, answer in tested]
    if all(answer.choice_logprobs for _, answer in answers):
        reference = np.array([answer.choice_logprobs for asked, answer in answers if asked.kind == "reference"])
        scores = np.array([answer.choice_logprobs for _, answer in tested])
        calibrated = [LABELS[int(place)] for place in calibrate(scores, reference).argmax(axis=1)]
    return [
        Prediction(
            id=example.id,
            task=answers[0][0].task,
            gold=example.label,
            draw=answers[0][0].draw,
            scores=list(answer.choice_logprobs),
            predicted=answer.text,
            calibrated=label,
        )
        for (example, answer), label in zip(tested, calibrated)
    ]


def main(role: str, open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.evaluate
    asked = [one for task in section.tasks for one in prompts(task, section)]
    with open_model(role, params, stage.cache_root()) as model:
        answers = model.generate([one.request for one in asked], f"evaluate {role}")
    if failed := [answer.error for answer in answers if answer.error]:
        raise SentiDistillError(f"evaluate {role}: {len(failed)} of {len(answers)} prompts failed: {failed[0]}")
    groups = defaultdict(list)
    for one, answer in zip(asked, answers):
        groups[one.task, one.draw].append((one, answer))
    predicted_of = {
        task: sorted(
            (row for (of, _), group in groups.items() if of == task for row in predictions(group)),
            key=lambda row: row.id,
        )
        for task in section.tasks
    }
    metrics, arrays = {}, []
    for task, rows in predicted_of.items():
        gold, predicted = [row.gold for row in rows], [row.predicted for row in rows]
        metrics[task] = {
            "records": len(rows),
            **label_scores(gold, predicted, LABELS),
            "macro_f1_calibrated": label_scores(gold, [row.calibrated for row in rows], LABELS)["macro_f1"],
        }
        arrays.append((indices(gold, LABELS), [indices(predicted, LABELS)]))
    low, high = interval(bootstrap_macro_f1(arrays, len(LABELS), section.bootstrap_samples, section.seed)[:, 0])
    mean = {
        key: round(float(np.mean([metrics[task][key] for task in predicted_of])), 2)
        for key in ("macro_f1", "accuracy", "macro_f1_calibrated")
    }
    mean |= {"macro_f1_low": low, "macro_f1_high": high}
    records.write_jsonl(f"data/predictions/{role}.jsonl", [row for rows in predicted_of.values() for row in rows])
    stage.finish(f"evaluate/{role}", {"split": section.split, "mean": mean, **metrics})


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
