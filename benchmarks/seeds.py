"""What do several trainings with other seeds come to?

    python -m benchmarks.seeds PREDICTIONS [PREDICTIONS ...]     default: metrics/predictions.csv

Each file is metrics/predictions.csv of a run, and the runs differ in `train_student.seed` alone. The student's macro-F1
in percent, the mean over the label tasks: of each run, their mean and standard deviation. Of that mean: the gain over
the base and the share of the teacher's score, each with a 95 % interval over resampled test records, paired. The
interval leaves out how far trainings lie apart; the deviation says that. No time is measured.
"""

import sys

import numpy as np
import pandas as pd

from sentidistill.commands.compare import COLUMNS, PREDICTIONS, SAMPLES
from sentidistill.evaluation.metrics import Estimate, draws_of, macro_f1, mean


def of_model(rows: pd.DataFrame, column: str) -> Estimate:
    """The mean over the tasks of `rows`, which are one model's."""
    return mean(
        [
            macro_f1(sorted(set(of["gold"])), list(of["gold"]), list(of[column]), draws_of(str(task), len(of), SAMPLES))
            for task, of in rows.groupby("task")
        ]
    )


def interval(found: Estimate) -> str:
    low, high = np.percentile(found.resampled, [2.5, 97.5])
    return f"{found.value:.1f} ({low:.1f} to {high:.1f})"


def main(*paths: str) -> None:
    runs = [pd.read_csv(path, keep_default_na=False) for path in paths or (PREDICTIONS,)]
    for column, name in COLUMNS.items():
        scores = [{model: of_model(of, column) for model, of in run.groupby("model")} for run in runs]
        students = mean([of["student"] for of in scores])
        values = [of["student"].value for of in scores]
        spread = f", deviation {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        print(f"{name}: {', '.join(f'{value:.1f}' for value in values)}; mean {students.value:.1f}{spread}")
        print(f"  gain over the base {interval(students - scores[0]['student_base'])}")
        ratio = students / scores[0]["teacher"]
        print(f"  of the teacher's, % {interval(Estimate(100 * ratio.value, 100 * ratio.resampled))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
