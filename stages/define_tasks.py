"""proposals -> data/task_definitions.jsonl: exact tasks with labels or format, and examples that obey them.

A row: {"id": "77c0...", "cluster": 3, "attribute": "urgency", "mentions": 12, "name": "Urgency Rating",
"family": "scoring", "instruction": "Rate ...", "labels": ["1", "2", "3"], "format": "",
"examples": [["Send someone NOW!", "3"]]}
"""

from collections import Counter

from sentidistill import calls, config, records, stage
from sentidistill.instructions import TaskDefinition, TaskProposal, balanced, define, distinct_tasks
from sentidistill.parsing import FAMILIES, parse_definition
from sentidistill.prompts import Template
from sentidistill.teacher.opening import OpenModel, open_model


def wordings(proposal: TaskProposal, mentions_per_wording: int) -> int:
    """How many definitions are asked for: one, and one more for every so many texts that mention the attribute.

    A student that meets a common attribute in one wording alone learns the wording, not the attribute.
    """
    return 1 + proposal.mentions // mentions_per_wording


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.define_tasks, params.teacher
    template = Template("define_tasks", exemplars=teacher.exemplars)
    proposals = {row.id: row for row in records.read_jsonl("data/task_proposals.jsonl", TaskProposal)}
    prompts = {
        f"{key} {number:02d}": template.prompt(
            same="family", name=row.name, family=row.family, description=row.description
        )
        for key, row in proposals.items()
        for number in range(wordings(row, section.mentions_per_wording))
    }
    reasons = Counter()

    def read_answer(key: str, raw: str) -> tuple[TaskDefinition | None, bool]:
        definition = parse_definition(raw)
        if definition is None:
            reasons["no_instruction"] += 1
            return None, False
        proposal = proposals[key.split()[0]]
        task, reason = define(proposal, definition, section.max_labels, section.max_label_words, section.max_examples)
        reasons[reason] += bool(reason)
        return task, task is not None and len(task.examples) < min(len(definition.examples), section.max_examples)

    with open_model("teacher", params, stage.cache_root()) as model:
        tasks, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "define_tasks")
    calls.check_failures(asked, teacher.max_failure_rate, "define_tasks")
    defined = [
        tasks[key].model_copy(
            update={
                "id": proposal if key.endswith(" 00") else records.content_id(key),
                "mentions": max(1, row.mentions // wordings(row, section.mentions_per_wording)),
            }
        )
        for proposal, row in proposals.items()
        for key in sorted(tasks)
        if key.startswith(proposal)
    ]
    different = distinct_tasks(defined, section.max_similarity)
    rows = balanced(different, section.max_tasks)
    records.write_jsonl("data/calls/define_tasks.jsonl", asked)
    records.write_jsonl("data/task_definitions.jsonl", rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "define_tasks",
        {
            **calls.summary(asked),
            "definitions": len(rows),
            "repeated": len(defined) - len(different),
            "over_limit": len(different) - len(rows),
            **{f"definitions_{family}": families[family] for family in FAMILIES},
            **{f"unusable_{reason}": number for reason, number in sorted(reasons.items()) if reason},
        },
    )


if __name__ == "__main__":
    stage.run(main)
