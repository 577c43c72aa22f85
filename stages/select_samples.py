"""scores -> data/train.jsonl: the samples that the student is trained on; and plots/difficulty.csv.

A row: {"id": "c3d1...", "stratum": "77c0...", "family": "scoring", "instruction": "Rate ...", "cue": "Urgency",
"text": "...", "demonstrations": [], "answer": "3"}
"""

import numpy as np
import pandas as pd

from sentidistill import config, records, stage
from sentidistill.errors import SentiDistillError
from sentidistill.samples import Answered, PoolPrompt, TrainRow
from sentidistill.selection import select

BINS = 20


def histogram(values: pd.Series, kept: pd.Series) -> pd.DataFrame:
    """Samples and kept samples by difficulty, in `BINS` bins of equal width."""
    edges = np.linspace(0, max(float(values.max()), 1e-9), BINS + 1)
    samples, _ = np.histogram(values, edges)
    chosen, _ = np.histogram(values[kept], edges)
    return pd.DataFrame({"difficulty": edges[:-1].round(4), "samples": samples, "kept": chosen})


def main() -> None:
    section = config.load().select_samples
    scores = pd.read_csv("data/difficulty.csv", dtype={"id": str, "stratum": str})
    ids = set(
        select(
            scores,
            rate=section.rate,
            metric=section.metric,
            strategy=section.strategy,
            peak=section.peak,
            stratify=section.stratify,
            seed=section.seed,
        )
    )
    if not ids:
        raise SentiDistillError("select_samples: nothing is kept; raise select_samples.rate or compose more prompts")
    answers = {row.id: row.answer for row in records.read_jsonl("data/responses.jsonl", Answered)}
    rows = [
        TrainRow(
            id=row.id,
            stratum=row.stratum,
            family=row.family,
            instruction=row.instruction,
            cue=row.cue,
            text=row.text,
            demonstrations=row.student_demonstrations,
            answer=answers[row.id],
        )
        for row in records.read_jsonl("data/prompts.jsonl", PoolPrompt)
        if row.id in ids
    ]
    kept = scores["id"].isin(ids)
    records.write_jsonl("data/train.jsonl", rows)
    records.write_text("plots/difficulty.csv", histogram(scores[section.metric], kept).to_csv(index=False))
    shares = kept.groupby(scores["family"]).mean().round(4)
    stage.finish(
        "select_samples",
        {
            "samples": len(scores),
            "kept": len(rows),
            "strata": int(scores["stratum"].nunique()),
            f"pool_mean_{section.metric}": round(float(scores[section.metric].mean()), 4),
            f"kept_mean_{section.metric}": round(float(scores.loc[kept, section.metric].mean()), 4),
            **{f"kept_share_{family}": float(share) for family, share in shares.items()},
        },
    )


if __name__ == "__main__":
    stage.run(main)
