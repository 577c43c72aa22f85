"""From attributes to clusters: embedding, clustering, and a map of the result."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sentidistill.errors import SentiDistillError

Method = Literal["affinity_propagation", "agglomerative", "kmeans"]


def embed(texts: Sequence[str], folder: Path) -> np.ndarray:
    """Unit-length float32 embeddings, one row per text, by the sentence-transformers model in `folder`."""
    from sentence_transformers import SentenceTransformer

    settings = {"use_safetensors": True}
    model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False, model_kwargs=settings)
    return model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False).astype(np.float32)


def cluster(
    embeddings: np.ndarray,
    counts: np.ndarray,
    *,
    method: Method = "affinity_propagation",
    preference_percentile: float = 0.5,
    damping: float = 0.9,
    max_iter: int = 1000,
    seed: int = 42,
    n_clusters: int = 180,
) -> np.ndarray:
    """Label of each row of `embeddings` (n x d, unit length); labels are 0, 1, ... without gaps.

    Affinity propagation (Frey & Dueck 2007) runs on minus the squared Euclidean distance, with the
    `preference_percentile`-th percentile (0 to 100, as in numpy) of all similarities as preference. The
    paper copies rows by frequency; here an attribute of count c weighs as much as its
    1 + floor(ln(1 + c)) copies would. Its row of the similarities is multiplied by that number over the
    mean of these numbers, so that the preference keeps its meaning. `n_clusters` is used by the other
    two methods only.

    Raises `SentiDistillError` if affinity propagation does not converge, even with stronger damping.
    """
    n = len(embeddings)
    if n != len(counts):
        raise ValueError(f"{n} embeddings, but {len(counts)} counts")
    if n <= 2:
        return np.arange(n)
    from sklearn.cluster import AffinityPropagation, AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    weights = 1 + np.floor(np.log1p(np.asarray(counts)))
    if method == "agglomerative":
        model = AgglomerativeClustering(min(n_clusters, n), metric="cosine", linkage="average")
        return _without_gaps(model.fit_predict(embeddings))
    if method == "kmeans":
        model = KMeans(min(n_clusters, n), n_init=10, random_state=seed)
        return _without_gaps(model.fit_predict(embeddings, sample_weight=weights))
    similarity = -np.clip(2 - 2 * embeddings.astype(np.float64) @ embeddings.T.astype(np.float64), 0, None)
    preference = np.percentile(similarity, preference_percentile)
    weighted = similarity * (weights / weights.mean())[:, None]
    for attempt in (1, 2, 4):
        model = AffinityPropagation(
            damping=1 - (1 - damping) / attempt,
            max_iter=attempt * max_iter,
            affinity="precomputed",
            preference=preference,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "All samples have mutually equal", UserWarning)
            labels = model.fit_predict(weighted)
        if model.n_iter_ < attempt * max_iter and labels.min() >= 0:
            return _without_gaps(labels)
    raise SentiDistillError(
        f"cluster_attributes: affinity propagation did not converge within {4 * max_iter} iterations; "
        "raise cluster_attributes.max_iter, or choose the method agglomerative"
    )


def _without_gaps(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


def project(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Two coordinates per row for a map that keeps neighbours together: t-SNE by cosine distance (n x 2)."""
    from sklearn.manifold import TSNE

    if len(embeddings) < 4:
        return np.stack([np.arange(len(embeddings)), np.zeros(len(embeddings))], axis=1)
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, metric="cosine", init="pca", random_state=seed)
    return model.fit_transform(embeddings)


def agreement(labels: Sequence[np.ndarray], reference: np.ndarray) -> float:
    """Mean adjusted Rand index between `reference` and each of `labels`: 1 for the same clusters, about 0 by chance.

    A label of -1 means that the row was not clustered; the row is left out of that comparison.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(np.mean([adjusted_rand_score(reference[one >= 0], one[one >= 0]) for one in labels]))
