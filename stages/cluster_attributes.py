"""attributes -> data/clusters.jsonl: perspectives, most mentioned first; and their map, plots/clusters.csv.

A row: {"id": 0, "exemplar": "frustration", "attributes": [...], "count": 57, "cohesion": 0.71}
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sentidistill import clustering, config, models, records, stage
from sentidistill.attributes import AttributeCount


def main() -> None:
    section = config.load().cluster_attributes
    attributes = records.read_jsonl("data/attributes.jsonl", AttributeCount)
    texts = [f"{a.name}: {a.description}" if section.with_descriptions else a.name for a in attributes]
    embeddings = clustering.embed(texts, models.locate(Path("models/embedder"), stage.cache_root().parent))
    labels = clustering.cluster(
        embeddings,
        np.array([attribute.count for attribute in attributes]),
        method=section.method,
        preference_percentile=section.preference_percentile,
        damping=section.damping,
        max_iter=section.max_iter,
        seed=section.seed,
        n_clusters=section.n_clusters,
    )
    clusters = clustering.summarise(attributes, embeddings, labels)
    cluster_of = {attribute.name: cluster.id for cluster in clusters for attribute in cluster.attributes}
    x, y = clustering.project(embeddings).round(4).T
    table = pd.DataFrame({"attribute": [a.name for a in attributes], "count": [a.count for a in attributes]})
    table = table.assign(cluster=table["attribute"].map(cluster_of), x=x, y=y)
    records.write_jsonl("data/clusters.jsonl", clusters)
    records.write_text("plots/clusters.csv", table.to_csv(index=False))
    sizes = [len(cluster.attributes) for cluster in clusters]
    silhouette = clustering.silhouette(embeddings, labels)
    stage.finish(
        "cluster_attributes",
        {
            "clusters": len(clusters),
            "attributes": len(attributes),
            "largest": max(sizes),
            "median_size": float(np.median(sizes)),
            "silhouette": None if silhouette is None else round(silhouette, 4),
            "mean_cohesion": round(float(np.mean([cluster.cohesion for cluster in clusters])), 4),
        },
    )


if __name__ == "__main__":
    stage.run(main)
