"""Do signs that need no teacher tell which answers will be hard? python -m benchmarks.ask_less

On the pool of a finished run. Signs are known before the teacher is asked: how unsure the base student is of the labels
(its margin, its entropy, and its entropy once the mean of its scores over the texts of the instruction is subtracted),
how many words the text has, and how rare they are in the corpus. Each is compared with the difficulty that was measured
afterwards: over the family, and in the strata that selection ranks in. Intervals are 95 %, by a bootstrap over the
answers. The base student's scores are those that `score_difficulty` has stored.

In rounds: `--student FOLDER` is unsure in the base student's place, a student that was trained on a first part of the
answers. `--learned FILE` is its training set, whose answers are left out: they were asked for already. Both are there
where `make experiment NAME=economy` has trained it: `dvc get . models/student --rev economy-random-1 -o exports/first`,
and likewise `data/train.jsonl`.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.selection_errors import resampled, shares, shown, wrong_labels
from sentidistill import config, records
from sentidistill.inference.calibration import calibrate, normalised
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES, TRAIN_ROWS, Sample
from sentidistill.sources.corpus import TEXTS, fold, word_count
from sentidistill.student.scoring import ScoringModel
from sentidistill.uncertainty import entropy

LEAST = 4  # answers of a stratum; in smaller ones there is no hardest quarter
OF_LABELS = ("margin", "entropy", "calibrated entropy")
OF_TEXTS = ("words", "rare words")


def unsure(scores: np.ndarray) -> pd.DataFrame:
    """The signs that rest on the student's log-probabilities (n x labels) of the texts of one instruction."""
    ordered = np.sort(np.exp(normalised(scores)), axis=1)
    entropies = [entropy(one) for one in (scores, calibrate(scores, scores))]
    return pd.DataFrame(dict(zip(OF_LABELS, (ordered[:, -2] - ordered[:, -1], *entropies))))


def rarity(samples: Sequence[Sample]) -> list[float]:
    """Mean over the words of a text of -log(share of the corpus's texts that have the word)."""
    texts = [set(fold(row.text).split()) for row in TEXTS.read()]
    having = Counter(word for words in texts for word in words)
    of_words = [[-math.log(max(having[word], 1) / len(texts)) for word in fold(row.text).split()] for row in samples]
    return [sum(one) / max(len(one), 1) for one in of_words]


def table(samples: list[Sample], label_scores: list[list[float]]) -> pd.DataFrame:
    """Signs of `samples`, one row each; signs that rest on labels are missing for open answers."""
    found = pd.DataFrame({"id": [row.id for row in samples], "instruction": [row.stratum for row in samples]})
    found["words"] = [word_count(row.text) for row in samples]
    found["rare words"] = rarity(samples)
    closed = pd.Series([bool(row.labels) for row in samples])
    parts = [
        unsure(np.array([label_scores[place] for place in group.index])).set_index(group.index)
        for _, group in found[closed].groupby("instruction")
    ]
    return found.join(pd.concat(parts))


def ranks(values: pd.Series, groups: pd.Series) -> np.ndarray:
    """Quantiles (above 0 to 1) within the groups; equal values are ordered at random."""
    mixed = values.sample(frac=1, random_state=0)
    return mixed.groupby(groups).rank(pct=True, method="first").reindex(values.index).to_numpy()


def likeness(sign: np.ndarray, hard: np.ndarray, times: np.ndarray) -> list[np.ndarray]:
    """Of each draw, the correlation of two quantiles (n), and the share of one's top quarter in the other's, in %."""
    n = times.sum(axis=1)
    first, second, both = times @ sign / n, times @ hard / n, times @ (sign * hard) / n
    spread = (times @ sign**2 / n - first**2) * (times @ hard**2 / n - second**2)
    preferred = (sign > 0.75).astype(float)
    return [(both - first * second) / np.sqrt(spread), shares(times, hard > 0.75, preferred)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--student", type=Path, default=Path("models/student_base"), help="who is unsure (%(default)s)")
    parser.add_argument("--learned", type=Path, help="the training set of this student")
    chosen = parser.parse_args()
    params = config.load()
    model = ScoringModel(chosen.student, params, stage.cache_root())
    learned = {row.id for row in records.read_jsonl(chosen.learned, TRAIN_ROWS.row)} if chosen.learned else set()
    samples = SAMPLES.read()
    fitted = model.fit(samples)
    samples = [row for row in samples if row.id in fitted and row.id not in learned]
    scored = model.score(samples, fitted, "ask_less")
    scores = pd.read_csv("data/difficulty.csv", dtype={"id": str, "stratum": str})
    rows = table(samples, [one.label_scores for one in scored]).merge(scores, on="id")
    print("| family | sign | answers | correlation | overlap, % | in strata | correlation | overlap, % |")
    print("|---|---|---|---|---|---|---|---|")
    for family, whole in rows.groupby("family"):
        large = whole[whole.groupby("stratum")["id"].transform("size") >= LEAST]
        for sign in (*(OF_LABELS if whole["margin"].notna().any() else ()), *OF_TEXTS):
            cells = []
            for part, groups, within in ((whole, "family", "family"), (large, "instruction", "stratum")):
                alike = [ranks(part[sign], part[groups]), ranks(part["difficulty"], part[within])]
                found = [shown(one, form) for one, form in zip(likeness(*alike, resampled(len(part))), (".2f", ".0f"))]
                cells += [str(len(part)), *found] if len(part) >= 30 else [str(len(part)), "", ""]
            print(f"| {family} | {sign} | {' | '.join(cells)} |")
    wrong_of = wrong_labels(params)
    checked = rows[rows["id"].isin(wrong_of)]
    wrong, times = checked["id"].map(wrong_of).to_numpy(dtype=float), resampled(len(checked))
    of_all = shares(times, wrong, np.ones(len(checked)))
    print(f"\nOf {len(checked)} checked labels {shown(of_all)} % are wrong; of the quarter that a sign prefers:")
    for sign in (*OF_LABELS, *OF_TEXTS):
        preferred = ranks(checked[sign], checked["instruction"]) > 0.75
        print(f"  {sign}: {shown(shares(times, wrong, preferred.astype(float)))} %")


if __name__ == "__main__":
    main()
