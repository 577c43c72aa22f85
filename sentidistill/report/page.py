"""The pieces of report.md."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from sentidistill import records
from sentidistill.construct.checks import CHECKS
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.pipeline.stage import without_controls
from sentidistill.report.templates import rendered

# Further reasons under "lost" than the checks, as readers know them.
REASONS = {reason: line for reason, (_, line) in CHECKS.items()} | {
    "few_demonstrations": "tasks with too few demonstrations",
    "demonstrations_of_one_answer": "tasks whose demonstrations have one answer",
    "repeated_analysis": "analyses that repeat another one",
    "judged_wrong": "judged to be wrong by a reader",
}
EXAMPLES = 10
R = TypeVar("R")
LOSING_STAGES = (*CALLING_STAGES, "collect_attributes", "select_perspectives", "build_instructions")
# Figures of a stage that count things left out, besides the faults of answers.
LOSSES = {
    "collect_attributes": {
        "merged_by_spelling": "names merged, same spelling",
        "merged_by_meaning": "names merged, same meaning",
        "too_rare": "names in too few texts",
    },
    "select_perspectives": {"left_out": "clusters about things"},
    "define_tasks": {"repeated": "repeated tasks", "over_limit": "proposals over the number that is wanted"},
    "write_demonstrations": {
        "repeated": "repeated texts",
        "not_shown": "texts not confirmed, or that others are surer than",
        "tasks_below_min_kappa": "tasks whose labels the teacher confirms too seldom (kappa)",
    },
    "collect_responses": {"tasks_of_one_label": "tasks that gave one label to nearly all texts"},
}


def cell(text: str, limit: int = 240) -> str:
    """`text` on one line of Markdown, in a table too: shown as it is, without links, images and HTML."""
    text = " ".join(without_controls(text).split())
    text = text if len(text) <= limit else f"{text[:limit]}..."
    for mark, shown in (("\\", "&#92;"), ("|", "\\|"), ("<", "&lt;"), ("](", "]\\("), ("]:", "]\\:")):
        text = text.replace(mark, shown)
    return text


def drawn(rows: Sequence[R], seed: int) -> list[R]:
    """Some of `rows` at random, in their order."""
    places = np.random.default_rng(seed).choice(len(rows), min(EXAMPLES, len(rows)), replace=False)
    return [rows[place] for place in sorted(places)]


def losses(stages: Sequence[str] = LOSING_STAGES) -> list[tuple[str, str, int]]:
    """(stage, reason, number) of all losses of `stages`: without others, all between the texts and the answers."""
    found = []
    for name in stages:
        metrics = records.read_json(f"metrics/{name}.json")
        lost = metrics.get("lost", {}).items()
        found += [(name, REASONS.get(reason, reason.replace("_", " ")), number) for reason, number in lost]
        found += [(name, label, metrics[key]) for key, label in LOSSES.get(name, {}).items()]
    return [(name, reason, number) for name, reason, number in found if number]


def render(**values: Any) -> str:
    """The report, from the values that its template names."""
    return rendered("report.md.jinja", cell=cell, losses=losses(), **values)
