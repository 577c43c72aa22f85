"""The SentiBench scorer on made-up records: what every kind of output is worth, and that no trick pays."""

import json
import random

import pytest

from sentidistill.evaluation.metrics import score
from sentidistill.evaluation.outputs import parse_objects
from sentidistill.evaluation.sentibench import LABELS, TUPLE_TASKS
from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.parsing.labels import parse_label
from tests.made_up_sentibench import ATSA, OPENER, RECORDS, gold, opinion
from tests.mutations import NUMBER, mutated


def scored(task: str, write) -> dict:
    return score(task, RECORDS[task], [write(gold(task, record)) for record in RECORDS[task]])


WAYS = {
    "plain": json.dumps,
    "indented": lambda rows: json.dumps(rows, indent=2),
    "fenced": lambda rows: f"```json\n{json.dumps(rows)}\n```",
    "introduced and fenced": lambda rows: f"Here is the list of aspects:\n\n```json\n{json.dumps(rows, indent=2)}\n```",
    "under a heading": lambda rows: f"### Aspects\n\n{json.dumps(rows)}\n\n### Notes\n\nNone [of note].",
    "with an introduction": lambda rows: f"Here are the results [in JSON]:\n{json.dumps(rows)}\nI hope this helps.",
    "single-quoted": repr,
    "wrapped": lambda rows: json.dumps({"answer": rows}),
    "trailing comma": lambda rows: json.dumps(rows).replace("}]", "},]"),
    "wrong case of polarities": lambda rows: json.dumps(
        [
            {
                key: value.upper() if "sentiment" in key[:9] and "expr" not in key else value
                for key, value in row.items()
            }
            for row in rows
        ]
    ),
    "followed by another example": lambda rows: f'{json.dumps(rows)}\n\nSentence: Bad soup .\nOutput: [{{"a": "b"}}]',
    "with empty entries": lambda rows: json.dumps([*rows, {}, None, ""]),
    "spaces in texts": lambda rows: json.dumps(
        [{k: f" {v.replace(' ', '  ')} " for k, v in row.items()} for row in rows]
    ),
    "one by one": lambda rows: "\n".join(json.dumps(row) for row in rows) or "[]",
}


@pytest.mark.parametrize("task", TUPLE_TASKS)
@pytest.mark.parametrize("way", WAYS)
def test_right_answers_are_worth_everything_however_they_are_written(task, way):
    result = scored(task, WAYS[way])
    assert (result["precision"], result["recall"], result["f1"]) == (100, 100, 100)
    assert result["invalid"] == result["invalid_tuples"] == 0


@pytest.mark.parametrize("task", TUPLE_TASKS)
def test_nothing_is_worth_nothing_and_is_counted(task):
    records = RECORDS[task]
    for text, kind in (("", "empty"), ("   \n", "empty"), ("I cannot say.", "invalid"), ("[", "invalid")):
        result = score(task, records, [text] * len(records))
        assert (result["f1"], result[kind]) == (0, len(records))


def first_half(rows: list[dict]) -> list[dict]:
    return rows[:1]


TRICKS = {
    "right answers ten times": lambda rows: rows * 10,
    "empty texts": lambda rows: [*rows, *(dict.fromkeys(row, "") for row in rows[:1])],
    "nulls": lambda rows: [*rows, *(dict.fromkeys(row) for row in rows[:1])],
    "numbers": lambda rows: [*rows, 7],
    "texts": lambda rows: [*rows, "soup"],
    "a missing key": lambda rows: [*rows, *(dict(list(row.items())[:1]) for row in rows[:1])],
    "an unknown polarity": lambda rows: [
        *rows,
        *({k: "great" if v in ("positive", "negative") else v for k, v in row.items()} for row in rows[:1]),
    ],
}


@pytest.mark.parametrize("task", TUPLE_TASKS)
@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_raises_the_score(task, trick):
    honest = scored(task, lambda rows: json.dumps(first_half(rows)))
    tricked = scored(task, lambda rows: json.dumps(TRICKS[trick](first_half(rows))))
    assert tricked["f1"] <= honest["f1"]
    if trick != "right answers ten times":
        assert tricked["precision"] < honest["precision"]
        assert tricked["invalid_tuples"] > 0


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({"holder": "The owner"}, True),
        ({"holder": "They"}, True),
        ({"target": "the staff"}, True),
        ({"sentiment_expression": "adore"}, True),
        ({"sentiment_polarity": "negative"}, True),
        ({"holder": "we"}, True),
        ({"target": "kind staff"}, False),
    ],
)
def test_an_opinion_with_a_text_that_is_not_in_the_sentence_is_wrong(change, worse):
    right = gold("opener", OPENER[0])[0]
    result = score("opener", OPENER[:1], [json.dumps([{**right, **change}])])
    assert (result["f1"] == 0) is worse


def test_an_invented_or_a_missing_holder_costs_the_opinion():
    other = gold("opener", OPENER[2])[1]
    with_holder = score("opener", OPENER[2:], [json.dumps([{**other, "holder": "I"}])])
    assert with_holder["f1"] == 0
    right = gold("opener", OPENER[0])[0]
    assert score("opener", OPENER[:1], [json.dumps([{**right, "holder": "NULL"}])])["f1"] == 0


def test_a_part_of_a_span_is_worth_its_share():
    right = gold("opener", OPENER[0])[0]
    result = score("opener", OPENER[:1], [json.dumps([{**right, "target": "staff of the"}])])
    assert result["precision"] == pytest.approx(100 * (1 + 1 / 3 + 1) / 3)
    assert result["recall"] == pytest.approx(100 * (1 + 1 / 3 + 1) / 3)
    result = score("opener", OPENER[:1], [json.dumps([{**right, "target": "staff"}])])
    assert result["precision"] == 100
    assert result["recall"] == pytest.approx(100 * (1 + 1 / 3 + 1) / 3)


def test_a_text_that_stands_twice_is_taken_where_it_is_nearest_to_the_expression():
    near = {
        "holder": "NULL",
        "target": "room",
        "sentiment_expression": "fine",
        "sentiment_polarity": "positive",
    }
    result = score("opener", OPENER[2:], [json.dumps([near])])
    assert result["precision"] == 100


def test_parts_joined_by_and_are_placed_apart():
    sentence = "They were there just to keep us happy and the food AND drink was fine ."
    record = {
        "sentence": sentence,
        "opinions": [
            {
                **opinion(sentence, "us", "They", "to keep", "Positive"),
                "Polar_expression": [["to keep", "happy"], ["21:28", "32:37"]],
            },
            opinion(sentence, "", "the food AND drink", "fine", "Positive"),
        ],
    }
    assert score("opener", [record], [json.dumps(gold("opener", record))])["f1"] == 100


def test_the_whole_sentence_is_no_span():
    def whole(record):
        text = record["sentence"]
        return [
            {"holder": "NULL", "target": text, "sentiment_expression": text, "sentiment_polarity": polarity}
            for polarity in ("positive", "negative")
        ]

    alone = score("opener", OPENER, [json.dumps(whole(record)) for record in OPENER])
    assert alone["f1"] == 0
    honest = scored("opener", lambda rows: json.dumps(first_half(rows)))
    added = score("opener", OPENER, [json.dumps(first_half(gold("opener", one)) + whole(one)) for one in OPENER])
    assert added["f1"] < honest["f1"]
    short = {"sentence": "Perfect !", "opinions": [opinion("Perfect !", "", "", "Perfect !", "Positive")]}
    assert score("opener", [short], [json.dumps(gold("opener", short))])["f1"] == 100


def test_of_a_torn_answer_whole_objects_count():
    rows = gold("atsa_rest16", ATSA[0])
    torn = json.dumps(rows)[:-12]
    result = score("atsa_rest16", ATSA[:1], [torn])
    assert (result["precision"], result["recall"]) == (100, 100), "the third object repeats the first"
    assert (result["cut"], result["salvaged"]) == (1, 1)
    nothing_whole = score("atsa_rest16", ATSA[:1], ['[{"aspect_term": "soup", "senti'])
    assert (nothing_whole["f1"], nothing_whole["invalid"], nothing_whole["cut"]) == (0, 1, 1)


def test_brackets_and_quotes_inside_texts_end_nothing():
    rows = [
        {"aspect_term": "menu [lunch] {day}", "sentiment": "positive"},
        {"aspect_term": "5' pizza", "sentiment": "neutral"},
    ]
    for text in (json.dumps(rows), repr(rows), f"```\n{rows!r}\n```", f"So: {json.dumps(rows)}"):
        assert parse_objects(text).objects == rows
    assert parse_objects("[{'aspect_term': 'don't share', 'sentiment': 'positive'}]").objects in (
        [],
        [{"aspect_term": "don't share", "sentiment": "positive"}],
    )


def test_categories_are_compared_without_case_and_hash_but_terms_with_case():
    rows = [{"aspect_category": "FOOD#QUALITY", "sentiment": "Positive"}]
    assert score("acsa_rest16", ATSA[:1], [json.dumps(rows)])["precision"] == 100
    assert score("atsa_rest16", ATSA[:1], ['[{"aspect_term": "Soup", "sentiment": "positive"}]'])["precision"] == 0


def test_a_wrong_object_counts_as_one_wrong_prediction():
    rows = [{"aspect_term": "soup", "sentiment": "positive"}, {"aspect_term": "soup"}, ["soup"], 3, "x"]
    result = score("atsa_rest16", ATSA[:1], [json.dumps(rows)])
    assert result["precision"] == pytest.approx(100 / 5)
    assert result["invalid_tuples"] == 4


@pytest.mark.parametrize("task", TUPLE_TASKS)
def test_mutated_outputs_are_scored_without_error(task):
    texts = [way(gold(task, record)) for way in WAYS.values() for record in RECORDS[task]]
    moments = random.Random(3)
    outputs = list(mutated(texts, NUMBER))
    result = score(task, [moments.choice(RECORDS[task]) for _ in outputs], outputs)
    assert 0 < result["f1"] < 100
    assert 0 < result["invalid"] + result["empty"] < len(outputs)


@pytest.mark.parametrize(
    "output", ["[" * 5000, '{"a":' * 5000, "]" * 100, '"', "[{]}", "[NaN]", "{[", "\x00", "[{}]" * 3000]
)
@pytest.mark.parametrize("task", [*TUPLE_TASKS, "twitter"])
def test_monstrous_outputs_do_not_raise(task, output):
    record = RECORDS[task][0] if task in RECORDS else {"sentence": "x", "label": "neutral"}
    assert score(task, [record], [output])["records"] == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("Label: NEGATIVE", "negative"),
        ('"neutral"', "neutral"),
        ("**neutral**", "neutral"),
        ("positive\n\nSentence: Oh no !\nLabel: negative", "positive"),
        ("positively", None),
        ("It is positive", None),
        ("", None),
        (None, None),
    ],
)
def test_a_label_is_what_the_output_begins_with(output, expected):
    assert parse_label(output, LABELS["twitter"]) == expected


def test_labels_that_contain_each_other_are_told_apart():
    assert parse_label("non-irony", LABELS["irony18"]) == "non-irony"
    assert parse_label("irony", LABELS["irony18"]) == "irony"
    assert parse_label("Not Intimate", LABELS["intimacy"]) == "not intimate"


# A label without its marks is another one, or nothing.
MARKED = ('"so" he said', "so", "*so*", "[so]", "(so)", "`so`", "Label: so", "***", "N/A.", "N/A", "C", "C.", "so  far")


@pytest.mark.parametrize("label", MARKED)
def test_an_output_that_is_a_label_is_that_label_whatever_marks_it_has(label):
    assert parse_label(label, MARKED) == parse_label(f" {label}\n", MARKED) == label


def test_exact_answers_are_all_right_whatever_marks_the_labels_have():
    task = EvaluationTask("mine", "Say which it is.", "Which", MARKED)
    assert score(task, [{"sentence": "x", "label": label} for label in MARKED], MARKED)["accuracy"] == 100


def test_the_label_set_is_fixed_and_no_label_is_a_wrong_one():
    records = [{"sentence": "x", "label": label} for label in ("positive", "positive", "negative", "negative")]
    assert score("twitter", records, ["positive", "positive", "negative", "negative"])["macro_f1"] == pytest.approx(
        200 / 3
    )
    result = score("twitter", records, ["positive", "?", "negative", ""])
    assert result["accuracy"] == 50
    assert (result["invalid"], result["empty"]) == (1, 1)
    assert result["f1"]["positive"] == pytest.approx(200 / 3)


def test_gold_labels_may_be_in_upper_case():
    records = [{"sentence": "x", "target": "a", "label": "FAVOR"}, {"sentence": "y", "target": "a", "label": "AGAINST"}]
    assert score("pstance", records, ["favor", "Against"])["macro_f1"] == 100


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="2 records, but 1 outputs"):
        score("twitter", [{}, {}], ["x"])
    with pytest.raises(ValueError, match="unknown task 'imbd'"):
        score("imbd", [], [])
