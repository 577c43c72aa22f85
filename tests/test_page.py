"""report.html: its figures are the metrics', what texts hold is shown and not obeyed, and it works in a browser."""

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sentidistill import records
from sentidistill.commands import page
from sentidistill.config import load
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline.runs import Run
from sentidistill.report import funnel, story, trust
from sentidistill.report.templates import rendered
from sentidistill.samples import SAMPLES
from tests.browser import Parts, is_whole, opened
from tests.project import ROOT

HOSTILE = '<script>document.title = "obeyed"</script><img src="https://example.com/x.png">'


@pytest.fixture(scope="module")
def values(project) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        return page.gathered(None)


@pytest.mark.heavy
def test_the_figures_of_the_page_are_those_of_the_metrics(values, project):
    text = rendered("report.html.jinja", **values)
    report = project.json("metrics/report.json")
    verdict = re.search(r'<p class="verdict">(.*?)</p>', text, re.DOTALL)[1]
    for score in report["macro_f1"].values():
        assert f"{score:.1f}" in verdict
    assert f"{report['gain']['mean']:+.1f}" in verdict
    parts = Parts(text)
    assert parts.rows["instruction-rows"] == project.json("metrics/build_instructions.json")["instructions"]
    assert parts.rows["perspective-rows"] == project.json("metrics/cluster_attributes.json")["clusters"]
    assert parts.fetched == [], "it opens without a network"
    assert len(text.encode()) < 3_000_000


@pytest.mark.heavy
def test_what_a_text_holds_is_shown_and_not_obeyed(values):
    row = {"task": HOSTILE, "text": HOSTILE, "gold": HOSTILE, "said": HOSTILE, "sure": 0.5, "teacher": HOSTILE}
    told = {**values["story"], "text": values["story"]["text"].model_copy(update={"text": HOSTILE})}
    trusted = {"texts": 1, "error": 0.0, "reliability": "", "risk": "", "wrong": [row]}
    steps = [funnel.Step(HOSTILE, 1, HOSTILE, [(HOSTILE, 1)])]
    text = rendered("report.html.jinja", **{**values, "trust": trusted, "story": told, "funnel": steps})
    assert HOSTILE not in text
    assert "&lt;script&gt;document.title" in text
    assert Parts(text).fetched == []


@pytest.mark.heavy
def test_one_text_is_followed_from_its_attributes_to_what_the_student_says(values, project, monkeypatch):
    monkeypatch.chdir(project.folder)
    params, rows = load("params.yaml"), SAMPLES.read()
    steps = values["story"]["steps"]
    assert steps
    assert {step.sample.id for step in steps} == {row.id for row in rows if row.text_id == values["story"]["text"].id}
    labelled = next(row for row in rows if row.labels)
    (step,) = [one for one in page.followed(labelled.text_id, params)["steps"] if one.sample.id == labelled.id]
    assert step.student in labelled.labels
    assert labelled.answer in "".join(token.text for token in step.tokens)
    assert [token.ends for token in step.tokens] == [False] * (len(step.tokens) - 1) + [True]
    assert labelled.text in step.prompt
    with pytest.raises(SentiDistillError, match="no text 'nowhere'"):
        page.followed("nowhere", params)


def test_the_text_that_is_followed_has_a_kept_label_answers_of_many_families_and_is_short():
    def row(text_id: str, family: str, text: str = "A text.") -> SimpleNamespace:
        labels = ["1", "2"] if family == "scoring" else []
        return SimpleNamespace(id=f"{text_id} {family}", text_id=text_id, family=family, labels=labels, text=text)

    rows = [row("a", "scoring"), *(row("b", family) for family in ("scoring", "analysis", "extraction"))]
    rows += [row("c", family, text="Short.") for family in ("scoring", "analysis", "extraction")]
    assert story.richest(rows, {"a scoring", "b analysis"}) == "a"
    assert story.richest(rows, {"a scoring", "b scoring"}) == "b"
    assert story.richest(rows, {one.id for one in rows}) == "c"
    assert story.richest(rows, set()) == "c"
    assert story.richest([], {"a"}) is None


def test_the_funnel_tells_in_plain_words_what_was_left_out_at_each_step(monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = {step.what: step for step in funnel.steps()}
    corpus = json.loads(Path("metrics/prepare_corpus.json").read_text())
    usable = steps["usable texts"]
    assert usable.number == corpus["usable"] == steps["texts read"].number - sum(number for _, number in usable.lost)
    drawn = steps["texts in which attributes are found"].number + steps["other texts, for tasks"].number
    assert steps["other texts, for tasks"].lost == [("drawn for neither", usable.number - drawn)]
    words = " ".join([*steps, *(why for step in steps.values() for why, _ in step.lost)])
    assert "_" not in words


def test_the_page_names_the_commit_of_the_lock_and_the_times_that_are_in_git_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert page.commit() == ""
    one = Run(processor="AVX2, 2 cores", seconds=7, asking=0, recorded=0, cached=0, asked=0).model_dump()
    records.write_json(Path("recordings/default/runs.json"), {"model": "", "pace": {}, "stages": {"report": one}})
    monkeypatch.setattr(page.stage, "cache_root", lambda: Path(".cache"))
    records.write_json(Path(".cache/runs/report.json"), {**one, "seconds": 9})
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    Path("dvc.lock").write_text("a")
    for command in (["init"], ["add", "dvc.lock"], ["commit", "-m", "run"], ["commit", "--allow-empty", "-m", "other"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    of_run = subprocess.run([*git, "rev-parse", "HEAD~1"], capture_output=True, text=True).stdout
    assert of_run.startswith(page.commit())
    assert page.times()[1]["report"].seconds == 7
    Path("dvc.lock").write_text("b")
    assert page.commit().endswith(" with changes")
    assert page.times()[1]["report"].seconds == 9


def test_a_student_that_is_as_right_as_it_says_has_no_error_and_its_sure_answers_are_better():
    random = np.random.default_rng(0)
    sure = random.uniform(0.4, 1, 20_000)
    right = random.random(20_000) < sure
    table = trust.reliability(sure, right)
    assert trust.calibration_error(table) < 0.02
    assert ((table["low"] <= table["said"]) & (table["said"] <= table["high"])).mean() >= 0.75
    risk = trust.risk_coverage(sure, right).set_index("coverage")["risk"]
    assert risk.iloc[-1] == pytest.approx(1 - right.mean())
    assert risk[risk.index <= 0.3].iloc[-1] < risk.iloc[-1] / 2
    assert trust.calibration_error(trust.reliability(np.ones(1000), random.random(1000) < 0.7)) == pytest.approx(
        0.3, abs=0.05
    )


@pytest.fixture(scope="module")
def browser(values, tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered("report.html.jinja", **values), encoding="utf-8")
    with opened(path) as found:
        yield found


@pytest.mark.heavy
def test_in_a_browser_the_page_is_whole_on_a_telephone_and_says_no_error(browser):
    drawn = is_whole(browser, "path")
    assert len(drawn) >= 4
    assert all(number > 3 for number in drawn), drawn


@pytest.mark.heavy
def test_in_a_browser_tables_are_searched_and_sorted_by_keyboard(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def shown(body: str) -> list[list[str]]:
        return browser.execute_script(
            f"return [...document.getElementById('{body}').rows].filter(row => !row.hidden)"
            ".map(row => [...row.cells].map(cell => cell.textContent.trim()))"
        )

    every = shown("perspective-rows")
    number = browser.find_element(By.XPATH, "//section[@id='perspectives']//th[2]/button")
    number.send_keys(Keys.ENTER)
    counts = [int(row[1]) for row in shown("perspective-rows")]
    assert counts == sorted(counts)
    number.send_keys(Keys.ENTER)
    assert [int(row[1]) for row in shown("perspective-rows")] == sorted(counts, reverse=True)
    assert number.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    search = browser.find_element(By.CSS_SELECTOR, "input[data-filters='perspective-rows']")
    word = every[0][0].split(" (")[0]
    search.send_keys(word)
    assert shown("perspective-rows")
    assert all(word.lower() in " ".join(row).lower() for row in shown("perspective-rows"))
    search.send_keys("no such words")
    assert shown("perspective-rows") == []
    family = browser.find_element(By.CSS_SELECTOR, "select[data-column='0']")
    family.send_keys("analysis")
    assert {row[0] for row in shown("instruction-rows")} == {"analysis"}


def test_a_page_of_a_run_that_is_not_there_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(Path(__file__).parent.parent.joinpath("params.yaml").read_text())
    with pytest.raises(SentiDistillError, match=r"data/benchmark/tweet/test\.jsonl is missing; make it with"):
        page.main()
    assert not Path("report.html").exists()
