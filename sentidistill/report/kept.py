"""Tables of the samples that selection kept."""

import numpy as np
import pandas as pd

BINS = 20
DECILES = 10


def histogram(values: pd.Series, kept: pd.Series) -> pd.DataFrame:
    """Samples and kept samples by difficulty, in `BINS` bins of equal width."""
    edges = np.linspace(0, max(float(values.max()), 1e-9), BINS + 1)
    samples, _ = np.histogram(values, edges)
    chosen, _ = np.histogram(values[kept], edges)
    return pd.DataFrame({"difficulty": edges[:-1].round(4), "samples": samples, "kept": chosen})


def kept_by_group(scores: pd.DataFrame, metric: str, kept: pd.Series) -> pd.DataFrame:
    """Samples and kept samples by decile of difficulty within the strata (1 the easiest), family and cluster.

    Equal difficulties share a decile, that of their mean place.
    """
    place = scores.groupby("stratum")[metric].rank(method="average") - 0.5
    size = scores.groupby("stratum")[metric].transform("size")
    groups = {
        "decile": (place / size * DECILES).astype(int) + 1,
        "family": scores["family"],
        "cluster": scores["cluster"],
    }
    tables = [
        kept.groupby(values).agg(samples="size", kept="sum").rename_axis("name").reset_index().assign(group=name)
        for name, values in groups.items()
    ]
    return pd.concat(tables)[["group", "name", "samples", "kept"]]
