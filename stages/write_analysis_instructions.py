"""perspectives -> data/analysis_instructions.jsonl: open instructions for the analysis of a text.

The teacher is given a few attributes of a perspective at a time and writes an instruction for each. If it writes more
or fewer instructions than there are attributes, each instruction may be about any of the attributes.

A row: {"cluster": 3, "attributes": ["politeness"], "text": "How polite is the author of the text?"}
"""

from sentidistill import config
from sentidistill.construct.checks import usable_analysis
from sentidistill.construct.instructions import ANALYSIS_INSTRUCTIONS, AnalysisInstruction
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.inference.calls import stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.inference.requests import Response
from sentidistill.parsing.tasks import parse_instructions
from sentidistill.pipeline import stage
from sentidistill.prompts import Template


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.write_analysis_instructions
    template = Template("write_analysis_instructions", worked_examples=params.teacher.worked_examples)
    groups = {
        (perspective.id, start): perspective.attributes[start : start + section.attributes_per_call]
        for perspective in PERSPECTIVES.read()
        if perspective.kept
        for start in range(0, len(perspective.attributes), section.attributes_per_call)
    }
    prompts = {
        f"{cluster:04d} {start:03d}": template.prompt(attributes=attributes)
        for (cluster, start), attributes in groups.items()
    }

    names = {key: [attribute.name for attribute in group] for key, group in zip(prompts, groups.values())}

    def read_answer(key: str, answer: Response) -> tuple[dict[str, list[str]] | None, list[str]]:
        items = parse_instructions(answer.text)
        if not items:
            return None, ["unreadable"]
        kept, faults = usable_analysis(items, section.attributes_per_call, section.max_similarity)
        each = len(items) == len(names[key])
        return {item: [names[key][items.index(item)]] if each else names[key] for item in kept} or None, faults

    with stage_teacher("write_analysis_instructions", params, open_model) as teacher:
        answers = teacher.ask(prompts, section.sampling, read_answer)
    rows = [
        AnalysisInstruction(cluster=int(key.split()[0]), attributes=attributes, text=text)
        for key in sorted(answers)
        for text, attributes in answers[key].items()
    ]
    ANALYSIS_INSTRUCTIONS.write(rows)
    stage.finish("write_analysis_instructions", {**summary(teacher.calls), "instructions": len(rows)})


if __name__ == "__main__":
    stage.run(main)
