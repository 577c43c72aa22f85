"""Prompts: golden texts, token ids, and one and the same prompt in scoring, training and evaluation."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.questions import questions
from sentidistill.evaluation.tasks import known
from sentidistill.prompts import Prompt, Template, answer_ids, end_ids, messages, render, transcript
from sentidistill.samples import TrainRow
from sentidistill.student.rows import tokenise
from tests.tiny_models import tokenizer as make_tokenizer

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "enumerate_attributes": {"text": "I love it."},
    "write_analysis_instructions": {
        "attributes": [
            {"name": "joy", "description": "How happy the author is."},
            {"name": "delight", "description": "How pleased the author is."},
        ],
    },
    "propose_tasks": {"name": "joy", "description": "How happy the author is.", "related": ["delight"]},
    "define_tasks": {"name": "Joy Rating", "family": "scoring", "description": "Rate the joy from 1 to 5."},
    "write_demonstrations": {
        "family": "classification",
        "instruction": "Decide whether the author is happy. Answer with one of: happy, not happy.",
        "answers": ["not happy", "happy"],
        "styles": ["so tired of this", "pros: small size"],
    },
}
REPAIR = {
    **CASES["define_tasks"],
    "previous": "Instruction: Rate the joy.",
    "faults": ["The part Labels lists too few labels or too many."],
}
# Special tokens of a family of models: the first ends a turn.
SPECIAL = {
    "gemma2": ["<end_of_turn>", "<start_of_turn>"],
    "gemma3": ["<end_of_turn>", "<start_of_turn>"],
    "llama3": ["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    "qwen3": ["<|im_end|>", "<|im_start|>"],
}
PROMPT = Prompt("Decide.", "Input: x", (("Input: a", "yes"), ("Input: b", "no")))
KINDS = {"worked_examples": True, "plain": False}


@cache
def of_family(family: str):
    """A tokenizer with the special tokens and the chat template of a family of models; it has no merges."""
    tokenizer = make_tokenizer(["x"])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[family]})
    tokenizer.chat_template = (Path(__file__).parent / "chat_templates" / f"{family}.jinja").read_text()
    return tokenizer


def golden_transcript(name: str, kind: str) -> str:
    return transcript(prompt_of(name, KINDS[kind]))


def golden_chat(family: str, kind: str) -> str:
    prompt, tokenizer = prompt_of("enumerate_attributes", KINDS[kind]), of_family(family)
    return tokenizer.decode(render(prompt, tokenizer, "chat").prompt_ids)


def prompt_of(name: str, worked_examples: bool) -> Prompt:
    same = "family" if "family" in CASES[name] else None
    return Template(name, worked_examples=worked_examples).prompt(same=same, **CASES[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_transcripts_are_as_recorded(name, kind):
    """A change of a prompt is meant to show here: look at it, then `python -m tests.test_prompts`."""
    assert golden_transcript(name, kind) == (GOLDEN / f"{name}.{kind}.txt").read_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", SPECIAL)
def test_chats_are_as_recorded_and_begin_once(family, kind):
    """In the chat templates of large teachers, thinking is off and the date does not change."""
    text = golden_chat(family, kind)
    assert text == (GOLDEN / "chat" / f"{family}.{kind}.txt").read_text()
    assert text.count("<s>") == (0 if family == "qwen3" else 1), "Qwen has no begin token"


@pytest.mark.parametrize("name", CASES)
def test_worked_examples_are_a_switch_that_changes_nothing_else(name):
    shown, plain = prompt_of(name, worked_examples=True), prompt_of(name, worked_examples=False)
    assert shown.demonstrations
    assert replace(shown, demonstrations=()) == plain


def test_worked_examples_are_turns():
    assert [turn["role"] for turn in messages(PROMPT)] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages(PROMPT)[1:3] == [
        {"role": "user", "content": "Input: a\nOutput:"},
        {"role": "assistant", "content": "yes"},
    ]


def test_only_worked_examples_of_the_same_family_are_shown():
    shown = Template("define_tasks", worked_examples=True)
    some = shown.prompt(same="family", **CASES["define_tasks"]).demonstrations
    assert 0 < len(some) < len(shown.demonstrations)
    assert all("Kind: scoring" in text for text, _ in some)


def test_a_teacher_that_is_to_repair_a_definition_sees_it_and_its_faults():
    text = transcript(Template("define_tasks", worked_examples=False).prompt(same="family", **REPAIR))
    assert text.index("Idea: ") < text.index(REPAIR["previous"]) < text.index(f"- {REPAIR['faults'][0]}")


def test_a_missing_variable_is_an_error():
    with pytest.raises(SentiDistillError, match=r"enumerate_attributes\.jinja, line 10: 'text' is undefined"):
        Template("enumerate_attributes", worked_examples=False).prompt()


def test_a_missing_template_is_named():
    with pytest.raises(SentiDistillError, match="no_such_prompt"):
        Template("no_such_prompt", worked_examples=False)


@pytest.fixture
def prompts(tmp_path) -> Path:
    """A folder with a template and its worked examples."""
    for name in ("define_tasks.jinja", "define_tasks.yaml"):
        (tmp_path / name).write_bytes(Path("prompts", name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"{{ name }}", b"{{ nmae }}", r"line 14: there is no variable nmae; there are .*name"),
        (b"{{ previous }}", b"{{ previuos }}", "there is no variable previuos"),  # shown in some prompts only
        (b"{{ name }}", b"{{ name", "line 15: "),
        (b"{{ name }}", b"{{ name | shout }}", "line 14: No filter named 'shout'"),
        (b"{{ name }}", b"{{ name.first }}", "line 14: .* has no attribute 'first'"),
        (b"{{ name }}", b"{{ 1 / 0 }}", "line 14: division by zero"),
        (b"{{ name }}", b"{{ " + b"(" * 3000 + b"name" + b")" * 3000 + b" }}", "nested too deeply"),
        (b"{% endif %}", b"", "Unexpected end of template|Encountered unknown tag"),
        (b"block cue", b"block que", "the block cue is missing"),
        (b"Kind: ", b"\xe9", "line 15: not UTF-8"),
    ],
)
def test_a_template_that_cannot_be_written_is_refused_with_its_line(prompts, old, new, said):
    path = prompts / "define_tasks.jinja"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(SentiDistillError, match=rf"define_tasks\.jinja(, |: ).*({said})"):
        Template("define_tasks", worked_examples=True, folder=prompts)


EXAMPLE = "- name: Joy\n  family: scoring\n  description: Rate it.\n  output: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{EXAMPLE}yes", r", line 4: 0\.output: expected a text, found true; put it into quotes"),
        (f"{EXAMPLE}3", r", line 4: 0\.output: expected a text, found 3; put it into quotes"),
        (f"{EXAMPLE}2024-13-45", ", line 4: '2024-13-45' is no timestamp"),
        (EXAMPLE, r", line 4: 0\.output: expected a text, found nothing"),
        (f"{EXAMPLE}'x'\n{EXAMPLE[:-10]}", r", line 5: 1\.output is missing"),
        (f"{EXAMPLE}x\n  famly: scoring", r", line 5: unknown key 0\.famly; did you mean family\?"),
        (
            EXAMPLE.replace("scoring", "scores") + "x",
            r", line 2: 0\.family: expected 'classif.*found 'scores'",
        ),
        ("", ": expected a list, found nothing"),
        ("[]", ": expected at least 1, found 0"),
        ("Joy: yes", ": expected a list, found a mapping"),
        ("- Joy", ": 0: expected a mapping"),
        (f"{EXAMPLE}x\n  output: y", ", line 5: 'output' is given twice, first in line 4"),
        ("- [", ", line 1: "),
    ],
)
def test_worked_examples_that_are_none_are_refused_with_their_line(prompts, text, said):
    (prompts / "define_tasks.yaml").write_text(text)
    with pytest.raises(SentiDistillError, match=rf"define_tasks\.yaml(, line 1)?{said}"):
        Template("define_tasks", worked_examples=True, folder=prompts)
    assert Template("define_tasks", worked_examples=False, folder=prompts).demonstrations == ()


def test_worked_examples_that_are_not_there_or_no_text_are_named(prompts):
    path = prompts / "define_tasks.yaml"
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(SentiDistillError, match=r"define_tasks\.yaml, line 1: not UTF-8"):
        Template("define_tasks", worked_examples=True, folder=prompts)
    path.unlink()
    with pytest.raises(SentiDistillError, match=r"define_tasks\.yaml: cannot be read"):
        Template("define_tasks", worked_examples=True, folder=prompts)


@pytest.mark.parametrize("family", SPECIAL)
def test_a_chat_prompt_has_the_ids_of_the_templates_text(family):
    tokenizer, turns = of_family(family), messages(PROMPT)
    if family == "gemma2":
        turns = [{**turns[1], "content": f"Decide.\n\n{turns[1]['content']}"}, *turns[2:]]
    settings = {"add_generation_prompt": True, "enable_thinking": False, "strftime_now": lambda _: "26 Jul 2024"}
    text = tokenizer.apply_chat_template(turns, tokenize=False, **settings)
    assert render(PROMPT, tokenizer, "chat").prompt_ids == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_an_instruction_that_has_no_turn_opens_the_first_users():
    text = golden_chat("gemma2", "worked_examples")
    instruction = prompt_of("enumerate_attributes", worked_examples=True).instruction
    assert text.startswith(f"<s><start_of_turn>user\n{instruction}\n\nText: ")
    assert text.count(instruction) == 1


@pytest.mark.parametrize("family", SPECIAL)
def test_what_ends_an_answer_in_a_chat_is_what_the_template_puts_after_one(family):
    tokenizer = of_family(family)
    assert tokenizer.convert_ids_to_tokens(end_ids(tokenizer, "chat")) == SPECIAL[family][:1]
    assert render(PROMPT, tokenizer, "chat", "yes", end=True).completion_ids[-1] == end_ids(tokenizer, "chat")[0]


def test_what_ends_an_answer_in_a_transcript_is_the_end_token_or_a_line_break(tiny_student):
    _, tokenizer = tiny_student
    first, *others = end_ids(tokenizer, "transcript")
    assert first == tokenizer.eos_token_id
    assert [tokenizer.decode([one])[:1] for one in others] == ["\n"]


@pytest.mark.parametrize("where", ["instruction", "input", "demonstrations", "answer"])
@pytest.mark.parametrize("family", [*SPECIAL, "transcript"])
def test_special_tokens_within_texts_are_plain_text(family, where):
    tokenizer = of_family("qwen3" if family == "transcript" else family)
    special = [token for tokens in SPECIAL.values() for token in tokens] + ["<s>", "</s>", "<pad>"]
    nasty = f"a {' b '.join(special)} c"
    prompt_format = "transcript" if family == "transcript" else "chat"
    changed = {"demonstrations": ((nasty, nasty),)} if where == "demonstrations" else {where: nasty}
    prompt = PROMPT if where == "answer" else replace(PROMPT, **changed)
    harmless = PROMPT if where != "demonstrations" else replace(PROMPT, demonstrations=(("a", "yes"),))
    nasty_one = render(prompt, tokenizer, prompt_format, nasty if where == "answer" else "yes")
    plain_one = render(harmless, tokenizer, prompt_format, "yes")
    for ids, others in ((nasty_one.prompt_ids, plain_one.prompt_ids), (nasty_one.completion_ids, [])):
        found, expected = ([one for one in each if one in tokenizer.all_special_ids] for each in (ids, others))
        assert found == expected
    assert nasty in tokenizer.decode(nasty_one.prompt_ids + nasty_one.completion_ids)


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_prompt_ids_do_not_depend_on_the_answer_and_begin_once(tiny_student, prompt_format):
    _, tokenizer = tiny_student
    alone = render(PROMPT, tokenizer, prompt_format)
    answered = render(PROMPT, tokenizer, prompt_format, "yes", end=True)
    assert alone.prompt_ids == answered.prompt_ids
    assert answered.completion_ids[-1] == end_ids(tokenizer, prompt_format)[0]
    begins = 1 if prompt_format == "transcript" else 0  # this chat template writes no begin token
    assert answered.prompt_ids.count(tokenizer.bos_token_id) == begins
    assert tokenizer.bos_token_id not in answered.completion_ids


def test_an_answer_is_tokenised_as_in_the_running_text(tiny_student):
    _, tokenizer = tiny_student
    one = render(PROMPT, tokenizer, "transcript", "yes")
    assert one.prompt_ids + one.completion_ids == tokenizer(f"{transcript(PROMPT)} yes")["input_ids"]


def test_an_end_token_that_a_tokenizer_appends_does_not_end_the_prompt():
    from tokenizers import processors

    tokenizer = make_tokenizer(["x"])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert tokenizer("x")["input_ids"][-1] == tokenizer.eos_token_id
    one = render(PROMPT, tokenizer, "transcript", "yes")
    assert one.prompt_ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in one.prompt_ids + one.completion_ids
    assert tokenizer.decode(one.prompt_ids + one.completion_ids) == f"<s>{transcript(PROMPT)} yes"


@pytest.mark.parametrize("answer", ["yes", "x", "no way"])
def test_a_tokenizer_that_puts_a_blank_before_a_text_puts_none_before_an_answer(answer):
    """As Llama 2's and Mistral's: tokenised apart, an answer would follow two blanks."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "<s>",
        "</s>",
        "<unk>",
        *sorted(set(transcript(PROMPT).replace(" ", "▁") + "▁noway")),
        "▁y",
        "▁ye",
        "▁yes",
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    raw = Tokenizer(models.BPE(vocabulary, [("▁", "y"), ("▁y", "e"), ("▁ye", "s")], unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    one = render(PROMPT, tokenizer, "transcript", answer)
    assert one.prompt_ids + one.completion_ids == tokenizer(f"{transcript(PROMPT)} {answer}")["input_ids"]
    assert "".join(tokenizer.convert_ids_to_tokens(one.completion_ids)) == f"▁{answer}".replace(" ", "▁")
    in_a_chat = tokenizer.convert_ids_to_tokens(answer_ids(answer, tokenizer, "chat"))
    assert "".join(in_a_chat) == answer.replace(" ", "▁")


def test_chat_without_a_chat_template_is_an_error():
    tokenizer = make_tokenizer(["x"])
    tokenizer.chat_template = None
    with pytest.raises(SentiDistillError, match="transcript"):
        render(PROMPT, tokenizer, "chat")


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "{{ messages[0].content.shout() }}", "{{ 1 // 0 }}", "{% for %}", "hello", ""],
)
def test_a_chat_template_that_cannot_write_the_prompt_is_an_error(template):
    tokenizer = make_tokenizer(["x"])
    tokenizer.chat_template = template
    with pytest.raises(SentiDistillError, match=r"chat template .*; mend it, or use prompt_format: transcript"):
        render(PROMPT, tokenizer, "chat")


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_a_tokenizer_without_an_end_token_is_an_error(prompt_format):
    tokenizer = make_tokenizer(["x"])
    tokenizer.eos_token = None
    with pytest.raises(SentiDistillError, match=r"no end token \(eos_token\)"):
        end_ids(tokenizer, prompt_format)


@pytest.mark.parametrize("prompt_format", ["transcript", "chat"])
def test_training_and_evaluation_put_a_row_in_the_same_ids(tiny_student, prompt_format):
    """The benchmark's prompt, and the same row in training: equal ids, then the answer and the end token."""
    _, tokenizer = tiny_student
    train = [{"sentence": "So good.", "label": "positive"}, {"sentence": "Hm.", "label": "neutral"}]
    record = {"sentence": "What a day!", "label": "positive"}
    (question,) = questions(known("tweet"), [record], train, shots=2, demonstrations="shared", max_chars=99, seed=1)
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
    assert ids[-1] == end_ids(tokenizer, prompt_format)[0]
    assert mask == [0] * prompt_length + [1] * (len(ids) - prompt_length)


def record() -> None:
    (GOLDEN / "chat").mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for name in CASES:
            (GOLDEN / f"{name}.{kind}.txt").write_text(golden_transcript(name, kind))
        for family in SPECIAL:
            (GOLDEN / "chat" / f"{family}.{kind}.txt").write_text(golden_chat(family, kind))


if __name__ == "__main__":
    record()
