import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill.config.pool import ComposePrompts
from sentidistill.construct.instructions import Instruction
from sentidistill.construct.pool import compose, texts_for
from sentidistill.errors import SentiDistillError
from sentidistill.records import content_id
from sentidistill.sources.corpus import Text

TEXTS = [Text(id=content_id(number), domain="d", text=f"Text {number}.", pool="distillation") for number in range(30)]


def instruction(number: int, mentions: int = 1, family: str = "classification") -> Instruction:
    return Instruction(
        id=content_id("instruction", number),
        cluster=0,
        mentions=mentions,
        attributes=[],
        family=family,
        name="mood",
        text=f"Tell the mood, way {number}.",
        cue="Mood",
        labels=["good", "bad"],
        demonstrations=[(f"Example {i}.", ("good", "bad")[i % 2]) for i in range(6)],
        reference=[],
    )


def params(prompts: dict[str, int], power: float = 1.0) -> ComposePrompts:
    return ComposePrompts(prompts=prompts, mentions_power=power, teacher_shots=2, student_shots=[0, 3], seed=42)


@pytest.mark.parametrize(("instructions", "total"), [(40, 24), (100, 24), (24, 24), (7, 100)])
def test_as_many_prompts_as_were_asked_for(instructions, total):
    rows = compose([instruction(i) for i in range(instructions)], TEXTS, {}, params({"classification": total}))
    assert len(rows) == total
    numbers = [[row.stratum for row in rows].count(instruction(i).id) for i in range(instructions)]
    assert max(numbers) - min(numbers) <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=25), st.integers(0, 900), st.floats(0, 1000), st.integers(1, 60))
def test_the_sum_is_exact_unless_every_instruction_has_all_texts(mentions, total, power, most):
    instructions = [instruction(i, of) for i, of in enumerate(mentions)]
    numbers = texts_for(instructions, total, power, {one.id: most for one in instructions})
    assert sum(numbers.values()) == min(total, most * len(mentions))
    assert all(0 <= number <= most for number in numbers.values())


def test_prompts_follow_mentions_and_what_one_has_no_texts_for_goes_to_the_others():
    one, two, three = instruction(1, 60), instruction(2, 20), instruction(3, 10)
    most = {of.id: 30 for of in (one, two, three)}
    assert texts_for([one, two, three], 9, 1.0, most) == {one.id: 6, two.id: 2, three.id: 1}
    assert texts_for([one, two, three], 9, 0.0, most) == {one.id: 3, two.id: 3, three.id: 3}
    assert texts_for([one, two, three], 60, 1.0, most) == {one.id: 30, two.id: 20, three.id: 10}
    assert texts_for([one, two, three], 99, 1.0, most) == {one.id: 30, two.id: 30, three.id: 30}


def test_the_order_of_the_instructions_does_not_matter():
    instructions = [instruction(i) for i in range(10)]
    asked = params({"classification": 4})
    assert compose(instructions, TEXTS, {}, asked) == compose(instructions[::-1], TEXTS, {}, asked)


def test_an_instruction_keeps_its_prompts_whatever_the_others_get():
    def of_first(prompts: int, others: list[Instruction]) -> dict:
        rows = compose([instruction(0, 10), *others], TEXTS, {}, params({"classification": prompts, "scoring": 5}))
        return {row.id: row for row in rows if row.stratum == instruction(0).id}

    alone = of_first(10, [])
    assert of_first(20, [instruction(1, 10)]) == alone
    assert of_first(10, [instruction(1, 10, "scoring")]) == alone
    fewer, more = of_first(8, [instruction(1, 10)]), of_first(25, [])
    assert len(fewer) == 4
    assert len(more) == 25
    assert fewer.items() <= alone.items() <= more.items()


@pytest.mark.parametrize("prompts", [{"classification": 6, "scoring": 5, "analysis": 0}, {"classification": 6}])
def test_families_without_prompts_or_without_instructions_are_left_out(prompts):
    rows = compose([instruction(0), instruction(1, family="analysis")], TEXTS, {}, params(prompts))
    assert [row.family for row in rows] == ["classification"] * 6


def test_no_instruction_meets_a_text_twice():
    rows = compose([instruction(0), instruction(1)], TEXTS, {}, params({"classification": 1000}))
    assert len({(row.stratum, row.text_id) for row in rows}) == len(rows) == 60


def test_an_empty_pool_is_an_error_that_names_the_setting():
    with pytest.raises(SentiDistillError, match=r"compose_prompts\.prompts .*'classification': 1"):
        compose([instruction(0)], TEXTS, {}, params({"scoring": 9}))


def test_no_texts_are_an_error_that_names_the_stage_to_run():
    with pytest.raises(SentiDistillError, match="rerun prepare_corpus"):
        compose([instruction(0)], [], {}, params({"classification": 4}))


def test_an_analysis_is_of_texts_that_have_one_of_its_attributes():
    two, none = (
        instruction(number, family="analysis").model_copy(update={"attributes": names})
        for number, names in enumerate((["joy", "pride"], ["envy"]))
    )
    having = {"joy": TEXTS[:3], "pride": TEXTS[2:5], "hope": TEXTS[9:]}
    rows = compose([two, none, instruction(2)], TEXTS, having, params({"analysis": 20, "classification": 30}))
    asked = {family: [row.text for row in rows if row.family == family] for family in ("analysis", "classification")}
    assert sorted(asked["analysis"]) == [text.text for text in TEXTS[:5]]
    assert len(asked["classification"]) == 30
