"""Prompts: golden texts, token ids, and one and the same prompt in scoring, training and evaluation."""

from contextlib import contextmanager
from pathlib import Path

import jinja2
import pytest

from sentidistill.benchmark.questions import questions
from sentidistill.errors import SentiDistillError
from sentidistill.prompts import Prompt, Template, messages, prompt_text, render, transcript
from sentidistill.samples import TrainRow
from sentidistill.training import tokenise

GOLDEN = Path(__file__).parent / "golden"
CHAT_TEMPLATES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "chat_templates").iterdir())}
CASES = {
    "enumerate_attributes": {"text": "I love it."},
    "write_analysis_instructions": {
        "names": ["joy", "delight"],
        "explained": [{"name": "joy", "description": "How happy the author is."}],
    },
    "select_perspectives": {"names": ["joy", "delight"]},
    "propose_tasks": {"name": "joy", "description": "How happy the author is.", "related": ["delight"]},
    "define_tasks": {"name": "Joy Rating", "family": "scoring", "description": "Rate the joy from 1 to 5."},
    "write_demonstrations": {
        "family": "closed",
        "instruction": "Decide whether the author is happy.",
        "answer": "not happy",
        "format": "",
        "example": ["I love it.", "happy"],
        "styles": ["so tired of this", "pros: small size"],
    },
}
REPAIR = {
    **CASES["define_tasks"],
    "previous": "Instruction: Rate the joy.",
    "faults": ["The part Labels lists too few labels or too many."],
}
PROMPT = Prompt("Decide.", "Input: x", (("Input: a", "yes"), ("Input: b", "no")))


@contextmanager
def chat_template(tokenizer, family: str):
    """`tokenizer` with the chat template of a family of models, for a while."""
    kept, tokenizer.chat_template = tokenizer.chat_template, CHAT_TEMPLATES[family]
    try:
        yield
    finally:
        tokenizer.chat_template = kept


@pytest.mark.parametrize("exemplars", [True, False], ids=["exemplars", "plain"])
@pytest.mark.parametrize("name", CASES)
def test_rendered_prompts_are_as_recorded(name, exemplars):
    """A change of a prompt is meant to show here: look at it, then `python -m tests.test_prompts`."""
    same = "family" if "family" in CASES[name] else None
    prompt = Template(name, exemplars=exemplars).prompt(same=same, **CASES[name])
    recorded = GOLDEN / f"{name}.{'exemplars' if exemplars else 'plain'}.txt"
    assert transcript(prompt) == recorded.read_text()


def test_a_teacher_that_is_to_repair_a_definition_sees_it_and_its_faults():
    text = transcript(Template("define_tasks", worked_examples=False).prompt(same="family", **REPAIR))
    assert text.index("Idea: ") < text.index(REPAIR["previous"]) < text.index(f"- {REPAIR['faults'][0]}")


@pytest.mark.parametrize("exemplars", [True, False], ids=["exemplars", "plain"])
@pytest.mark.parametrize("family", CHAT_TEMPLATES)
def test_chats_are_as_recorded_and_begin_once(tiny_student, family, exemplars):
    """In the chat templates of large teachers, thinking is off and the date does not change."""
    _, tokenizer = tiny_student
    prompt = Template("enumerate_attributes", exemplars=exemplars).prompt(**CASES["enumerate_attributes"])
    with chat_template(tokenizer, family):
        rendered = render(prompt, tokenizer, "chat")
    recorded = GOLDEN / "chat" / f"{family}.{'exemplars' if exemplars else 'plain'}.txt"
    assert rendered.text == recorded.read_text()
    begins = rendered.prompt_ids.count(tokenizer.bos_token_id)
    assert begins == (0 if family == "qwen3" else 1), "Qwen has no begin token"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("family", CHAT_TEMPLATES)
def test_every_prompt_is_one_user_turn(tiny_student, family, name):
    _, tokenizer = tiny_student
    same = "family" if "family" in CASES[name] else None
    prompt = Template(name, worked_examples=False).prompt(same=same, **CASES[name])
    with chat_template(tokenizer, family):
        text = prompt_text(prompt, tokenizer, "chat")
    (message,) = messages(prompt)
    assert text.count(message["content"]) == 1
    assert prompt.demonstrations == ()
    assert text.index(prompt.cue) < len(text) - 10, "the assistant's turn is opened"


def test_a_missing_variable_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="text"):
        Template("enumerate_attributes", worked_examples=False).prompt()


def test_a_missing_template_is_named():
    with pytest.raises(SentiDistillError, match="no_such_prompt"):
        Template("no_such_prompt", worked_examples=False)


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_prompt_ids_do_not_depend_on_the_answer_and_begin_once(tiny_student, prompt_format):
    _, tokenizer = tiny_student
    alone = render(PROMPT, tokenizer, prompt_format)
    answered = render(PROMPT, tokenizer, prompt_format, "yes", end=True)
    assert alone.prompt_ids == answered.prompt_ids
    assert answered.completion_ids[-1] == tokenizer.eos_token_id
    begins = 1 if prompt_format == "transcript" else 0  # this chat template writes no begin token
    assert answered.prompt_ids.count(tokenizer.bos_token_id) == begins
    assert tokenizer.bos_token_id not in answered.completion_ids


def test_an_answer_is_tokenised_as_in_the_running_text(tiny_student):
    _, tokenizer = tiny_student
    one = render(PROMPT, tokenizer, "transcript", "yes")
    assert one.prompt_ids + one.completion_ids == tokenizer(f"{one.text} yes")["input_ids"]


def test_a_chat_prompt_is_the_templates_text(tiny_student):
    _, tokenizer = tiny_student
    text = prompt_text(PROMPT, tokenizer, "chat")
    assert text.startswith("<|user|>Decide.")
    assert text.endswith("Output:<|end|><|assistant|>")


def test_chat_without_a_chat_template_is_an_error(tiny_student):
    _, tokenizer = tiny_student
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(SentiDistillError, match="transcript"):
            prompt_text(PROMPT, tokenizer, "chat")
    finally:
        tokenizer.chat_template = template


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_training_and_evaluation_put_a_row_in_the_same_ids(tiny_student, prompt_format):
    """The benchmark's prompt, and the same row in training: equal ids, then the answer and the end token."""
    _, tokenizer = tiny_student
    train = [{"sentence": "So good.", "label": "positive"}, {"sentence": "Hm.", "label": "neutral"}]
    record = {"sentence": "What a day!", "label": "positive"}
    (question,) = questions("tweet", [record], train, shots=2, demonstrations="shared", max_chars=99, seed=1)
    evaluated = render(question.prompt, tokenizer, prompt_format)
    row = TrainRow(
        id="x",
        stratum="s",
        family="classification",
        instruction=question.prompt.instruction,
        cue="Sentiment",
        text="What a day!",
        demonstrations=[(train[place]["sentence"], train[place]["label"]) for place in question.shown],
        answer="positive",
    )
    data = tokenise([row], tokenizer, prompt_format, 512)
    (ids,), (mask,) = data.input_ids, data.completion_mask
    prompt_length = mask.index(1)
    assert ids[:prompt_length] == evaluated.prompt_ids
    assert tokenizer.decode(ids[prompt_length:-1]).strip() == "positive"
    assert ids[-1] == tokenizer.eos_token_id
    assert mask == [0] * prompt_length + [1] * (len(ids) - prompt_length)


def record() -> None:
    from tests.tiny_models import tokenizer as make_tokenizer

    (GOLDEN / "chat").mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(["a few words"])
    for kind in (True, False):
        suffix = f"{'exemplars' if kind else 'plain'}.txt"
        for name, case in CASES.items():
            rendered = Template(name, worked_examples=kind).prompt(same="family" if "family" in case else None, **case)
            (GOLDEN / f"{name}.{suffix}").write_text(transcript(rendered))
        prompt = Template("enumerate_attributes", worked_examples=kind).prompt(**CASES["enumerate_attributes"])
        for family in CHAT_TEMPLATES:
            with chat_template(tokenizer, family):
                (GOLDEN / "chat" / f"{family}.{suffix}").write_text(prompt_text(prompt, tokenizer, "chat"))


if __name__ == "__main__":
    record()
