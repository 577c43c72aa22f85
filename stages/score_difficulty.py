"""pool with answers -> data/difficulty.csv: how hard each answer is for the base student, or for a proxy.

Columns: id, stratum (the instruction and, where labels are closed, the answer), cluster, family, tokens (of prompt and
answer, as in training), truncated (demonstrations are left out), difficulty (where labels are closed, 1 - P(answer)
among the labels; else rank_score), rank_score, rank_score_all, nll, ppl, n_tokens, exact.
Answers that do not fit into student.max_length are left out: they can be neither selected nor trained on.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sentidistill import config, records
from sentidistill.config import Params
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES, Sample
from sentidistill.student import scoring
from sentidistill.student.scoring import Scored, ScoringModel

COLUMNS = ("rank_score", "rank_score_all", "nll", "ppl", "n_tokens", "exact")


def stratum(sample: Sample) -> str:
    """What selection keeps its share of: the instruction and, where labels are closed, the answer.

    The difficulty of a label is to a good part how seldom the student says it whatever the text. Ranked
    across labels, the hard half of a task would be the texts with that label.
    """
    return f"{sample.stratum} {sample.answer}" if sample.labels else sample.stratum


def proxy_agreement(samples: list[Sample], scored: list[Scored], params: Params) -> dict[str, dict[str, float]]:
    """How alike the student ranks a random part of the samples that the proxy has scored, by metric."""
    number = min(params.score_difficulty.proxy_check, len(samples))
    if params.score_difficulty.model != "proxy" or number < 2:
        return {}
    student = ScoringModel(Path("models/student_base"), params, stage.cache_root())
    places = np.random.default_rng(0).choice(len(samples), number, replace=False)
    fitted = student.fit([samples[i] for i in places])
    places = [i for i in places if samples[i].id in fitted]
    own = student.score([samples[i] for i in places], fitted, "score_difficulty, proxy check")
    pairs = [(one, scored[i]) for one, i in zip(own, places)]
    values = {
        "proxy_difficulty": [[one.difficulty for one in pair] for pair in pairs],
        "proxy_rank_score": [[one.scores.rank_score for one in pair] for pair in pairs],
    }
    return {name: scoring.agreement(*zip(*of_pairs)) for name, of_pairs in values.items()}


def main() -> None:
    params = config.load()
    student = params.student
    answered = SAMPLES.read()
    model = ScoringModel(Path("models", params.score_difficulty.model), params, stage.cache_root())
    fitted = model.fit(answered)
    truncated, dropped = sum(one.truncated for one in fitted.values()), len(answered) - len(fitted)
    if not fitted or truncated + dropped > params.score_difficulty.max_truncated_share * len(answered):
        raise SentiDistillError(
            f"score_difficulty: of {len(answered)} answers, {truncated} lose demonstrations and {dropped} do not fit "
            f"into student.max_length = {student.max_length} tokens; raise it, or score_difficulty.max_truncated_share"
        )
    samples = [row for row in answered if row.id in fitted]
    scored = model.score(samples, fitted, "score_difficulty")
    table = pd.DataFrame(
        {
            "id": row.id,
            "stratum": stratum(row),
            "cluster": row.cluster,
            "family": row.family,
            "tokens": len(fitted[row.id].prompt_ids) + len(fitted[row.id].completion_ids),
            "truncated": fitted[row.id].truncated,
            "difficulty": one.difficulty,
            **{name: getattr(one.scores, name) for name in COLUMNS},
        }
        for row, one in zip(samples, scored)
    )
    # Significant digits, not decimals: probabilities near 1 are told apart too.
    records.write_text("data/difficulty.csv", table.to_csv(index=False, float_format="%.6g"))
    of_labels = table.loc[[bool(row.labels) for row in samples], "difficulty"]
    means = ("difficulty", "rank_score", "rank_score_all", "nll")
    stage.finish(
        "score_difficulty",
        {
            "samples": len(table),
            "tokens_scored": int(table["n_tokens"].sum()),
            "truncated": truncated,
            "dropped": dropped,
            "inexact": int((~table["exact"]).sum()),
            **{f"mean_{name}": round(float(table[name].mean()), 4) for name in means},
            "share_fully_predicted": round(float((table["rank_score"] == 0).mean()), 4),
            "labels": len(of_labels),
            "share_of_labels_without_difficulty": round(int((of_labels == 0).sum()) / max(len(of_labels), 1), 4),
            **proxy_agreement(samples, scored, params),
        },
    )


if __name__ == "__main__":
    stage.run(main)
