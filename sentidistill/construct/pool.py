"""The pool of prompts: every instruction with its own draw of texts and demonstrations."""

from collections import Counter

import numpy as np

from sentidistill.config.pool import ComposePrompts
from sentidistill.construct.instructions import Instruction
from sentidistill.errors import SentiDistillError
from sentidistill.records import content_id
from sentidistill.samples import PoolPrompt
from sentidistill.sources.apportionment import apportion
from sentidistill.sources.corpus import Text


def draw_demonstrations(instruction: Instruction, shots: int, random: np.random.Generator) -> list[tuple[str, str]]:
    """Up to `shots` demonstrations in random order; the labels of a closed task take turns."""
    seen: Counter[str] = Counter()
    turns = []
    for place in random.permutation(len(instruction.demonstrations)):
        text, output = instruction.demonstrations[place]
        group = output if instruction.labels else ""
        turns.append((seen[group], text, output))
        seen[group] += 1
    chosen = sorted(turns, key=lambda turn: turn[0])[:shots]
    return [chosen[place][1:] for place in random.permutation(len(chosen))]


def texts_for(instructions: list[Instruction], total: int, power: float, most: dict[str, int]) -> dict[str, int]:
    """Number of texts for each instruction, by id: `total` in proportion to mentions ** `power`, none above `most`.

    The sum is `total` if there are enough texts. Ties of remainders are broken by id, which favours no kind of
    instruction.
    """
    ordered = sorted(instructions, key=lambda one: one.id)
    highest = max((one.mentions for one in ordered), default=0) or 1
    weights = [(one.mentions / highest) ** power for one in ordered]
    return dict(zip((one.id for one in ordered), apportion(total, weights, [most[one.id] for one in ordered])))


def texts_with(attributes: list[str], having: dict[str, list[Text]]) -> list[Text]:
    """The texts that have one of the attributes, each once, by id."""
    found = {text.id: text for name in attributes for text in having.get(name, [])}
    return [found[key] for key in sorted(found)]


def compose(
    instructions: list[Instruction], texts: list[Text], having: dict[str, list[Text]], params: ComposePrompts
) -> list[PoolPrompt]:
    """Prompts of every instruction on its own draw of texts; an instruction gets no text twice.

    An analysis with `attributes` draws from the texts that mention one of them: `having`, texts by the attribute's
    name. These are texts of the enumeration pool. All other instructions draw from `texts`.

    A draw is the beginning of a permutation that follows from the seed and the instruction's id. So an instruction
    that gets more or fewer texts keeps the prompts that it has, and nothing changes for the others.

    Raises `SentiDistillError` if there is no text, or if no family has both instructions and prompts.
    """
    if not texts:
        raise SentiDistillError("data/corpus.jsonl: no texts in the pool 'distillation'; rerun prepare_corpus")
    sources = {one.id: texts_with(one.attributes, having) if one.attributes else texts for one in instructions}
    numbers: dict[str, int] = {}
    for family, total in params.prompts.items():
        of_family = [one for one in instructions if one.family == family]
        numbers |= texts_for(
            of_family, total, params.mentions_power, {one.id: len(sources[one.id]) for one in of_family}
        )
    if not any(numbers.values()):
        raise SentiDistillError(
            f"no prompts: compose_prompts.prompts asks for {params.prompts}, and data/instructions.jsonl has "
            f"{dict(Counter(one.family for one in instructions))}; ask for prompts of a family that has instructions"
        )
    rows = []
    for instruction in instructions:
        random = np.random.default_rng([params.seed, int(instruction.id, 16)])
        number = numbers.get(instruction.id, 0)
        demonstrations = draw_demonstrations(instruction, params.teacher_shots, random)
        for place, index in enumerate(random.permutation(len(sources[instruction.id]))[:number]):
            text = sources[instruction.id][index]
            shots = params.student_shots[place % len(params.student_shots)]
            rows.append(
                PoolPrompt(
                    id=content_id(instruction.id, text.id),
                    stratum=instruction.id,
                    instruction=instruction.text,
                    **instruction.model_dump(include={"cluster", "family", "cue", "labels"}),
                    text_id=text.id,
                    text=text.text,
                    demonstrations=demonstrations,
                    student_demonstrations=draw_demonstrations(instruction, shots, random),
                )
            )
    return sorted(rows, key=lambda row: row.id)
