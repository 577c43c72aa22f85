"""perspectives -> data/task_proposals.jsonl: ideas for tasks about the commonest attributes of each perspective.

A row: {"id": "77c0...", "cluster": 3, "attribute": "politeness", "mentions": 12, "name": "Rude Words",
"family": "extraction", "description": "Quote the words of the text that are impolite."}
"""

from collections import Counter

from sentidistill import config, records
from sentidistill.construct.checks import usable_proposals
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.construct.tasks import TASK_PROPOSALS, TaskProposal
from sentidistill.inference.calls import stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.inference.requests import Response
from sentidistill.parsing.tasks import FAMILIES, Proposal, parse_proposals
from sentidistill.pipeline import stage
from sentidistill.prompts import Template


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.propose_tasks
    template = Template("propose_tasks", worked_examples=params.teacher.worked_examples)
    shown = {one.name.casefold() for _, output in template.demonstrations for one in parse_proposals(output)}
    prompts, origin = {}, {}
    for cluster in PERSPECTIVES.read():
        if not cluster.kept:
            continue
        names = [attribute.name for attribute in cluster.attributes]
        for rank, attribute in enumerate(cluster.attributes[: section.attributes_per_cluster]):
            related = [name for name in names if name != attribute.name][:4]
            key = f"{cluster.id:04d} {rank:04d}"
            prompts[key] = template.prompt(name=attribute.name, description=attribute.description, related=related)
            origin[key] = (cluster.id, attribute)

    def read_answer(key: str, answer: Response) -> tuple[list[Proposal] | None, list[str]]:
        proposals = parse_proposals(answer.text)
        if not proposals:
            return None, ["unreadable"]
        kept, faults = usable_proposals(proposals, origin[key][1].name, section.max_per_attribute, shown)
        return kept or None, faults

    with stage_teacher("propose_tasks", params, open_model) as teacher:
        answers = teacher.ask(prompts, section.sampling, read_answer)
    rows = [
        TaskProposal(
            id=records.content_id(origin[key][0], origin[key][1].name, proposal.family, proposal.name),
            cluster=origin[key][0],
            attribute=origin[key][1].name,
            mentions=origin[key][1].count,
            **proposal.model_dump(),
        )
        for key in sorted(answers)
        for proposal in answers[key]
    ]
    TASK_PROPOSALS.write(rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "propose_tasks",
        {
            **summary(teacher.calls),
            "proposals": len(rows),
            **{f"proposals_{family}": families[family] for family in FAMILIES},
        },
    )


if __name__ == "__main__":
    stage.run(main)
