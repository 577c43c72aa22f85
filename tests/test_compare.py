"""Two runs beside each other, read from git."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentidistill.commands import compare as command
from sentidistill.commands.compare import (
    Revision,
    Section,
    changed,
    differences,
    outdated,
    predictions,
    reran,
    settings,
    verdict,
)
from sentidistill.errors import SentiDistillError
from sentidistill.report.templates import rendered
from tests.browser import Parts, is_whole, opened
from tests.project import ROOT, environment

LABELS = ("negative", "neutral", "positive")
LOCK = "stages:\n  select_samples:\n    params: {params.yaml: {select_samples: {rate: %s}}}\n"


def write_run(rate: float, share_right: float, seed: int = 0) -> None:
    """A run whose student is right on `share_right` of 300 records of two tasks; the teacher always says the same."""
    random = np.random.default_rng(seed)
    lines = ["task,id,model,gold,output,calibrated,scores"]
    for task in ("tweet", "movie"):
        for number in range(300):
            gold = LABELS[number % 3]
            said = gold if random.random() < share_right else LABELS[(number + 1) % 3]
            scores = " ".join("-0.1" if label == said else "-3" for label in LABELS)
            lines.append(f"{task},{number:04d},student,{gold},{said},{said},{scores}")
            lines.append(f"{task},{number:04d},teacher,{gold},{gold},,")
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/predictions.csv").write_text("\n".join(lines) + "\n")
    Path("metrics/select_samples.json").write_text(json.dumps({"kept": int(1000 * rate)}))
    Path("params.yaml").write_text(
        f"select_samples:\n  rate: {rate}\n  note: <script>document.title = {rate}</script>\n"
    )
    Path("data").mkdir(exist_ok=True)
    Path("data/instructions.jsonl").write_text(
        "".join(json.dumps({"text": one}) + "\n" for one in ("Both.", f"{rate}."))
    )
    Path("plots").mkdir(exist_ok=True)
    Path("plots/training_loss.csv").write_text("step,loss\n1,2\n2,1\n")
    Path("plots/difficulty.csv").write_text("difficulty,samples,kept\n0.0,9,1\n0.5,5,4\n")
    Path("dvc.lock").write_text(LOCK % rate)


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], check=True, capture_output=True)


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """A repository with a good run, tagged, a worse one after it, and one as good in the work tree."""
    monkeypatch.chdir(tmp_path)
    git("init")
    subprocess.run([shutil.which("dvc") or "dvc", "init", "-q"], check=True, env=environment())
    write_run(0.5, 0.8)
    git("add", "-A")
    git("commit", "-m", "good")
    git("tag", "good")
    write_run(0.1, 0.6)
    git("commit", "-am", "worse")
    write_run(0.5, 0.8, seed=1)
    return tmp_path


def compare(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sentidistill.commands.compare", *arguments]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env={**environment(), **path})


def test_the_first_line_says_what_got_worse_beyond_its_interval(runs):
    result = compare("good", "HEAD", "--fail", "--out", "compared.md")
    assert result.returncode == 1
    first = result.stdout.split("\n")[0]
    told = r"\*\*HEAD is worse than good: student, plain mean macro-F1, -[\d.]+ points \(-[\d.]+ to -[\d.]+\)"
    assert re.match(told, first)
    assert "teacher" not in first
    assert Path("compared.md").read_text() in result.stdout
    for told in (
        "| select_samples.rate | 0.5 | 0.1 |",
        "| select_samples | params |",
        "| select_samples.kept | 500 | 100 |",
        "| lost | 0.5. |",
        "| gained | 0.1. |",
    ):
        assert told in result.stdout
    back = compare("HEAD", "good", "--fail")
    assert back.returncode == 0
    assert back.stdout.startswith("**good is better than HEAD: student, plain mean macro-F1, +")


def test_the_page_says_what_the_markdown_says_and_obeys_no_text(runs):
    result = compare("good", "HEAD", "--out", "compared.html")
    page = Path("compared.html").read_text(encoding="utf-8")
    told = [line for line in result.stdout.splitlines() if line.startswith("| ") and not line.startswith("| --")]
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    shown = [f"| {' | '.join(re.sub('<[^>]+>', '', one) for one in row)} |" for row in rows]
    assert list(map(html.unescape, shown)) == list(map(html.unescape, told))
    assert result.stdout.split("\n")[0].strip("*") in page
    assert "<script>document" not in page
    assert Parts(page).fetched == []


def test_in_a_browser_the_page_is_whole_and_sorted_by_keyboard(runs):
    compare("good", "HEAD", "--out", "compared.html")
    with opened(runs / "compared.html") as browser:
        assert [number > 3 for number in is_whole(browser, "path")] == [True] * 4  # two plots of two runs
        number = browser.find_element("xpath", "//section[@id='scores']//th[6]/button")
        number.send_keys("\ue007")  # Enter
        rows = "return [...document.getElementById('scores-rows').rows].map(row => Number(row.cells[5].textContent))"
        gains = browser.execute_script(rows)
    assert gains == sorted(gains)
    assert len(gains) == 6


def test_runs_that_share_no_record_are_not_called_alike(runs):
    path = Path("metrics/predictions.csv")
    path.write_text(re.sub(r",(\d{4}),", r",other\1,", path.read_text()))
    found = compare("good", "--fail")
    assert found.returncode == 1
    assert found.stdout.splitlines()[0].startswith("**good and the work tree have no record of a model in common")


def test_runs_that_differ_by_chance_alone_are_not_told_apart(runs):
    """The same rate of right answers, other records; B is the work tree."""
    result = compare("good", "--fail")
    assert result.returncode == 0, result.stdout
    assert "No mean score of the work tree differs from that of good beyond its interval." in result.stdout
    assert compare("good", "workspace").stdout == result.stdout, "what DVC calls the work tree"
    assert "## Records on which the student moved most" in result.stdout


def test_params_are_those_that_the_stages_ran_with_and_a_lock_of_two_runs_is_called_unfinished(runs):
    ran = {"params.yaml": {"select_samples": {"rate": 0.125}}}
    lock = {
        "select_samples": {"params": ran, "outs": [{"path": "data/train.jsonl", "md5": "new"}]},
        "train_student": {"deps": [{"path": "data/train.jsonl", "md5": "new"}, {"path": "own.py", "md5": "any"}]},
    }
    assert settings(Revision("good"), {})["select_samples.rate"] == 0.5
    assert settings(Revision("good"), lock)["select_samples.rate"] == 0.125
    assert outdated(lock) == []
    lock["train_student"]["deps"][0]["md5"] = "old"
    assert outdated(lock) == ["train_student"]


def test_a_run_beside_itself_has_no_difference(runs):
    found = differences(predictions(Revision("good")), predictions(Revision("good")))
    assert (found, verdict(found, "a", "b")) == (
        [],
        "Every model gives the same answers in b as in a, so no score differs.",
    )
    assert reran({}, {}) == changed({"a": 1}, {"a": 1}) == []


def test_intervals_hold_what_they_say(runs):
    """Two students with the same rate of right answers: about one in twenty pairs is called different."""
    tables = []
    for seed in range(12):
        write_run(0.5, 0.7, seed)
        tables.append(predictions(Revision("")))
    pairs = [(a, b) for number, a in enumerate(tables) for b in tables[:number]]
    called = [any(one.worse or one.better for one in differences(a, b)) for a, b in pairs]
    assert np.mean(called) < 0.2


def test_what_cannot_be_compared_is_named(runs):
    with pytest.raises(SentiDistillError, match="'gone' is no commit, branch, tag or experiment"):
        Revision("gone")
    git("rm", "-q", "--cached", "metrics/predictions.csv")
    git("commit", "-m", "without")
    with pytest.raises(SentiDistillError, match=r"predictions.csv is not in HEAD; .*git log"):
        predictions(Revision("HEAD"))


def test_a_report_is_not_written_to_a_folder(runs):
    before = sorted(Path().iterdir())
    with pytest.raises(SentiDistillError, match=r"\. is a folder; name a file"):
        command.main("good", "--out", ".")
    assert sorted(Path().iterdir()) == before


def test_in_a_browser_a_long_table_shows_twenty_rows_and_more_by_keyboard(tmp_path):
    parts = [Section("Params", ("key", "a"), [(f"key {n}", n) for n in range(50)], "Say `this`.")]
    text = rendered("compare.html.jinja", a="a", b="b", verdict="None.", sections=parts, charts={})
    assert "<code>this</code>" in text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    with opened(tmp_path / "page.html") as browser:
        count = "return [...document.getElementById('params-rows').rows].filter(row => !row.hidden).length"
        button = browser.find_element("css selector", "[data-more='params-rows']")
        seen = [browser.execute_script(count)]
        for _ in range(2):
            button.send_keys("\ue007")  # Enter
            seen.append(browser.execute_script(count))
        is_whole(browser, "path")
        assert seen == [20, 40, 50]
        assert not button.is_displayed()
        browser.find_element("css selector", "input").send_keys("key 49")
        assert browser.execute_script(count) == 1
