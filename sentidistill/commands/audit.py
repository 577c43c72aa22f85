"""What is known of SentiBench, its published evaluator and the released sampler, computed anew: `make audit DATA=PATH`

python -m sentidistill.commands.audit PATH [--outcomes FOLDER] [--published FILE]

PATH is a copy of the folder datasets of HITSZ-HLT/Sentiment-Distillation. Each line is a finding: what a model that
knows the answers, or nothing, is given by the published rules and by ours. `--outcomes` scores what any model answered
by both: TASK.jsonl, rows with `record`, its place in the test file from 0, `output`, and `seed` where there are
several. data/predictions/MODEL is such a folder, and so is what `commands.evaluate` wrote. `--published` prints figures
that you have read beside ours. They stand in a YAML file of your own, whose form docs/benchmark.md shows: none is
shipped.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ConfigDict, NonNegativeInt
from rich.table import Table

from sentidistill import records
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import published, sentibench
from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.questions import answer_of
from sentidistill.evaluation.sentibench import LABELS, MEANS, TUPLE_TASKS
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import known
from sentidistill.evaluation.tuples import KEYS
from sentidistill.pipeline import stage
from sentidistill.records import Record
from sentidistill.selection import curve
from sentidistill.yaml_files import read

# What was found on the released files, in percent.
PERFECT = {"atsa_rest16": 100.00, "acsa_rest16": 100.00, "asqp_rest16": 99.62, "opener": 94.19}
TAG_RULE, EMPTY_STRINGS = 84.65, 33.7
# Shares of the objects that are named rightly, and wrongly beside; F1 once, and with the right ones repeated.
REPEATED = {
    "atsa_rest16": (0.5875, 0.5875, 54.0, 71.4),
    "acsa_rest16": (0.655, 0.676, 56.3, 76.1),
    "asqp_rest16": (0.599, 0.592, 54.4, 71.9),
}
# By the rate of the released soft sampler: the group sizes from 1 to SIZES that its assertion lets pass.
PASSING = {0.5: 107, 0.1: 0, 0.2: 0}
SIZES = 200
TAGS = re.compile(r"#(?:irony|sarcasm|not)\b", re.IGNORECASE)
TIMES = 10


class Figure(Record):
    """One that a reader has written down."""

    value: float
    protocol: str
    source: str


class Answered(Record):
    """What was answered to a test record, whatever else is known of it. `seed`: of the draw of demonstrations."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    record: NonNegativeInt
    output: str
    seed: int = 0


class Finding(NamedTuple):
    """`expected` is None where it was not known before, `ours` where our rules give no figure."""

    what: str
    expected: float | None
    published: float
    ours: float | None


def both(what: str, expected: float | None, task: str, rows: Sequence[dict], outputs: Sequence[str]) -> Finding:
    """Outputs for the records `rows` of a task, by both rules."""
    ours = score(task, rows, outputs)["macro_f1" if task in LABELS else "f1"]
    return Finding(what, expected, published.score(task, rows, outputs), ours)


def perfect(task: str, rows: Sequence[dict]) -> Finding:
    """The answers as they are annotated, blanks and repetitions included."""
    if task == "opener":
        answers = [answer_of(known(task), record) for record in rows]
    else:
        tuples = (published.gold_tuples(task, record) for record in rows)
        answers = [json.dumps([dict(zip(KEYS[task], one)) for one in of_record]) for of_record in tuples]
    return both(f"{task}: the right answers", PERFECT[task], task, rows, answers)


def empty_strings(rows: Sequence[dict]) -> Finding:
    """One opinion a record, whose target and expression are empty: a text without words is the whole sentence."""
    said = json.dumps([dict(zip(KEYS["opener"], ("NULL", "", "", "positive")))])
    return both("opener: empty texts, positive", EMPTY_STRINGS, "opener", rows, [said] * len(rows))


def repeated(task: str, rows: Sequence[dict]) -> list[Finding]:
    """Some objects right, others with another polarity; then the right ones `TIMES` times.

    Which answers gave the figures that are expected is not known. These have as many right and wrong objects as they
    imply, spread evenly over the records.
    """
    right, wrong, expected_once, expected_often = REPEATED[task]
    once, often, given = [], [], 0
    for record in rows:
        named, mistaken = [], []
        for one in json.loads(answer_of(known(task), record)):
            named += [one] * (int((given + 1) * right) - int(given * right))
            mistaken += [{**one, "sentiment": "other"}] * (int((given + 1) * wrong) - int(given * wrong))
            given += 1
        once.append(json.dumps(named + mistaken))
        often.append(json.dumps(named * TIMES + mistaken))
    return [
        both(f"{task}: {right:.0%} of the objects, and about as many wrong", expected_once, task, rows, once),
        both(f"... the right ones repeated {TIMES} times", expected_often, task, rows, often),
    ]


def tag_rule(rows: Sequence[dict]) -> Finding:
    answers = ["irony" if TAGS.search(record["sentence"]) else "non-irony" for record in rows]
    return both("irony18: a hashtag of irony is irony", TAG_RULE, "irony18", rows, answers)


def findings(data: Path) -> list[Finding]:
    test = {task: sentibench.load(data, task, "test") for task in (*TUPLE_TASKS, "irony18")}
    return [
        *(perfect(task, test[task]) for task in TUPLE_TASKS),
        empty_strings(test["opener"]),
        *(finding for task in REPEATED for finding in repeated(task, test[task])),
        tag_rule(test["irony18"]),
    ]


def passing(rate: float, sizes: int) -> int:
    """Group sizes from 1 to `sizes` whose keep-probabilities, with the peak at 1, sum to exactly size * rate.

    The released soft sampler asserts this of every group. Added from left to right, as `cumsum` does, they give the
    numbers that were found. `np.sum` adds by pairs and rounds otherwise: at a rate of 0.5, 151 sizes would pass.
    """
    groups = {size: curve((np.arange(size) + 0.5) / size, rate, peak=1.0) for size in range(1, sizes + 1)}
    return sum(bool(np.cumsum(kept)[-1] == size * rate) for size, kept in groups.items())


def outcomes_of(folder: Path) -> dict[str, list[Answered]]:
    """A model's answers in `folder`, TASK.jsonl, to each task of SentiBench that is there."""
    paths = {task: folder / f"{task}.jsonl" for task in SENTIBENCH}
    found = {task: records.read_jsonl(path, Answered) for task, path in paths.items() if path.exists()}
    if not any(found.values()):
        raise SentiDistillError(f"{folder}: no outcomes of a task of SentiBench; name a folder with TASK.jsonl")
    return {task: rows for task, rows in found.items() if rows}


def by_seed(task: str, test: Sequence[dict], outcomes: Sequence[Answered | Outcome]) -> list[Finding]:
    """Of each draw of demonstrations. `test` are all records of the task, which the outcomes point into."""
    if (last := max(row.record for row in outcomes)) >= len(test):
        raise SentiDistillError(
            f"{task}.jsonl: an answer to record {last}, but the copy of SentiBench has {len(test)} test records; "
            "name the copy that the model was tested on"
        )
    (place, times), *_ = Counter((row.record, row.seed) for row in outcomes).most_common(1)
    if times > 1:
        raise SentiDistillError(f"{task}.jsonl: {times} answers to record {place[0]} by seed {place[1]}; leave one")
    found = []
    for seed in sorted({row.seed for row in outcomes}):
        rows = [row for row in outcomes if row.seed == seed]
        asked = [test[row.record] for row in rows]
        found.append(both(f"{task}, {len(rows)} records, seed {seed}", None, task, asked, [row.output for row in rows]))
    return found


def means(by_task: Mapping[str, Sequence[Finding]]) -> dict[str, Finding]:
    """Of each task over its seeds; and, as "mean", that of the twelve, which our rules give only if all are there."""
    theirs = {task: float(np.mean([one.published for one in seeds])) for task, seeds in by_task.items()}
    ours = {task: float(np.mean([one.ours for one in seeds])) for task, seeds in by_task.items()}
    found = {
        task: Finding(f"{task}, mean of {len(seeds)} seeds", None, theirs[task], ours[task])
        for task, seeds in by_task.items()
    }
    missing = ", ".join(task for task in MEANS["all"] if task not in by_task)
    what = f"mean of the twelve{f'; missing, 0 by the published rules: {missing}' if missing else ''}"
    return {**found, "mean": Finding(what, None, published.mean(theirs), sentibench.group_means(ours).get("all"))}


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def findings_table(rows: Sequence[Finding]) -> Table:
    table = Table("finding", "expected", "by the published rules", "by ours", title="macro-F1 or F1, percent")
    for one in rows:
        table.add_row(one.what, *map(percent, (one.expected, one.published, one.ours)))
    return table


def sampler_table() -> Table:
    table = Table("rate", "expected", "found", title=f"group sizes of 1 to {SIZES} that the released sampler accepts")
    for rate, expected in PASSING.items():
        table.add_row(*map(str, (rate, expected, passing(rate, SIZES))))
    return table


def beside(title: str, figures: Mapping[str, Figure], ours: Mapping[str, Finding]) -> Table:
    """The reader's figures; a figure named as one of `ours` has that beside it."""
    table = Table(
        "figure", "value", "protocol", "source", "ours, published rules", "ours, our rules", title=stage.visible(title)
    )
    for name, row in figures.items():
        own = (ours[name].published, ours[name].ours) if name in ours else (None, None)
        table.add_row(*map(stage.visible, (name, row.value, row.protocol, row.source, *map(percent, own))))
    return table


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="audit", description="What is known of SentiBench, computed anew.")
    parser.add_argument("data", type=Path, help="a copy of the folder datasets of HITSZ-HLT/Sentiment-Distillation")
    parser.add_argument("--outcomes", type=Path, help="folder of a model's answers, scored by both rules")
    parser.add_argument(
        "--published",
        type=Path,
        help="figures that you have read: a YAML file of your own, {NAME: {value: NUMBER, protocol: TEXT, source: "
        "TEXT}}; where NAME is a task or mean, the figure stands beside ours",
    )
    chosen = parser.parse_args(arguments)
    figures = read(chosen.published, dict[str, Figure]) if chosen.published else {}
    found, ours = findings(chosen.data), {}
    if chosen.outcomes:
        by_task = {
            task: by_seed(task, sentibench.load(chosen.data, task, "test"), rows)
            for task, rows in outcomes_of(chosen.outcomes).items()
        }
        ours = means(by_task)
        for task, seeds in by_task.items():
            found += [*seeds, ours[task]] if len(seeds) > 1 else seeds
        found.append(ours["mean"])
    stage.console().print(findings_table(found))
    stage.console().print(sampler_table())
    if figures:
        stage.console().print(beside(str(chosen.published), figures, ours))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
