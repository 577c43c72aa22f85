"""definitions + real texts -> data/demonstrations.jsonl: texts that the teacher writes for each task, with answers.

The definition's own examples are among them. Then the teacher is asked for the answer to each text alone. For a closed
task, a text is written for each label. The texts whose label the teacher confirms with the largest lead become the
examples of the task, and on all of the texts the label bias is measured. For an open task, texts are kept if the
teacher's two answers are much the same.

A row: {"task": "77c0...", "input": "omg this bus is sooo late", "output": "frustrated", "written_for": "frustrated",
"lead": 1.2, "shown": true}
"""

import numpy as np

from sentidistill import config
from sentidistill.construct.checks import distinct
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.tasks import TASK_DEFINITIONS
from sentidistill.construct.written import Written, answers_alone, of_task, read_pairs, text_prompts
from sentidistill.inference.calls import stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.inference.requests import Response
from sentidistill.pipeline import stage
from sentidistill.prompts import Template
from sentidistill.sources.corpus import TEXTS


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.write_demonstrations
    template = Template("write_demonstrations", worked_examples=params.teacher.worked_examples)
    tasks = TASK_DEFINITIONS.read()
    prompts = text_prompts(tasks, [text for text in TEXTS.read() if text.pool == "enumeration"], template, section)
    given = [part for pair in template.demonstrations for part in pair]

    def read_answer(key: str, answer: Response) -> tuple[list[tuple[str, str]] | None, list[str]]:
        task, asked = prompts[key]
        return read_pairs(task, answer.text, asked.input, given, section.min_words)

    with stage_teacher("write_demonstrations", params, open_model) as teacher:
        answers = teacher.ask({key: asked for key, (_, asked) in prompts.items()}, section.sampling, read_answer)
        written = [Written(task, *pair) for task in tasks for pair in task.examples]
        written += [Written(prompts[key][0], *pair) for key in sorted(answers) for pair in answers[key]]
        new = distinct([one.text for one in written], [one.task.id for one in written], section.max_similarity)
        texts = [one for one, keep in zip(written, new) if keep]
        labels, others = answers_alone(teacher, texts, params.collect_responses.sampling)
    made = [of_task(task, [one for one in texts if one.task.id == task.id], labels, others, section) for task in tasks]
    kept = [row for rows, _ in made for row in rows]
    kappa = [value for _, value in made if value is not None]
    DEMONSTRATIONS.write(kept)
    stage.finish(
        "write_demonstrations",
        {
            **summary(teacher.calls),
            "texts": len(kept),
            "demonstrations": sum(row.shown for row in kept),
            "tasks_with_demonstrations": len({row.task for row in kept}),
            "repeated": len(written) - len(texts),
            "not_shown": sum(not row.shown for row in kept),
            "mean_kappa": round(float(np.mean(kappa)), 4) if kappa else None,
            "tasks_below_min_kappa": sum(value < section.min_kappa for value in kappa),
        },
    )


if __name__ == "__main__":
    stage.run(main)
