"""pool -> data/responses.jsonl: the prompts with the teacher's answers.

A row is one of data/prompts.jsonl and {"answer": "3", "label_scores": [-4.1, -2.2, -1.3], "plain": "3"}.
Where the labels are a closed set, the answer is the likeliest label, after what the teacher's scores lean to whatever
the text is taken off; otherwise it is sampled and checked.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from sentidistill import config, records
from sentidistill.config import CollectResponses
from sentidistill.construct.checks import answer_schema, open_answer
from sentidistill.construct.instructions import INSTRUCTIONS, Instruction
from sentidistill.construct.labelling import corrected, one_sided, scores_of
from sentidistill.inference import calls
from sentidistill.inference.calls import Call
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.pipeline import stage
from sentidistill.samples import PROMPTS, SAMPLES, PoolPrompt, Sample, prompt


def answered(row: PoolPrompt, answer: str, plain: str, label_scores: Sequence[float] = ()) -> Sample:
    return Sample(**row.model_dump(), answer=answer, plain=plain, label_scores=list(label_scores))


def choose_labels(
    teacher: CachedTeacher, rows: list[PoolPrompt], instructions: dict[str, Instruction], section: CollectResponses
) -> tuple[list[Sample], list[Call], list[str]]:
    """(samples, calls, ids of the tasks that are left out as they gave one label to nearly all texts).

    The texts of an instruction's reference are asked with the same prompt as those of the pool.
    """
    by_task: dict[str, list[PoolPrompt]] = defaultdict(list)
    for row in rows:
        by_task[row.stratum].append(row)
    prompts = {row.id: row.prompt() for row in rows}
    labels = {row.id: row.labels for row in rows}
    reference = {}
    for task, of_task in by_task.items():
        for text, written_for in instructions[task].reference if section.calibrate else []:
            key = records.content_id(task, text)
            reference[key] = written_for
            first = of_task[0]
            prompts[key] = prompt(first.instruction, first.cue, text, first.demonstrations)
            labels[key] = first.labels
    chosen, asked = calls.choose(teacher, prompts, labels, "collect_responses, labels")

    def scores(keys: list[str]) -> np.ndarray:
        return np.array([scores_of(labels[key], chosen[key].text, chosen[key].choice_logprobs) for key in keys])

    samples: list[Sample] = []
    left_out = []
    for task, of_task in by_task.items():
        found = [row for row in of_task if row.id in chosen]
        if not found:
            continue
        names = found[0].labels
        texts = [records.content_id(task, text) for text, _ in instructions[task].reference]
        texts = [key for key in texts if key in chosen and key in reference]
        best = scores([row.id for row in found]).argmax(axis=1)
        if texts:
            written_for = np.array([names.index(reference[key]) for key in texts])
            given = scores([row.id for row in found])
            best = corrected(given, scores(texts), written_for, section.shrinkage).argmax(axis=1)
        if one_sided([names[place] for place in best], section.max_share_of_one_label):
            left_out.append(task)
            continue
        samples += [
            answered(row, names[place], chosen[row.id].text, chosen[row.id].choice_logprobs)
            for row, place in zip(found, best)
        ]
    return samples, asked, left_out


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.collect_responses, params.teacher
    rows = {row.id: row for row in PROMPTS.read()}
    instructions = {row.id: row for row in INSTRUCTIONS.read()}
    closed = [row for row in rows.values() if row.labels]
    prompts = {row.id: row.prompt() for row in rows.values() if not row.labels}
    schemas = {key: answer_schema(rows[key].instruction) for key in prompts if rows[key].family == "structured"}

    def read_answer(key: str, raw: str) -> tuple[str | None, list[str]]:
        row = rows[key]
        return open_answer(row.family, row.instruction, row.text, raw)

    with open_model("teacher", params, stage.cache_root()) as model:
        labelled, asked, left_out = choose_labels(model, closed, instructions, section)
        free, asked_free = calls.ask(
            model, prompts, section.sampling, teacher, read_answer, "collect_responses", schemas=schemas
        )
    asked += asked_free
    calls.check_failures(asked, teacher.max_failure_rate, "collect_responses")
    samples = labelled + [answered(rows[key], answer, answer) for key, answer in free.items()]
    samples.sort(key=lambda sample: sample.id)
    calls.table_of("collect_responses").write(sorted(asked, key=lambda call: call.key))
    SAMPLES.write(samples)
    families = Counter(sample.family for sample in samples)
    changed = sum(row.answer != row.plain for row in labelled)
    stage.finish(
        "collect_responses",
        {
            **calls.summary(asked),
            "answers": len(samples),
            **{f"answers_{family}": number for family, number in sorted(families.items())},
            "share_of_labels_changed_by_calibration": round(changed / max(len(labelled), 1), 4),
            "tasks_of_one_label": len(left_out),
        },
    )


if __name__ == "__main__":
    stage.run(main)
