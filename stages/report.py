"""everything -> report.md, metrics/report.json, the figures in plots/, and metrics/predictions.csv.

The last has a row for each test record and model, of the tasks that are not SentiBench's, without the texts.
"""

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from sentidistill import config, records
from sentidistill.config import SENTIBENCH
from sentidistill.construct.checks import CHECKS
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.evaluation import sentibench, tasks
from sentidistill.evaluation.suite import Outcome
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.pipeline import stage
from sentidistill.report import figures, scores
from sentidistill.samples import SAMPLES

PREDICTIONS, BENCHMARK = Path("data/predictions"), Path("data/benchmark")
EXAMPLES = 10
R = TypeVar("R")
LOSING_STAGES = (*CALLING_STAGES, "collect_attributes", "select_perspectives", "build_instructions")
# Figures of a stage that count what it leaves out, besides the faults of answers.
LOSSES = {
    "collect_attributes": {
        "merged_by_spelling": "names merged, same spelling",
        "merged_by_meaning": "names merged, same meaning",
        "too_rare": "names in too few texts",
    },
    "select_perspectives": {"left_out": "clusters about things"},
    "define_tasks": {"repeated": "repeated tasks", "over_limit": "proposals over max_tasks"},
    "write_demonstrations": {
        "repeated": "repeated texts",
        "not_shown": "texts not confirmed, or that others are surer than",
        "tasks_below_min_kappa": "tasks below min_kappa",
    },
    "collect_responses": {"tasks_of_one_label": "tasks that gave one label to nearly all texts"},
}


def read_tested(task: str, split: str) -> scores.Tested:
    test, train = (sentibench.read(BENCHMARK / task / f"{name}.jsonl") for name in (split, "train"))
    return scores.Tested(
        tasks.read(BENCHMARK / task),
        test,
        train,
        {role: records.read_json(f"metrics/evaluate/{role}/{task}.json") for role in scores.ROLES},
        {role: records.read_jsonl(PREDICTIONS / role / f"{task}.jsonl", Outcome) for role in scores.ROLES},
    )


def cell(text: str, limit: int = 240) -> str:
    """`text` fit for a cell of a Markdown table."""
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= limit else f"{text[:limit]}..."


def drawn(rows: list[R], seed: int) -> list[R]:
    """Some of `rows` at random, in their order."""
    places = np.random.default_rng(seed).choice(len(rows), min(EXAMPLES, len(rows)), replace=False)
    return [rows[place] for place in sorted(places)]


def losses() -> list[tuple[str, str, int]]:
    """(stage, reason, number) of all that was lost between the texts and the answers."""
    found = []
    for name in LOSING_STAGES:
        metrics = records.read_json(f"metrics/{name}.json")
        reasons = {reason: line for reason, (_, line) in CHECKS.items()}
        lost = metrics.get("lost", {}).items()
        found += [(name, reasons.get(reason, reason.replace("_", " ")), number) for reason, number in lost]
        found += [(name, label, metrics[key]) for key, label in LOSSES.get(name, {}).items()]
    return [(name, reason, number) for name, reason, number in found if number]


def main() -> None:
    params = config.load()
    section, seed = params.evaluate, params.evaluate.seed
    tested = {name: read_tested(name, section.split) for name in section.tasks}
    models = scores.of_models(tested, section)

    plots = Path("plots")
    clusters_map = pd.read_csv(plots / "clusters.csv")
    figures.training_loss(pd.read_csv(plots / "training_loss.csv"), plots / "training_loss.png")
    figures.difficulty(pd.read_csv(plots / "difficulty.csv"), params.select_samples.metric, plots / "difficulty.png")
    figures.kept_shares(pd.read_csv(plots / "kept.csv"), plots / "kept.png")
    figures.cluster_map(clusters_map, plots / "clusters.png")
    shown = [*models["tasks"], "mean"]
    table = pd.DataFrame(
        {role: [models["plain"][name][role]["main"] for name in shown] for role in scores.ROLES}, shown
    )
    figures.scores(table, plots / "scores.png")
    records.write_text(plots / "scores.csv", table.rename_axis("task").to_csv())

    instructions = INSTRUCTIONS.read()
    perspectives = PERSPECTIVES.read()
    tasks_made = [row for row in instructions if row.family != "analysis"]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("sentidistill.report").joinpath("report.md.jinja").read_text("utf-8"))
    text = template.render(
        **models,
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
        examples=drawn(SAMPLES.read(), seed),
        selection=records.read_json("metrics/select_samples.json"),
        training=records.read_json("metrics/train_student.json"),
    )
    records.write_text("report.md", text)
    own = {name: one for name, one in tested.items() if name not in SENTIBENCH}
    records.write_text("metrics/predictions.csv", scores.by_record(own).to_csv(index=False))
    records.write_json("metrics/report.json", scores.headline(models["plain"], models["calibrated"]))
    gain = models["plain"]["mean"]["gain"]["main"]
    print(f"report.md: student {gain:+.1f} points of mean macro-F1 over its base")


if __name__ == "__main__":
    stage.run(main)
