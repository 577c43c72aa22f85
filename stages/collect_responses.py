"""pool -> data/responses.jsonl: the prompts with the teacher's answers.

A row is one of data/prompts.jsonl and {"answer": "2", "label_scores": [-4.1, -1.5, -1.3], "plain": "3",
"probabilities": [0.05, 0.55, 0.4]}.
For a closed task, the answer is the likeliest label once the teacher's label bias is subtracted. For open tasks and
analyses, it is sampled and checked.
"""

from collections import Counter

from sentidistill import config
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.responses import choose_labels, sample_answers
from sentidistill.inference.calls import stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.pipeline import stage
from sentidistill.samples import PROMPTS, SAMPLES


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.collect_responses
    rows = PROMPTS.read()
    instructions = {row.id: row for row in INSTRUCTIONS.read()}
    with stage_teacher("collect_responses", params, open_model) as teacher:
        labelled, left_out = choose_labels(teacher, [row for row in rows if row.labels], instructions, section)
        free = sample_answers(teacher, [row for row in rows if not row.labels], section.sampling)
    samples = sorted(labelled + free, key=lambda sample: sample.id)
    SAMPLES.write(samples)
    families = Counter(sample.family for sample in samples)
    changed = sum(row.answer != row.plain for row in labelled)
    stage.finish(
        "collect_responses",
        {
            **summary(teacher.calls),
            "answers": len(samples),
            **{f"answers_{family}": number for family, number in sorted(families.items())},
            "share_of_labels_changed_by_calibration": round(changed / max(len(labelled), 1), 4),
            "tasks_of_one_label": len(left_out),
        },
    )


if __name__ == "__main__":
    stage.run(main)
