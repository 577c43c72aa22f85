"""The published evaluator's rules, and what they give to answers that are right, empty or repeated."""

import json
from pathlib import Path

import pytest

from sentidistill import records
from sentidistill.commands import audit
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import published
from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.suite import Outcome
from tests.made_up_sentibench import write_copy

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
    for other in ({"aspect_term": "soup"}, {"aspect_term": "fish", "sentiment": "positive"}, 3):
        answers = [json.dumps([right, other])]
        assert published.f1("atsa_rest16", rows, answers) == pytest.approx(200 * 0.5 / 1.5), "it is wrong"
    assert published.f1("atsa_rest16", rows, [json.dumps([right, {}, None])]) == 100
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


def test_the_command_shows_findings_a_models_answers_and_the_readers_own_figures(tmp_path, capsys):
    write_copy(tmp_path / "copy", ("atsa_rest16", "acsa_rest16", "asqp_rest16", "opener", "irony18"))
    (tmp_path / "mine.yaml").write_text("the paper: {value: 94.1, protocol: four shots, source: Table 2}\n")
    outcome = Outcome(
        task="atsa_rest16",
        record=0,
        seed=42,
        text="",
        gold="",
        output="[]",
        calibrated=None,
        right=False,
        finish_reason="stop",
        error=None,
        shown=[],
        scores=[],
    )
    records.write_jsonl(tmp_path / "answers/atsa_rest16.jsonl", [outcome])
    given = ["--outcomes", str(tmp_path / "answers"), "--published", str(tmp_path / "mine.yaml")]
    audit.main(str(tmp_path / "copy"), *given)
    shown = capsys.readouterr().out
    assert "opener: the right answers" in shown
    assert "atsa_rest16, 1 records, seed 42" in shown
    assert "four shots" in shown
    (tmp_path / "mine.yaml").write_text("the paper: {value: high, protocol: four shots, source: Table 2}\n")
    with pytest.raises(SentiDistillError, match=r"mine\.yaml, line 1: .*value"):
        audit.main(str(tmp_path / "copy"), *given)
    with pytest.raises(SentiDistillError, match="no outcomes of atsa_rest16"):
        audit.main(str(tmp_path / "copy"), "--outcomes", str(tmp_path))


@pytest.mark.skipif(
    not COPY.exists(), reason="no copy of SentiBench beside the project, so the findings were not checked"
)
def test_what_is_known_of_the_released_data_is_found_again():
    for one in audit.findings(COPY):
        if one.expected is not None:
            assert one.published == pytest.approx(one.expected, abs=0.05), one.what
