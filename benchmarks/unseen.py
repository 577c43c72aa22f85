"""Does a student answer questions of a perspective that it was never trained on?

    python -m benchmarks.unseen [PERSPECTIVE [EXPERIMENT]]     default: excitement breadth

On the pool's closed tasks of the perspective: how often the student of each arm of the experiment gives the label that
the teacher gives, as macro-F1 in percent, the mean over the tasks, plain and with the label bias subtracted. Beside
them the base student. Mean and range over the seeds that have run here. An arm that was trained on some of these very
answers is marked. Run it in the clone in which `make experiment NAME=breadth` has trained the students. No time is
measured.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import dvc.api
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from sentidistill import config, records
from sentidistill.commands import experiment
from sentidistill.commands.trials import output, still_here
from sentidistill.construct.perspectives import PERSPECTIVES, ids_of
from sentidistill.inference.calibration import calibrate
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES, TRAIN_ROWS, Sample
from sentidistill.student.scoring import ScoringModel


def agreement(samples: list[Sample], label_scores: list[list[float]]) -> dict[str, float]:
    """Macro-F1 of the likeliest labels against the teacher's, in percent, the mean over instructions."""
    places_of = pd.Series(range(len(samples))).groupby([one.stratum for one in samples])
    tasks = [_of_task([samples[n] for n in of], np.array([label_scores[n] for n in of])) for _, of in places_of]
    return pd.DataFrame(tasks).mean().to_dict()


def _of_task(samples: list[Sample], scores: np.ndarray) -> dict[str, float]:
    gold = [one.answer for one in samples]
    found = {}
    for name, values in (("plain", scores), ("calibrated", calibrate(scores, scores))):
        said = [samples[0].labels[place] for place in values.argmax(axis=1)]
        found[name] = 100 * f1_score(gold, said, labels=sorted(set(gold)), average="macro", zero_division=0)
    return found


def main(perspective: str = "excitement", name: str = "breadth") -> None:
    params, asked = config.load(), experiment.read(name)
    (chosen,) = ids_of([perspective], PERSPECTIVES.read())
    samples = [one for one in SAMPLES.read() if one.cluster == chosen and one.labels]
    print(f"{perspective}: {len(samples)} closed answers, {len({one.stratum for one in samples})} tasks")

    def measured(student: Path) -> dict[str, float]:
        model = ScoringModel(student, params, stage.cache_root())
        fitted = model.fit(samples)
        fitting = [one for one in samples if one.id in fitted]
        return agreement(fitting, [one.label_scores for one in model.score(fitting, fitted, "unseen")])

    students = still_here(experiment.trials_of(name, asked, dict.fromkeys(asked.arms, asked.max_seeds)))
    rows = [{"arm": "student_base", **measured(Path("models/student_base"))}]
    for one, commit in students.items():
        lines = records.lines_of(dvc.api.read("data/train.jsonl", rev=commit))
        learned = {row.id for row in records.parse_jsonl(lines, TRAIN_ROWS.row, "data/train.jsonl")}
        seen = " (seen)" if learned & {sample.id for sample in samples} else ""
        with TemporaryDirectory() as place:
            output(sys.executable, "-m", "dvc", "get", ".", "models/student", "--rev", commit, "-o", f"{place}/student")
            rows.append({"arm": f"{one.arm}{seen}", **measured(Path(place, "student"))})
    for arm, found in pd.DataFrame(rows).groupby("arm", sort=False):
        cells = [
            f"{column} {of.mean():.1f} ({of.min():.1f} to {of.max():.1f})"
            for column, of in found.drop(columns="arm").items()
        ]
        print(f"{arm}, {len(found)} seeds: {', '.join(cells)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
