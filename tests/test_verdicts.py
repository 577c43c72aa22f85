"""What an experiment says of made-up scores whose truth is known."""

import numpy as np
import pytest

from sentidistill.evaluation.metrics import Estimate
from sentidistill.evaluation.verdicts import difference

FIRST, MOST, LIMIT = 3, 8, 4.0  # as by default in experiments/*.yaml
RECORDS, SAMPLES, DRAWS = 200, 200, 1000


def verdicts(effect: float, of_seeds: float, of_records: float = 1.0, of_both: float = 1.0) -> list[str]:
    """Verdicts of experiments on scores that are means over records.

    What a difference has of its seed, of the records, and of both, has these standard deviations, in points.
    """
    random = np.random.default_rng(1)
    weights = random.multinomial(RECORDS, np.full(RECORDS, 1 / RECORDS), size=SAMPLES) / RECORDS
    nothing = Estimate(0.0, np.zeros(SAMPLES))
    found = []
    for _ in range(DRAWS):
        by_record = of_records * random.normal(size=RECORDS) + of_both * random.normal(size=(MOST, RECORDS))
        gains = effect + of_seeds * random.normal(size=(MOST, 1)) + np.sqrt(RECORDS) * by_record
        seeds = [Estimate(float(row.mean()), weights @ row) for row in gains]
        for n in range(FIRST, MOST + 1):
            one = difference(seeds[:n], [nothing] * n)
            if one.half_width <= LIMIT:
                break
        found.append(one.verdict(LIMIT))
    return found


# About those of the default student: over training seeds alone, and where seeds draw other training rows, too.
@pytest.mark.parametrize("of_seeds", [1.3, 2.5])
def test_without_an_effect_about_one_experiment_in_twenty_sees_one(of_seeds):
    found = verdicts(0.0, of_seeds)
    better, worse = (found.count(name) / DRAWS for name in ("better", "worse"))
    assert 0.03 <= better + worse <= 0.07
    assert min(better, worse) >= 0.01


@pytest.mark.parametrize(("of_seeds", "power"), [(1.3, 0.75), (2.5, 0.63)])
def test_the_power_at_four_points_is_as_docs_say(of_seeds, power):
    found = verdicts(4.0, of_seeds)
    print(f"a standard deviation of {of_seeds} over seeds: power {found.count('better') / DRAWS:.3f}")
    assert found.count("better") / DRAWS == pytest.approx(power, abs=0.03)
    assert found.count("worse") == 0
