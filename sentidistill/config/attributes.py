"""From attributes to perspectives: `enumerate_attributes` to `select_perspectives`."""

from typing import Annotated, Literal

from sentidistill.config.prompting import Sampling
from sentidistill.config.rules import Cosine, Percent, Positive, Section, Seed, Share, real, whole


class EnumerateAttributes(Section):
    sampling: Sampling


class CollectAttributes(Section):
    count: Literal["texts", "mentions"]
    min_texts: Positive
    min_share: Share
    same_spelling: Percent
    same_meaning: Cosine


class ClusterAttributes(Section):
    method: Literal["affinity_propagation", "agglomerative", "kmeans"]
    preference_percentile: Percent
    damping: Annotated[float, real(0.5, 0.999)]
    max_iter: Annotated[int, whole(1, 1_000_000)]
    n_clusters: Annotated[int, whole(1, 1_000_000)]
    stability_runs: Annotated[int, whole(0, 1_000)]
    seed: Seed


class SelectPerspectives(Section):
    method: Literal["none", "embedding"]
    min_margin: Annotated[float, real(-2, 2)]
