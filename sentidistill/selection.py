"""Which samples to keep: difficulty-prioritised sampling of a given rate, stratum by stratum.

The keep-probability curve is that of CompEffDist (Xie et al., 2025): at difficulty quantile x it is
(x/a)^b up to the peak a and ((1-x)/(1-a))^b after it. Its integral is 1/(b+1) for every a, so a rate
needs b = 1/rate - 1.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal, get_args

import numpy as np
import pandas as pd

Strategy = Literal["soft", "hard", "easy", "random", "hard_and_sure"]
ROUNDS = 100


def select(
    samples: pd.DataFrame,
    *,
    rate: float,
    metric: str = "rank_score",
    strategy: Strategy = "soft",
    peak: float = 1.0,
    stratify: bool = True,
    caps: Mapping[str, float] | None = None,
    seed: int,
) -> list[str]:
    """Ids of the kept rows of `samples` (columns `id`, `stratum`, `metric` and those of `caps`), sorted.

    A stratum of n rows keeps n * rate rows. If that is not a whole number, it is rounded up or down at random,
    so that its expectation is exact and small strata get their share over the seeds. The number of all kept rows
    is rounded likewise. Equal difficulties are ordered at random. The result depends on the seed, and not on the
    order of the rows.

    "hard_and_sure" is "soft" by the metric times the column `lead`, which says how sure the teacher is of a label. Open
    answers have no lead and are ranked by the metric alone; their strata hold no labels.

    `caps` holds, by column ("cluster", "family"), the largest share of the kept rows that one value of the column
    may have. Its excess goes to other values. If all values are capped, fewer rows are kept.

    Raises `ValueError` for a rate outside (0, 1], a peak outside [0, 1], an unknown strategy, a missing
    column, a repeated id, a metric that is not a number, or caps or "hard_and_sure" without strata.
    """
    draw = _Draw(samples, metric, strategy, peak, stratify, caps, seed)
    return sorted(draw.ids[draw.kept(rate)].tolist())


class _Draw:
    """The random draws of a selection, which are the same at every rate."""

    def __init__(
        self,
        samples: pd.DataFrame,
        metric: str,
        strategy: Strategy,
        peak: float,
        stratify: bool,
        caps: Mapping[str, float] | None,
        seed: int,
    ):
        if not 0 <= peak <= 1:
            raise ValueError(f"peak is {peak}; it must be between 0 and 1")
        caps = {column: share for column, share in (caps or {}).items() if share < 1}
        sure = strategy == "hard_and_sure"
        if missing := {"id", "stratum", metric, *caps, *(["lead"] if sure else [])} - set(samples.columns):
            raise ValueError(f"samples have no column {sorted(missing)}")
        if (caps or sure) and not stratify:
            raise ValueError(f"{'caps need' if caps else 'hard_and_sure needs'} strata; set stratify")
        if not samples["id"].is_unique:
            raise ValueError("ids are repeated")
        if samples[metric].isna().any():
            raise ValueError(f"{metric} is missing for some samples")
        random = np.random.default_rng(seed)
        self.ordered = samples.sort_values("id")
        hardness = self.ordered[metric] * (self.ordered["lead"].fillna(1) if sure else 1)
        self.ordered = self.ordered.iloc[np.lexsort((random.permutation(len(samples)), hardness))]
        self.ids = self.ordered["id"].to_numpy()
        strata = self.ordered["stratum"].astype(str).to_numpy() if stratify else np.zeros(len(self.ids), dtype=int)
        _, first, code = np.unique(strata, return_index=True, return_inverse=True)
        self._sizes = np.bincount(code)
        self._caps = [(self.ordered[column].to_numpy()[first], share) for column, share in caps.items()]
        self._strategy, self._peak = strategy, peak
        by_stratum = np.argsort(code, kind="stable")
        groups = np.split(by_stratum, np.cumsum(self._sizes)[:-1]) if len(self.ids) else []
        self._drawn = random.permutation(len(groups))
        self._shuffled = [random.permutation(len(groups[number])) for number in self._drawn]
        places = [groups[number][shuffled] for number, shuffled in zip(self._drawn, self._shuffled)]
        self._places = np.concatenate(places) if places else np.array([], dtype=int)
        self._offset = random.random()

    def kept(self, rate: float) -> np.ndarray:
        """Places in `ordered` that are kept at `rate`."""
        if not 0 < rate <= 1:
            raise ValueError(f"rate is {rate}; it must be above 0 and at most 1")
        if not len(self._places):
            return self._places
        rates = capped(self._sizes, rate, self._caps) if self._caps else np.full(len(self._sizes), rate)
        of_size = cache(lambda n, rate: inclusion(n, rate, self._strategy, self._peak))
        drawn = zip(self._drawn, self._shuffled)
        probabilities = [of_size(len(shuffled), rates[number])[shuffled] for number, shuffled in drawn]
        return self._places[_systematic(np.concatenate(probabilities), self._offset)]


def select_within(
    samples: pd.DataFrame,
    *,
    budget: Mapping[str, int],
    metric: str = "rank_score",
    strategy: Strategy = "soft",
    peak: float = 1.0,
    stratify: bool = True,
    caps: Mapping[str, float] | None = None,
    seed: int,
) -> list[str]:
    """`select` with the largest rate whose sample fits into `budget`: {"samples": n} or {"tokens": n}.

    Tokens are those of the column `tokens`; all else is as for `select`.
    """
    ((unit, limit),) = budget.items()
    if unit == "samples":
        draw = _Draw(samples, metric, strategy, peak, stratify, caps, seed)
        return sorted(draw.ids[draw.kept(min(1.0, limit / max(len(samples), 1)))].tolist())
    if samples["tokens"].sum() <= limit:
        return sorted(samples["id"])
    draw = _Draw(samples, metric, strategy, peak, stratify, caps, seed)
    tokens = draw.ordered["tokens"].to_numpy()
    low, high, best = 0.0, 1.0, np.array([], dtype=int)
    for _ in range(24):
        middle = (low + high) / 2
        kept = draw.kept(middle)
        if tokens[kept].sum() <= limit:
            low, best = middle, kept
        else:
            high = middle
    return sorted(draw.ids[best].tolist())


def capped(sizes: np.ndarray, rate: float, caps: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Rate of each stratum (n), so that no value of a cap has more than its share of the kept rows.

    `sizes` are rows per stratum; a cap is the strata's values (n) and the largest share. The rates differ as
    little as the caps allow, and together they keep the share `rate` of all rows if the caps allow it.
    """
    target = rate * sizes.sum()
    rates = np.full(len(sizes), rate)
    for _ in range(ROUNDS):
        free = np.ones(len(sizes), dtype=bool)
        for values, share in caps:
            _, code = np.unique(values, return_inverse=True)
            kept = np.bincount(code, rates * sizes)
            factor = np.minimum(1.0, share * target / np.maximum(kept, 1e-12))
            rates = rates * factor[code]
            free &= (kept < share * target * (1 - 1e-9))[code]
        room = free & (rates < 1)
        lacking = target - (rates * sizes).sum()
        if lacking <= 1e-9 * target or not room.any():
            break
        rates = np.where(room, np.minimum(1.0, rates * (1 + lacking / (rates * sizes)[room].sum())), rates)
    return rates


def inclusion(n: int, rate: float, strategy: Strategy, peak: float) -> np.ndarray:
    """Keep-probability of each of n rows in ascending order of difficulty; they sum to n * rate.

    For "hard_and_sure" the order is that of difficulty times lead.
    """
    target = n * rate
    if strategy == "random":
        return np.full(n, rate)
    if strategy == "hard":
        return np.clip(target - np.arange(n)[::-1], 0, 1)
    if strategy == "easy":
        return np.clip(target - np.arange(n), 0, 1)
    if strategy not in ("soft", "hard_and_sure"):
        raise ValueError(f"unknown strategy {strategy!r}; use {', '.join(get_args(Strategy))}")
    return _scaled(curve((np.arange(n) + 0.5) / n, rate, peak), target)


def curve(x: np.ndarray, rate: float, peak: float) -> np.ndarray:
    """Keep-probability at the difficulty quantiles `x`, 0 to 1."""
    b = 1 / rate - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (x / peak) ** b if peak > 0 else np.ones_like(x)
        falling = ((1 - x) / (1 - peak)) ** b if peak < 1 else np.ones_like(x)
    return np.where(x <= peak, rising, falling)


def _scaled(weights: np.ndarray, target: float) -> np.ndarray:
    """`weights` times a factor and cut off at 1; the factor is such that they sum to `target`."""
    # Largest first: once the k largest are cut off at 1, the factor follows from the sum of the others.
    weights = np.maximum(weights, 1e-300)
    order = np.sort(weights)[::-1]
    rest = np.cumsum(order[::-1])[::-1]
    factors = (target - np.arange(len(order))) / rest
    cut_off = int(np.argmax(factors * order <= 1))
    return np.minimum(weights * factors[cut_off], 1)


def _systematic(probabilities: np.ndarray, offset: float) -> np.ndarray:
    """Places kept by systematic sampling, each with its own probability; their number is within one of the sum."""
    edges = np.concatenate([[0.0], np.cumsum(probabilities)])
    ticks = np.floor(edges + offset)
    return np.flatnonzero(np.diff(ticks) > 0)
