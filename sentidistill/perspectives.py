"""Which clusters of attributes are perspectives: ways to read a text, not parts of the things it is about."""

from collections.abc import Sequence

import numpy as np

from sentidistill.clustering import Cluster

NEAREST = 3


class Perspective(Cluster):
    """A cluster and whether instructions are made of it. `margin` is None where it was not measured."""

    kept: bool
    margin: float | None


def margins(clusters: Sequence[np.ndarray], sentiment: np.ndarray, things: np.ndarray) -> np.ndarray:
    """How much nearer each cluster is to words for attitudes than to words for things (cosine, n).

    `clusters` hold the unit-length embeddings of each cluster's attributes (n_i x d), `sentiment` and `things`
    those of the words. Nearness is the mean cosine of the cluster's centre to the three nearest words.
    """
    centres = np.array([rows.mean(axis=0) / max(float(np.linalg.norm(rows.mean(axis=0))), 1e-12) for rows in clusters])
    near = [np.sort(centres @ words.T, axis=1)[:, -NEAREST:].mean(axis=1) for words in (sentiment, things)]
    return near[0] - near[1]
