"""Which labels the texts of a task get, and which of them count as sure."""

import numpy as np
import pytest

from sentidistill.errors import SentiDistillError
from sentidistill.instructions import TaskDefinition
from sentidistill.labelling import compare_likelihoods, surest, surest_levels
from sentidistill.prompts import Prompt
from sentidistill.teacher.base import Reader, Response
from sentidistill.teacher.cache import Cache
from sentidistill.teacher.cached import CachedTeacher
from sentidistill.teacher.transformers import TransformersEngine
from tests.test_teacher import plain_choice_scores

# Two labels; the texts lean to the first by so much.
LEANINGS = np.array([0.9, -0.4, 0.05, -1.2, 0.5, -0.4])
PROMPTS = [Prompt("Write a text.", f"The author of the text is {label}.", cue="New text:") for label in ("glad", "sad")]
WORDS = "the day rain my friend a long road to go now"
TEXTS = [f"{word} {number}" for number, word in enumerate(WORDS.split())]


def scores(leanings: np.ndarray) -> np.ndarray:
    return np.stack([leanings, np.zeros_like(leanings)], axis=1)


def test_the_surest_texts_of_each_label_come_first_and_doubtful_or_unconfirmed_ones_are_left_out():
    everyone = np.ones(6, bool)
    assert surest(scores(LEANINGS), 2, 0.0, everyone) == [(0, 0), (4, 0), (3, 1), (1, 1)]
    assert surest(scores(LEANINGS), 9, 0.1, everyone) == [(0, 0), (4, 0), (3, 1), (1, 1), (5, 1)]
    confirmed = np.array([False, False, True, True, True, True])
    assert surest(scores(LEANINGS), 2, 0.1, confirmed) == [(4, 0), (3, 1), (5, 1)]


def test_texts_near_the_ends_and_the_middle_of_a_scale_stand_for_its_levels():
    ends = np.random.default_rng(0).permutation(np.linspace(-2, 2, 9))
    found = surest_levels(np.stack([np.zeros(9), ends], axis=1), 5, 2)
    values = {level: sorted(ends[text].round(1) for text, of in found if of == level) for level in (0, 2, 4)}
    assert values == {0: [-2.0, -1.5], 2: [-0.5, 0.0], 4: [1.5, 2.0]}
    few = surest_levels(scores(LEANINGS[:3]), 5, 3)
    assert sorted(level for _, level in few) == [0, 2, 4]
    assert len({text for text, _ in few}) == 3


def teacher(engine, tokenizer, folder) -> CachedTeacher:
    return CachedTeacher(Reader("tiny", "transcript", 400, lambda: tokenizer), lambda: engine, Cache(folder / "cache"))


def test_a_text_leans_to_the_label_for_which_it_is_likelier_to_be_written(tiny_student, tmp_path):
    model, tokenizer = tiny_student
    engine = TransformersEngine(model, tokenizer, rows_per_batch=8, batch_tokens=100_000)
    few, nothing, many = compare_likelihoods(
        teacher(engine, tokenizer, tmp_path), [PROMPTS] * 3, [TEXTS[:2], [], TEXTS], "likelihoods"
    )
    assert nothing == {}
    assert list(few) == TEXTS[:2]
    glad, sad = (np.array(plain_choice_scores(model, tokenizer, one, tuple(TEXTS))) for one in PROMPTS)
    expected = np.stack([glad - glad.mean(), sad - sad.mean()], axis=1)
    assert np.array([many[text] for text in TEXTS]) == pytest.approx(expected, abs=1e-3)


def test_a_teacher_without_log_probabilities_is_told_what_to_do(tiny_student, tmp_path):
    class ChatServer:
        def stream(self, jobs):
            yield [(place, Response(job.request.choices[0], "choice", 9, 0)) for place, job in enumerate(jobs)]

    with pytest.raises(SentiDistillError, match=r"write_demonstrations\.confirm"):
        compare_likelihoods(teacher(ChatServer(), tiny_student[1], tmp_path), [PROMPTS], [TEXTS], "likelihoods")


def test_a_scale_is_asked_by_what_its_ends_stand_for():
    task = TaskDefinition(
        id="1",
        cluster=0,
        attribute="calm",
        mentions=3,
        name="Calm",
        family="scoring",
        instruction="Rate how calm the author of the text is, from 1 (not calm) to 5 (very calm).",
        labels=list("12345"),
        format="",
        examples=[],
    )
    assert task.with_ends().labels == ["not calm", "very calm"]
    assert task.model_copy(update={"instruction": "Rate how calm it is."}).with_ends().labels == ["1", "5"]
    assert task.model_copy(update={"family": "classification"}).with_ends().labels == task.labels
