"""scores -> data/train.jsonl: the samples that the student is trained on; and figures of what was kept.

An answer that a reader judged to be wrong is left out, or kept with the right answer (reviews.jsonl).

A row: {"id": "c3d1...", "stratum": "77c0...", "family": "scoring", "instruction": "Rate ...", "cue": "Urgency",
"text": "...", "demonstrations": [], "answer": "3"}
data/soft_labels.jsonl: a row for each of them that is of a closed task, {"id": "c3d1...", "probabilities": {"1": 0.05,
...}}
plots/difficulty.csv: samples and kept samples by difficulty. plots/kept.csv: the same by decile of difficulty within
the strata, by family and by cluster.
"""

import pandas as pd

from sentidistill import config, records
from sentidistill.construct import reviews
from sentidistill.construct.perspectives import PERSPECTIVES, ids_of
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.report.kept import histogram, kept_by_group
from sentidistill.samples import SAMPLES, SOFT_LABELS, TRAIN_ROWS, SoftLabels
from sentidistill.selection import select, select_within


def main() -> None:
    section = config.load().select_samples
    scores = pd.read_csv("data/difficulty.csv", dtype={"id": str, "stratum": str})
    perspectives = PERSPECTIVES.read()
    if section.perspectives:
        scores = scores[scores["cluster"].isin(ids_of(section.perspectives, perspectives))]
    scores = scores[~scores["cluster"].isin(ids_of(section.without_perspectives, perspectives))]
    if section.stratify == "instruction":
        scores["stratum"] = scores["stratum"].str.split(" ").str[0]  # without the answer
    settings = section.model_dump(include={"metric", "strategy", "peak", "seed"})
    settings |= {"stratify": bool(section.stratify), "caps": section.max_share}
    pool, wrong = SAMPLES.read(), reviews.wrong()
    keys = {one.id: reviews.answer_id(one.instruction, one.text, one.answer) for one in pool}
    judged = {sample: wrong[key] for sample, key in keys.items() if key in wrong}
    corrected = {
        one.id: reviews.right_answer(right, one.family, one.labels, one.instruction, one.text)
        for one in pool
        if (right := judged.get(one.id))
    }
    usable = scores[~scores["id"].isin(judged)]
    if section.budget:
        ids = set(select_within(usable, budget=section.budget, **settings))
    else:
        ids = set(select(usable, rate=section.rate, **settings))
    ids |= corrected.keys() & set(scores["id"])
    if not ids:
        raise SentiDistillError(
            "select_samples: nothing is kept; raise select_samples.rate or .budget, or compose more prompts"
        )
    samples = [one.answered(corrected[one.id]) if one.id in corrected else one for one in pool if one.id in ids]
    kept = scores["id"].isin(ids)
    groups = kept_by_group(scores, section.metric, kept)
    TRAIN_ROWS.write(sample.train_row() for sample in samples)
    SOFT_LABELS.write(
        SoftLabels(id=one.id, probabilities=dict(zip(one.labels, one.probabilities))) for one in samples if one.labels
    )
    records.write_text("plots/difficulty.csv", histogram(scores[section.metric], kept).to_csv(index=False))
    records.write_text("plots/kept.csv", groups.to_csv(index=False))
    families = groups[groups["group"] == "family"]
    stage.finish(
        "select_samples",
        {
            "samples": len(scores),
            "kept": len(samples),
            "kept_tokens": int(scores.loc[kept, "tokens"].sum()),
            "strata": int(scores["stratum"].nunique()),
            f"pool_mean_{section.metric}": round(float(scores[section.metric].mean()), 4),
            f"kept_mean_{section.metric}": round(float(scores.loc[kept, section.metric].mean()), 4),
            **({"judged_wrong": len(judged), "corrected": len(corrected)} if judged else {}),
            **{f"kept_share_{one.name}": round(one.kept / one.samples, 4) for one in families.itertuples(index=False)},
        },
    )


if __name__ == "__main__":
    stage.run(main)
