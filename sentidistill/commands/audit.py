"""What is known of SentiBench and its published evaluator, computed anew on a copy of the data: `make audit DATA=PATH`

python -m sentidistill.commands.audit PATH [--outcomes FOLDER] [--published FILE]

PATH is a copy of the folder datasets of HITSZ-HLT/Sentiment-Distillation. Each line is a finding: what a model that
knows the answers, or nothing, is given by the published rules and by ours. `--outcomes` scores what a model answered
(data/predictions/MODEL, or what `commands.evaluate` wrote) by both. `--published` prints beside them the figures
of a YAML file of your own, {name: {value: 94.1, protocol: "...", source: "..."}}: none is shipped.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import published, sentibench
from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.questions import answer_of
from sentidistill.evaluation.sentibench import TUPLE_TASKS
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import known
from sentidistill.evaluation.tuples import KEYS
from sentidistill.pipeline import stage
from sentidistill.records import Record
from sentidistill.yaml_files import read

# What was found on the released files, in percent.
PERFECT = {"atsa_rest16": 100.00, "acsa_rest16": 100.00, "asqp_rest16": 99.62, "opener": 94.19}
TAG_RULE, EMPTY_STRINGS = 84.65, 33.7
TAGS = re.compile(r"#(?:irony|sarcasm|not)\b", re.IGNORECASE)
TIMES = 10


class Figure(Record):
    """One that a reader has written down."""

    value: float
    protocol: str
    source: str


class Finding(NamedTuple):
    """`expected` is None where it was not known before."""

    what: str
    expected: float | None
    published: float | None
    ours: float


def perfect(task: str, rows: Sequence[dict]) -> Finding:
    """The answers as they are annotated, blanks and repetitions included."""
    if task == "opener":
        answers = [answer_of(known(task), record) for record in rows]
    else:
        tuples = (published.gold_tuples(task, record) for record in rows)
        answers = [json.dumps([dict(zip(KEYS[task], one)) for one in of_record]) for of_record in tuples]
    ours = score(task, rows, answers)["f1"]
    return Finding(f"{task}: the right answers", PERFECT[task], published.f1(task, rows, answers), ours)


def empty_strings(rows: Sequence[dict]) -> Finding:
    """One opinion a record, whose target and expression are empty: a text without words is the whole sentence."""
    said = json.dumps([dict(zip(KEYS["opener"], ("NULL", "", "", "positive")))])
    answers = [said] * len(rows)
    ours = score("opener", rows, answers)["f1"]
    return Finding("opener: empty texts, positive", EMPTY_STRINGS, published.f1("opener", rows, answers), ours)


def repeated(task: str, rows: Sequence[dict]) -> list[Finding]:
    """Every second object right, the others with another polarity; and the right ones ten times."""
    once, often = [], []
    for record in rows:
        given = json.loads(answer_of(known(task), record))
        wrong = [
            {**one, "sentiment": "neutral" if one["sentiment"] != "neutral" else "positive"} for one in given[1::2]
        ]
        once.append(json.dumps(given[::2] + wrong))
        often.append(json.dumps(given[::2] * TIMES + wrong))
    return [
        Finding(f"{task}: {what}", None, published.f1(task, rows, answers), score(task, rows, answers)["f1"])
        for what, answers in (("half of the objects right", once), (f"... and these {TIMES} times", often))
    ]


def tag_rule(rows: Sequence[dict]) -> Finding:
    answers = ["irony" if TAGS.search(record["sentence"]) else "non-irony" for record in rows]
    ours = score("irony18", rows, answers)["macro_f1"]
    return Finding("irony18: a hashtag of irony is irony", TAG_RULE, ours, ours)


def findings(data: Path) -> list[Finding]:
    test = {task: sentibench.load(data, task, "test") for task in (*TUPLE_TASKS, "irony18")}
    exact = [task for task in TUPLE_TASKS if task != "opener"]
    return [
        *(perfect(task, test[task]) for task in TUPLE_TASKS),
        empty_strings(test["opener"]),
        *(finding for task in exact for finding in repeated(task, test[task])),
        tag_rule(test["irony18"]),
    ]


def of_model(folder: Path, data: Path) -> list[Finding]:
    """A model's outcomes in `folder`, TASK.jsonl, of each extraction task and draw of demonstrations."""
    found = []
    for task in TUPLE_TASKS:
        path = folder / f"{task}.jsonl"
        rows = records.read_jsonl(path, Outcome) if path.exists() else []
        test = sentibench.load(data, task, "test") if rows else []
        for seed in sorted({row.seed for row in rows}):
            own = [row for row in rows if row.seed == seed]
            asked, outputs = [test[row.record] for row in own], [row.output for row in own]
            ours = score(task, asked, outputs)["f1"]
            found.append(
                Finding(f"{task}, {len(own)} records, seed {seed}", None, published.f1(task, asked, outputs), ours)
            )
    if not found:
        raise SentiDistillError(f"{folder}: no outcomes of {', '.join(TUPLE_TASKS)}; name a folder with TASK.jsonl")
    return found


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="audit", description="What is known of SentiBench, computed anew.")
    parser.add_argument("data", type=Path, help="a copy of the folder datasets of HITSZ-HLT/Sentiment-Distillation")
    parser.add_argument("--outcomes", type=Path, help="folder of a model's outcomes, scored by both rules")
    parser.add_argument("--published", type=Path, help="figures that you have read: a YAML file of your own")
    chosen = parser.parse_args(arguments)
    table = Table("finding", "expected", "by the published rules", "by ours", title="macro-F1 or F1, percent")
    for one in [*findings(chosen.data), *(of_model(chosen.outcomes, chosen.data) if chosen.outcomes else [])]:
        cells = ("" if value is None else f"{value:.2f}" for value in (one.expected, one.published, one.ours))
        table.add_row(one.what, *cells)
    stage.console().print(table)
    if chosen.published:
        beside = Table("figure", "value", "protocol", "source", title=str(chosen.published))
        for name, row in read(chosen.published, dict[str, Figure]).items():
            beside.add_row(*map(stage.visible, (name, row.value, row.protocol, row.source)))
        stage.console().print(beside)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
