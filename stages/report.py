"""everything -> report.md, metrics/report.json and the figures in plots/."""

from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from sentidistill import config, records, stage
from sentidistill.benchmark import baselines, sentibench, suite
from sentidistill.benchmark.metrics import bootstrap_macro_f1, indices, interval, label_scores
from sentidistill.benchmark.predictions import Prediction
from sentidistill.benchmark.tasks import LABELS
from sentidistill.calls import CALLING_STAGES
from sentidistill.config import Evaluate
from sentidistill.instructions import Instruction
from sentidistill.perspectives import Perspective
from sentidistill.report import figures
from sentidistill.samples import Answered, PoolPrompt

ROLES = ("student_base", "student", "teacher")
PREDICTIONS, BENCHMARK = Path("data/predictions"), Path("data/benchmark")
EXAMPLES = 10
# Figures of a stage that count what it leaves out, besides the faults of answers.
LOSSES = {
    "collect_attributes": {
        "merged_by_spelling": "names merged, same spelling",
        "merged_by_meaning": "names merged, same meaning",
        "too_rare": "names in too few texts",
    },
    "select_perspectives": {"left_out": "clusters about things"},
    "define_tasks": {
        "repeated": "repeated tasks",
        "off_topic": "tasks below min_relevance",
        "labels_far_apart": "tasks below min_label_similarity",
        "over_limit": "tasks over max_tasks",
    },
    "write_demonstrations": {
        "repeated": "repeated texts",
        "not_shown": "texts not confirmed, or that others are surer than",
        "tasks_below_min_kappa": "tasks below min_kappa",
    },
}


def gains(
    predictions: dict[str, list[Prediction]], tasks: list[str], column: str, samples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Student minus base in points of macro-F1 for each task and, under "mean", their mean; paired bootstrap.

    `column` is the field of the predictions that is scored: "predicted" or "calibrated".
    """
    arrays, differences = {}, {}
    for task in tasks:
        base, student = (
            sorted((row for row in predictions[model] if row.task == task), key=lambda row: row.id)
            for model in ("student_base", "student")
        )
        assert [row.id for row in base] == [row.id for row in student], "both models are tested on the same records"
        gold = [row.gold for row in base]
        labels = [[getattr(row, column) for row in rows] for rows in (base, student)]
        before, after = (label_scores(gold, one, LABELS)["macro_f1"] for one in labels)
        differences[task] = after - before
        arrays[task] = (indices(gold, LABELS), [indices(one, LABELS) for one in labels])
    differences["mean"] = float(np.mean(list(differences.values())))
    result = {}
    for name, chosen in [*((task, [arrays[task]]) for task in tasks), ("mean", list(arrays.values()))]:
        values = bootstrap_macro_f1(chosen, len(LABELS), samples, seed)
        low, high = interval(values[:, 1] - values[:, 0])
        result[name] = {"mean": round(differences[name], 2), "low": low, "high": high}
    return result


def default_scores(role: str, tasks: list[str]) -> dict[str, dict]:
    """Scores of a model by default task and, under "mean", their means."""
    found = {task: records.read_json(f"metrics/evaluate/{role}/{task}.json") for task in tasks}
    keys = ("macro_f1", "accuracy", "macro_f1_calibrated")
    return {**found, "mean": {key: round(float(np.mean([one[key] for one in found.values()])), 2) for key in keys}}


def student_interval(rows: list[Prediction], tasks: list[str], params: Evaluate) -> dict[str, float]:
    """The central 95 % of the student's mean macro-F1 over the default tasks, over resampled records."""
    arrays = [
        (
            indices([row.gold for row in rows if row.task == task], LABELS),
            [indices([row.predicted for row in rows if row.task == task], LABELS)],
        )
        for task in tasks
    ]
    low, high = interval(bootstrap_macro_f1(arrays, len(LABELS), params.bootstrap_samples, params.seed)[:, 0])
    return {"low": low, "high": high}


def sentibench_table(tasks: list[str], params: Evaluate) -> dict[str, dict[str, dict]]:
    """Scores of the models and baselines by task of SentiBench and, under "mean", by group of tasks.

    A model's row has "main", "low" and "high"; under "gain" stand the student's minus the base's, paired.
    """
    settings = suite.Settings(**params.sentibench.model_dump(), bootstrap_samples=params.bootstrap_samples)
    table: dict[str, dict[str, dict]] = {}
    for task in tasks:
        test, train = (sentibench.read(BENCHMARK / task / f"{name}.jsonl") for name in (params.split, "train"))
        row = {role: records.read_json(f"metrics/evaluate/{role}/{task}.json") for role in ROLES}
        outcomes = {role: records.read_jsonl(PREDICTIONS / role / f"{task}.jsonl", suite.Outcome) for role in ROLES}
        base, student = (
            suite.bootstrap(task, test, outcomes[role], params.bootstrap_samples)
            for role in ("student_base", "student")
        )
        low, high = interval(student - base)
        row["gain"] = {"main": round(row["student"]["main"] - row["student_base"]["main"], 2), "low": low, "high": high}
        for kind in baselines.kinds(task):
            found = baselines.outcomes(kind, task, test, train, settings)
            row[kind] = suite.scores(task, test, found, params.bootstrap_samples)
        table[task] = row
    means = {role: sentibench.group_means({task: row[role]["main"] for task, row in table.items()}) for role in ROLES}
    table["mean"] = {group: {role: means[role][group] for role in ROLES} for group in means["student"]}
    return table


def cell(text: str, limit: int = 240) -> str:
    """`text` fit for a cell of a Markdown table."""
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= limit else f"{text[:limit]}..."


def drawn(rows: list[Instruction], seed: int) -> list[Instruction]:
    """Some of `rows` at random, in their order."""
    places = np.random.default_rng(seed).choice(len(rows), min(EXAMPLES, len(rows)), replace=False)
    return [rows[place] for place in sorted(places)]


def losses() -> list[tuple[str, str, int]]:
    """(stage, reason, number) of all that was lost between the texts and the answers."""
    found = []
    for name in CALLING_STAGES:
        metrics = records.read_json(f"metrics/{name}.json")
        found += [(name, reason.replace("_", " "), number) for reason, number in metrics["lost"].items()]
        found += [(name, label, metrics[key]) for key, label in LOSSES.get(name, {}).items()]
    for name in ("collect_attributes", "select_perspectives", "build_instructions"):
        metrics = records.read_json(f"metrics/{name}.json")
        found += [(name, label, metrics[key]) for key, label in LOSSES.get(name, {}).items()]
        found += [(name, reason.replace("_", " "), number) for reason, number in metrics.get("lost", {}).items()]
    return [(name, reason, number) for name, reason, number in found if number]


def example_rows(pool: list[PoolPrompt], answers: dict[str, str], seed: int) -> list[dict[str, str]]:
    answered = [row for row in pool if row.id in answers]
    random = np.random.default_rng(seed)
    chosen = random.choice(len(answered), min(EXAMPLES, len(answered)), replace=False)
    return [
        {
            "instruction": cell(answered[i].instruction),
            "text": cell(answered[i].text),
            "answer": cell(answers[answered[i].id]),
        }
        for i in chosen
    ]


def main() -> None:
    params = config.load()
    seed = params.evaluate.seed
    tasks = [task for task in params.evaluate.tasks if task in params.prepare_benchmark.tasks]
    others = [task for task in params.evaluate.tasks if task not in tasks]
    scores = {role: default_scores(role, tasks) for role in ROLES}
    predictions = {
        role: [row for task in tasks for row in records.read_jsonl(PREDICTIONS / role / f"{task}.jsonl", Prediction)]
        for role in ROLES
    }
    gained, calibrated = (
        gains(predictions, tasks, column, params.evaluate.bootstrap_samples, seed)
        for column in ("predicted", "calibrated")
    )
    table_of = sentibench_table(others, params.evaluate) if others else {}
    ratio = scores["student"]["mean"]["macro_f1"] / scores["teacher"]["mean"]["macro_f1"]

    plots = Path("plots")
    clusters_map = pd.read_csv(plots / "clusters.csv")
    figures.training_loss(pd.read_csv(plots / "training_loss.csv"), plots / "training_loss.png")
    figures.difficulty(pd.read_csv(plots / "difficulty.csv"), params.select_samples.metric, plots / "difficulty.png")
    figures.kept_shares(pd.read_csv(plots / "kept.csv"), plots / "kept.png")
    figures.cluster_map(clusters_map, plots / "clusters.png")
    table = pd.DataFrame(
        {role: [scores[role][task]["macro_f1"] for task in [*tasks, "mean"]] for role in ROLES}, [*tasks, "mean"]
    )
    figures.scores(table, plots / "scores.png")
    records.write_text(plots / "scores.csv", table.rename_axis("task").to_csv())

    instructions = records.read_jsonl("data/instructions.jsonl", Instruction)
    perspectives = records.read_jsonl("data/perspectives.jsonl", Perspective)
    tasks_made = [row for row in instructions if row.family != "analysis"]
    answers = {row.id: row.answer for row in records.read_jsonl("data/responses.jsonl", Answered)}
    pool = records.read_jsonl("data/prompts.jsonl", PoolPrompt)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("sentidistill.report").joinpath("report.md.jinja").read_text("utf-8"))
    text = template.render(
        split=params.evaluate.split,
        tasks=tasks,
        labels=LABELS,
        base=scores["student_base"],
        student=scores["student"],
        teacher=scores["teacher"],
        gain=gained["mean"],
        gains=gained,
        calibrated=calibrated["mean"],
        ratio=ratio,
        shots=params.evaluate.shots_per_label,
        draws=params.evaluate.demonstration_draws,
        calibration=params.evaluate.calibration_texts,
        n_attributes=len(clusters_map),
        perspectives=[row for row in perspectives if row.kept],
        left_out=[row for row in perspectives if not row.kept],
        instructions=instructions,
        families=dict(sorted(Counter(row.family for row in instructions).items())),
        shown_tasks=drawn(tasks_made, seed),
        shown_analyses=drawn([row for row in instructions if row.family == "analysis"], seed),
        cell=cell,
        losses=losses(),
        clustering=records.read_json("metrics/cluster_attributes.json"),
        breadth=records.read_json("metrics/build_instructions.json")["breadth"],
        calls={name: records.read_json(f"metrics/{name}.json") for name in CALLING_STAGES},
        examples=example_rows(pool, answers, seed),
        selection=records.read_json("metrics/select_samples.json"),
        training=records.read_json("metrics/train_student.json"),
        sentibench=table_of,
        limits=params.evaluate.sentibench,
    )
    records.write_text("report.md", text)
    records.write_json(
        "metrics/report.json",
        {
            "macro_f1": {role: scores[role]["mean"]["macro_f1"] for role in ROLES},
            "student": student_interval(predictions["student"], tasks, params.evaluate),
            "gain": gained["mean"],
            "gain_calibrated": calibrated["mean"],
            "student_to_teacher": round(ratio, 4),
            **({"sentibench": table_of["mean"]} if table_of else {}),
        },
    )
    print(f"report.md: student {gained['mean']['mean']:+.1f} points of mean macro-F1 over its base")


if __name__ == "__main__":
    stage.run(main)
