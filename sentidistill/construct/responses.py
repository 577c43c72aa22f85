"""The teacher's answers to the prompts of the pool."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from sentidistill.config.pool import CollectResponses
from sentidistill.config.prompting import Sampling
from sentidistill.construct.checks import answer_schema, open_answer
from sentidistill.construct.instructions import Instruction
from sentidistill.construct.labelling import corrected, one_sided, scores_of
from sentidistill.inference.calibration import normalised
from sentidistill.inference.calls import StageTeacher
from sentidistill.inference.requests import Response
from sentidistill.records import content_id
from sentidistill.samples import PoolPrompt, Sample, prompt


def answered(
    row: PoolPrompt, answer: str, plain: str, label_scores: Sequence[float] = (), probabilities: Sequence[float] = ()
) -> Sample:
    return Sample(
        **row.model_dump(),
        answer=answer,
        plain=plain,
        label_scores=list(label_scores),
        probabilities=[float(f"{one:.6g}") for one in probabilities],
    )


def choose_labels(
    teacher: StageTeacher, rows: list[PoolPrompt], instructions: dict[str, Instruction], section: CollectResponses
) -> tuple[list[Sample], list[str]]:
    """(samples, ids of the tasks that are left out because they gave one label to nearly all texts).

    The teacher gets an instruction's reference texts in the same prompt as the texts of the pool.
    """
    by_task: dict[str, list[PoolPrompt]] = defaultdict(list)
    for row in rows:
        by_task[row.stratum].append(row)
    prompts = {row.id: row.prompt() for row in rows}
    labels = {row.id: row.labels for row in rows}
    reference = {}
    for task, of_task in by_task.items():
        for text, written_for in instructions[task].reference if section.calibrate else []:
            key = content_id(task, text)
            reference[key] = written_for
            first = of_task[0]
            prompts[key] = prompt(first.instruction, first.cue, text, first.demonstrations)
            labels[key] = first.labels
    chosen = teacher.choose(prompts, labels, part="labels")

    def scores(keys: list[str]) -> np.ndarray:
        return np.array([scores_of(labels[key], chosen[key].text, chosen[key].choice_logprobs) for key in keys])

    samples: list[Sample] = []
    left_out = []
    for task, of_task in by_task.items():
        found = [row for row in of_task if row.id in chosen]
        if not found:
            continue
        names = found[0].labels
        texts = [content_id(task, text) for text, _ in instructions[task].reference]
        texts = [key for key in texts if key in chosen and key in reference]
        given = scores([row.id for row in found])
        if texts:
            meant = np.array([names.index(reference[key]) for key in texts])
            given = corrected(given, scores(texts), meant, section.shrinkage)
        best = given.argmax(axis=1)
        if one_sided([names[place] for place in best], section.max_share_of_one_label):
            left_out.append(task)
            continue
        samples += [
            answered(row, names[place], chosen[row.id].text, chosen[row.id].choice_logprobs, probabilities)
            for row, place, probabilities in zip(found, best, np.exp(normalised(given)))
        ]
    return samples, left_out


def sample_answers(teacher: StageTeacher, rows: list[PoolPrompt], sampling: Sampling) -> list[Sample]:
    """Samples of the open prompts; prompts without a usable answer are left out."""
    by_key = {row.id: row for row in rows}
    schemas = {row.id: answer_schema(row.instruction) for row in rows if row.family == "structured"}

    def read_answer(key: str, answer: Response) -> tuple[str | None, list[str]]:
        row = by_key[key]
        return open_answer(row.family, row.instruction, row.text, answer.text, answer.finish_reason == "length")

    answers = teacher.ask({row.id: row.prompt() for row in rows}, sampling, read_answer, schemas=schemas)
    return [answered(by_key[key], answer, answer) for key, answer in answers.items()]
