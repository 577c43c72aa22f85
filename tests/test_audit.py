"""The published evaluator's rules, and what they give to answers that are right, empty or repeated."""

import json
import re
from pathlib import Path

import pytest

from sentidistill import records, yaml_files
from sentidistill.commands import audit
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import published
from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.sentibench import MEANS
from sentidistill.evaluation.suite import Outcome
from sentidistill.evaluation.tuples import KEYS
from tests.made_up_sentibench import write_copy
from tests.project import ROOT

COPY = Path(__file__).resolve().parents[2] / "shared/sentibench"


def review(sentence: str, *aspects: tuple[str, str]) -> dict:
    spans = [(target, sentence.find(target)) for target, _ in aspects]
    return {
        "ID": sentence,
        "sentence": sentence,
        "aspects": [
            {"target": t, "category": "FOOD#QUALITY", "polarity": p, "from": str(b), "to": str(b + len(t))}
            for (t, b), (_, p) in zip(spans, aspects)
        ],
    }


QUAD = {"aspect": "soup", "category": "food quality", "opinion": "good", "sentiment": "positive"}


def said(*pairs: tuple[str, str]) -> str:
    return json.dumps([{"aspect_term": term, "sentiment": sentiment} for term, sentiment in pairs])


def test_a_right_answer_that_is_repeated_gains_by_the_published_rules_alone():
    rows = [review("the soup and the fish", ("soup", "positive"), ("fish", "negative"))]
    once = [said(("soup", "positive"), ("fish", "positive"))]
    often = [said(*[("soup", "positive")] * 9, ("fish", "positive"))]
    assert published.f1("atsa_rest16", rows, once) == pytest.approx(50)
    assert published.f1("atsa_rest16", rows, often) == pytest.approx(200 * 0.9 * 0.5 / 1.4)
    assert score("atsa_rest16", rows, often)["f1"] == score("atsa_rest16", rows, once)["f1"] == pytest.approx(50)


def test_an_answer_of_another_form_is_wrong_or_left_out_as_the_published_rules_have_it():
    rows = [review("the soup", ("soup", "positive"))]
    right = {"aspect_term": "soup", "sentiment": "positive"}
    for other in ({"aspect_term": "soup"}, {"aspect_term": "fish", "sentiment": "positive"}, "fish"):
        answers = [json.dumps([right, other])]
        assert published.f1("atsa_rest16", rows, answers) == pytest.approx(200 * 0.5 / 1.5), "it is wrong"
    assert published.f1("atsa_rest16", rows, [json.dumps([right, {}, None])]) == 100
    for other in (3, {"aspect_term": "soup", "sentiment": None}):
        assert published.f1("atsa_rest16", rows, [json.dumps([right, other])]) == 0, "all of the record is wrong"
        in_asqp = dict(zip(KEYS["asqp_rest16"], ("soup", "food quality", "good", "positive")))
        quads = [{"sentence": "good soup", "quards": [QUAD]}]
        assert published.f1("asqp_rest16", quads, [json.dumps([in_asqp, other])]) == 100
    cut = json.dumps([right, right])[:-5]
    assert published.f1("atsa_rest16", rows, [cut]) == 100, "a list that is cut off keeps its whole objects"
    longer = json.dumps([right]) + '\n\nSentence: the fish\nOutput: [{"aspect_term": "fish"}]'
    assert published.f1("atsa_rest16", rows, [longer]) == 100, "what comes after the first list is not read"
    assert published.f1("atsa_rest16", rows, ["no list"]) == published.f1("atsa_rest16", rows, ["[]"]) == 0
    assert published.f1("atsa_rest16", rows, [f"so: {json.dumps([right])}."]) == 100


def opinion(sentence: str, holder: str, target: str, expression: str, polarity: str) -> dict:
    def part(text: str, begin: int) -> list:
        return [[text], [f"{begin}:{begin + len(text)}"]] if text else [[], []]

    places = (sentence.rfind(holder) if holder else 0, sentence.rfind(target), sentence.rfind(expression))
    names = ("Source", "Target", "Polar_expression")
    parts = {name: part(text, at) for name, text, at in zip(names, (holder, target, expression), places)}
    return {"sent_id": sentence, "sentence": sentence, "opinions": [{**parts, "Polarity": polarity, "Intensity": ""}]}


def test_in_opener_a_text_is_placed_where_it_is_first_found_and_nothing_is_everything():
    row = opinion("the room and the other room were clean", "", "room", "clean", "Positive")
    keys = ("holder", "target", "sentiment_expression", "sentiment_polarity")

    def answer(*values: str) -> list[str]:
        return [json.dumps([dict(zip(keys, values))])]

    right = answer("NULL", "room", "clean", "positive")
    assert published.f1("opener", [row], right) == 0, "the second room is meant, and the first one found"
    assert score("opener", [row], right)["f1"] == 100, "the one that is nearest to the expression counts"
    empty = answer("NULL", "", "", "positive")
    assert published.f1("opener", [row], empty) > 40
    assert score("opener", [row], empty)["f1"] == 0
    invented = answer("nobody", "other room", "clean", "positive")
    assert published.f1("opener", [row], invented) > 80, "a holder who is not in the text counts as none"
    assert score("opener", [row], invented)["f1"] == 0


def labelled(*labels: str) -> list[dict]:
    return [{"sentence": "a text", "label": label} for label in labels]


def test_classes_of_labels_are_those_that_occur_by_the_published_rules():
    rows = labelled("AGAINST", "AGAINST", "FAVOR", "FAVOR")
    answers = ["against", "favor", "favor", "Favor"]
    assert published.macro_f1(rows, answers) == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    assert published.score("pstance", rows, answers) == 73.33, "as a share it is stored with four decimals"
    rows = labelled("anger", "anger")
    assert published.score("tweeteval", rows, ["anger", "anger"]) == 100
    assert score("tweeteval", rows, ["anger", "anger"])["macro_f1"] == 25, "three classes that are not there count 0"
    assert published.score("tweeteval", rows, ["anger", "angry"]) == 33.33, "no label, so a class that is always wrong"


def test_a_task_that_is_missing_counts_0_in_the_published_mean_of_the_twelve():
    assert published.mean({"imdb": 60, "opener": 30, "irony18_stripped": 90}) == 7.5


def test_the_released_sampler_accepts_a_group_where_its_probabilities_sum_to_the_rate():
    # A group of one is kept with probability 1/2, the second one of a group of two with 3/4 and the first with 1/4.
    assert audit.passing(0.5, sizes=2) == 2
    # At a rate of 1/5 these are to the fourth power: 0.0625 in place of 0.2, and 0.32 in place of 0.4.
    assert audit.passing(0.2, sizes=2) == 0
    assert {rate: audit.passing(rate, audit.SIZES) for rate in audit.PASSING} == audit.PASSING


def outcome(task: str, record: int, output: str, seed: int = 42) -> Outcome:
    empty = {"text": "", "gold": "", "calibrated": None, "right": False, "shown": [], "scores": []}
    return Outcome(task=task, record=record, seed=seed, output=output, finish_reason="stop", error=None, **empty)


def test_a_models_scores_are_rounded_before_seeds_are_averaged_by_the_published_rules_alone():
    test = labelled("negative", "positive")
    given = [outcome("imdb", record, "positive", 52) for record in (0, 1)]
    given += [outcome("imdb", 0, "negative"), outcome("imdb", 1, "positive")]
    seeds = audit.by_seed("imdb", test, given)
    assert [one.published for one in seeds] == [100, 33.33]
    found = audit.means({"imdb": seeds})
    assert found["imdb"].published == pytest.approx(66.665, abs=1e-6)
    assert found["imdb"].ours == pytest.approx(200 / 3, abs=1e-6)
    assert found["mean"].published == pytest.approx(66.665 / 12, abs=1e-6)
    assert found["mean"].ours is None, "eleven tasks are missing"
    assert "missing, 0 by the published rules: yelp2, sst2, " in found["mean"].what
    whole = audit.means(dict.fromkeys(MEANS["all"], seeds))["mean"]
    assert whole.what == "mean of the twelve"
    assert whole.ours == pytest.approx(200 / 3, abs=0.005)


def test_a_record_is_answered_once():
    twice = [outcome("imdb", 0, "positive"), outcome("imdb", 1, "positive"), outcome("imdb", 1, "negative")]
    with pytest.raises(SentiDistillError, match=r"imdb\.jsonl: 2 answers to record 1 by seed 42; leave one"):
        audit.by_seed("imdb", labelled("negative", "positive"), twice)


def test_outcomes_of_another_copy_are_refused():
    with pytest.raises(SentiDistillError, match=r"imdb\.jsonl: an answer to record 2, but .* 2 test records"):
        audit.by_seed("imdb", labelled("negative", "positive"), [outcome("imdb", 2, "positive")])


def test_the_command_shows_findings_a_models_answers_and_the_readers_own_figures(tmp_path, capsys):
    write_copy(tmp_path / "copy", ("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener", "irony18", "tweeteval"))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers/atsa_rest16.jsonl").write_text('{"record": 0, "output": "[]", "model": "another one"}\n')
    # Of the made-up test records every fourth is of anger.
    records.write_jsonl(
        tmp_path / "answers/tweeteval.jsonl", [outcome("tweeteval", place, "anger") for place in (0, 4)]
    )
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "tweeteval: {value: 94.1, protocol: four shots, source: Table 2}\n"
        "another model: {value: 12.5, protocol: no shots, source: Table 3}\n"
    )
    given = ["--outcomes", str(tmp_path / "answers"), "--published", str(mine)]
    audit.main(str(tmp_path / "copy"), *given)
    shown = capsys.readouterr().out.splitlines()

    def cells(text: str) -> list[str]:
        (line,) = [line for line in shown if text in line]
        return [cell.strip() for cell in line.strip("│").split("│")]

    assert cells("opener: the right answers")[1] == "94.19"
    assert cells("atsa_rest16, 1 records, seed 0")[2:] == ["0.00", "0.00"]
    assert cells("tweeteval, 2 records, seed 42")[2:] == ["100.00", "25.00"]
    assert cells("Table 2") == ["tweeteval", "94.1", "four shots", "Table 2", "100.00", "25.00"]
    assert cells("Table 3")[3:] == ["Table 3", "", ""]
    mine.write_text("the paper: {value: high, protocol: four shots, source: Table 2}\n")
    with pytest.raises(SentiDistillError, match=r"mine\.yaml, line 1: .*value"):
        audit.main(str(tmp_path / "copy"), *given)
    with pytest.raises(SentiDistillError, match=r"no outcomes of a task of SentiBench; name a folder with TASK\.jsonl"):
        audit.main(str(tmp_path / "copy"), "--outcomes", str(tmp_path))


def test_the_form_of_a_readers_figures_is_the_one_that_the_page_shows(tmp_path):
    page = (ROOT / "docs/benchmark.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    figures = yaml_files.read(tmp_path / "mine.yaml", dict[str, audit.Figure])
    assert {"opener", "mean"} < set(figures)


@pytest.mark.skipif(
    not COPY.exists(), reason="no copy of SentiBench beside the project, so the findings were not checked"
)
def test_what_is_known_of_the_released_data_is_found_again():
    for one in audit.findings(COPY):
        if one.expected is not None:
            near = 0.15 if "repeated" in one.what else 0.05  # whose answers are made from the figures
            assert one.published == pytest.approx(one.expected, abs=near), one.what
