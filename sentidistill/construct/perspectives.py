"""Which clusters of attributes are perspectives, that is, about attitudes and not about things."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from sentidistill.config.rules import Line
from sentidistill.construct.attributes import AttributeCount
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table
from sentidistill.yaml_files import read

NEAREST = 3


class Cluster(Record):
    """A cluster of attributes. `attributes` are commonest first; `cohesion` is their mean cosine to the centre."""

    id: int
    exemplar: str
    attributes: list[AttributeCount]
    count: int
    cohesion: float


CLUSTERS = Table("data/clusters.jsonl", Cluster)


class Perspective(Cluster):
    """A cluster and whether instructions are made of it. `margin` is None if it was not measured."""

    kept: bool
    margin: float | None


PERSPECTIVES = Table("data/perspectives.jsonl", Perspective)


def ids_of(names: Sequence[str], perspectives: Sequence[Perspective]) -> set[int]:
    """Raises `SentiDistillError` for a name that is no perspective's."""
    ids = {one.exemplar: one.id for one in perspectives}
    for name in names:
        if name not in ids:
            near = ", ".join(get_close_matches(name, ids, cutoff=0.0))
            raise SentiDistillError(f"no perspective is called {name!r}; nearest in data/perspectives.jsonl: {near}")
    return {ids[name] for name in names}


class Words(Record):
    """prompts/perspectives.yaml: words that tell attitudes from things."""

    sentiment: Annotated[list[Line], Field(min_length=1)]
    things: Annotated[list[Line], Field(min_length=1)]


def words(path: Path) -> Words:
    """Raises `SentiDistillError` with the line of a fault."""
    return read(path, Words)


def margins(clusters: Sequence[np.ndarray], sentiment: np.ndarray, things: np.ndarray) -> np.ndarray:
    """How much nearer each cluster is to words for attitudes than to words for things (cosine, n).

    `clusters` hold the unit-length embeddings of each cluster's attributes (n_i x d); `sentiment` and `things` are the
    embeddings of the words. Nearness is the mean cosine of the cluster's centre to the three nearest words.
    """
    centres = np.array([rows.mean(axis=0) / max(float(np.linalg.norm(rows.mean(axis=0))), 1e-12) for rows in clusters])
    near = [np.sort(centres @ words.T, axis=1)[:, -NEAREST:].mean(axis=1) for words in (sentiment, things)]
    return near[0] - near[1]


def summarise(attributes: Sequence[AttributeCount], embeddings: np.ndarray, labels: np.ndarray) -> list[Cluster]:
    """Clusters with their attributes, most mentioned first; the id is the place in this order.

    `attributes` are commonest first. The exemplar is the one that is nearest to the centre.
    """
    groups = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        centre = embeddings[members].mean(axis=0)
        cosines = embeddings[members] @ (centre / max(float(np.linalg.norm(centre)), 1e-12))
        # In a cluster of two, both are equally near to the centre but for rounding, which differs by processor; argmax
        # takes the first of them.
        exemplar = attributes[members[int(np.argmax(cosines.round(5)))]].name
        ordered = sorted((attributes[i] for i in members), key=lambda a: (-a.count, a.name))
        groups.append((ordered, exemplar, round(float(cosines.mean()), 4)))
    groups.sort(key=lambda group: (-sum(a.count for a in group[0]), group[0][0].name))
    return [
        Cluster(id=i, exemplar=exemplar, attributes=members, count=sum(a.count for a in members), cohesion=cohesion)
        for i, (members, exemplar, cohesion) in enumerate(groups)
    ]
