"""pool with answers -> data/difficulty.csv: how hard each answer is for the base student, or for a proxy.

Columns: id, stratum (the instruction and, for a closed task, the answer), cluster, family, tokens (of prompt and
answer, as in training), truncated (demonstrations are left out), difficulty (for a closed task, 1 - P(answer) among the
labels; for an open answer, rank_score), rank_score, rank_score_all, nll, ppl, n_tokens, exact, lead (of the teacher's
label, from data/responses.jsonl; empty for open answers), uncertainty (of the student before the answer is known).
Answers that do not fit into student.max_length are left out, as they can be neither selected nor trained on.
"""

from pathlib import Path

import pandas as pd

from sentidistill import config, records
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES, Sample
from sentidistill.student.scoring import ScoringModel, proxy_agreement
from sentidistill.uncertainty import uncertainty

COLUMNS = ("rank_score", "rank_score_all", "nll", "ppl", "n_tokens", "exact")


def stratum(sample: Sample) -> str:
    """The group within which selection ranks samples: the instruction and, for a closed task, the answer.

    The difficulty of a label depends to a good part on how seldom the student says the label whatever the text. If
    samples were ranked across labels, the hard half of a task would be the texts with a seldom label.
    """
    return f"{sample.stratum} {sample.answer}" if sample.labels else sample.stratum


def main() -> None:
    params = config.load()
    answered, name = SAMPLES.read(), params.score_difficulty.model
    model = ScoringModel(Path("models", name), params, stage.cache_root())
    fitted = model.fit(answered)
    truncated, dropped = sum(one.truncated for one in fitted.values()), len(answered) - len(fitted)
    if not fitted or truncated + dropped > params.score_difficulty.max_truncated_share * len(answered):
        raise SentiDistillError(
            f"score_difficulty: of {len(answered)} answers {truncated} lose demonstrations, {dropped} do not fit into "
            f"student.max_length = {params.student.max_length}; raise it, or score_difficulty.max_truncated_share"
        )
    samples = [row for row in answered if row.id in fitted]
    scored = model.score(samples, fitted, "score_difficulty")
    table = pd.DataFrame(
        {
            "id": row.id,
            "stratum": stratum(row),
            **row.model_dump(include={"cluster", "family"}),
            "tokens": len(fitted[row.id].prompt_ids) + len(fitted[row.id].completion_ids),
            "truncated": fitted[row.id].truncated,
            "difficulty": one.difficulty,
            **{column: getattr(one.scores, column) for column in COLUMNS},
            "lead": row.lead,
        }
        for row, one in zip(samples, scored)
    ).assign(uncertainty=uncertainty(samples, [one.label_scores for one in scored]))
    # Significant digits, not decimals, so that values near 0 are told apart too.
    records.write_text("data/difficulty.csv", table.to_csv(index=False, float_format="%.6g"))
    of_labels = table.loc[[bool(row.labels) for row in samples], "difficulty"]
    stage.finish(
        "score_difficulty",
        {
            "samples": len(table),
            "tokens_scored": int(table["n_tokens"].sum()),
            "truncated": truncated,
            "dropped": dropped,
            "inexact": int((~table["exact"]).sum()),
            **{f"mean_{column}": round(float(table[column].mean()), 4) for column in ("difficulty", *COLUMNS[:3])},
            "share_fully_predicted": round(float((table["rank_score"] == 0).mean()), 4),
            "labels": len(of_labels),
            "share_of_labels_without_difficulty": round(int((of_labels == 0).sum()) / max(len(of_labels), 1), 4),
            **(proxy_agreement(params, stage.cache_root(), samples, scored) if name == "proxy" else {}),
        },
    )


if __name__ == "__main__":
    stage.run(main)
