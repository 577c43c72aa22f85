"""Which labels selection keeps: how many of them are wrong by people's ratings: python -m benchmarks.selection_errors

Answers to prompts on overall sentiment (all labels among negative, neutral and positive) whose text has a rating in the
VADER data; right is the label of the rating, by the limits of `prepare_benchmark`. Each strategy selects from the
strata of these answers over SEEDS seeds; how hard the kept ones are is their mean quantile of difficulty within the
stratum. Besides the strategies: `published`, soft on ranks within instructions, as released; `unsure`, soft on what is
known before the teacher is asked. Intervals are 95 %, by a bootstrap over the answers. Run after `score_difficulty`;
nothing is asked.
"""

from typing import get_args

import numpy as np
import pandas as pd

from sentidistill import config
from sentidistill.config import Params
from sentidistill.config.corpus import VaderTexts
from sentidistill.evaluation.default_tasks import SENTIMENTS, label
from sentidistill.pipeline import stage
from sentidistill.samples import SAMPLES
from sentidistill.selection import Strategy, select
from sentidistill.sources import corpus

RATES = (0.1, 0.25, 0.5)
SEEDS = 100
DRAWS = 2000


def ratings(params: Params) -> dict[str, float]:
    """Mean human rating of each text of the corpus that has one, by the text's id."""
    section = params.prepare_corpus
    files = [source.vader for source in section.sources if isinstance(source, VaderTexts)]
    downloads = stage.cache_root() / "downloads"
    rows = [row for file in files for row in corpus.rated_sentences(params.vader, downloads, file)]
    kept, _ = corpus.distinct([(row.text, row.rating) for row in rows], section.min_chars, section.max_chars)
    return {corpus.text_id(text): rating for text, rating in kept}


def wrong_labels(params: Params) -> dict[str, bool]:
    """Whether the teacher's label is wrong, by the id of the sample; of samples that ratings can tell."""
    rated, limits = ratings(params), params.prepare_benchmark
    found = {}
    for row in SAMPLES.read():
        if row.text_id in rated and row.labels and set(row.labels) <= set(SENTIMENTS):
            right = label(rated[row.text_id], limits.negative_below, limits.positive_above)
            if right in row.labels:
                found[row.id] = row.answer != right
    return found


def shares(times: np.ndarray, wrong: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Share of wrong answers, in percent, of each draw in `times` (draws x n); `kept` is how often each is kept (n)."""
    return 100 * (times @ (wrong * kept)) / (times @ kept)


def shown(draws: np.ndarray, form: str = ".1f") -> str:
    """The first of `draws`, of the rows as they are, with the interval of the others."""
    low, high = np.percentile(draws[1:], [2.5, 97.5])
    return f"{draws[0]:{form}} ({low:{form}} to {high:{form}})"


def resampled(n: int) -> np.ndarray:
    """How often each of n rows is in each draw, (1 + DRAWS) x n; the first draw has each once."""
    return np.vstack([np.ones(n), np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), DRAWS)])


def main() -> None:
    params = config.load()
    wrong_of = wrong_labels(params)
    scores = pd.read_csv("data/difficulty.csv", dtype={"id": str, "stratum": str})
    scores = scores[scores["stratum"].isin(set(scores.loc[scores["id"].isin(wrong_of), "stratum"]))]
    checked = scores[scores["id"].isin(wrong_of)].reset_index(drop=True)
    wrong = checked["id"].map(wrong_of).to_numpy(dtype=float)
    times = resampled(len(checked))
    whole = shares(times, wrong, np.ones(len(checked)))
    print(f"{len(checked)} answers; wrong: {shown(whole)} %\n")
    print("| strategy | rate | kept | wrong, % | minus random | how hard, % |\n|---|---|---|---|---|---|")
    measure, peak = params.select_samples.metric, params.select_samples.peak
    metric, lead = checked[measure], checked["lead"]
    strategies = ("random", *(one for one in get_args(Strategy) if one != "random"))
    by_instruction = scores.assign(stratum=scores["stratum"].str.split(" ").str[0])
    ways = {strategy: (scores, {"strategy": strategy, "metric": measure}) for strategy in strategies} | {
        "published": (by_instruction, {"strategy": "soft", "metric": "rank_score"}),
        "unsure": (by_instruction, {"strategy": "soft", "metric": "uncertainty"}),
    }
    hard = metric.groupby(checked["stratum"]).rank(pct=True).to_numpy()
    for rate in RATES:
        at_random = None
        for way, (rows, settings) in ways.items():
            kept = np.zeros(len(checked))
            for seed in range(SEEDS):
                kept += checked["id"].isin(select(rows, rate=rate, peak=peak, seed=seed, **settings)) / SEEDS
            found = shares(times, wrong, kept)
            at_random = found if at_random is None else at_random
            difference = shown(found - at_random, "+.1f") if way != "random" else ""
            of_kept = 100 * (kept @ hard) / kept.sum()
            print(f"| {way} | {rate} | {kept.sum():.0f} | {shown(found)} | {difference} | {of_kept:.0f} |")
    print("\n| wrong, %, by quarter of the stratum | lowest | second | third | highest |\n|---|---|---|---|---|")
    for name, values in {measure: metric, "lead": lead, "product": metric * lead}.items():
        quarter = np.ceil(4 * values.groupby(checked["stratum"]).rank(pct=True, method="first"))
        cells = [shown(shares(times, wrong, (quarter == one).to_numpy(dtype=float))) for one in (1, 2, 3, 4)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
