"""Do the intervals of sentidistill.shares hold, and how much narrower are they than those of the read texts alone?

python -m benchmarks.shares [READ]

On the test records of the default tasks, whose labels and student's scores are in metrics/predictions.csv: of 200 draws
of 60 read texts, the share whose interval holds the share among all texts, and the mean of the two widths' ratio. No
time is measured.
"""

import sys

import numpy as np
import pandas as pd

from sentidistill.shares import share

DRAWS = 200


def main(read: int = 60) -> None:
    rows = pd.read_csv("metrics/predictions.csv", keep_default_na=False)
    rows = rows[(rows["model"] == "student") & (rows["scores"] != "")]
    labels = sorted(rows["gold"].unique())
    scores = np.array([line.split() for line in rows["scores"]], dtype=float)
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    random = np.random.default_rng(0)
    for name, values in (("plain", scores), ("calibrated", scores - scores.mean(axis=0))):
        likely = np.exp(values - np.logaddexp.reduce(values, axis=1, keepdims=True))
        for place, label in enumerate(labels):
            truth = (rows["gold"] == label).to_numpy(dtype=float)
            hits, ratios = 0, []
            for _ in range(DRAWS):
                order = random.permutation(len(truth))
                few, rest = order[:read], order[read:]
                found = share(truth[few], likely[few, place], likely[rest, place])
                hits += found.interval[0] <= truth.mean() <= found.interval[1]
                ratios.append(found.half_width / found.alone)
            narrower = f"{100 * (1 - np.mean(ratios)):.0f} % narrower"
            print(f"{name:10} {label:10} {100 * hits / DRAWS:.1f} % hold, {narrower} ({len(truth)} texts, {read} read)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
