"""clusters -> data/perspectives.jsonl: every cluster, and whether it is a perspective, that is, a way to read a text.

A reader's verdict (reviews.jsonl) overrules the measured margin.

A row: {"id": 0, "exemplar": "frustration", "attributes": [...], "count": 57, "cohesion": 0.71, "kept": true,
"margin": 0.31}
"""

from pathlib import Path

import numpy as np

from sentidistill import clustering, config
from sentidistill.construct import reviews
from sentidistill.construct.attributes import ATTRIBUTES, read_vectors
from sentidistill.construct.perspectives import CLUSTERS, PERSPECTIVES, Cluster, Perspective, margins, words
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources import models

WORDS = Path("prompts/perspectives.yaml")


def measure(clusters: list[Cluster], vectors: dict[str, np.ndarray]) -> list[float]:
    members = [np.array([vectors[one.name] for one in cluster.attributes]) for cluster in clusters]
    ends_of = words(WORDS)
    folder = models.locate(Path("models/embedder"), stage.cache_root().parent)
    rows = clustering.embed([*ends_of.sentiment, *ends_of.things], folder)
    sentiment, things = np.split(rows, [len(ends_of.sentiment)])
    return margins(members, sentiment, things).round(4).tolist()


def main() -> None:
    section = config.load().select_perspectives
    clusters = CLUSTERS.read()
    vectors = dict(zip([attribute.name for attribute in ATTRIBUTES.read()], read_vectors()))
    found = measure(clusters, vectors) if section.method == "embedding" else [None] * len(clusters)
    measured = [margin is None or margin >= section.min_margin for margin in found]
    verdicts = reviews.read()
    judged = [verdicts.get(reviews.cluster_id(one.name for one in cluster.attributes)) for cluster in clusters]
    kept = [one.answer == reviews.PERSPECTIVE if one else keep for one, keep in zip(judged, measured)]
    if not any(kept):
        raise SentiDistillError(
            f"select_perspectives: none of {len(clusters)} clusters is kept; lower select_perspectives.min_margin, or "
            "set the method to none"
        )
    rows = [
        Perspective(**cluster.model_dump(), kept=keep, margin=margin)
        for cluster, keep, margin in zip(clusters, kept, found)
    ]
    PERSPECTIVES.write(rows)
    stage.finish(
        "select_perspectives",
        {
            "clusters": len(rows),
            "perspectives": sum(kept),
            "left_out": len(rows) - sum(kept),
            "share_of_mentions_kept": round(sum(r.count for r in rows if r.kept) / sum(r.count for r in rows), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
