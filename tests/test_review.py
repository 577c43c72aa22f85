"""People judge what the teacher made: export, import, and stages that obey."""

import csv
import io
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentidistill import config, records
from sentidistill.commands import review
from sentidistill.commands.review import COLUMNS, Item, as_csv, as_it_was, drawn, not_imported, read_verdicts, shown
from sentidistill.construct import reviews
from sentidistill.construct.attributes import ATTRIBUTES, AttributeCount, write_vectors
from sentidistill.construct.build import from_tasks, reviewed
from sentidistill.construct.demonstrations import Demonstration
from sentidistill.construct.perspectives import CLUSTERS, PERSPECTIVES, Cluster
from sentidistill.construct.reviews import Verdict
from sentidistill.construct.tasks import TaskDefinition
from sentidistill.errors import SentiDistillError
from sentidistill.samples import SAMPLES, TRAIN_ROWS, Sample
from sentidistill.shares import wilson
from sentidistill.sources.tables import Source
from stages import select_perspectives, select_samples
from tests.browser import opened
from tests.project import ROOT, Project, run_stages

MOOD = "Decide. Answer with one of: happy, sad, -1."
HOSTILE = '=HYPERLINK("https://example.com")</script><script>document.title = "obeyed"</script><img src=x>'


def item(number: int, kind: str = "answer", **other) -> Item:
    of_kind = {"family": "classification", "task": MOOD, "answer": "happy", "labels": ["happy", "sad", "-1"]}
    if kind == "analysis":
        of_kind = {"family": "analysis", "task": review.OF_ANALYSES, "answer": "", "labels": []}
    if kind == "cluster":
        of_kind |= {"task": review.OF_CLUSTERS, "answer": "perspective", "labels": ["perspective", "thing"]}
    return Item(**{"id": f"{kind}-{number:016x}", "kind": kind, "text": f"Text, no. {number}", **of_kind, **other})


ITEMS = [
    item(1),
    item(2, text='=SUM(A1)\n"quoted"; and, more'),
    item(3, "cluster", text="joy, anger"),
    item(4, "analysis"),
    item(5, family="extraction", task="Quote it.", text="The bus was late again.", answer="late", labels=[]),
    item(6, text="Größe – “so”  weit"),
]
KNOWN = {one.id: one for one in ITEMS}


def cells(items=ITEMS, **columns) -> list[dict[str, str]]:
    """The rows of the exported file; `columns` are what is written into them, by the item's number."""
    rows = list(csv.DictReader(io.StringIO(as_csv(items).removeprefix("\ufeff"), newline="")))
    for name, values in columns.items():
        for number, value in values.items():
            rows[number - 1][name] = value
    return rows


def saved(path: Path, rows: list[dict[str, str]], separator=",", encoding="utf-8-sig", left_out=()) -> Source:
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(
            file, [name for name in COLUMNS if name not in left_out], "", "ignore", delimiter=separator
        )
        writer.writeheader()
        writer.writerows(rows)
    return Source(path, "verdict", encoding if encoding == "cp1252" else "utf-8-sig")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_verdicts_come_back_whatever_a_spreadsheet_saves(tmp_path, separator, encoding):
    said = {1: "Wrong", 2: "right", 3: "wrong", 4: " wrong ", 5: ""}
    rows = cells(verdict=said, correction={1: "SAD", 5: "The bus"})
    found, faults = read_verdicts(saved(tmp_path / "v.csv", rows, separator, encoding), KNOWN)
    assert faults == []
    ids = [one.id for one in ITEMS]
    assert found == [
        Verdict(id=ids[0], verdict="wrong", answer="sad"),
        Verdict(id=ids[1], verdict="right"),
        Verdict(id=ids[2], verdict="wrong", answer="thing"),
        Verdict(id=ids[3], verdict="wrong"),
        Verdict(id=ids[4], verdict="wrong", answer="The bus"),
    ]


def test_a_label_that_looks_like_a_formula_is_shown_as_text_and_read_as_the_label(tmp_path):
    for written in ("-1", "'-1"):
        found, faults = read_verdicts(saved(tmp_path / "v.csv", cells(correction={1: written})), KNOWN)
        assert (found, faults) == ([Verdict(id=ITEMS[0].id, verdict="wrong", answer="-1")], [])


@given(st.text() | st.builds("".join, st.lists(st.sampled_from(["'", "=", "+", "-", "@", "\t", "\r", "＝", "x", " "]))))
def test_no_cell_is_a_formula_and_each_comes_back_the_same(text):
    assert not re.match(r"[=+\-@\t\r\n＝＋－＠]", shown(text))
    assert as_it_was(shown(text)) == text


def test_what_a_person_types_with_an_apostrophe_stays():
    assert as_it_was("'tis late") == "'tis late"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": {1: "yes"}}, "line 2: verdict 'yes'; write right or wrong"),
        ({"verdict": {1: "right"}, "id": {1: "row 1"}}, "line 2: unknown id 'row 1'; copy it from the exported file"),
        ({"verdict": {1: "right"}, "id": {1: "answer-00000000000000ff"}}, "has changed since the export"),
        ({"verdict": {3: "wrong"}, "answer": {3: "thing"}}, "has changed since the export"),
        ({"correction": {1: "glad"}}, "none of the labels; write one of: happy, sad, -1"),
        ({"correction": {1: "happy"}}, "is the answer that is there; write right"),
        ({"correction": {5: "The tram"}}, "does not stand in its text, word for word"),
        ({"correction": {4: "Who?"}}, "an analysis is right or wrong"),
        ({"verdict": {1: "right"}, "correction": {1: "sad"}}, "there is a correction; empty one of them"),
        ({"verdict": {1: "right", 2: "right"}, "text": {1: "=SUM(A1)"}}, "line 2: the text is not that of"),
    ],
)
def test_a_faulty_row_is_named_by_its_line_with_the_remedy_and_the_others_count(tmp_path, change, message):
    change["verdict"] = change.get("verdict", {}) | {6: "right"}
    found, faults = read_verdicts(saved(tmp_path / "v.csv", cells(**change)), KNOWN)
    assert len(faults) == 1
    assert message in faults[0]
    assert found[-1] == Verdict(id=ITEMS[5].id, verdict="right")


def test_two_verdicts_on_one_thing_are_refused_unless_they_are_the_same(tmp_path):
    rows = cells(verdict={1: "right"})
    found, faults = read_verdicts(saved(tmp_path / "v.csv", [rows[0], rows[0]]), KNOWN)
    assert (len(found), faults) == (1, [])
    found, faults = read_verdicts(saved(tmp_path / "v.csv", [rows[0], {**rows[0], "verdict": "wrong"}]), KNOWN)
    assert faults == [f"line 3: {ITEMS[0].id} was judged otherwise in line 2; remove one of them"]


@pytest.mark.parametrize("column", ["id", "text", "verdict", "correction"])
def test_a_missing_column_is_named(tmp_path, column):
    with pytest.raises(SentiDistillError, match=rf"v\.csv: no column '{column}'"):
        read_verdicts(saved(tmp_path / "v.csv", cells(verdict={1: "right"}), left_out=[column]), KNOWN)


def test_verdicts_in_lines_of_json_need_no_correction(tmp_path):
    rows = [dict(row) for row in cells(verdict={1: "right", 2: "wrong", 3: "wrong", 6: ""}, correction={6: "sad"})]
    del rows[0]["correction"]
    rows[1]["correction"] = None
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, faults = read_verdicts(Source(path, "verdict"), KNOWN)
    assert faults == []
    assert found == [
        Verdict(id=ITEMS[0].id, verdict="right"),
        Verdict(id=ITEMS[1].id, verdict="wrong"),
        Verdict(id=ITEMS[2].id, verdict="wrong", answer="thing"),
        Verdict(id=ITEMS[5].id, verdict="wrong", answer="sad"),
    ]


@pytest.mark.parametrize("name", ["verdict", "id"])
def test_two_columns_that_a_blank_tells_apart_are_refused(tmp_path, name):
    path = tmp_path / "v.csv"
    path.write_text(f"{','.join(COLUMNS)}, {name}\n{ITEMS[0].id},,,,,,right,,wrong\n")
    with pytest.raises(SentiDistillError, match=rf"v\.csv: two columns are called '{name}'"):
        read_verdicts(Source(path, "verdict"), KNOWN)


def test_the_printed_interval_covers_the_known_agreement_in_about_95_of_100_reviews():
    """Annotators who find a fifth of the answers wrong, of four tasks that are not alike."""
    random = np.random.default_rng(11)
    rates = {f"Task {number}.": rate for number, rate in enumerate((0.05, 0.1, 0.25, 0.4))}
    hits = dict.fromkeys(("", *rates), 0)
    for _ in range(400):
        pool = [item(number, task=f"Task {number % 4}.") for number in range(4 * 60)]
        truth = {one.id: random.random() >= rates[one.task] for one in pool}
        sample = drawn(pool, 160, int(random.integers(2**31)))
        verdicts = [Verdict(id=one.id, verdict="right" if truth[one.id] else "wrong") for one in sample]
        for (_, task), (right, judged) in review.agreements(verdicts, {one.id: one for one in pool}).items():
            low, high = wilson(right / judged, judged)
            hits[task] += low <= 1 - rates.get(task, 0.2) <= high
    assert all(0.92 <= number / 400 <= 0.99 for number in hits.values()), hits


def test_a_sample_is_stratified_and_everything_in_it_equally_likely():
    pool = [item(number, task="rare" if number < 10 else "common") for number in range(100)]
    times = dict.fromkeys((one.id for one in pool), 0)
    for seed in range(600):
        sample = drawn(pool, 20, seed)
        assert len({one.id for one in sample}) == 20
        assert sum(one.task == "rare" for one in sample) == 2
        for one in sample:
            times[one.id] += 1
    assert min(times.values()) > 600 * 0.2 * 0.55
    assert max(times.values()) < 600 * 0.2 * 1.45
    assert drawn(pool, 20, 1) == drawn(pool, 20, 1) != drawn(pool, 20, 2)
    assert sorted(drawn(pool, 500, 1), key=lambda one: one.id) == pool
    assert drawn([], 5, 1) == []


# What the stages do


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """params.yaml, which keeps half of what it can, and an empty reviews.jsonl, as the current folder."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["select_samples"] |= {"rate": 0.5, "strategy": "soft"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "reviews.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(*verdicts: Verdict) -> None:
    records.write_jsonl(reviews.PATH, verdicts)


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ("demonstration-1,right,", 0),
        ("demonstration-1,,", 0),
        ("demonstration-1,wrong,", 1),
        ("demonstration-2,right,", 1),
        ('demonstration-1,"wro"ng,', 1),
        ("demonstration-1,,other", 1),
    ],
)
@pytest.mark.parametrize("header", ["id,verdict,correction", "id, verdict, correction"])
def test_verdicts_that_were_not_imported_as_they_are_now_are_counted(tmp_path, header, row, number):
    table = tmp_path / "review.csv"
    table.write_text(f"{header}\n{row}\n")
    known = {"demonstration-1": Verdict(id="demonstration-1", verdict="right", answer="")}
    assert not_imported(table, known) == number


def test_the_file_in_git_is_empty_so_that_the_default_run_is_nobodys_opinion():
    assert (ROOT / "reviews.jsonl").read_bytes() == b""


def test_a_damaged_line_of_the_file_is_named(folder):
    judged(Verdict(id="a", verdict="right"))
    with reviews.PATH.open("a") as file:
        file.write("<<<<<<< HEAD\n")
    with pytest.raises(SentiDistillError, match=r"reviews\.jsonl, line 2: no verdict .*; mend the line or remove it"):
        reviews.read()
    reviews.PATH.unlink()
    with pytest.raises(SentiDistillError, match="make it empty"):
        reviews.read()


def test_a_file_that_an_editor_saved_with_a_mark_and_blank_lines_is_read(folder):
    judged(Verdict(id="a", verdict="right"), Verdict(id="b", verdict="wrong", answer="sad"))
    first, second = reviews.PATH.read_text().splitlines()
    reviews.PATH.write_text(f"\n{first}\n\n  \n{second}\n\n", encoding="utf-8-sig")
    assert list(reviews.read()) == ["a", "b"]
    assert reviews.wrong() == {"b": "sad"}


def test_a_wrong_demonstration_is_not_shown_and_a_corrected_one_has_the_right_label():
    task = TaskDefinition(
        **{"id": "1", "cluster": 0, "attribute": "joy", "mentions": 3, "name": "Joy", "family": "classification"},
        **{"instruction": "Decide.", "labels": ["yes", "no"], "format": "", "examples": []},
    )
    rows = [
        Demonstration(task="1", input=text, output=output, written_for=output, lead=1.0, shown=True)
        for text, output in [("a", "yes"), ("b", "no"), ("c", "yes"), ("d", "no"), ("e", "yes")]
    ]
    ids = {row.input: reviews.demonstration_id(task.text(), row.input, row.output) for row in rows}
    section = config.load(ROOT / "params.yaml").build_instructions
    (made,), _ = from_tasks([task], reviewed(rows, [task], {ids["a"]: "", ids["c"]: "no"}), section)
    assert made.demonstrations == made.reference == [("b", "no"), ("c", "no"), ("d", "no"), ("e", "yes")]
    changed = [row.model_copy(update={"output": "no"}) for row in rows]
    assert reviewed(changed, [task], {ids["a"]: ""}) == changed, "a verdict holds for the answer that was judged"
    assert reviewed(rows, [task], {}) == rows
    with pytest.raises(SentiDistillError, match=r"reviews\.jsonl: the right answer 'perhaps' to 'c' cannot be one"):
        reviewed(rows, [task], {ids["c"]: "perhaps"})


def test_a_cluster_is_what_a_reader_says_that_it_is(folder):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["select_perspectives"]["method"] = "none"  # which keeps every cluster
    Path("params.yaml").write_text(yaml.safe_dump(values))
    attributes = [AttributeCount(name=name, count=2, description="", variants={name: 2}) for name in ("joy", "bus")]
    ATTRIBUTES.write(attributes)
    write_vectors(np.eye(2, dtype=np.float32))
    CLUSTERS.write(
        Cluster(id=number, exemplar=one.name, attributes=[one], count=2, cohesion=1.0)
        for number, one in enumerate(attributes)
    )
    select_perspectives.main()
    before = Path("data/perspectives.jsonl").read_bytes()
    judged(Verdict(id=reviews.cluster_id(["bus"]), verdict="wrong", answer="thing"))
    select_perspectives.main()
    assert [row.kept for row in PERSPECTIVES.read()] == [True, False]
    judged(Verdict(id=reviews.cluster_id(["bus", "tram"]), verdict="wrong", answer="thing"))
    select_perspectives.main()
    assert Path("data/perspectives.jsonl").read_bytes() == before, "another cluster was judged"


def pool(size: int = 40) -> list[Sample]:
    of_all = {"stratum": "1", "cluster": 0, "family": "classification", "instruction": MOOD, "cue": "Mood"}
    lists = {"labels": ["happy", "sad"], "demonstrations": [], "student_demonstrations": [], "label_scores": []}
    return [
        Sample(
            **{"id": f"{number:016x}", "text_id": f"{number:x}", "text": f"Text {number}.", **of_all, **lists},
            answer="happy",
            plain="happy",
            probabilities=[0.9, 0.1],
        )
        for number in range(size)
    ]


def answer_id(sample: Sample) -> str:
    return reviews.answer_id(sample.instruction, sample.text, sample.answer)


def test_a_wrong_answer_never_trains_and_a_corrected_label_always_does(folder):
    samples = pool()
    SAMPLES.write(samples)
    PERSPECTIVES.write([])
    scores = pd.DataFrame([(one.id, one.stratum, 0, one.family, 9) for one in samples])
    scores.columns = ["id", "stratum", "cluster", "family", "tokens"]
    scores["difficulty"] = np.linspace(0, 1, len(samples))
    scores.to_csv("data/difficulty.csv", index=False)
    select_samples.main()
    before, metrics = Path("data/train.jsonl").read_bytes(), records.read_json("metrics/select_samples.json")
    kept = {row.id for row in TRAIN_ROWS.read()}
    easy, hard = (next(one for one in order if one.id in kept) for order in (samples, samples[::-1]))
    unkept = next(one for one in samples if one.id not in kept)

    judged(
        Verdict(id=answer_id(hard), verdict="wrong"),
        Verdict(id=answer_id(unkept), verdict="wrong", answer="sad"),
        Verdict(id=answer_id(easy), verdict="right"),
    )
    select_samples.main()
    answers = {row.id: row.answer for row in TRAIN_ROWS.read()}
    assert hard.id not in answers
    assert answers.pop(unkept.id) == "sad"
    assert set(answers.values()) == {"happy"}
    assert len(answers) == 19, "half of those that nobody found wrong"
    assert records.read_json("metrics/select_samples.json")["judged_wrong"] == 2

    judged(Verdict(id=answer_id(unkept), verdict="wrong", answer="furious"))
    with pytest.raises(
        SentiDistillError, match=r"reviews\.jsonl: the right answer 'furious' to 'Text .*none of the lab"
    ):
        select_samples.main()

    judged(Verdict(id=answer_id(easy.model_copy(update={"text": "Another text."})), verdict="wrong"))
    select_samples.main()
    assert Path("data/train.jsonl").read_bytes() == before, "another text was judged"
    assert records.read_json("metrics/select_samples.json") == metrics


# The page


def test_the_page_fetches_nothing_and_what_it_shows_is_data():
    text = review.as_page([item(1, text=HOSTILE, answer=HOSTILE, task=HOSTILE)])
    assert HOSTILE not in text
    assert text.count("</script>") == 1
    assert not re.findall(r"""(?:src|href)=["']|@import|url\(|fetch\(|https?://(?!example\.com)""", text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The page of ITEMS, with hostile texts in one of them."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "review.html").write_text(review.as_page([*ITEMS, item(7, text=HOSTILE)]), encoding="utf-8")
    with opened(folder / "review.html") as shown:
        shown.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        yield shown, folder


def press(page, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(page).send_keys(key).perform()


@pytest.mark.heavy
def test_in_a_browser_a_key_is_a_verdict_that_survives_a_reload_and_is_saved(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    page, folder = browser

    def shown(part: str) -> str:
        return page.find_element(By.ID, part).text

    press(page, "2", "r", "1", "w")  # sad; right; a perspective, as it was; wrong
    assert shown("text") == ITEMS[4].text
    press(page, "c", *"The bus r", Keys.BACKSPACE, Keys.BACKSPACE, Keys.ENTER)  # no letter of a correction is a key
    assert shown("text") == " ".join(ITEMS[5].text.split())
    press(page, "r", Keys.ARROW_LEFT, Keys.ARROW_LEFT, "u", "r", Keys.ARROW_LEFT, Keys.ARROW_LEFT, "c")
    press(page, *"late again", Keys.ENTER)
    for _ in range(5):
        page.refresh()
        WebDriverWait(page, 10).until(lambda _: shown("count") == "6 of 7 judged", "verdicts were forgotten")
    press(page, "n")
    assert shown("text") == HOSTILE
    assert page.title == "SentiDistill: is it right?"
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390, "whole on a telephone"
    press(page, "3")
    page.find_element(By.ID, "save").click()
    path = folder / "verdicts.csv"
    for _ in range(100):
        if path.exists():
            break
        time.sleep(0.1)
    every = [*ITEMS, item(7, text=HOSTILE)]
    found, faults = read_verdicts(Source(path, "verdict"), {one.id: one for one in every})
    assert faults == []
    said = [(one.verdict, one.answer) for one in found]
    assert said == [
        *(("wrong", "sad"), ("right", ""), ("right", "perspective"), ("wrong", ""), ("wrong", "late again")),
        *(("right", ""), ("wrong", "-1")),
    ]
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert not any(re.match(r"[=+\-@]", cell) for row in csv.reader(file) for cell in row)
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.heavy
def test_in_a_browser_that_keeps_nothing_the_page_says_so_and_works(browser):
    from selenium.webdriver.common.by import By

    page, folder = browser
    script = "Object.defineProperty(window, 'indexedDB', {get() { throw new DOMException('refused'); }});"
    made = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    page.get((folder / "review.html").as_uri())
    assert page.find_element(By.ID, "kept-nowhere").is_displayed()
    press(page, "w")
    assert page.find_element(By.ID, "count").text == "1 of 7 judged"
    page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)
    page.execute_script("unsaved = false")


# The whole way


def test_what_people_reject_is_gone_and_what_they_correct_trains_after_the_stages_have_run(
    project: Project, tmp_path: Path
):
    def command(*arguments: str) -> str:
        return project.run("python", "-m", "sentidistill.commands.review", *arguments).stdout

    try:
        command("export", "--demonstrations", "500", "--answers", "500", "--analyses", "500")
        path = project.folder / "exports/review.csv"
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
        for row in rows:
            row["verdict"] = "right"
        demonstration, cluster, analysis = (
            [row for row in rows if row["kind"] == kind][-1] for kind in ("demonstration", "cluster", "analysis")
        )
        demonstration["verdict"] = analysis["verdict"] = "wrong"
        answer = next(row for row in rows if row["kind"] == "answer" and " / " in row["labels"])
        right = next(one for one in as_it_was(answer["labels"]).split(" / ") if one != as_it_was(answer["answer"]))
        answer |= {"verdict": "wrong", "correction": right}
        source = saved(path, rows)
        before_export = path.read_bytes()
        again = project.run("python", "-m", "sentidistill.commands.review", "export", check=False)
        assert f"verdicts that are not imported; run `make review-import FILE=exports/{path.name}`" in again.stderr
        assert path.read_bytes() == before_export, "verdicts are not written over"
        told = command("import", str(source.path))
        assert "The teacher will be asked" in told
        stages = {"build_instructions", "select_samples", "select_perspectives", "compose_prompts", "train_student"}
        assert all(re.search(rf"\b{name}\b", told) for name in stages)
        assert set(project.repro("--dry")) == {"select_perspectives", "build_instructions", "select_samples"}

        project.copy_of_files(tmp_path)
        run_stages(tmp_path, ["select_perspectives", "build_instructions", "select_samples"])
        made = Project(tmp_path)
        read = [records.read_jsonl(made.folder / table.path, table.row) for table in (review.INSTRUCTIONS, TRAIN_ROWS)]
        assert as_it_was(analysis["text"]) not in {one.text for one in read[0]}
        pairs = {(one.text, *pair) for one in read[0] for pair in one.demonstrations}
        assert tuple(as_it_was(demonstration[name]) for name in ("task", "text", "answer")) not in pairs
        trained = {(one.instruction, one.text): one.answer for one in read[1]}
        assert trained[as_it_was(answer["task"]), as_it_was(answer["text"])] == right
        before, after = ((one / "data/perspectives.jsonl").read_bytes() for one in (project.folder, tmp_path))
        assert before == after

        cluster["verdict"] = "wrong"
        told = command("import", str(saved(path, rows).path), "--dry-run")
        assert "1 changed" in told
        assert "write_analysis_instructions" in told
        assert project.run("git", "status", "--short").stdout.split() == ["M", "reviews.jsonl"]
    finally:
        (project.folder / "reviews.jsonl").write_text("")
        shutil.rmtree(project.folder / "exports", ignore_errors=True)
