"""corpus -> data/mentions.jsonl: the attributes that the teacher finds in each text of the enumeration pool.

A row: {"text_id": "09ab...", "name": "frustration", "description": "How annoyed ...", "value": "high"}
"""

from sentidistill import config
from sentidistill.construct.attributes import MENTIONS, Mention
from sentidistill.inference.calls import stage_teacher, summary
from sentidistill.inference.opening import OpenModel, open_model
from sentidistill.parsing import Attribute, parse_attributes
from sentidistill.pipeline import stage
from sentidistill.prompts import Template
from sentidistill.sources.corpus import TEXTS


def read_answer(raw: str, copied: set[str]) -> tuple[list[Attribute] | None, list[str]]:
    """(attributes of an answer, each name once, None if none or all are from the worked examples; faults)."""
    attributes = parse_attributes(raw)
    if not attributes:
        return None, ["unreadable"]
    once = {attribute.name: attribute for attribute in reversed(attributes)}
    new = {name for name, attribute in once.items() if f"{name}|{attribute.value}".lower() not in copied}
    if not new:
        return None, ["copied"]
    faults = ["repeated"] * (len(attributes) - len(once))
    return [once[name] for name in dict.fromkeys(a.name for a in attributes)], faults


def main(open_model: OpenModel = open_model) -> None:
    params = config.load()
    section = params.enumerate_attributes
    template = Template("enumerate_attributes", worked_examples=params.teacher.worked_examples)
    example_attributes = [a for _, output in template.demonstrations for a in parse_attributes(output)]
    copied = {f"{a.name}|{a.value}".lower() for a in example_attributes}
    texts = [text for text in TEXTS.read() if text.pool == "enumeration"]
    prompts = {text.id: template.prompt(text=text.text) for text in texts}
    with stage_teacher("enumerate_attributes", params, open_model) as teacher:
        answers = teacher.ask(prompts, section.sampling, lambda _, answer: read_answer(answer.text, copied))
    mentions = [
        Mention(text_id=key, name=a.name, description=a.description, value=a.value)
        for key in sorted(answers)
        for a in answers[key]
    ]
    MENTIONS.write(mentions)
    from_examples = {attribute.name for attribute in example_attributes}
    stage.finish(
        "enumerate_attributes",
        {
            **summary(teacher.calls),
            "mentions": len(mentions),
            "mentions_per_text": round(len(mentions) / len(texts), 3),
            "distinct_names": len({mention.name for mention in mentions}),
            "share_of_mentions_named_in_worked_examples": round(
                sum(mention.name in from_examples for mention in mentions) / len(mentions), 4
            ),
        },
    )


if __name__ == "__main__":
    stage.run(main)
