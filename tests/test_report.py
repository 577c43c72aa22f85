"""What the report says of three models: scores, gain and ratio with their intervals, plain and calibrated."""

import re
from importlib.resources import files

import numpy as np
import pytest
from jinja2 import Environment, StrictUndefined
from rich.console import Console

from sentidistill.commands import inspect
from sentidistill.config import load
from sentidistill.evaluation import suite
from sentidistill.evaluation.sentibench import LABELS
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tasks import known
from sentidistill.report import page, scores
from tests.made_up_sentibench import labelled

SECTION = load("params.yaml").evaluate.model_copy(update={"bootstrap_samples": 300})
# The share of records that each model gets right, plain and calibrated.
SHARES = {"student_base": (0.4, 0.7), "student": (0.8, 0.75), "teacher": (0.7, 0.8)}


def made(task: str, seed: int, *, with_scores: bool = True, failed: int = 0) -> scores.Tested:
    random = np.random.default_rng(seed)
    records = labelled(task, 300)
    found = {}
    for role, (plain, calibrated) in SHARES.items():
        rows = []
        for place, record in enumerate(records):
            labels = LABELS[task]
            wrong = labels[(labels.index(record["label"]) + 1) % len(labels)]
            output, other = (record["label"] if random.random() < share else wrong for share in (plain, calibrated))
            error = "timed out" if role == "teacher" and place < failed else None
            rows.append(
                Outcome(
                    task=task,
                    record=place,
                    seed=42,
                    text=record["sentence"],
                    gold=record["label"],
                    output="" if error else output,
                    calibrated=other if with_scores or role != "teacher" else None,
                    right=output == record["label"],
                    finish_reason="error" if error else "choice",
                    error=error,
                    shown=[],
                    scores=[],
                )
            )
        found[role] = rows
    metrics = {role: suite.scores(known(task), records, rows, 300) for role, rows in found.items()}
    return scores.Tested(known(task), records, labelled(task, 30, "train"), metrics, found)


def rendered(models: dict) -> str:
    """The part of the report that is about scores."""
    template = files("sentidistill.report").joinpath("report.md.jinja").read_text("utf-8").partition("## Attributes")[0]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(cell=page.cell, **models)


def test_the_headline_is_of_the_means_over_the_default_tasks():
    of_all = {task: made(task, seed) for seed, task in enumerate(("tweet", "movie", "sst2"))}
    models = scores.of_models(of_all, SECTION)
    found = scores.headline(models["plain"], models["calibrated"])
    for figures, column, share in ((found, "output", 0), (found["calibrated"], "calibrated", 1)):
        base, student, teacher = (figures["macro_f1"][role] for role in scores.ROLES)
        expected = [100 * SHARES[role][share] for role in scores.ROLES]
        assert [base, student, teacher] == pytest.approx(expected, abs=5), column
        assert figures["gain"]["mean"] == pytest.approx(student - base, abs=0.02)
        assert figures["student_to_teacher"]["mean"] == pytest.approx(student / teacher, abs=0.001)
        for figure in (figures["gain"], figures["student_to_teacher"]):
            assert figure["low"] < figure["mean"] < figure["high"]
        assert figures["student"]["low"] < student < figures["student"]["high"]
    assert found["gain"]["low"] > 25 > found["calibrated"]["gain"]["high"]
    assert "sentibench" not in found, "a group has a mean only with all its tasks"


def test_a_model_without_scores_leaves_the_calibrated_figures_out():
    models = scores.of_models({"tweet": made("tweet", 1, with_scores=False)}, SECTION)
    assert models["calibrated"] == {}
    assert scores.headline(models["plain"], models["calibrated"])["calibrated"] is None
    assert "Calibrated:" not in rendered(models)


def test_the_student_is_as_good_as_its_teacher_or_worse_or_nobody_can_tell():
    one = made("tweet", 1)
    gold = [row.model_copy(update={"calibrated": row.gold}) for row in one.outcomes["teacher"]]
    student = one.outcomes["student"]
    mixed = [*gold[:15], *(row.model_copy(update={"calibrated": "nonsense"}) for row in gold[15:20]), *student[20:]]
    teachers = {"tweet": student, "movie": gold, "amazon": mixed}
    of_all = {
        task: scores.Tested(one.task, one.test, one.train, one.metrics, {**one.outcomes, "teacher": teacher})
        for task, teacher in teachers.items()
    }
    models = scores.of_models(of_all, SECTION)
    assert models["beside_teacher"] == {"tasks": 3, "worse": 1, "close": 1}
    assert "worse than its teacher on 1 of 3 tasks, and less than a point behind it on\n1." in rendered(models)


def test_there_is_no_ratio_to_a_teacher_that_gets_nothing_right():
    one = made("tweet", 1)
    wrong = [row.model_copy(update={"output": "nonsense"}) for row in one.outcomes["teacher"]]
    of_all = scores.Tested(one.task, one.test, one.train, one.metrics, {**one.outcomes, "teacher": wrong})
    models = scores.of_models({"tweet": of_all}, SECTION)
    assert scores.headline(models["plain"], models["calibrated"])["student_to_teacher"] is None
    assert "| **mean** |" in rendered(models)


def test_the_tables_show_every_task_with_its_baselines_and_the_failures():
    names = ("imdb", "yelp2", "sst2", "twitter")
    of_all = {"tweet": made("tweet", 1, failed=7)} | {task: made(task, n) for n, task in enumerate(names)}
    models = scores.of_models(of_all, SECTION)
    text = rendered(models)
    for task in of_all:
        lines = [line for line in text.splitlines() if line.startswith(f"| {task} | ") and " to " in line]
        plain, calibrated, baselines = lines
        majority = 100 / 3 / 2 if len(LABELS[task]) == 3 else 100 / 3
        more = re.match(rf"\| {task} \| {majority:.1f} \[([+-][\d.]+) \(", baselines)
        assert plain.startswith(f"| {task} | 300 | ")
        assert float(more[1]) == pytest.approx(models["calibrated"][task]["student"]["main"] - majority, abs=0.11)
        assert " | 30 | " in baselines, "the texts that TF-IDF has learned from"
        assert f"{models['calibrated'][task]['gain']['main']:+.1f} (" in calibrated
    assert text.count("| **mean, basic** |") == 2
    assert "7 of 300 requests to teacher failed on tweet; they count as wrong." in text
    assert len(scores.headline(models["plain"], models["calibrated"])["sentibench"]["basic"]) == 3


HOSTILE = (
    "![x](https://a.b/c.png)",
    "[click](javascript:alert(1))",
    "<script>alert(1)</script>",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)",
    "a | b \\| c",
    "\\[x](y)",
    "two\nlines\n\n# and a heading",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_in_the_report_is_one_cell_without_links_images_and_html(text):
    from markdown_it import MarkdownIt

    shown = page.cell(text)
    markdown = MarkdownIt("commonmark").enable("table")
    (table,) = [
        one
        for one in (markdown.parse(f"| a | b |\n|---|---|\n| {shown} | end |\n"),)
        if [token.type for token in one].count("td_open") == 2
    ]
    (item,) = [one for one in markdown.parse(f"- {shown}") if one.type == "inline"]
    kinds = {child.type for token in [*table, item] for child in token.children or ()}
    assert kinds <= {"text", "text_special"}
    assert "".join(child.content for child in item.children) == " ".join(text.split())


def test_control_characters_reach_no_report_and_no_terminal(capsys):
    named = "\x1b[2Jjoy\x07\u202e [red]x[/red]"
    assert page.cell(named) == "\ufffd[2Jjoy\ufffd\ufffd [red]x[/red]"
    inspect.show([{"name": named, "texts": 3}], 0, Console(width=80))
    shown = capsys.readouterr().out
    assert "[2Jjoy" in shown
    assert "[red]x[/red]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
