"""analysis instructions + definitions + demonstrations -> data/instructions.jsonl, what the student is to learn.

A demonstration that a reader judged to be wrong is left out, or shown with the right answer (reviews.jsonl).

A row: {"id": "77c0...", "cluster": 3, "mentions": 9, "attributes": [], "family": "scoring",
"name": "Urgency Rating", "text": "Rate ... Answer with one of: 1, 2, 3.", "cue": "Urgency", "labels": ["1", "2", "3"],
"demonstrations": [["Send someone NOW!", "3"]], "reference": [["Send someone NOW!", "3"]]}
"""

from collections import Counter
from pathlib import Path

import numpy as np

from sentidistill import clustering, config
from sentidistill.construct import diversity, reviews
from sentidistill.construct.attributes import ATTRIBUTES, read_vectors
from sentidistill.construct.build import from_analyses, from_tasks, reviewed
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import ANALYSIS_INSTRUCTIONS, INSTRUCTIONS, hand_written
from sentidistill.construct.tasks import TASK_DEFINITIONS
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources import models

HAND_WRITTEN = Path("prompts/hand_written.yaml")


def main() -> None:
    section = config.load().build_instructions
    attributes = ATTRIBUTES.read()
    counts = {row.name: row.count for row in attributes}
    wrong, definitions, written = reviews.wrong(), TASK_DEFINITIONS.read(), DEMONSTRATIONS.read()
    demonstrations = reviewed(written, definitions, wrong)
    tasks, lost_tasks = from_tasks(definitions, demonstrations, section)
    distinct, lost_analyses = from_analyses(ANALYSIS_INSTRUCTIONS.read(), counts, section)
    analyses = [row for row in distinct if reviews.analysis_id(row.text) not in wrong]
    judged_wrong = len(written) - len(demonstrations) + len(distinct) - len(analyses)
    made = sorted(tasks + analyses, key=lambda row: (row.cluster, row.family, row.id))
    by_hand = hand_written(HAND_WRITTEN)
    sets = {"attributes": made, "hand_written": by_hand}
    if section.source not in sets:
        sets["own"] = hand_written(stage.cache_root().parent / section.source)
    rows = sets[section.source if section.source in sets else "own"]
    if not any(row.demonstrations for row in rows):
        raise SentiDistillError("build_instructions: no task has enough demonstrations; see metrics/define_tasks.json")
    INSTRUCTIONS.write(rows)
    folder = models.locate(Path("models/embedder"), stage.cache_root().parent)
    vectors = read_vectors()
    embedded = clustering.embed([row.text for one in sets.values() for row in one], folder)
    parts = np.split(embedded, np.cumsum([len(one) for one in sets.values()])[:-1])
    placed = {name: (one, part) for (name, one), part in zip(sets.items(), parts)}
    size = min(map(len, sets.values()))
    beside = {}
    if section.other_attributes:
        other = diversity.read_counts(stage.cache_root().parent / section.other_attributes)
        of_other = clustering.embed([one.name for one in other], folder)
        beside["other_coverage"] = {name: diversity.coverage(*one, other, of_other) for name, one in placed.items()}
    families = Counter(row.family for row in rows)
    stage.finish(
        "build_instructions",
        {
            "instructions": len(rows),
            **{f"instructions_{family}": number for family, number in sorted(families.items())},
            "clusters_covered": len({row.cluster for row in rows}),
            "lost": lost_tasks | lost_analyses | ({"judged_wrong": judged_wrong} if judged_wrong else {}),
            "breadth": {
                name: {"instructions": len(one[0])}
                | diversity.coverage(*one, attributes, vectors)
                | diversity.variety(*one, size)
                for name, one in placed.items()
            },
            **beside,
        },
    )


if __name__ == "__main__":
    stage.run(main)
