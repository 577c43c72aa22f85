"""attributes -> data/clusters.jsonl: groups of like attributes, most mentioned first; plots/clusters.csv is their map.

A row: {"id": 0, "exemplar": "frustration", "attributes": [...], "count": 57, "cohesion": 0.71}
"""

import numpy as np
import pandas as pd

from sentidistill import clustering, config, records
from sentidistill.config.attributes import ClusterAttributes
from sentidistill.construct import perspectives
from sentidistill.construct.attributes import ATTRIBUTES, MENTIONS, AttributeCount, Mention, read_vectors, recount
from sentidistill.construct.perspectives import CLUSTERS
from sentidistill.pipeline import stage

LEFT_OUT = 0.1  # share of the texts that is left out to measure how stable the clusters are


def stability(
    embeddings: np.ndarray,
    labels: np.ndarray,
    attributes: list[AttributeCount],
    mentions: list[Mention],
    section: ClusterAttributes,
) -> float | None:
    """Agreement of the clusters with those of a part of the texts; None if `stability_runs` is 0."""
    texts = np.unique([mention.text_id for mention in mentions])
    with_fewer = []
    for number in range(1, section.stability_runs + 1):
        random = np.random.default_rng(section.seed + number)
        kept = set(texts[random.random(len(texts)) >= LEFT_OUT])
        fewer = recount(attributes, [mention for mention in mentions if mention.text_id in kept])
        seen = fewer > 0
        found = np.full(len(labels), -1)
        found[seen] = run(section, embeddings[seen], fewer[seen])
        with_fewer.append(found)
    return round(clustering.agreement(with_fewer, labels), 4) if with_fewer else None


def run(section: ClusterAttributes, embeddings: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return clustering.cluster(embeddings, counts, **section.model_dump(exclude={"stability_runs"}))


def main() -> None:
    section = config.load().cluster_attributes
    attributes = ATTRIBUTES.read()
    mentions = MENTIONS.read()
    embeddings = read_vectors()
    labels = run(section, embeddings, np.array([attribute.count for attribute in attributes]))
    clusters = perspectives.summarise(attributes, embeddings, labels)
    cluster_of = {attribute.name: cluster for cluster in clusters for attribute in cluster.attributes}
    x, y = clustering.project(embeddings, section.seed).round(3).T
    table = pd.DataFrame({"attribute": [a.name for a in attributes], "count": [a.count for a in attributes]})
    of_each = table["attribute"].map(cluster_of)
    table = table.assign(cluster=[c.id for c in of_each], exemplar=[c.exemplar for c in of_each], x=x, y=y)
    CLUSTERS.write(clusters)
    records.write_text("plots/clusters.csv", table.to_csv(index=False))
    sizes = [len(cluster.attributes) for cluster in clusters]
    stage.finish(
        "cluster_attributes",
        {
            "clusters": len(clusters),
            "attributes": len(attributes),
            "largest": max(sizes),
            "median_size": float(np.median(sizes)),
            "of_one_attribute": sizes.count(1),
            "stability_over_texts": stability(embeddings, labels, attributes, mentions, section),
        },
    )


if __name__ == "__main__":
    stage.run(main)
