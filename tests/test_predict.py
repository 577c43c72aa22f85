"""A model folder on texts of one's own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sentidistill.config import load
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import suite
from sentidistill.evaluation.questions import questions
from sentidistill.evaluation.tasks import known
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.store import Cache
from sentidistill.predict import TASKS, Predictor, Task
from sentidistill.prompts import render
from sentidistill.samples import prompt
from tests.project import ROOT

MOOD = Task("Name the mood.", cue="Mood", labels=("glad", "not glad at all"), demonstrations=(("Hooray!", "glad"),))


@pytest.fixture(scope="module")
def predictor(tiny_models):
    return Predictor(tiny_models / "student")


def test_the_answer_is_the_likeliest_label_given_the_prompt_of_training(predictor, tiny_student):
    import torch

    model, tokenizer = tiny_student
    found = predictor.predict("It rains again.", task=MOOD)
    totals = []
    for label in MOOD.labels:
        asked = prompt(
            "Name the mood. Answer with one of: glad, not glad at all.",
            "Mood",
            "It rains again.",
            [("Hooray!", "glad")],
        )
        ids = render(asked, tokenizer, "transcript", label)
        with torch.no_grad():
            logprobs = model(torch.tensor([ids.prompt_ids + ids.completion_ids])).logits[0].log_softmax(-1)
        start = len(ids.prompt_ids) - 1
        totals.append(sum(float(logprobs[start + n, token]) for n, token in enumerate(ids.completion_ids)))
    shares = torch.tensor(totals).softmax(0).tolist()
    assert found.answer == MOOD.labels[shares.index(max(shares))]
    assert list(found.probabilities.values()) == pytest.approx(shares, abs=1e-3)


def test_the_default_tasks_are_scored_by_what_the_predictor_answers(predictor, tmp_path):
    """The same prompt, so the reported score is that of the tool; here with the settings of the default run."""
    params = load(ROOT / "params.yaml")
    test, train = ([{"sentence": text, "label": "neutral"} for text in ("Fine.", "We lost.", f"{n}")] for n in (1, 2))
    for task in map(known, params.prepare_benchmark.tasks):
        model = CachedTeacher(predictor._reader, lambda: predictor._engine, Cache(tmp_path / "cache"))
        rows = suite.evaluate(model, "student", task, test, train, suite.Settings.of(task, params.evaluate))
        (question, *_) = questions(task, test, train, shots=0, demonstrations="shared", max_chars=99, seed=1)
        assert question.prompt == TASKS["sentiment"].request("Fine.", ()).prompt
        for row, record, found in zip(rows, test, predictor.predict([one["sentence"] for one in test])):
            shares = np.exp(np.array(row.scores) - np.logaddexp.reduce(row.scores))
            assert (row.text, row.output) == (f"Text: {record['sentence']}", found.answer)
            assert list(found.probabilities.values()) == pytest.approx(shares, abs=1e-3)
    assert question.prompt.instruction == (
        "Decide what the sentiment of the text is. Answer with one of: negative, neutral, positive."
    )
    assert (question.prompt.cue, question.prompt.demonstrations) == ("Sentiment:", ())


def test_several_texts_are_answered_in_order_as_each_alone(predictor):
    texts = ["A fine day.", "What a dreadful, endless, miserable film that was!", "Hm."]
    assert predictor.predict(texts) == [predictor.predict(text) for text in texts]
    assert predictor.predict([]) == []


def test_a_task_without_labels_is_answered_with_the_likeliest_words(predictor, tiny_student):
    import torch

    model, tokenizer = tiny_student
    found = predictor.predict("A fine day.", task=Task("Describe the mood.", max_new_tokens=5))
    ids = render(prompt("Describe the mood.", "Answer", "A fine day.", []), tokenizer, "transcript").prompt_ids
    written = model.generate(torch.tensor([ids]), max_new_tokens=5, do_sample=False)[0, len(ids) :]
    assert found.answer == tokenizer.decode(written, skip_special_tokens=True).strip() != ""
    assert found.probabilities == {}


def test_faults_are_named(predictor, tmp_path):
    with pytest.raises(SentiDistillError, match="no model folder"):
        Predictor(tmp_path)
    with pytest.raises(SentiDistillError, match="unknown task 'mood'; known are sentiment"):
        predictor.predict("A fine day.", task="mood")
    with pytest.raises(SentiDistillError, match="text 2 is empty"):
        predictor.predict(["A fine day.", " "])
    with pytest.raises(SentiDistillError, match="text 1 is too long"):
        predictor.predict("no " * 50_000)


def test_lines_of_the_input_become_lines_of_json(tiny_models):
    result = subprocess.run(
        [sys.executable, "-m", "sentidistill.predict", str(tiny_models / "student")],
        input="A fine day.\n\nWe lost.\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["A fine day.", "We lost."]
    assert all(row["answer"] in row["probabilities"] for row in rows)
