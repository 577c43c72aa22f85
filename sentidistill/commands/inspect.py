"""Look at what the stages have made, in the terminal:

    python -m sentidistill.commands.inspect clusters       [--cluster 3] [--status kept|left-out]
    python -m sentidistill.commands.inspect instructions   [--cluster 3] [--family scoring]
    python -m sentidistill.commands.inspect demonstrations [--cluster 3] [--family scoring] [--status shown|not-shown]
    python -m sentidistill.commands.inspect calls STAGE    [--status parsed|repaired|failed] [--fault number_of_labels]
    python -m sentidistill.commands.inspect predictions MODEL [--task tweet] [--wrong]

MODEL is one that the pipeline has tested (student_base, student, teacher), or one of `python -m
sentidistill.commands.evaluate`. Each shows the first rows that fit, 20 by default; `--limit 0` shows all.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentidistill import records
from sentidistill.commands.arguments import at_least
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.construct.tasks import TASK_DEFINITIONS
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.suite import Outcome
from sentidistill.inference.calls import CALLING_STAGES, table_of
from sentidistill.pipeline import stage

DATA = Path("data")
FAMILIES = ("analysis", "classification", "scoring", "extraction", "structured")
# A row has the cells of a table by column. These options choose rows by the cell of the same name.
CHOOSING = ("cluster", "family", "status", "task")
Rows = list[dict[str, Any]]


def clusters(chosen: argparse.Namespace) -> Rows:
    """Every cluster; or one, with all that is known of its attributes."""
    rows = []
    for row in PERSPECTIVES.read():
        cells: dict[str, Any] = {"cluster": row.id, "status": "kept" if row.kept else "left-out"}
        if chosen.cluster is not None:
            rows += [
                cells
                | {"attribute": a.name, "texts": a.count, "description": a.description, "raw": ", ".join(a.variants)}
                for a in row.attributes
            ]
            continue
        cells |= {"exemplar": row.exemplar, "texts": row.count, "cohesion": row.cohesion, "margin": row.margin}
        rows.append(cells | {"attributes": ", ".join(a.name for a in row.attributes)})
    return rows


def instructions(chosen: argparse.Namespace) -> Rows:
    return [
        row.model_dump(include={"cluster", "family", "id", "text"})
        | {"demonstrations": "\n".join(f"{text} => {output}" for text, output in row.demonstrations)}
        for row in INSTRUCTIONS.read()
    ]


def demonstrations(chosen: argparse.Namespace) -> Rows:
    tasks = {row.id: row for row in TASK_DEFINITIONS.read()}
    return [
        tasks[row.task].model_dump(include={"cluster", "family", "instruction"})
        | row.model_dump(include={"input", "written_for", "output", "lead"})
        | {"status": "shown" if row.shown else "not-shown"}
        for row in DEMONSTRATIONS.read()
    ]


def calls(chosen: argparse.Namespace) -> Rows:
    return [
        row.model_dump(include={"key", "status", "attempts", "completion_tokens"})
        | {"faults": ", ".join(row.faults), "answer": row.error or row.raw}
        for row in table_of(chosen.stage).read()
        if chosen.fault is None or chosen.fault in row.faults
    ]


def predictions(chosen: argparse.Namespace) -> Rows:
    apart = Path("sentibench", chosen.model, "predictions")
    folder = apart if apart.is_dir() else DATA / "predictions" / chosen.model
    if not folder.is_dir():
        raise SentiDistillError(f"no predictions of a model {chosen.model!r}: neither {apart} nor {folder} is there")
    return [
        row.model_dump(include={"task", "text", "gold", "calibrated"}) | {"prediction": row.error or row.output}
        for path in sorted(folder.glob("*.jsonl"))
        for row in records.read_jsonl(path, Outcome)
        if not (chosen.wrong and row.right)
    ]


def cell(value: Any) -> Text:
    return stage.visible("" if value is None else f"{value:.2f}" if isinstance(value, float) else value)


def show(rows: Rows, limit: int, console: Console) -> None:
    shown = rows[:limit] if limit else rows
    table = Table(*(name.replace("_", " ") for name in (rows[0] if rows else ())), show_lines=True)
    for row in shown:
        table.add_row(*map(cell, row.values()))
    console.print(table)
    console.print(f"{len(shown)} of {len(rows)} rows")


OPTIONS: dict[str, dict[str, Any]] = {
    "--cluster": {"type": int, "help": "number of a cluster"},
    "--family": {"choices": FAMILIES},
    "--status": {},
    "stage": {"choices": CALLING_STAGES},
    "--fault": {"help": "a reason, as under 'lost' in the stage's metrics"},
    "model": {"help": "such as student, or the name of a model's folder"},
    "--task": {},
    "--wrong": {"action": "store_true", "help": "only wrong ones"},
    "--limit": {"type": at_least(0), "default": 20, "help": "rows to show; 0: all"},
}
TABLES = {
    clusters: ("--cluster", "--status"),
    instructions: ("--cluster", "--family"),
    demonstrations: ("--cluster", "--family", "--status"),
    calls: ("stage", "--status", "--fault"),
    predictions: ("model", "--task", "--wrong"),
}


STATUSES = {
    clusters: ("kept", "left-out"),
    demonstrations: ("shown", "not-shown"),
    calls: ("parsed", "repaired", "failed"),
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m sentidistill.commands.inspect", description="Look at what the stages made."
    )
    kinds = made.add_subparsers(dest="what", required=True)
    for table, names in TABLES.items():
        kind = kinds.add_parser(table.__name__)
        kind.set_defaults(table=table)
        for name in (*names, "--limit"):
            statuses: dict[str, Any] = {"choices": STATUSES[table]} if name == "--status" else {}
            kind.add_argument(name, **OPTIONS[name], **statuses)
    return made


def main(*arguments: str) -> None:
    chosen = parser().parse_args(arguments)
    wanted = {name: value for name, value in vars(chosen).items() if name in CHOOSING and value is not None}
    rows = chosen.table(chosen)
    for name, value in wanted.items():
        if name in ("cluster", "task") and rows and value not in (known := {row[name] for row in rows}):
            raise SentiDistillError(f"no row with {name} {value!r}; there are {', '.join(sorted(map(str, known)))}")
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    show(rows, chosen.limit, stage.console())


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
