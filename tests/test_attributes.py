import numpy as np
import pytest

from sentidistill.attributes import AttributeCount, Mention, collect, normalise
from sentidistill.clustering import cluster, summarise


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Tone", ["tone"]),
        ("use of irony/sarcasm", ["irony", "sarcasm"]),
        ("Level of Trust", ["trust"]),
        ("trust level", ["trust"]),
        ("Emotion: Anger", ["emotion"]),
        ("call-to-action", ["call to action"]),
        ("expectation vs. reality", ["expectation vs reality"]),
        ("author's stance", ["author's stance"]),
        ("//", []),
    ],
)
def test_normalise(raw, names):
    assert normalise(raw) == names


def mention(text: str, name: str, description: str = "what it is") -> Mention:
    return Mention(text_id=text, name=name, description=description, value="")


def test_attributes_are_counted_by_text_and_keep_their_raw_names():
    mentions = [mention("a", "trust level"), mention("a", "trust"), mention("b", "level of trust"), mention("b", "joy")]
    trust, joy = collect(mentions, 2, 1, 0.0)
    assert (trust.name, trust.count) == ("trust", 2)
    assert trust.variants == {"level of trust": 1, "trust": 1, "trust level": 1}
    assert (joy.name, joy.count) == ("joy", 1)


def test_spellings_of_one_name_are_merged_into_the_commonest():
    mentions = [mention(str(i), "expectations vs reality") for i in range(3)] + [
        mention("9", "expectation vs. reality")
    ]
    (only,) = collect(mentions, 10, 1, 0.0)
    assert (only.name, only.count) == ("expectations vs reality", 4)


def test_the_threshold_is_absolute_and_relative():
    mentions = [mention(str(i), "joy") for i in range(5)] + [mention("1", "fear")]
    assert [a.name for a in collect(mentions, 100, 2, 0.0)] == ["joy"]
    assert collect(mentions, 100, 2, 0.06) == []


def test_the_description_is_the_commonest_whatever_the_order():
    mentions = [mention("a", "joy", "long text"), mention("b", "joy", "short"), mention("c", "joy", "also")]
    assert {collect(order, 3, 1, 0.0)[0].description for order in (mentions, mentions[::-1])} == {"also"}


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
