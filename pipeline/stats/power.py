"""What paired differences decide of an arm, and how many seeds would decide what they leave open.

Sources: Lakens 2017, "Equivalence Tests"; Cohen 1988, "Statistical Power Analysis" (power by the noncentral t).
"""

from collections.abc import Callable

import numpy as np

from pipeline.stats.intervals import ALPHA

POWER = 0.8
MOST_SEEDS = 100_000  # more are not advised


def seeds_to_decide(differences: np.ndarray, margin: float, alpha: float) -> int | None:
    """Seeds by which paired differences [n] like these would be told from 0, or be shown to lie within +-margin.

    None when that takes too many; from one pair only the fewest seeds are known that can show anything.
    """
    mean, constant = float(np.mean(differences)), np.ptp(differences) == 0
    if constant:  # without any difference only a margin can be decided
        return fewest_seeds(alpha) if mean or margin else None
    std = float(np.std(differences, ddof=1))
    found = [n for n in (seeds_to_differ(mean / std, alpha), seeds_to_equal(mean, std, margin, alpha)) if n]
    return max(min(found), len(differences) + 1) if found else None


def fewest_seeds(alpha: float = ALPHA) -> int:
    """The fewest pairs whose sign-flip p can be as small as alpha: 2 / 2^n."""
    return int(np.ceil(np.log2(2 / alpha)))


def seeds_to_differ(effect: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds by which a paired test finds an effect (mean over standard deviation of the differences) with this power.

    By the noncentral t distribution; of the fewest seeds, which must all have the same sign, by the chance of that.
    None when that takes more than `MOST_SEEDS`.
    """
    from scipy.special import ndtr, stdtrit

    if not np.isfinite(effect) or abs(effect) < 1e-6:
        return None
    fewest, effect = max(2, fewest_seeds(alpha)), min(abs(effect), 50.0)  # the noncentral t has no digits beyond

    def reached(n: int) -> float:
        if n == fewest:
            return float(ndtr(effect)) ** n
        critical, shift = stdtrit(n - 1, 1 - alpha / 2), effect * np.sqrt(n)
        return 1 - _below(critical, n, shift) + _below(-critical, n, shift)

    return _first(lambda n: reached(n) >= power, fewest)


def seeds_to_equal(mean: float, std: float, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds by which two one-sided tests show, with this power, that differences like these are within +-margin.

    By the t distribution shifted to the true mean. None when they are not, or when it takes more than `MOST_SEEDS`.
    """
    from scipy.special import stdtrit

    if not abs(mean) < margin:
        return None

    def reached(n: int) -> float:
        critical = stdtrit(n - 1, 1 - alpha)
        below, above = (min((margin + side * mean) / std * np.sqrt(n), 100.0) for side in (-1, 1))
        return 1 - _below(critical, n, above) - _below(critical, n, below)

    return _first(lambda n: reached(n) >= power, 2)


def _below(value: float, n: int, shift: float) -> float:
    """P(noncentral t < value), n - 1 degrees of freedom. SciPy gives nan only far below the shift, where it is 0."""
    from scipy.special import nctdtr

    return float(np.nan_to_num(nctdtr(n - 1, shift, value)))


def _first(enough: Callable[[int], bool], low: int) -> int | None:
    """The first number from `low` up that is enough, by doubling and halving; None beyond `MOST_SEEDS`."""
    if enough(low):
        return low
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
