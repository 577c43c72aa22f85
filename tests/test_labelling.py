"""Which labels texts get, given what a model says of texts that were written for each label."""

import numpy as np
import pytest

from sentidistill import config
from sentidistill.construct.instructions import Instruction
from sentidistill.construct.labelling import corrected, corrected_by_others, leads, lean, one_sided, scores_of, surest
from sentidistill.construct.responses import choose_labels
from sentidistill.inference.requests import Response
from sentidistill.samples import PoolPrompt
from tests.project import ROOT

LABELS = ("negative", "neutral", "positive")


def scores(means: list[int], leaning: np.ndarray, seed: int) -> np.ndarray:
    """Log-probabilities of texts whose true labels are `means`, from a model that leans to some labels."""
    noise = np.random.default_rng(seed).normal(0, 0.4, (len(means), 3))
    return 2 * np.eye(3)[means] + noise + leaning


LEANING = np.array([0.0, -3.0, 1.5])  # hardly ever neutral, often positive
WRITTEN_FOR = np.array([0, 1, 2] * 8)
REFERENCE = scores(WRITTEN_FOR.tolist(), LEANING, seed=1)


@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.85, 0.1, 0.05), (0.0, 0.0, 1.0)])
def test_a_lean_is_taken_off_whatever_the_shares_of_the_labels(shares):
    truth = np.random.default_rng(0).choice(3, 200, p=shares)
    given = scores(truth.tolist(), LEANING, seed=2)
    plain = (given.argmax(axis=1) == truth).mean()
    mended = (corrected(given, REFERENCE, WRITTEN_FOR, shrinkage=4).argmax(axis=1) == truth).mean()
    assert mended > 0.9
    assert mended >= plain or shares == (0.0, 0.0, 1.0)


def test_one_text_alone_gets_its_label_and_two_of_one_label_both():
    alone = scores([2, 2], np.zeros(3), seed=3)
    for rows in (alone[:1], alone):
        assert set(corrected(rows, REFERENCE - LEANING, WRITTEN_FOR, 8).argmax(axis=1)) == {2}


def test_the_lean_does_not_depend_on_how_many_texts_were_written_for_each_label():
    uneven = np.concatenate([np.arange(24), np.repeat(np.arange(0, 24, 3), 5)])
    found = lean(REFERENCE[uneven], WRITTEN_FOR[uneven], shrinkage=0)
    assert found == pytest.approx(lean(REFERENCE, WRITTEN_FOR, shrinkage=0))


def test_few_texts_count_less_and_a_label_without_texts_tells_nothing():
    full = lean(REFERENCE, WRITTEN_FOR, shrinkage=0)
    assert lean(REFERENCE, WRITTEN_FOR, shrinkage=24) == pytest.approx(full / 2)
    assert not lean(REFERENCE[WRITTEN_FOR > 0], WRITTEN_FOR[WRITTEN_FOR > 0], shrinkage=0).any()


def test_a_text_of_the_reference_is_corrected_by_the_others():
    found = corrected_by_others(REFERENCE, WRITTEN_FOR, shrinkage=4)
    rest = np.arange(len(REFERENCE)) != 5
    alone = corrected(REFERENCE[5:6], REFERENCE[rest], WRITTEN_FOR[rest], shrinkage=4)
    assert found[5] == pytest.approx(alone[0])


def test_the_surest_texts_of_each_label_come_first_and_unconfirmed_ones_are_left_out():
    rows = np.stack([np.array([0.9, -0.4, 0.05, -1.2, 0.5, -0.4]), np.zeros(6)], axis=1)
    assert leads(rows) == pytest.approx([0.9, 0.4, 0.05, 1.2, 0.5, 0.4])
    assert surest(rows, leads(rows), np.ones(6, bool), 2) == [0, 4, 3, 1]
    assert surest(rows, leads(rows), np.array([False, False, True, True, True, True]), 2) == [4, 2, 3, 5]


def test_on_a_scale_a_level_leads_those_that_are_not_its_neighbours():
    rows = np.array([[-1.0, -1.1, -4.0, -5.0, -6.0], [-4.0, -1.0, -0.9, -1.2, -0.95]])
    assert leads(rows, near=1) == pytest.approx([3.0, 0.05])


def test_a_task_that_gives_nearly_all_texts_one_label_is_recognised():
    assert one_sided(["yes"] * 39 + ["no"], 0.95)
    assert not one_sided(["yes"] * 19 + ["no"], 0.95)
    assert not one_sided(["yes"] * 9, 0.95), "too few to tell"


def test_a_teacher_without_log_probabilities_counts_as_sure():
    assert scores_of(LABELS, "neutral", ()) == [-100.0, 0.0, -100.0]
    assert scores_of(LABELS, "neutral", (-1.0, -0.5, -2.0)) == [-1.0, -0.5, -2.0]


class Leaning:
    """A teacher that leans to the first label by 2 nats, whatever the text; a text says how far it is the second's."""

    def choose(self, prompts, labels, part):
        found = {key: (2.0, float(one.input.removeprefix("Text: "))) for key, one in prompts.items()}
        return {
            key: Response(labels[key][int(second > first)], "choice", 9, 0, (first, second))
            for key, (first, second) in found.items()
        }


@pytest.mark.parametrize(
    ("calibrate", "answers", "found"),
    [(True, ["yes", "yes", "no"], [3.0, 0.5, 1.5]), (False, ["yes", "yes", "yes"], [5.0, 2.5, 0.5])],
)
def test_the_lead_of_an_answer_is_that_of_its_label_after_calibration(calibrate, answers, found):
    task = {"cluster": 0, "family": "classification", "cue": "Joy", "labels": ["yes", "no"], "demonstrations": []}
    written = [("-1", "yes"), ("1", "no")]
    of_all = {"mentions": 1, "attributes": [], "name": "Joy", "text": "Joy?", "reference": written}
    asked = {"stratum": "t", "instruction": "Joy?", "text_id": "", "student_demonstrations": []}
    rows = [PoolPrompt(id=text, text=text, **task, **asked) for text in ("-3", "-0.5", "1.5")]
    section = config.load(ROOT / "params.yaml").collect_responses.model_copy(
        update={"calibrate": calibrate, "shrinkage": 0.0}
    )
    samples, _ = choose_labels(Leaning(), rows, {"t": Instruction(id="t", **task, **of_all)}, section)
    assert [one.answer for one in samples] == answers
    assert [one.lead for one in samples] == pytest.approx(found)
