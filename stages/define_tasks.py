"""proposals -> data/task_definitions.jsonl: exact tasks with labels or format, and examples that obey them.

A row: {"id": "77c0...", "cluster": 3, "attribute": "urgency", "mentions": 12, "name": "Urgency Rating",
"family": "scoring", "instruction": "Rate ...", "labels": ["1", "2", "3"], "format": "",
"examples": [["Send someone NOW!", "3"]]}
"""

from collections import Counter
from pathlib import Path

from sentidistill import calls, clustering, config, models, records, stage
from sentidistill.instructions import TaskDefinition, TaskProposal, balanced, define, distinct
from sentidistill.parsing.markup import strip_thinking
from sentidistill.parsing.tasks import FAMILIES, parse_definition
from sentidistill.perspectives import Perspective
from sentidistill.prompts import Prompt, Template
from sentidistill.teacher.opening import OpenModel, open_model

# What the teacher is told about the faults of a definition that it is to repair.
FAULTS = {
    "no_instruction": "There is no part with the heading Instruction.",
    "two_texts": "The task needs more than one text.",
    "number_of_labels": "The part Labels lists too few labels or too many.",
    "long_label": "A label is too long.",
    "no_answer": "A label is no complete answer.",
    "labels_alike": "Two labels mean the same.",
    "copied_from_exemplars": "The instruction is that of another task.",
    "other_labels": "The instruction names answers that are not among the labels.",
    "scale_of_something_else": "The ends of the scale do not say what the instruction asks for.",
    "scale_without_direction": "The scale does not lead from less to more.",
    "goes_in_circles": "The instruction repeats itself.",
    "no_question": "The instruction says no more than the format.",
    "no_format": "The part Format is missing.",
    "no_keys": "The part Format does not name the keys of the object in double quotes, each with a meaning of its own.",
    "no_valid_example": "No example obeys the definition.",
    "example_copied": "An example is that of another task.",
    "example_whole_text": "The answer of an example is its whole text.",
    "example_same_quotes": "The answer of an example quotes the same words under two keys.",
    "example_empty_value": "A value in the answer of an example is empty.",
    "example_label": "The answer of an example is none of the labels.",
    "example_span": "The answer of an example does not stand in its text, word for word.",
    "example_json": "The answer of an example is not a JSON object.",
    "example_keys": "The answer of an example does not have exactly the keys of the format.",
}


def wordings(proposal: TaskProposal, mentions_per_wording: int) -> int:
    """How many definitions are asked for: one, and one more for every so many texts that mention the attribute.

    A student that meets a common attribute in one wording alone learns the wording, not the attribute.
    """
    return 1 + proposal.mentions // mentions_per_wording


def on_topic(tasks: list[TaskDefinition], perspectives: list[Perspective], folder: Path, least: float) -> list[bool]:
    """Whether each instruction is near an attribute of its perspective: cosine of `least` or more.

    `folder` is the embedder's.
    """
    names = {one.id: [attribute.name for attribute in one.attributes] for one in perspectives}
    texts = [task.instruction for task in tasks] + [name for group in names.values() for name in group]
    embedded = dict(zip(texts, clustering.embed(texts, folder)))
    return [
        max(float(embedded[name] @ embedded[task.instruction]) for name in names[task.cluster]) >= least
        for task in tasks
    ]


def comparable(tasks: list[TaskDefinition], folder: Path, least: float) -> list[bool]:
    """Whether the labels of each classification are answers to one question: none is far from all others.

    Far is a cosine below `least`: *disappointed, no date*. `folder` is the embedder's.
    """
    labels = sorted({label for task in tasks for label in task.labels})
    embedded = dict(zip(labels, clustering.embed(labels, folder)))
    return [
        task.family != "classification"
        or all(
            max(float(embedded[label] @ embedded[other]) for other in task.labels if other != label) >= least
            for label in task.labels
        )
        for task in tasks
    ]


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section, teacher = params.define_tasks, params.teacher
    template = Template("define_tasks", worked_examples=teacher.worked_examples)
    exemplars = [one for _, output in template.demonstrations if (one := parse_definition(output))]
    proposals = {row.id: row for row in records.read_jsonl("data/task_proposals.jsonl", TaskProposal)}

    def first_prompt(row: TaskProposal, **repair: object) -> Prompt:
        return template.prompt(same="family", name=row.name, family=row.family, description=row.description, **repair)

    prompts = {
        f"{key} {number:02d}": first_prompt(row)
        for key, row in proposals.items()
        if section.max_tasks.get(row.family)
        for number in range(wordings(row, section.mentions_per_wording))
    }

    def read_answer(key: str, raw: str) -> tuple[TaskDefinition | None, list[str]]:
        definition = parse_definition(raw)
        if definition is None:
            return None, ["no_instruction"]
        proposal = proposals[key.split()[0]]
        limits = (section.max_labels, section.max_label_words, section.max_examples)
        return define(proposal, definition, exemplars, *limits)

    def repair(key: str, failed: calls.Call) -> Prompt:
        # A base model that sees a wrong answer writes another one like it: it is asked the same again.
        if teacher.prompt_format == "transcript":
            return prompts[key]
        faults = [FAULTS[fault] for fault in dict.fromkeys(failed.faults) if fault in FAULTS]
        return first_prompt(proposals[key.split()[0]], previous=strip_thinking(failed.raw), faults=faults)

    with open_model("teacher", params, stage.cache_root()) as model:
        tasks, asked = calls.ask(model, prompts, section.sampling, teacher, read_answer, "define_tasks", again=repair)
    calls.check_failures(asked, teacher.max_failure_rate, "define_tasks")
    order = {proposal: place for place, proposal in enumerate(proposals)}
    defined = []
    for key in sorted(tasks, key=lambda key: (order[key.split()[0]], key)):
        row = proposals[key.split()[0]]
        number = row.id if key.endswith(" 00") else records.content_id(key)
        mentions = max(1, row.mentions // wordings(row, section.mentions_per_wording))
        defined.append(tasks[key].model_copy(update={"id": number, "mentions": mentions}))
    new = distinct([task.text() for task in defined], [task.family for task in defined], section.max_similarity)
    different = [task for task, keep in zip(defined, new) if keep]
    perspectives = records.read_jsonl("data/perspectives.jsonl", Perspective)
    embedder = models.locate(Path("models/embedder"), stage.cache_root().parent)
    about = on_topic(different, perspectives, embedder, section.min_relevance)
    relevant = [task for task, keep in zip(different, about) if keep]
    usable = [
        task for task, keep in zip(relevant, comparable(relevant, embedder, section.min_label_similarity)) if keep
    ]
    rows = balanced(usable, section.max_tasks)
    records.write_jsonl("data/calls/define_tasks.jsonl", asked)
    records.write_jsonl("data/task_definitions.jsonl", rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "define_tasks",
        {
            **calls.summary(asked),
            "definitions": len(rows),
            "repeated": len(defined) - len(different),
            "off_topic": len(different) - len(relevant),
            "labels_far_apart": len(relevant) - len(usable),
            "over_limit": len(usable) - len(rows),
            **{f"definitions_{family}": families[family] for family in FAMILIES},
        },
    )


if __name__ == "__main__":
    stage.run(main)
