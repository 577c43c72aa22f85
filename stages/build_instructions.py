"""analysis instructions + definitions + demonstrations -> data/instructions.jsonl, what the student is to learn.

A row: {"id": "77c0...", "cluster": 3, "mentions": 9, "attributes": [], "family": "scoring",
"name": "Urgency Rating", "text": "Rate ... Answer with one of: 1, 2, 3.", "cue": "Urgency", "labels": ["1", "2", "3"],
"demonstrations": [["Send someone NOW!", "3"]], "reference": [["Send someone NOW!", "3"]]}
"""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from sentidistill import clustering, config, records
from sentidistill.config import BuildInstructions
from sentidistill.construct import diversity
from sentidistill.construct.attributes import ATTRIBUTES, AttributeCount
from sentidistill.construct.checks import distinct
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import ANALYSIS_INSTRUCTIONS, INSTRUCTIONS, HandWritten, Instruction
from sentidistill.construct.tasks import TASK_DEFINITIONS
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources import models

HAND_WRITTEN = Path("prompts/hand_written.yaml")
COVERED = 0.5  # cosine from which an instruction counts as one about an attribute


def from_attributes(section: BuildInstructions) -> tuple[list[Instruction], dict[str, int]]:
    """(instructions made of the perspectives, how many tasks and analyses were left out, by reason)."""
    counts = {row.name: row.count for row in ATTRIBUTES.read()}
    analyses = ANALYSIS_INSTRUCTIONS.read()
    tasks = TASK_DEFINITIONS.read()
    shown: dict[str, list[tuple[str, str]]] = defaultdict(list)
    reference: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in DEMONSTRATIONS.read():
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
    new = distinct([row.text for row in analyses], [""] * len(analyses), section.max_similarity)
    kept = [row for row, keep in zip(analyses, new) if keep]
    lost = {
        "few_demonstrations": len(tasks) - len(enough),
        "demonstrations_of_one_answer": len(enough) - len(usable),
        "repeated_analysis": len(analyses) - len(kept),
    }
    rows += [
        Instruction(
            id=records.content_id(row.cluster, row.text),
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
    return sorted(rows, key=lambda row: (row.cluster, row.family, row.id)), lost


def hand_written() -> list[Instruction]:
    """The baseline. Raises `SentiDistillError` naming the row that is not as it should be."""
    found = []
    for number, row in enumerate(yaml.safe_load(HAND_WRITTEN.read_text(encoding="utf-8")), 1):
        try:
            found.append(HandWritten.model_validate(row).as_instruction(number))
        except ValidationError as error:
            raise SentiDistillError(f"{HAND_WRITTEN}, row {number}: {error}") from error
    return found


def breadth(
    rows: list[Instruction],
    embeddings: np.ndarray,
    attributes: list[AttributeCount],
    of_attributes: np.ndarray,
    size: int,
) -> dict[str, float]:
    """How broad a set of instructions is, given its embeddings and those of the attributes; distinct-n of `size`.

    An instruction covers an attribute that it names, or that it is near to by its embedding. A bare word and a sentence
    that asks about it are often not near; one that only paraphrases it does not name it.
    """
    texts = [row.text for row in rows]
    counts = np.array([attribute.count for attribute in attributes])
    near = diversity.covered(of_attributes, embeddings, COVERED)
    covered = near | diversity.named([attribute.name for attribute in attributes], texts)
    families = Counter(row.family for row in rows)
    return {
        "instructions": len(rows),
        "attributes_covered": round(float(covered.mean()), 4),
        "mentions_covered": round(float(counts[covered].sum() / counts.sum()), 4),
        "mentions_near": round(float(counts[near].sum() / counts.sum()), 4),
        "distinct_1": round(diversity.distinct_n(texts, 1, size, seed=0), 4),
        "distinct_2": round(diversity.distinct_n(texts, 2, size, seed=0), 4),
        "embedding_spread": round(diversity.spread(embeddings), 4),
        **{f"share_{family}": round(number / len(rows), 4) for family, number in sorted(families.items())},
    }


def main() -> None:
    section = config.load().build_instructions
    made, lost = from_attributes(section)
    by_hand = hand_written()
    rows = made if section.source == "attributes" else by_hand
    if not any(row.demonstrations for row in rows):
        raise SentiDistillError("build_instructions: no task has enough demonstrations; see metrics/define_tasks.json")
    for row in rows:
        if faults := row.faults():
            raise SentiDistillError(f"build_instructions: a demonstration of {row.text!r} breaks its form: {faults[0]}")
    INSTRUCTIONS.write(rows)
    attributes = ATTRIBUTES.read()
    folder = models.locate(Path("models/embedder"), stage.cache_root().parent)
    texts = [[row.text for row in made], [row.text for row in by_hand], [attribute.name for attribute in attributes]]
    embeddings = np.split(
        clustering.embed([text for group in texts for text in group], folder), np.cumsum([len(made), len(by_hand)])
    )
    size = min(len(made), len(by_hand))
    families = Counter(row.family for row in rows)
    stage.finish(
        "build_instructions",
        {
            "instructions": len(rows),
            **{f"instructions_{family}": number for family, number in sorted(families.items())},
            "clusters_covered": len({row.cluster for row in rows}),
            "lost": lost,
            "breadth": {
                "attributes": breadth(made, embeddings[0], attributes, embeddings[2], size),
                "hand_written": breadth(by_hand, embeddings[1], attributes, embeddings[2], size),
            },
        },
    )


if __name__ == "__main__":
    stage.run(main)
