"""Clusters of attributes, and which of them are perspectives; on the real embedder where meaning matters."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from sentidistill.clustering import agreement, cluster, embed, project
from sentidistill.construct.attributes import AttributeCount
from sentidistill.construct.perspectives import margins, summarise, words
from sentidistill.errors import SentiDistillError

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT.parent / "shared/reference/attributes.tsv"


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = np.eye(len(sizes), 16)
    points = np.concatenate([centre + 0.1 * random.normal(size=(n, 16)) for centre, n in zip(centres, sizes)])
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), truth


@pytest.mark.parametrize("method", ["affinity_propagation", "agglomerative", "kmeans"])
def test_separated_groups_are_found(method):
    embeddings, truth = blobs([12, 20, 7])
    labels = cluster(embeddings, np.full(len(truth), 5), method=method, n_clusters=3)
    assert sorted(set(labels)) == [0, 1, 2]
    assert len(set(zip(labels, truth))) == 3


def test_a_higher_percentile_gives_more_clusters():
    embeddings, truth = blobs([30, 30])
    counts = np.ones(len(truth))
    few, many = (len(set(cluster(embeddings, counts, preference_percentile=p))) for p in (0.5, 90))
    assert few < many


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_attributes_are_clustered_without_error(n):
    embeddings, _ = blobs([n])
    assert len(cluster(embeddings, np.ones(n))) == n


def test_identical_points_share_a_cluster():
    labels = cluster(np.tile(np.eye(1, 8, dtype=np.float32), (6, 1)), np.ones(6))
    assert len(set(labels)) == 1


def test_summary_keeps_every_attribute_once_and_orders_by_mentions():
    embeddings, truth = blobs([3, 4])
    attributes = [AttributeCount(name=f"a{i}", count=i + 1, description="", variants={}) for i in range(7)]
    clusters = summarise(attributes, embeddings, truth)
    assert sorted(a.name for c in clusters for a in c.attributes) == [f"a{i}" for i in range(7)]
    assert [c.count for c in clusters] == [4 + 5 + 6 + 7, 1 + 2 + 3]
    assert clusters[0].attributes[0].name == "a6"
    assert clusters[0].exemplar in {"a3", "a4", "a5", "a6"}


def test_of_a_pair_the_commoner_one_names_the_perspective():
    """Both are as near to their centre, but for rounding, which decides for the rarer one in a third of these pairs."""
    attributes = [AttributeCount(name=name, count=n, description="", variants={}) for name, n in (("a", 9), ("b", 2))]
    random = np.random.default_rng(0)
    for _ in range(200):
        pair = random.normal(size=(2, 8)).astype(np.float32)
        (cluster,) = summarise(attributes, pair / np.linalg.norm(pair, axis=1, keepdims=True), np.zeros(2, int))
        assert cluster.exemplar == "a"


def test_the_same_clusters_agree_and_rows_that_were_left_out_do_not_count():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert agreement([labels[::-1].copy(), np.array([5, 5, -1, 7, 9, 9])], labels) == 1.0
    assert agreement([np.array([0, 1, 0, 1, 0, 1])], labels) < 0.2


def test_a_map_keeps_neighbours_together_and_is_the_same_again():
    embeddings, truth = blobs([15, 15, 15])
    points = project(embeddings, seed=3)
    assert np.array_equal(points, project(embeddings, seed=3))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (truth[distances.argmin(axis=1)] == truth).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_attributes_have_a_map(n):
    points = project(blobs([n])[0], seed=0)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()


def test_clusters_of_things_are_told_from_those_of_attitudes(embedder):
    ends = words(ROOT / "prompts/perspectives.yaml")
    attitudes = [["frustration", "annoyance"], ["sarcasm", "irony"], ["trust", "confidence in others"], ["nostalgia"]]
    things = [["screen size", "display"], ["food quality", "menu"], ["room cleanliness", "towels"], ["delivery time"]]
    found = margins(
        [embed(names, embedder) for names in attitudes + things],
        embed(ends.sentiment, embedder),
        embed(ends.things, embedder),
    )
    least = yaml.safe_load((ROOT / "params.yaml").read_text())["select_perspectives"]["min_margin"]
    assert (found >= least).tolist() == [True] * 4 + [False] * 4


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference attributes are not on this machine")
def test_real_attributes_give_about_as_many_clusters_as_published(embedder):
    rows = list(csv.DictReader(REFERENCE.open(encoding="utf-8"), delimiter="\t"))
    names, counts = [row["attribute"] for row in rows], np.array([int(row["count"]) for row in rows])
    embeddings = embed(names, embedder)
    labels = cluster(embeddings, counts)
    assert 140 <= labels.max() + 1 <= 240
    assert np.bincount(labels).min() >= 1
    assert np.array_equal(labels, cluster(embeddings, counts))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sentiment: [joy]", ": things is missing"),
        ("sentiment: [joy]\nthings: []", ", line 2: things: expected at least 1, found 0"),
        (
            "sentiment: [joy]\nthings: [price, no]",
            r", line 2: things\.1: expected a text, found false; put it into quotes",
        ),
        ("sentiment: [joy]\nthing: [price]", ", line 2: unknown key thing; did you mean things"),
        ("sentiment: [joy", ", line 1: "),
        ("", ": expected a mapping of keys to values, found nothing"),
        (None, ": cannot be read"),
    ],
)
def test_words_for_perspectives_that_are_none_are_refused_with_their_line(tmp_path, text, said):
    path = tmp_path / "perspectives.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SentiDistillError, match=rf"perspectives\.yaml{said}"):
        words(path)
