"""Are a student's probabilities worth more after one way of training than after another?

    python -m benchmarks.probabilities [EXPERIMENT]     default: targets

For each arm of an experiment whose students this clone has trained: macro-F1 and F1 of each label, Brier score (the
squared distance of the probabilities from the right label, summed over labels) and calibration error, as mean and range
over its seeds. On the texts of the default tasks that the experiment's students were tested on. Probabilities are those
of `Predictor`: label bias and temperature are from validation texts. No time is measured.
"""

import io
import sys

import dvc.api
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from sentidistill.commands import experiment
from sentidistill.commands.trials import still_here
from sentidistill.report import trust
from sentidistill.student import folder


def measured(commit: str) -> dict[str, float]:
    """Of the student in `commit`, in percent; the Brier score is between 0 and 2."""
    about = folder.About.model_validate_json(dvc.api.read(f"models/student/{folder.FILE}", rev=commit))
    known = about.tasks["sentiment"]
    rows = pd.read_csv(io.StringIO(dvc.api.read("metrics/predictions.csv", rev=commit)), keep_default_na=False)
    rows = rows[(rows["model"] == "student") & (rows["scores"] != "")]
    scores = np.array([line.split() for line in rows["scores"]], dtype=float)
    likely = trust.probabilities(scores, known.offsets, known.temperature)
    gold = np.array([known.labels.index(label) for label in rows["gold"]])
    said = likely.argmax(axis=1)
    by_label = 100 * f1_score(gold, said, labels=range(len(known.labels)), average=None)
    error = trust.calibration_error(trust.reliability(likely.max(axis=1), gold == said))
    brier = float(np.square(likely - np.eye(len(known.labels))[gold]).sum(axis=1).mean())
    f1 = {f"F1 of {label}": value for label, value in zip(known.labels, by_label)}
    return {"macro-F1": by_label.mean(), **f1, "Brier": brier, "calibration error": 100 * error}


def main(name: str = "targets") -> None:
    asked = experiment.read(name)
    trials = experiment.trials_of(name, asked, dict.fromkeys(asked.arms, asked.max_seeds))
    rows = pd.DataFrame([{"arm": one.arm, **measured(commit)} for one, commit in still_here(trials).items()])
    for arm, found in rows.groupby("arm"):
        print(f"\n{arm}, {len(found)} seeds")
        for column, of in found.drop(columns="arm").items():
            print(f"  {column:18} {of.mean():.3g} ({of.min():.3g} to {of.max():.3g})")


if __name__ == "__main__":
    main(*sys.argv[1:])
