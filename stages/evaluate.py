"""one model x one task -> data/predictions/MODEL/TASK.jsonl and metrics/evaluate/MODEL/TASK.json.

Run as `python -m stages.evaluate --model MODEL --task TASK`. A row:
{"task": "tweet", "record": 17, "seed": 42, "text": "Text: ...", "gold": "positive", "output": "neutral",
"calibrated": "positive", "right": false, "finish_reason": "choice", "error": null, "shown": [],
"scores": [-3.1, -0.9, -1.1]}
"""

import argparse
from pathlib import Path

from sentidistill import config, records
from sentidistill.evaluation import sentibench, suite, tasks
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.pipeline import stage


def main(role: str, name: str, open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, folder = params.evaluate, Path("data/benchmark", name)
    task = tasks.read(folder)
    test, train = (sentibench.read(folder / f"{part}.jsonl") for part in (section.split, "train"))
    settings = suite.Settings.of(task, section)
    with open_model(role, params, stage.cache_root()) as model:
        rows = suite.evaluate(model, f"evaluate {role}", task, test, train, settings)
    records.write_jsonl(f"data/predictions/{role}/{name}.jsonl", rows)
    metrics = suite.scores(task, test, rows, settings.bootstrap_samples)
    stage.finish(f"evaluate/{role}/{name}", {"split": section.split, **metrics})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=("student_base", "student", "teacher"), required=True)
    parser.add_argument("--task", required=True)
    options = parser.parse_args()
    stage.run(main, options.model, options.task)
