"""scores -> data/train.jsonl: the samples that the student is trained on; and figures of what was kept.

A row: {"id": "c3d1...", "stratum": "77c0...", "family": "scoring", "instruction": "Rate ...", "cue": "Urgency",
"text": "...", "demonstrations": [], "answer": "3"}
plots/difficulty.csv: samples and kept ones by difficulty. plots/kept.csv: by decile of difficulty within the
strata, by family and by cluster.
"""

import numpy as np
import pandas as pd

from sentidistill import config, records
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES, TRAIN_ROWS
from sentidistill.selection import select, select_within

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


def main() -> None:
    section = config.load().select_samples
    scores = pd.read_csv("data/difficulty.csv", dtype={"id": str, "stratum": str})
    settings = {**section.model_dump(exclude={"rate", "budget", "max_share"}), "caps": section.max_share}
    if section.budget:
        ids = set(select_within(scores, budget=section.budget, **settings))
    else:
        ids = set(select(scores, rate=section.rate, **settings))
    if not ids:
        raise SentiDistillError(
            "select_samples: nothing is kept; raise select_samples.rate or .budget, or compose more prompts"
        )
    rows = [sample.train_row() for sample in SAMPLES.read() if sample.id in ids]
    kept = scores["id"].isin(ids)
    groups = kept_by_group(scores, section.metric, kept)
    TRAIN_ROWS.write(rows)
    records.write_text("plots/difficulty.csv", histogram(scores[section.metric], kept).to_csv(index=False))
    records.write_text("plots/kept.csv", groups.to_csv(index=False))
    families = groups[groups["group"] == "family"]
    stage.finish(
        "select_samples",
        {
            "samples": len(scores),
            "kept": len(rows),
            "kept_tokens": int(scores.loc[kept, "tokens"].sum()),
            "strata": int(scores["stratum"].nunique()),
            f"pool_mean_{section.metric}": round(float(scores[section.metric].mean()), 4),
            f"kept_mean_{section.metric}": round(float(scores.loc[kept, section.metric].mean()), 4),
            **{f"kept_share_{one.name}": round(one.kept / one.samples, 4) for one in families.itertuples(index=False)},
        },
    )


if __name__ == "__main__":
    stage.run(main)
