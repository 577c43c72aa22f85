"""Is one arm of an experiment better than another? An interval over training seeds and test records together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentidistill.evaluation.metrics import Estimate

# An experiment adds seeds while its interval is wide, so it stops sooner if seeds happen to agree. At 97 % about
# 5 % of experiments without an effect call one (tests/test_verdicts.py); at 95 % it would be up to 9 %.
LEVEL = 0.97


@dataclass(frozen=True)
class Difference:
    """The difference of two scores, in points; the interval is `value` -+ `half_width`."""

    value: float
    half_width: float

    def verdict(self, limit: float) -> str:
        """An interval without 0 is an answer however wide it is; one with 0 only up to the half-width `limit`."""
        if abs(self.value) > self.half_width:
            return "better" if self.value > 0 else "worse"
        seen = "no difference seen" if self.half_width <= limit else "not answered"
        return f"{seen} (half-width {self.half_width:.1f})"


def difference(a: Sequence[Estimate], b: Sequence[Estimate]) -> Difference:
    """The mean score of `a` minus that of `b`. Each has estimates for two or more seeds, in the same order.

    Another run would have other seeds and other test records, and all seeds share their records. Studies in which
    several readers judge the same cases have this design. Of n differences d, one a seed, the mean has the variance
    v = s^2 / n + max(C, 0): s^2 is the variance of d over seeds, C the mean covariance of two seeds' d over resampled
    records, which no number of seeds averages out. By bootstrap variances, C = (n var(mean d) - mean var(d)) / (n - 1);
    the sum s^2 / n + var(mean d) would count twice what a seed's model has of its own on single records.

    The interval is mean -+ t sqrt(v), with Student's t of v^2 / ((s^2 / n)^2 / (n - 1)) degrees of freedom
    (Satterthwaite's, with C as known). Obuchowski and Rockette, Communications in Statistics - Simulation 24 (1995),
    285-308; degrees of freedom: Hillis, Statistics in Medicine 26 (2007), 596-619.
    """
    from scipy.stats import t

    seeds = [one - other for one, other in zip(a, b, strict=True)]
    n = len(seeds)
    values = np.array([one.value for one in seeds])
    resampled = np.stack([one.resampled for one in seeds])
    of_seeds = values.var(ddof=1) / n
    of_records = max(0.0, (n * resampled.mean(0).var(ddof=1) - resampled.var(axis=1, ddof=1).mean()) / (n - 1))
    variance = of_seeds + of_records
    freedom = (n - 1) * (variance / of_seeds) ** 2 if of_seeds else np.inf
    return Difference(float(values.mean()), float(t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance)))
