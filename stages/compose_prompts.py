"""instructions + user texts -> data/prompts.jsonl: the pool of questions for the teacher.

A row: {"id": "c3d1...", "stratum": "77c0...", "cluster": 3, "family": "scoring", "instruction": "Rate ...",
"cue": "Urgency", "labels": ["1", "2", "3"], "text_id": "09ab...", "text": "...",
"demonstrations": [["...", "3"]], "student_shots": 0}
"""

from collections import Counter

import numpy as np

from sentidistill import config, records, stage
from sentidistill.config import ComposePrompts
from sentidistill.corpus import Text
from sentidistill.instructions import Instruction
from sentidistill.samples import PoolPrompt


def draw_demonstrations(
    instruction: Instruction, shots: int, draws: int, random: np.random.Generator
) -> list[list[tuple[str, str]]]:
    """`draws` ordered sets of up to `shots` demonstrations; closed labels take turns, so that each is shown."""
    sets = []
    for _ in range(draws):
        shuffled = [instruction.demonstrations[i] for i in random.permutation(len(instruction.demonstrations))]
        seen: Counter[str] = Counter()
        turns = []
        for text, output in shuffled:
            group = output if instruction.labels else ""
            turns.append((seen[group], text, output))
            seen[group] += 1
        sets.append([(text, output) for _, text, output in sorted(turns, key=lambda turn: turn[0])][:shots])
    return sets


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
        sets = draw_demonstrations(instruction, params.teacher_shots, params.demonstration_draws, random)
        for place, index in enumerate(random.permutation(len(texts))[:number]):
            demonstrations = sets[place % len(sets)]
            shots = params.student_shots[place // len(sets) % len(params.student_shots)]
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
                    student_shots=min(shots, len(demonstrations)),
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
            "mean_student_shots": round(sum(row.student_shots for row in rows) / len(rows), 3),
        },
    )


if __name__ == "__main__":
    stage.run(main)
