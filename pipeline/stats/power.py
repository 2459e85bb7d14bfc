"""Advise how many seeds would decide what a study leaves undecided, with 80 % power.

The advice supposes that further differences have the mean and standard deviation of the observed ones; `seeds_range`
says how far it depends on that mean, which a pilot knows badly. It is the
smaller of two numbers: the seeds at which a paired test would find the difference (`seeds_to_differ`), and those at
which two one-sided tests would show it to lie within the margin (`seeds_to_equal`). Both use the power of t tests, from
the noncentral t distribution. At the smallest number of seeds that can reach significance at all, every difference must
have the same sign, and the power is the probability of that. Equivalence takes `paired.FEWEST_EQUIVALENT` seeds or
more, and no seed that differs by more than `paired.FAILURE` margins, whatever the t tests say.

Sources: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences"; Lakens 2017, "Equivalence Tests".
"""

from collections.abc import Callable

import numpy as np

from pipeline.stats.intervals import ALPHA, mean_interval
from pipeline.stats.paired import FEWEST_EQUIVALENT, shows_failure

POWER = 0.8
MOST_SEEDS = 100_000  # more are not advised
PLAUSIBLE = 0.8  # level of the interval of means for which seeds are advised
MEANS = 9  # of it that are tried


def seeds_to_decide(differences: np.ndarray, margin: float, alpha: float) -> int | None:
    """Return how many seeds would decide an arm whose paired differences [n] stay like these.

    margin: largest difference that does not matter, in the metric's unit; 0 for none. alpha: significance level,
    already divided by the number of arms. Returns None if that takes more than `MOST_SEEDS`, or can never be. Equal
    differences give no spread to compute with; then the answer is the fewest seeds of a difference or of equivalence,
    or None if they are 0 and there is no margin.
    """
    mean, constant = float(np.mean(differences)), np.ptp(differences) == 0
    within = abs(mean) < margin
    if constant:
        return max(fewest_seeds(alpha), FEWEST_EQUIVALENT) if within else fewest_seeds(alpha) if mean else None
    std, can_equal = float(np.std(differences, ddof=1)), not shows_failure(differences, margin)
    differ, equal = seeds_to_differ(mean / std, alpha), seeds_to_equal(mean, std, margin, alpha)
    if differ is not None and within and _power_to_equal(differ, mean, std, margin, alpha) > ALPHA:
        # A difference that is found within the margin decides nothing until equivalence can be told.
        differ = max(differ, FEWEST_EQUIVALENT) if can_equal else None
    equal = max(equal, FEWEST_EQUIVALENT) if equal is not None and can_equal else None
    possible = [seeds for seeds in (differ, equal) if seeds is not None]
    return max(min(possible), len(differences) + 1) if possible else None


def seeds_range(differences: np.ndarray, margin: float, alpha: float) -> tuple[int, int | None]:
    """Return the fewest and the most seeds that `seeds_to_decide` advises over the means that n differences leave open.

    A study of ten seeds is a pilot: its mean difference is known to within a standard error or two, and the number of
    seeds follows from its square. The means are those of Student's `PLAUSIBLE` interval. The most is None where some of
    them would take more than `MOST_SEEDS`.
    """
    mean, _, low, high = mean_interval(differences, PLAUSIBLE)
    hardest = [value for value in (-margin, 0.0, margin) if low < value < high]  # where most seeds are needed
    means = [*np.linspace(low, high, MEANS), *hardest]
    advised = [seeds_to_decide(differences - mean + other, margin, alpha) for other in means]
    known = [seeds for seeds in advised if seeds is not None]
    return min(known, default=MOST_SEEDS), max(known) if len(known) == len(advised) else None


def fewest_seeds(alpha: float = ALPHA) -> int:
    """Return the smallest number of pairs whose sign-flip p, at least 2 / 2^n, can be as small as alpha."""
    return int(np.ceil(np.log2(2 / alpha)))


def seeds_to_differ(effect: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Return how many seeds a paired test needs to find an effect with this power; None for more than `MOST_SEEDS`.

    effect: mean of the differences over their standard deviation.
    """
    from scipy.special import ndtr, stdtrit

    if not np.isfinite(effect) or abs(effect) < 1e-6:
        return None
    fewest, effect = max(2, fewest_seeds(alpha)), min(abs(effect), 50.0)  # SciPy's noncentral t is imprecise beyond

    def power_at(n: int) -> float:
        if n == fewest:
            return float(ndtr(effect)) ** n  # the probability that all n differences have the same sign
        critical, shift = stdtrit(n - 1, 1 - alpha / 2), effect * np.sqrt(n)
        return 1 - _noncentral_t_cdf(critical, n, shift) + _noncentral_t_cdf(-critical, n, shift)

    return _smallest(lambda n: power_at(n) >= power, fewest)


def seeds_to_equal(mean: float, std: float, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Return how many seeds two one-sided t tests need to show, with this power, that a difference is within +-margin.

    mean, std: of the paired differences, in the unit of margin. Returns None if the mean is not within the margin, or
    for more than `MOST_SEEDS`.
    """
    if not abs(mean) < margin:
        return None
    return _smallest(lambda n: _power_to_equal(n, mean, std, margin, alpha) >= power, 2)


def _power_to_equal(n: int, mean: float, std: float, margin: float, alpha: float) -> float:
    """Return the power of the two one-sided t tests with n seeds, see `seeds_to_equal`."""
    from scipy.special import stdtrit

    critical = stdtrit(n - 1, 1 - alpha)
    below, above = (min((margin + side * mean) / std * np.sqrt(n), 100.0) for side in (-1, 1))
    return 1 - _noncentral_t_cdf(critical, n, above) - _noncentral_t_cdf(critical, n, below)


def _noncentral_t_cdf(value: float, n: int, shift: float) -> float:
    """Return P(noncentral t < value) with n - 1 degrees of freedom and noncentrality `shift`."""
    from scipy.special import nctdtr

    return float(np.nan_to_num(nctdtr(n - 1, shift, value)))  # SciPy gives nan only far below the shift, where it is 0


def _smallest(sufficient: Callable[[int], bool], low: int) -> int | None:
    """Return the smallest sufficient number from `low` up, by doubling and bisection; None beyond `MOST_SEEDS`."""
    if sufficient(low):
        return low
    high = 2 * low
    while not sufficient(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if sufficient(middle) else (middle, high)
    return high
