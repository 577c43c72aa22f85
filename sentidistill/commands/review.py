"""People judge what the teacher made, and the stages obey: `make review`, then `make review-import FILE=verdicts.csv`

    python -m sentidistill.commands.review export [--demonstrations 60] [--answers 80] [--clusters 40] [--analyses 20]
    python -m sentidistill.commands.review import verdicts.csv [--dry-run] [--skip-faulty]

export draws things that nobody has judged yet and writes them twice: as a page with keys to press, and as a CSV file to
edit. import reads the verdicts of either, says how often people agree with the teacher and what will run again, and
writes reviews.jsonl.
"""

import argparse
import csv
import io
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from sentidistill import config, records
from sentidistill.commands.arguments import at_least
from sentidistill.commands.plan import of_stage, other_file
from sentidistill.commands.rehearsal import Rehearsal, asking, has_inputs, run_on_stored
from sentidistill.construct import reviews
from sentidistill.construct.checks import CHECKS, check_output
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import ANALYSIS_INSTRUCTIONS, INSTRUCTIONS
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.construct.reviews import PERSPECTIVE, THING, Verdict
from sentidistill.construct.tasks import TASK_DEFINITIONS
from sentidistill.errors import SentiDistillError
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.inference.opening import cache_path, make_reader, recordings
from sentidistill.inference.store import Cache
from sentidistill.pipeline import graph, runs, stage
from sentidistill.report.templates import rendered
from sentidistill.samples import SAMPLES
from sentidistill.shares import wilson
from sentidistill.sources.tables import Source

SIZES = {"demonstration": 60, "answer": 80, "cluster": 40, "analysis": 20}
PLURALS = {kind: f"{kind}s" for kind in SIZES} | {"analysis": "analyses"}
OF_CLUSTERS = (
    "Are these a perspective (ways to read a text, such as feelings and styles), or things that texts are about?"
)
OF_ANALYSES = "Is this a clear question about a text, which a reader of the text can answer?"
COLUMNS = ("id", "kind", "task", "text", "answer", "labels", "verdict", "correction")
# A cell that begins so is a formula to a spreadsheet, so an apostrophe is put before it.
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
MOST_FAULTS, MOST_CHARS = 20, 90
# Stages that are run beforehand, on a copy and with stored answers, to see what they would make.
FORESEEN = {"select_perspectives", "build_instructions", "compose_prompts", "select_samples", *CALLING_STAGES}


@dataclass(frozen=True)
class Item:
    """Something to judge: whether `answer` is right for `text` under `task`. `labels` is empty unless these are all."""

    id: str
    kind: str
    family: str
    task: str
    text: str
    answer: str
    labels: list[str]


def items() -> list[Item]:
    """All that can be judged, as the stages have it now."""
    tasks = {task.id: task for task in TASK_DEFINITIONS.read()}
    found = []
    for row in DEMONSTRATIONS.read():
        if row.shown:
            if row.task not in tasks:
                raise SentiDistillError(
                    f"{DEMONSTRATIONS.path}: of other tasks than {TASK_DEFINITIONS.path} has; run `make repro`"
                )
            task = tasks[row.task]
            key = reviews.demonstration_id(task.text(), row.input, row.output)
            found.append(Item(key, "demonstration", task.family, task.text(), row.input, row.output, task.labels))
    for one in SAMPLES.read():
        key = reviews.answer_id(one.instruction, one.text, one.answer)
        found.append(Item(key, "answer", one.family, one.instruction, one.text, one.answer, one.labels))
    for cluster in PERSPECTIVES.read():
        names = [attribute.name for attribute in cluster.attributes]
        said = PERSPECTIVE if cluster.kept else THING
        key = reviews.cluster_id(names)
        found.append(Item(key, "cluster", "classification", OF_CLUSTERS, ", ".join(names), said, [PERSPECTIVE, THING]))
    for analysis in ANALYSIS_INSTRUCTIONS.read():
        key = reviews.analysis_id(analysis.text)
        found.append(Item(key, "analysis", "analysis", OF_ANALYSES, analysis.text, "", []))
    return list({item.id: item for item in found}.values())


def used(items: Iterable[Item], instructions: set[str]) -> list[Item]:
    """`items` without demonstrations and analyses that no instruction came of."""
    of_use = {"demonstration": "task", "analysis": "text"}
    return [item for item in items if item.kind not in of_use or getattr(item, of_use[item.kind]) in instructions]


def drawn(items: Sequence[Item], size: int, seed: int) -> list[Item]:
    """`size` of the items, stratified by family and task: of each about its share, and every item equally likely.

    Every so-many-th of the items in the order of their strata, from a random start; so a share among them needs no
    weights.
    """
    random = np.random.default_rng(seed)
    mixed = [items[place] for place in random.permutation(len(items))]
    ordered = sorted(mixed, key=lambda item: (item.family, item.task))
    size = min(size, len(items))
    places = (random.random() + np.arange(size)) * len(items) / max(size, 1)
    return [ordered[place] for place in places.astype(int)]


def shown(cell: str) -> str:
    """`cell` for a CSV file that a spreadsheet opens."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def as_it_was(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def as_csv(items: Iterable[Item]) -> str:
    """With the mark by which spreadsheets know UTF-8."""
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    for item in items:
        cells = asdict(item) | {"labels": " / ".join(item.labels)}
        writer.writerow({name: shown(cells.get(name, "")) for name in COLUMNS})
    return f"\ufeff{lines.getvalue()}"


def as_page(items: Sequence[Item]) -> str:
    return rendered(
        "review.html.jinja",
        items=[asdict(item) for item in items],
        columns=COLUMNS,
        formula=FORMULA.pattern,
        key=records.content_id([item.id for item in items]),
    )


def verdict_of(cells: Mapping[str, str], known: Mapping[str, Item]) -> Verdict | None:
    """The verdict of a row, None where it has none. Raises `SentiDistillError` for what is wrong with it."""
    said, correction = cells["verdict"].strip().casefold(), cells["correction"].strip()
    key = cells["id"].strip()
    if not said and not correction:
        return None
    if not re.fullmatch(rf"({'|'.join(SIZES)})-[0-9a-f]{{16}}", key):
        raise SentiDistillError(f"unknown id {key!r}; copy it from the exported file")
    item = known.get(key)
    if item is None or (item.kind == "cluster" and item.answer != cells["answer"].strip()):
        raise SentiDistillError(f"{key} has changed since the export, or is of another run; export and judge it anew")
    if cells["text"].split() != item.text.split():
        raise SentiDistillError(f"the text is not that of {key}; sort and move whole rows, or export anew")
    if said not in ("right", "wrong", ""):
        raise SentiDistillError(f"verdict {said!r}; write right or wrong, or leave it empty where you cannot tell")
    if not correction:
        verdict: Literal["right", "wrong"] = "right" if said == "right" else "wrong"
        is_perspective = (item.answer == PERSPECTIVE) == (verdict == "right")
        of_cluster = PERSPECTIVE if is_perspective else THING
        return Verdict(id=key, verdict=verdict, answer=of_cluster if item.kind == "cluster" else "")
    if said == "right":
        raise SentiDistillError("the verdict is right, and there is a correction; empty one of them")
    if item.kind == "analysis":
        raise SentiDistillError("an analysis is right or wrong; empty the correction")
    answer, reason = check_output(item.family, item.labels, item.task, item.text, correction)
    if answer is None:
        remedy = f"write one of: {', '.join(item.labels)}" if item.labels else "mend it, or leave it empty"
        raise SentiDistillError(f"correction {correction!r}: {CHECKS[reason][0].rstrip('.').lower()}; {remedy}")
    if answer == item.answer:
        raise SentiDistillError(
            f"the correction {answer!r} is the answer that is there; write right, and no correction"
        )
    return Verdict(id=key, verdict="wrong", answer=answer)


def read_verdicts(source: Source, known: Mapping[str, Item]) -> tuple[list[Verdict], list[str]]:
    """(the verdicts, what is wrong with other rows, each with its line).

    Raises `SentiDistillError` for what is wrong with the whole file.
    """
    columns = [name.strip() for name in source.columns()]
    if missing := [name for name in COLUMNS if columns.count(name) != 1]:
        which = "two columns are called" if missing[0] in columns else "no column"
        raise SentiDistillError(f"{source.path}: {which} {missing[0]!r}; {source.setting}")
    found: dict[str, tuple[str, Verdict]] = {}
    faults = []
    for row in source.rows():
        there = {
            name.strip(): "" if cell is None else as_it_was(str(cell)) for name, cell in (row.values or {}).items()
        }
        cells = dict.fromkeys(COLUMNS, "") | there
        try:
            if row.fault:
                raise SentiDistillError(row.fault)
            verdict = verdict_of(cells, known)
            if verdict:
                place, first = found.setdefault(verdict.id, (row.place, verdict))
                if first != verdict:
                    raise SentiDistillError(f"{verdict.id} was judged otherwise in {place}; remove one of them")
        except SentiDistillError as error:
            faults.append(f"{row.place}: {error}")
    return [verdict for _, verdict in found.values()], faults


def agreements(verdicts: Iterable[Verdict], known: Mapping[str, Item]) -> dict[tuple[str, str], tuple[int, int]]:
    """(right, judged) by (kind, task), of each kind the worst tasks first; the task "" is all of them."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for verdict in verdicts:
        item = known[verdict.id]
        for key in ((item.kind, ""), (item.kind, item.task)):
            right, judged = found.get(key, (0, 0))
            found[key] = (right + (verdict.verdict == "right"), judged + 1)
    order = list(SIZES)

    def place(one: tuple[tuple[str, str], tuple[int, int]]) -> tuple[int, bool, float, str]:
        (kind, task), (right, judged) = one
        return order.index(kind), task != "", right / judged, task

    return dict(sorted(found.items(), key=place))


def show_agreements(found: Mapping[tuple[str, str], tuple[int, int]]) -> None:
    table = Table("kind", "task", "judged", "right", "%", "95 %", title="How often people agree with what was made")
    for (kind, task), (right, judged) in found.items():
        if task in (OF_CLUSTERS, OF_ANALYSES):  # the only one of its kind
            continue
        low, high = (100 * value for value in wilson(right / judged, judged))
        figures = (str(judged), str(right), f"{100 * right / judged:.0f}", f"{low:.0f} to {high:.0f}")
        if not task:
            table.add_section()
        table.add_row(PLURALS[kind], stage.visible(textwrap.shorten(task, MOST_CHARS) or "all"), *figures)
    stage.console().print(table)


def consequences(text: str) -> tuple[list[tuple[str, str]], int]:
    """(stages that run again and what is known of it, at least how many questions the teacher is asked).

    `text` is what reviews.jsonl will hold. Stages before the scoring of answers are run on a copy, with stored answers.
    Raises `SentiDistillError` where one would fail.
    """
    params, cache_root, home = config.load(), stage.cache_root(), Path.cwd()
    roles = {one.name: role for one, role in asking()}
    found = []
    to_ask = 0
    changed, unknown = {str(reviews.PATH)}, set[str]()  # paths that will be others; those whose content is not known
    with other_file(reviews.PATH, text), closing(Cache(cache_path(cache_root))) as cache:
        for one in graph.load():
            if not one.reads(changed):
                continue
            written = {*one.outs, *one.metrics}
            if one.template not in FORESEEN or one.reads(unknown) or not has_inputs(one):
                asks = one.template in CALLING_STAGES
                found.append((one.name, "runs; what it asks depends on the answers before" if asks else "runs"))
                changed |= written
                unknown |= written
                continue
            counts = of_stage(one, roles[one.name], params, cache, cache_root.parent) if one.name in roles else None
            if counts and counts["asked"]:
                to_ask += counts["asked"]
                found.append((one.name, f"asks {counts['asked']:,} of {counts['requests']:,} questions"))
                changed |= written
                unknown |= written
                continue
            model = Rehearsal(make_reader("teacher", params, Path()), cache, recordings("teacher")) if counts else None
            try:
                run_on_stored(one, model)
            except SentiDistillError as error:
                raise SentiDistillError(f"with these verdicts {one.name} would fail: {error}") from error
            others = {path for path in written if _content(Path(path)) != _content(home / path)}
            changed |= others
            known = f"; all {counts['requests']:,} answers are stored" if counts else ""
            found.append((one.name, f"runs{known}; {'makes something else' if others else 'makes the same'}"))
    return found, to_ask


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def show_consequences(found: Sequence[tuple[str, str]], to_ask: int) -> None:
    last = runs.last(stage.cache_root())
    table = Table("stage", "what it does", "last took", title="What runs again at the next `make repro`")
    for name, about in found:
        table.add_row(name, about, runs.minutes(last[name].own_seconds) if name in last else "?")
    stage.console().print(table)
    fetched = "; its weights are fetched first if they are not here"
    print(f"The teacher will be asked {f'at least {to_ask:,} questions{fetched}' if to_ask else 'nothing new'}.")


def export(chosen: argparse.Namespace) -> None:
    judged = {} if chosen.again else reviews.read()
    instructions = {row.text for row in INSTRUCTIONS.read()}
    left = [item for item in used(items(), instructions) if item.id not in judged]
    sample = []
    for kind in SIZES:
        of_kind = [item for item in left if item.kind == kind]
        sample += drawn(of_kind, getattr(chosen, PLURALS[kind]), chosen.seed)
    if not sample:
        raise SentiDistillError("there is nothing to judge that nobody has judged; ask for more, or take --again")
    chosen.out.mkdir(parents=True, exist_ok=True)
    page, table = chosen.out / "review.html", chosen.out / "review.csv"
    if table.exists() and (number := not_imported(table, reviews.read())):
        raise SentiDistillError(
            f"{table}: holds {number} verdicts that are not imported; run `make review-import FILE={table}`, or remove "
            "the file"
        )
    records.write_text(page, as_page(sample))
    records.write_text(table, as_csv(sample))
    counts = ", ".join(
        f"{number} {PLURALS[kind]}" for kind in SIZES if (number := sum(item.kind == kind for item in sample))
    )
    print(f"{counts}. Open {page} in a browser, or edit {table} (columns verdict and correction).")


def not_imported(table: Path, known: Mapping[str, Verdict]) -> int:
    """How many rows of an exported table have a verdict or a correction that is not in `known`, or cannot be read."""
    number = 0
    for row in Source(table, "verdict", recode=f"`make review-import FILE={table}` reads it").rows():
        cells = {name.strip(): str(cell).strip() for name, cell in (row.values or {}).items()}
        said, correction = cells.get("verdict", "").casefold(), as_it_was(cells.get("correction", ""))
        one = known.get(cells.get("id", ""))
        same = one and said in ("", one.verdict) and correction.casefold() in ("", one.answer.casefold())
        number += bool(row.fault or ((said or correction) and not same))
    return number


def import_(chosen: argparse.Namespace) -> None:
    known = {item.id: item for item in items()}
    recode = "name its encoding, such as --encoding cp1252"
    verdicts, faults = read_verdicts(
        Source(chosen.file, "verdict", chosen.encoding, "keep all columns of the exported file", recode), known
    )
    if faults:
        more = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        listed = "\n  ".join([*faults[:MOST_FAULTS], *more])
        if not chosen.skip_faulty:
            raise SentiDistillError(f"{chosen.file}:\n  {listed}\nmend these rows, or leave them out by --skip-faulty")
        print(f"{len(faults)} rows are left out:\n  {listed}")
    if not verdicts:
        raise SentiDistillError(f"{chosen.file}: no row has a verdict; write right or wrong into the column verdict")
    before = reviews.read()
    after = before | {verdict.id: verdict for verdict in verdicts}
    show_agreements(agreements(verdicts, known))
    text = "".join(f"{verdict.model_dump_json()}\n" for _, verdict in sorted(after.items()))
    show_consequences(*consequences(text))
    changed = sum(before[one.id] != one for one in verdicts if one.id in before)
    gone = sum(key not in known for key in after)
    print(
        f"{reviews.PATH}: {len(after)} verdicts, {len(after) - len(before)} of them new, {changed} changed; {gone} are "
        "of things that this run does not have."
    )
    if chosen.dry_run:
        print("Nothing was written.")
        return
    records.write_text(reviews.PATH, text)
    print("Written; `make repro` runs what depends on it, and `git diff` shows it.")


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="review", description="People judge what the teacher made.")
    commands = parser.add_subparsers(required=True)
    exporting = commands.add_parser("export", help="draw things to judge: a page and a CSV file")
    for option, size in zip(("--demonstrations", "--answers", "--clusters", "--analyses"), SIZES.values()):
        exporting.add_argument(option, type=at_least(0), default=size, help="how many at most (%(default)s)")
    exporting.add_argument("--seed", type=at_least(0), default=42, help="of the draw (%(default)s)")
    exporting.add_argument("--again", action="store_true", help="also what was judged before")
    exporting.add_argument("--out", type=Path, default=Path("exports"), help="folder (%(default)s)")
    exporting.set_defaults(command=export)
    importing = commands.add_parser("import", help="read verdicts, and write reviews.jsonl")
    importing.add_argument("file", type=Path, help="what the page saved, or the edited CSV file")
    importing.add_argument("--encoding", default="utf-8-sig", help="of the file (%(default)s)")
    importing.add_argument("--skip-faulty", action="store_true", help="leave out rows that are wrong, and say which")
    importing.add_argument("--dry-run", action="store_true", help="say all, and write nothing")
    importing.set_defaults(command=import_)
    chosen = parser.parse_args(arguments)
    chosen.command(chosen)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
