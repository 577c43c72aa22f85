"""proposals -> data/task_definitions.jsonl: exact tasks with labels or format, and examples that obey them.

A row: {"id": "77c0...", "cluster": 3, "attribute": "urgency", "mentions": 12, "name": "Urgency Rating",
"family": "scoring", "instruction": "Rate ...", "labels": ["1", "2", "3"], "format": "",
"examples": [["Send someone NOW!", "3"]]}
"""

from collections import Counter

from sentidistill import config
from sentidistill.construct.checks import CHECKS, distinct
from sentidistill.construct.tasks import (
    TASK_DEFINITIONS,
    TASK_PROPOSALS,
    TaskDefinition,
    TaskProposal,
    balanced,
    define,
)
from sentidistill.inference.calls import Call, stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.inference.requests import Response
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import FAMILIES, parse_definition
from sentidistill.pipeline import stage
from sentidistill.prompts import Prompt, Template


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.define_tasks
    template = Template("define_tasks", worked_examples=params.teacher.worked_examples)
    worked_examples = [one for _, output in template.demonstrations if (one := parse_definition(output))]
    proposed = TASK_PROPOSALS.read()
    proposals = {row.id: row for row in balanced(proposed, section.max_tasks)}

    def first_prompt(row: TaskProposal, **repair: object) -> Prompt:
        return template.prompt(same="family", name=row.name, family=row.family, description=row.description, **repair)

    def read_answer(key: str, answer: Response) -> tuple[TaskDefinition | None, list[str]]:
        definition = parse_definition(answer.text)
        if definition is None:
            return None, ["no_instruction"]
        limits = (section.max_labels, section.max_label_words, section.max_examples)
        return define(proposals[key], definition, worked_examples, *limits)

    def repair(key: str, failed: Call) -> Prompt:
        faults = [CHECKS[fault][0] for fault in dict.fromkeys(failed.faults)]
        return first_prompt(proposals[key], previous=strip_thinking(failed.raw), faults=faults)

    prompts = {key: first_prompt(row) for key, row in proposals.items()}
    with stage_teacher("define_tasks", params, open_model) as teacher:
        tasks = teacher.ask(prompts, section.sampling, read_answer, again=repair)
    defined = [tasks[key] for key in proposals if key in tasks]
    new = distinct([task.text() for task in defined], [task.family for task in defined], section.max_similarity)
    rows = [task for task, keep in zip(defined, new) if keep]
    TASK_DEFINITIONS.write(rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "define_tasks",
        {
            **summary(teacher.calls),
            "definitions": len(rows),
            "repeated": len(defined) - len(rows),
            "over_limit": len(proposed) - len(proposals),
            **{f"definitions_{family}": families[family] for family in FAMILIES},
        },
    )


if __name__ == "__main__":
    stage.run(main)
