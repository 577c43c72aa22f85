"""Time and memory to select from a million scored rows: python -m benchmarks.selection [ROWS]"""

import resource
import sys
import time

import numpy as np
import pandas as pd

from sentidistill.selection import select

STRATA = 20_000


def made_up(rows: int) -> pd.DataFrame:
    """Scored rows in strata of very different sizes."""
    random = np.random.default_rng(0)
    stratum = np.minimum(random.zipf(1.3, rows), STRATA)
    return pd.DataFrame(
        {
            "id": [f"{number:016x}" for number in random.permutation(rows)],
            "stratum": stratum.astype(str),
            "cluster": stratum % 200,
            "rank_score": random.random(rows).round(6),
        }
    )


def main(rows: str = "1000000") -> None:
    samples = made_up(int(rows))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(samples):,} rows in {samples['stratum'].nunique():,} strata; {before:.0f} MB before")
    for name, settings in {
        "soft": {"strategy": "soft"},
        "hard": {"strategy": "hard"},
        "random": {"strategy": "random"},
        "soft, no strata": {"strategy": "soft", "stratify": False},
        "soft, at most 10 % of a cluster": {"strategy": "soft", "caps": {"cluster": 0.1}},
    }.items():
        started = time.perf_counter()
        kept = select(samples, rate=0.1, seed=1, **settings)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  {name}: {len(kept):,} kept in {time.perf_counter() - started:.1f} s, {peak:.0f} MB at the peak")


if __name__ == "__main__":
    main(*sys.argv[1:])
