"""instructions + user texts -> data/prompts.jsonl: the pool of questions for the teacher.

A row: {"id": "c3d1...", "stratum": "77c0...", "cluster": 3, "family": "scoring", "instruction": "Rate ...",
"cue": "Urgency", "labels": ["1", "2", "3"], "text_id": "09ab...", "text": "...",
"demonstrations": [["...", "3"]], "student_demonstrations": []}
"""

from collections import Counter

import numpy as np

from sentidistill import config, records, stage
from sentidistill.config import ComposePrompts
from sentidistill.corpus import Text
from sentidistill.instructions import Instruction
from sentidistill.samples import PoolPrompt


def draw_demonstrations(instruction: Instruction, shots: int, random: np.random.Generator) -> list[tuple[str, str]]:
    """Up to `shots` demonstrations in random order; closed labels take turns, so that each is shown."""
    seen: Counter[str] = Counter()
    turns = []
    for place in random.permutation(len(instruction.demonstrations)):
        text, output = instruction.demonstrations[place]
        group = output if instruction.labels else ""
        turns.append((seen[group], text, output))
        seen[group] += 1
    chosen = sorted(turns, key=lambda turn: turn[0])[:shots]
    return [chosen[place][1:] for place in random.permutation(len(chosen))]


def texts_for(instructions: list[Instruction], total: int, power: float, most: int) -> dict[str, int]:
    """How many texts each instruction is applied to: `total` shared out in proportion to mentions ** `power`.

    Shares are rounded, and none is larger than `most`.
    """
    weights = {one.id: one.mentions**power for one in instructions}
    scale = total / max(sum(weights.values()), 1e-12)
    return {key: min(most, round(weight * scale)) for key, weight in weights.items()}


def compose(instructions: list[Instruction], texts: list[Text], params: ComposePrompts) -> list[PoolPrompt]:
    """Every instruction with its own draw of texts, no text twice for one instruction."""
    numbers: dict[str, int] = {}
    for family, total in params.prompts.items():
        of_family = [one for one in instructions if one.family == family]
        numbers |= texts_for(of_family, total, params.mentions_power, len(texts))
    rows = []
    for instruction in instructions:
        random = np.random.default_rng([params.seed, int(instruction.id, 16)])
        number = numbers[instruction.id]
        demonstrations = draw_demonstrations(instruction, params.teacher_shots, random)
        for place, index in enumerate(random.permutation(len(texts))[:number]):
            shots = params.student_shots[place % len(params.student_shots)]
            rows.append(
                PoolPrompt(
                    id=records.content_id(instruction.id, texts[index].id),
                    stratum=instruction.id,
                    cluster=instruction.cluster,
                    family=instruction.family,
                    instruction=instruction.text,
                    cue=instruction.cue,
                    labels=instruction.labels,
                    text_id=texts[index].id,
                    text=texts[index].text,
                    demonstrations=demonstrations,
                    student_demonstrations=draw_demonstrations(instruction, shots, random),
                )
            )
    return sorted(rows, key=lambda row: row.id)


def main() -> None:
    section = config.load().compose_prompts
    instructions = records.read_jsonl("data/instructions.jsonl", Instruction)
    texts = [text for text in records.read_jsonl("data/corpus.jsonl", Text) if text.pool == "distillation"]
    rows = compose(instructions, texts, section)
    records.write_jsonl("data/prompts.jsonl", rows)
    families = Counter(row.family for row in rows)
    stage.finish(
        "compose_prompts",
        {
            "prompts": len(rows),
            **{f"prompts_{family}": number for family, number in sorted(families.items())},
            "distinct_texts": len({row.text_id for row in rows}),
            "mean_student_shots": round(sum(len(row.student_demonstrations) for row in rows) / len(rows), 3),
        },
    )


if __name__ == "__main__":
    stage.run(main)
