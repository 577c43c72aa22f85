"""one model x all tasks -> data/predictions/MODEL.jsonl and metrics/evaluate/MODEL.json.

Run as `python -m stages.evaluate MODEL`, MODEL being student_base, student or teacher. A row:
{"id": "5f1c...", "task": "tweet", "gold": "positive", "draw": 0, "scores": [-3.1, -2.0, -0.9],
"predicted": "positive", "calibrated": "neutral"}
"""

import sys
from pathlib import Path

import numpy as np

from sentidistill import config, records, stage
from sentidistill.benchmark.metrics import bootstrap_macro_f1, indices, interval, label_scores
from sentidistill.benchmark.predictions import Prediction
from sentidistill.benchmark.prompting import draw_sets, task_prompt
from sentidistill.benchmark.tasks import LABELS, Example
from sentidistill.calibration import calibrate
from sentidistill.config import Evaluate
from sentidistill.errors import SentiDistillError
from sentidistill.teacher.base import Request
from sentidistill.teacher.cache import CachedTeacher
from sentidistill.teacher.local import open_model


def predict(model: CachedTeacher, task: str, params: Evaluate) -> list[Prediction]:
    """Predictions for the records of `task`, by label log-likelihood, in the order of the file."""
    folder = Path("data/benchmark", task)
    test = records.read_jsonl(folder / f"{params.split}.jsonl", Example)
    train = records.read_jsonl(folder / "train.jsonl", Example)
    sets = draw_sets(train, params.shots_per_label, params.demonstration_draws, task, params.seed)
    requests, places = [], []
    for draw, demonstrations in enumerate(sets):
        shown = {one.id for one in demonstrations}
        unseen = [one for one in train if one.id not in shown]
        for kind, examples in (("reference", unseen[: params.calibration_texts]), ("test", test[draw :: len(sets)])):
            for example in examples:
                requests.append(Request(task_prompt(task, example.text, demonstrations), choices=LABELS))
                places.append((draw, kind, example))
    answers = model.generate(requests, f"evaluate {task}")
    if failed := [answer.error for answer in answers if answer.error]:
        raise SentiDistillError(f"evaluate {task}: {len(failed)} of {len(answers)} prompts failed: {failed[0]}")
    rows = {}
    for draw in range(len(sets)):
        of_draw = [
            (kind, example, answer) for (number, kind, example), answer in zip(places, answers) if number == draw
        ]
        reference = np.array([a.choice_logprobs for kind, _, a in of_draw if kind == "reference"])
        tested = [(example, answer) for kind, example, answer in of_draw if kind == "test"]
        scores = np.array([answer.choice_logprobs for _, answer in tested])
        best = calibrate(scores, reference).argmax(axis=1)
        for (example, answer), place in zip(tested, best):
            rows[example.id] = Prediction(
                id=example.id,
                task=task,
                gold=example.label,
                draw=draw,
                scores=list(answer.choice_logprobs),
                predicted=answer.text,
                calibrated=LABELS[int(place)],
            )
    return [rows[example.id] for example in test]


def main(role: str) -> None:
    params = config.load()
    section = params.evaluate
    with open_model(role, params, stage.cache_root()) as model:
        predictions = {task: predict(model, task, section) for task in section.tasks}
    metrics, arrays = {}, []
    for task, rows in predictions.items():
        gold, predicted = [row.gold for row in rows], [row.predicted for row in rows]
        metrics[task] = {
            "records": len(rows),
            **label_scores(gold, predicted, LABELS),
            "macro_f1_calibrated": label_scores(gold, [row.calibrated for row in rows], LABELS)["macro_f1"],
        }
        arrays.append((indices(gold, LABELS), [indices(predicted, LABELS)]))
    low, high = interval(bootstrap_macro_f1(arrays, len(LABELS), section.bootstrap_samples, section.seed)[:, 0])
    mean = {
        key: round(float(np.mean([metrics[task][key] for task in predictions])), 2)
        for key in ("macro_f1", "accuracy", "macro_f1_calibrated")
    }
    mean |= {"macro_f1_low": low, "macro_f1_high": high}
    records.write_jsonl(f"data/predictions/{role}.jsonl", [row for rows in predictions.values() for row in rows])
    stage.finish(f"evaluate/{role}", {"split": section.split, "mean": mean, **metrics})


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
