"""Which samples to keep: difficulty-prioritised sampling of an exact size, stratum by stratum.

The keep-probability curve is that of CompEffDist (Xie et al., 2025): at difficulty quantile x it is
(x/a)^b up to the peak a and ((1-x)/(1-a))^b after it. Its integral is 1/(b+1) for every a, so a rate
needs b = 1/rate - 1.
"""

from typing import Literal

import numpy as np
import pandas as pd

Strategy = Literal["soft", "hard", "random"]


def select(
    samples: pd.DataFrame,
    *,
    rate: float,
    metric: str = "rank_score",
    strategy: Strategy = "soft",
    peak: float = 1.0,
    stratify: bool = True,
    seed: int,
) -> list[str]:
    """Ids of the kept rows of `samples` (columns `id`, `stratum` and `metric`), sorted.

    Of a stratum of n rows, n * rate are kept in expectation; where that is not a whole number, it is
    rounded up or down at random, so that small strata get their share over the seeds. The whole number
    of rows is rounded likewise. The result does not depend on the order of the rows.

    Raises `ValueError` for a rate outside (0, 1], a peak outside [0, 1], an unknown strategy, a missing
    column, a repeated id or a metric that is not a number.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; it must be above 0 and at most 1")
    if not 0 <= peak <= 1:
        raise ValueError(f"peak is {peak}; it must be between 0 and 1")
    if missing := {"id", "stratum", metric} - set(samples.columns):
        raise ValueError(f"samples have no column {sorted(missing)}")
    if not samples["id"].is_unique:
        raise ValueError("ids are repeated")
    if samples[metric].isna().any():
        raise ValueError(f"{metric} is missing for some samples")
    random = np.random.default_rng(seed)
    ordered = samples.sort_values([metric, "id"], kind="stable")
    ids = ordered["id"].to_numpy()
    strata = ordered["stratum"].astype(str).to_numpy() if stratify else np.zeros(len(ordered), dtype=int)
    _, code = np.unique(strata, return_inverse=True)
    by_stratum = np.argsort(code, kind="stable")
    groups = np.split(by_stratum, np.cumsum(np.bincount(code))[:-1]) if len(ids) else []
    places, probabilities = [], []
    for number in random.permutation(len(groups)):
        group = groups[number]
        shuffled = random.permutation(len(group))
        places.append(group[shuffled])
        probabilities.append(inclusion(len(group), rate, strategy, peak)[shuffled])
    if not places:
        return []
    kept = np.concatenate(places)[_systematic(np.concatenate(probabilities), random)]
    return sorted(ids[kept].tolist())


def inclusion(n: int, rate: float, strategy: Strategy, peak: float) -> np.ndarray:
    """Probability to be kept of each of n rows in ascending order of difficulty; they sum to n * rate."""
    target = n * rate
    if strategy == "random":
        return np.full(n, rate)
    if strategy == "hard":
        return np.clip(target - np.arange(n)[::-1], 0, 1)
    if strategy != "soft":
        raise ValueError(f"unknown strategy {strategy!r}; use soft, hard or random")
    return _scaled(_curve((np.arange(n) + 0.5) / n, rate, peak), target)


def _curve(x: np.ndarray, rate: float, peak: float) -> np.ndarray:
    b = 1 / rate - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (x / peak) ** b if peak > 0 else np.ones_like(x)
        falling = ((1 - x) / (1 - peak)) ** b if peak < 1 else np.ones_like(x)
    return np.where(x <= peak, rising, falling)


def _scaled(weights: np.ndarray, target: float) -> np.ndarray:
    """`weights` times the factor with which, cut off at 1, they sum to `target`."""
    weights = np.maximum(weights, 1e-300)
    low, high = 0.0, 1.0
    while np.minimum(weights * high, 1).sum() < target - 1e-12 and high < 1e300:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(weights * middle, 1).sum() < target else (low, middle)
    return np.minimum(weights * high, 1)


def _systematic(probabilities: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places kept by systematic sampling: each with its own probability, their number within one of the sum."""
    edges = np.concatenate([[0.0], np.cumsum(probabilities)])
    ticks = np.floor(edges + random.random())
    return np.flatnonzero(np.diff(ticks) > 0)
