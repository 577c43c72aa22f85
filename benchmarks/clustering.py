"""Clusters of many attributes: python -m benchmarks.clustering ATTRIBUTES.tsv

The file has the columns attribute and count. Shown are the clusters by the settings of params.yaml, the time and the
peak of memory, and the clusters that `select_perspectives` leaves out by its margin. Run after `make repro`.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from sentidistill import clustering, config
from sentidistill.construct.diversity import read_counts
from sentidistill.construct.perspectives import margins

EMBEDDER = Path("models/embedder")


def main(path: str) -> None:
    params = config.load()
    section = params.cluster_attributes
    attributes = read_counts(Path(path))
    names, counts = [one.name for one in attributes], np.array([one.count for one in attributes])
    embeddings = clustering.embed(names, EMBEDDER)
    started = time.perf_counter()
    settings = {"preference_percentile": section.preference_percentile, "damping": section.damping}
    labels = clustering.cluster(embeddings, counts, method=section.method, max_iter=section.max_iter, **settings)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(names):,} attributes: {labels.max() + 1} clusters in {seconds:.1f} s, {peak:.0f} MB at the peak")
    words = yaml.safe_load(Path("prompts/perspectives.yaml").read_text(encoding="utf-8"))
    sentiment, things = (clustering.embed(words[kind], EMBEDDER) for kind in ("sentiment", "things"))
    members = [embeddings[labels == label] for label in range(labels.max() + 1)]
    found = margins(members, sentiment, things)
    left_out = [label for label in np.argsort(found) if found[label] < params.select_perspectives.min_margin]
    print(f"{len(left_out)} clusters are left out as being about things:")
    for label in left_out:
        of_cluster = sorted((attributes[i] for i in np.flatnonzero(labels == label)), key=lambda one: -one.count)
        print(f"  {found[label]:.2f}  {', '.join(one.name for one in of_cluster[:5])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
