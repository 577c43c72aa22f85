"""A whole number shared out in proportion, by largest remainders (Hamilton's method)."""

from collections.abc import Sequence
from fractions import Fraction


def apportion(total: int, weights: Sequence[float], caps: Sequence[int]) -> list[int]:
    """`total` in parts proportional to `weights`, none above its cap; equal remainders go to the earlier ones.

    What a cap leaves over goes to the others in their proportion. The sum is `total`, or that of `caps` where it is
    less. Parts of weight 0 get something only where all others are full.
    """
    exact = [Fraction(weight) for weight in weights]
    parts = list(caps)
    rest = min(total, sum(caps))
    open_ = list(range(len(parts)))
    while True:
        weight = sum(exact[place] for place in open_)
        quotas = {place: rest * exact[place] / weight if weight else Fraction(rest, len(open_)) for place in open_}
        full = {place for place, quota in quotas.items() if quota >= caps[place]}
        if not full:
            break
        rest -= sum(caps[place] for place in full)
        open_ = [place for place in open_ if place not in full]
    for place, quota in quotas.items():
        parts[place] = int(quota)
    remainders = sorted(open_, key=lambda place: parts[place] - quotas[place])
    for place in remainders[: rest - sum(parts[place] for place in open_)]:
        parts[place] += 1
    return parts
