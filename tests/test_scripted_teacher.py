"""The teacher of the tests: it knows every prompt of the pipeline, and its scores are those of one distribution."""

import math
import re

import pytest

from sentidistill.inference.choices import branches, summed
from sentidistill.inference.requests import Reader, Request
from sentidistill.parsing.tasks import FAMILIES, parse_definition, parse_pairs
from sentidistill.prompts import Prompt, messages
from tests import scripted_teacher as script
from tests import tiny_models
from tests.project import ROOT

ASKED = "Decide how the author of the text feels. Answer with one of: glad, very glad, 1, 10."
LABELS = ("glad", "very glad", "1", "10")


def question(instruction: str, case: str, cue: str, seed: int = 0) -> script.Question:
    turns = [(turn["role"], turn["content"]) for turn in messages(Prompt(instruction, case, cue=f"{cue}:"))]
    return script.Question.of(turns, seed)


@pytest.fixture(scope="module", params=[None, *tiny_models.FAMILIES])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def teacher(family):
    return script.ScriptedTeacher(family)


@pytest.fixture(scope="module")
def reader(family):
    tokenizer = tiny_models.tokenizer_of_family(family) if family else tiny_models.smoke_tokenizer()
    return Reader("scripted", "chat", 8192, lambda: tokenizer)


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").glob("*.jinja")), ids=lambda path: path.stem)
def test_the_cue_of_every_prompt_is_known(path):
    block = re.search(r"{% block cue %}(.*?){% endblock %}", path.read_text(), re.DOTALL)[1]
    cues = [line.rstrip(":") for line in block.split("\n") if line.endswith(":")]
    assert cues
    assert "Answer with one of: " in path.read_text() or set(cues) <= set(script.BY_CUE)


@pytest.mark.parametrize("kind", FAMILIES)
def test_nearly_all_definitions_have_their_parts_and_some_are_faulty(kind):
    case = f"Task: Worry Task\nKind: {kind}\nIdea: Something about worry."
    found = [parse_definition(script.answer(question("Define.", case, "Definition", seed))) for seed in range(100)]
    whole = [one for one in found if one and (one.labels or one.format) and len(one.examples) >= 3]
    assert 80 <= len(whole) < 100


def test_a_text_that_was_written_for_a_label_has_it_for_its_likeliest():
    right = 0
    for seed in range(50):
        case = "Task: Decide.\nWrite one example for each of these answers: 10, very glad."
        _, (text, label) = parse_pairs(script.answer(question("Write.", case, "New examples", seed)))
        assert label == "very glad"
        right += script.answer(question(ASKED, f"Text: {text}", "Mood")) == label
    assert right >= 45


def test_the_log_probabilities_of_all_labels_make_one_distribution(teacher, reader):
    """Of labels that begin with one another, too: each is scored with its end."""
    job = reader.job(Request(Prompt(ASKED, "Text: We sang.", cue="Mood:"), choices=LABELS))
    logprobs = {}
    for beginning, tokens in branches(job).items():
        body = {"prompt": job.prompt_ids + list(beginning), "logprob_token_ids": tokens}
        (top,) = teacher("/v1/completions", body)["choices"][0]["logprobs"]["top_logprobs"]
        logprobs[beginning] = {token: top[f"token_id:{token}"] for token in tokens}
    scores = summed(job, logprobs)
    assert math.fsum(map(math.exp, scores)) == pytest.approx(1, abs=1e-3)
    assert len(set(scores)) == len(LABELS)
    assert LABELS[scores.index(max(scores))] == script.answer(question(ASKED, "Text: We sang.", "Mood"))


def test_an_answer_follows_from_the_request_alone_and_obeys_its_limit(family, teacher, reader):
    prompt = Prompt("List.", "Text: The kettle boils, and nobody came.", cue="Attributes:")
    body = {"prompt": reader.job(Request(prompt)).prompt_ids, "max_tokens": 400, "seed": 5}
    (whole,) = teacher("/v1/completions", body)["choices"]
    assert script.ScriptedTeacher(family)("/v1/completions", body)["choices"] == [whole]
    (cut,) = teacher("/v1/completions", {**body, "max_tokens": 9})["choices"]
    assert (whole["finish_reason"], cut["finish_reason"]) == ("stop", "length")
    assert whole["text"].startswith(cut["text"])
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in messages(prompt)]
    (chat,) = teacher("/v1/chat/completions", {"messages": turns, "seed": 5})["choices"]
    assert chat["message"]["content"] == whole["text"]
