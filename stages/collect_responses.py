"""pool -> data/responses.jsonl: the prompts with the teacher's answers.

A row is one of data/prompts.jsonl and {"answer": "2", "label_scores": [-4.1, -1.5, -1.3], "plain": "3",
"probabilities": [0.05, 0.55, 0.4]}.
For a closed task, the answer is the likeliest label once the teacher's label bias is subtracted. For open tasks and
analyses, it is sampled and checked. With collect_responses.released, the rows are those of a file.
"""

from collections import Counter
from typing import Any

from sentidistill import config
from sentidistill.config import Params
from sentidistill.config.pool import Released
from sentidistill.construct import released
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.responses import choose_labels, sample_answers
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import decontamination
from sentidistill.inference.calls import stage_teacher, summary, table_of
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.pipeline import stage
from sentidistill.samples import PROMPTS, SAMPLES, Sample


def asked(params: Params, open_model: OpenModel) -> tuple[list[Sample], dict[str, Any]]:
    """(samples that the teacher answered, figures)."""
    section = params.collect_responses
    rows = PROMPTS.read()
    instructions = {row.id: row for row in INSTRUCTIONS.read()}
    with stage_teacher("collect_responses", params, open_model) as teacher:
        labelled, left_out = choose_labels(teacher, [row for row in rows if row.labels], instructions, section)
        free = sample_answers(teacher, [row for row in rows if not row.labels], section.sampling)
    changed = sum(row.answer != row.plain for row in labelled)
    return labelled + free, {
        **summary(teacher.calls),
        "share_of_labels_changed_by_calibration": round(changed / max(len(labelled), 1), 4),
        "tasks_of_one_label": len(left_out),
    }


def read_released(params: Params, source: Released) -> tuple[list[Sample], dict[str, Any]]:
    """(samples of the file that are not about a text of the benchmark, figures)."""
    root = stage.cache_root().parent
    found, lost = released.samples_of(released.read(root / source.path, source.answer_field))
    why = decontamination.reasons([one.text for one in found], params.prepare_corpus, root)
    samples = [one for one, reason in zip(found, why) if reason is None]
    if not samples:
        raise SentiDistillError(f"{source.path}: no usable answer; left out: {lost | Counter(filter(None, why))}")
    table_of("collect_responses").write([])
    unused = {"share_of_labels_changed_by_calibration": 0.0, "tasks_of_one_label": 0}
    return samples, {**summary([]), **unused, "lost": lost | Counter(filter(None, why))}


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    source = params.collect_responses.released
    samples, found = read_released(params, source) if source else asked(params, open_model)
    SAMPLES.write(sorted(samples, key=lambda sample: sample.id))
    families = Counter(sample.family for sample in samples)
    stage.finish(
        "collect_responses",
        {
            **found,
            "answers": len(samples),
            **{f"answers_{family}": number for family, number in sorted(families.items())},
        },
    )


if __name__ == "__main__":
    stage.run(main)
