"""Look at what the stages have made, in the terminal:

    python -m sentidistill.inspect clusters       [--cluster 3] [--status kept|left-out]
    python -m sentidistill.inspect instructions   [--cluster 3] [--family scoring]
    python -m sentidistill.inspect demonstrations [--cluster 3] [--family scoring] [--status shown|not-shown]
    python -m sentidistill.inspect calls STAGE    [--status parsed|repaired|failed] [--fault number_of_labels]
    python -m sentidistill.inspect predictions MODEL [--task tweet] [--wrong]

MODEL is one that the pipeline has tested (student_base, student, teacher), or one of `python -m
sentidistill.benchmark`. Each shows the first rows that fit, 20 by default; `--limit 0` shows all.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentidistill import records, stage
from sentidistill.benchmark.suite import Outcome
from sentidistill.calls import CALLING_STAGES, Call
from sentidistill.instructions import Demonstration, Instruction, TaskDefinition
from sentidistill.perspectives import Perspective

DATA = Path("data")
FAMILIES = ("analysis", "classification", "scoring", "extraction", "structured")


def clusters(chosen: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    rows = [
        row
        for row in records.read_jsonl(DATA / "perspectives.jsonl", Perspective)
        if chosen.cluster in (None, row.id) and chosen.status in (None, "kept" if row.kept else "left-out")
    ]
    # One cluster is shown with all that is known of its attributes.
    if chosen.cluster is not None:
        return ["attribute", "texts", "description", "raw names"], [
            [a.name, str(a.count), a.description, ", ".join(a.variants)] for row in rows for a in row.attributes
        ]
    return ["cluster", "exemplar", "texts", "cohesion", "margin", "status", "attributes"], [
        [
            str(row.id),
            row.exemplar,
            str(row.count),
            f"{row.cohesion:.2f}",
            "" if row.margin is None else f"{row.margin:.2f}",
            "kept" if row.kept else "left out",
            ", ".join(a.name for a in row.attributes),
        ]
        for row in rows
    ]


def instructions(chosen: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    return ["cluster", "family", "id", "instruction", "demonstrations"], [
        [
            str(row.cluster),
            row.family,
            row.id,
            row.text,
            "\n".join(f"{text} => {output}" for text, output in row.demonstrations),
        ]
        for row in records.read_jsonl(DATA / "instructions.jsonl", Instruction)
        if chosen.cluster in (None, row.cluster) and chosen.family in (None, row.family)
    ]


def demonstrations(chosen: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    tasks = {row.id: row for row in records.read_jsonl(DATA / "task_definitions.jsonl", TaskDefinition)}
    statuses = {True: "shown", False: "not-shown"}
    return ["cluster", "family", "instruction", "text", "written for", "answer", "status", "margin"], [
        [
            str(tasks[row.task].cluster),
            tasks[row.task].family,
            tasks[row.task].instruction,
            row.input,
            row.written_for,
            row.output,
            statuses[row.shown],
            "" if row.margin is None else f"{row.margin:.2f}",
        ]
        for row in records.read_jsonl(DATA / "demonstrations.jsonl", Demonstration)
        if chosen.cluster in (None, tasks[row.task].cluster)
        and chosen.family in (None, tasks[row.task].family)
        and chosen.status in (None, statuses[row.shown])
    ]


def calls(chosen: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    return ["for", "status", "faults", "attempts", "tokens", "answer"], [
        [
            row.key,
            row.status,
            ", ".join(row.faults),
            str(row.attempts),
            str(row.completion_tokens),
            row.error or row.raw,
        ]
        for row in records.read_jsonl(DATA / "calls" / f"{chosen.stage}.jsonl", Call)
        if chosen.status in (None, row.status) and (chosen.fault is None or chosen.fault in row.faults)
    ]


def predictions(chosen: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    apart = Path("sentibench", chosen.model, "predictions")
    folder = apart if apart.is_dir() else DATA / "predictions" / chosen.model
    rows = [
        row
        for path in sorted(folder.glob("*.jsonl"))
        if chosen.task in (None, path.stem)
        for row in records.read_jsonl(path, Outcome)
    ]
    return ["task", "text", "right answer", "prediction", "calibrated"], [
        [row.task, row.text, row.gold, row.error or row.output, row.calibrated or ""]
        for row in rows
        if not (chosen.wrong and row.right)
    ]


def show(columns: Iterable[str], rows: list[list[str]], limit: int, console: Console) -> None:
    table = Table(*columns, show_lines=True)
    shown = rows[:limit] if limit else rows
    for row in shown:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(f"{len(shown)} of {len(rows)} rows")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m sentidistill.inspect", description="Look at what the stages made.")
    kinds = made.add_subparsers(dest="what", required=True)
    for name, table, statuses, families in (
        ("clusters", clusters, ("kept", "left-out"), ()),
        ("instructions", instructions, (), FAMILIES),
        ("demonstrations", demonstrations, ("shown", "not-shown"), FAMILIES[1:]),
    ):
        kind = kinds.add_parser(name)
        kind.set_defaults(table=table)
        kind.add_argument("--cluster", type=int, help="number of a cluster")
        if families:
            kind.add_argument("--family", choices=families)
        if statuses:
            kind.add_argument("--status", choices=statuses)
    kind = kinds.add_parser("calls")
    kind.set_defaults(table=calls)
    kind.add_argument("stage", choices=CALLING_STAGES)
    kind.add_argument("--status", choices=("parsed", "repaired", "failed"))
    kind.add_argument("--fault", help="a reason, as under 'lost' in the stage's metrics")
    kind = kinds.add_parser("predictions")
    kind.set_defaults(table=predictions)
    kind.add_argument("model", help="such as student, or the name of a model's folder")
    kind.add_argument("--task")
    kind.add_argument("--wrong", action="store_true", help="only wrong ones")
    for kind in kinds.choices.values():
        kind.add_argument("--limit", type=int, default=20, help="rows to show; 0: all")
    return made


def main(*arguments: str) -> None:
    chosen = parser().parse_args(arguments)
    show(*chosen.table(chosen), chosen.limit, stage.console())


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
