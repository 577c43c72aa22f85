"""analysis instructions + definitions + demonstrations -> data/instructions.jsonl, what the student is to learn.

A row: {"id": "77c0...", "cluster": 3, "mentions": 9, "family": "scoring", "name": "Urgency Rating", "text": "Rate ...
Answer with one of: 1, 2, 3.", "cue": "Urgency", "labels": ["1", "2", "3"],
"demonstrations": [["Send someone NOW!", "3"]]}
"""

from collections import Counter, defaultdict

from sentidistill import config, records, stage
from sentidistill.clustering import Cluster
from sentidistill.errors import SentiDistillError
from sentidistill.instructions import (
    AnalysisInstruction,
    Demonstration,
    Instruction,
    TaskDefinition,
)


def main() -> None:
    section = config.load().build_instructions
    mentions = {cluster.id: cluster.count for cluster in records.read_jsonl("data/clusters.jsonl", Cluster)}
    analyses = records.read_jsonl("data/analysis_instructions.jsonl", AnalysisInstruction)
    tasks = records.read_jsonl("data/task_definitions.jsonl", TaskDefinition)
    demonstrations: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in records.read_jsonl("data/demonstrations.jsonl", Demonstration):
        demonstrations[row.task].append((row.input, row.output))
    shown = [task for task in tasks if len(demonstrations[task.id]) >= section.min_demonstrations]
    if not shown:
        raise SentiDistillError("build_instructions: no task has enough demonstrations; see metrics/define_tasks.json")
    rows = [
        Instruction(
            id=task.id,
            cluster=task.cluster,
            mentions=task.mentions,
            family=task.family,
            name=task.name,
            text=task.text(),
            cue=task.cue(),
            labels=task.labels,
            demonstrations=demonstrations[task.id],
        )
        for task in shown
    ]
    distinct = {row.text.casefold(): row for row in reversed(analyses)}
    rows += [
        Instruction(
            id=records.content_id(row.cluster, row.text),
            cluster=row.cluster,
            mentions=mentions[row.cluster],
            family="analysis",
            name="analysis",
            text=row.text,
            cue="Analysis",
            labels=[],
            demonstrations=[],
        )
        for row in distinct.values()
    ]
    rows.sort(key=lambda row: (row.cluster, row.family, row.id))
    records.write_jsonl("data/instructions.jsonl", rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "build_instructions",
        {
            "instructions": len(rows),
            **{f"instructions_{family}": number for family, number in sorted(families.items())},
            "clusters_covered": len({row.cluster for row in rows}),
            "tasks_too_few_demonstrations": len(tasks) - len(shown),
        },
    )


if __name__ == "__main__":
    stage.run(main)
