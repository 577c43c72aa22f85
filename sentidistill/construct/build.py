"""From tasks and analyses to the instructions that the student learns."""

from collections import defaultdict
from collections.abc import Mapping

from sentidistill.config.instructions import BuildInstructions
from sentidistill.construct import reviews
from sentidistill.construct.checks import distinct
from sentidistill.construct.demonstrations import Demonstration
from sentidistill.construct.instructions import AnalysisInstruction, Instruction
from sentidistill.construct.tasks import TaskDefinition
from sentidistill.records import content_id


def reviewed(rows: list[Demonstration], tasks: list[TaskDefinition], wrong: Mapping[str, str]) -> list[Demonstration]:
    """`rows` without those that readers judged to be `wrong`, or with the right answer if a reader gave it."""
    of = {task.id: task for task in tasks}
    kept = []
    for row in rows:
        task = of[row.task]
        right = wrong.get(reviews.demonstration_id(task.text(), row.input, row.output))
        if right is None:
            kept.append(row)
        elif right:
            right = reviews.right_answer(right, task.family, task.labels, task.text(), row.input)
            kept.append(row.model_copy(update={"output": right, "written_for": right}))
    return kept


def from_tasks(
    tasks: list[TaskDefinition], demonstrations: list[Demonstration], section: BuildInstructions
) -> tuple[list[Instruction], dict[str, int]]:
    """(instructions made of tasks with their demonstrations, how many tasks were left out, by reason)."""
    shown: dict[str, list[tuple[str, str]]] = defaultdict(list)
    reference: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in demonstrations:
        reference[row.task].append((row.input, row.written_for))
        if row.shown:
            shown[row.task].append((row.input, row.output))
    enough = [task for task in tasks if len(shown[task.id]) >= section.min_demonstrations]
    usable = [task for task in enough if len({output for _, output in shown[task.id]}) > 1]
    rows = [
        Instruction(
            **task.model_dump(include={"id", "cluster", "mentions", "family", "name", "labels"}),
            attributes=[],
            text=task.text(),
            cue=task.cue(),
            demonstrations=shown[task.id],
            reference=reference[task.id] if task.labels else [],
        )
        for task in usable
    ]
    return rows, {
        "few_demonstrations": len(tasks) - len(enough),
        "demonstrations_of_one_answer": len(enough) - len(usable),
    }


def from_analyses(
    analyses: list[AnalysisInstruction], counts: dict[str, int], section: BuildInstructions
) -> tuple[list[Instruction], dict[str, int]]:
    """(open analyses, each once, how many were left out, by reason). `counts`: how many texts have an attribute."""
    new = distinct([row.text for row in analyses], [""] * len(analyses), section.max_similarity)
    kept = [row for row, keep in zip(analyses, new) if keep]
    rows = [
        Instruction(
            id=content_id(row.cluster, row.text),
            cluster=row.cluster,
            mentions=max(counts[name] for name in row.attributes),
            attributes=row.attributes,
            family="analysis",
            name="analysis",
            text=row.text,
            cue="Analysis",
            labels=[],
            demonstrations=[],
            reference=[],
        )
        for row in kept
    ]
    return rows, {"repeated_analysis": len(analyses) - len(kept)}
