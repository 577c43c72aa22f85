"""instructions + user texts -> data/prompts.jsonl: the pool of questions for the teacher.

Tasks are applied to any texts of the distillation pool. Analyses are applied to texts in which the teacher found their
attribute, which are texts of the enumeration pool. Asked about an attribute that a text does not have, the teacher
answers as if the text had it.

A row: {"id": "c3d1...", "stratum": "77c0...", "cluster": 3, "family": "scoring", "instruction": "Rate ...",
"cue": "Urgency", "labels": ["1", "2", "3"], "text_id": "09ab...", "text": "...",
"demonstrations": [["...", "3"]], "student_demonstrations": []}
"""

from collections import Counter

from sentidistill import config
from sentidistill.construct.attributes import ATTRIBUTES, MENTIONS, texts_having
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.pool import compose
from sentidistill.pipeline import stage
from sentidistill.samples import PROMPTS
from sentidistill.sources.corpus import TEXTS


def main() -> None:
    section = config.load().compose_prompts
    instructions = INSTRUCTIONS.read()
    corpus = {text.id: text for text in TEXTS.read()}
    attributes = ATTRIBUTES.read()
    ids = texts_having(attributes, MENTIONS.read())
    having = {name: [corpus[key] for key in keys] for name, keys in ids.items()}
    texts = [text for text in corpus.values() if text.pool == "distillation"]
    rows = compose(instructions, texts, having, section)
    PROMPTS.write(rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "compose_prompts",
        {
            "prompts": len(rows),
            "prompts_asked": sum(section.prompts.values()),
            **{f"prompts_{family}": number for family, number in sorted(families.items())},
            "distinct_texts": len({row.text_id for row in rows}),
            "mean_student_shots": round(sum(len(row.student_demonstrations) for row in rows) / len(rows), 3),
        },
    )


if __name__ == "__main__":
    stage.run(main)
