"""Error spending: how much of the chance of a false positive each look at a growing study may use up.

A study that is looked at several times, and ended as soon as a difference shows, finds differences where there are none
far more often than one that is looked at once. A spending function, declared before the first look, divides the level
between the looks: by the time a fraction t of the most seeds has been trained, `spent(t)` of it may be used.
`pipeline.stats.sequential` holds sign-flip tests to it, exactly. Here are the boundaries it leads to where the mean is
normal, from numerical integration over the density of the paths that have not crossed a boundary yet (Armitage,
McPherson and Rowe): what is known of a design before it begins, and how far early stopping overstates a difference.

Sources: Lan and DeMets 1983, "Discrete Sequential Boundaries for Clinical Trials" (spending functions); O'Brien and
Fleming 1979, "A Multiple Testing Procedure for Clinical Trials"; Pocock 1977, "Group Sequential Methods in the Design
and Analysis of Clinical Trials"; Armitage, McPherson and Rowe 1969, "Repeated Significance Tests on Accumulating Data";
Whitehead 1986, "On the Bias of Maximum Likelihood Estimation Following a Sequential Test".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NODES = 401  # points of the grid between two boundaries; an odd number, for Simpson's rule
WIDEST = 9.0  # standard deviations beyond which a normal density is left out


def spent(fractions: Sequence[float], alpha: float, spending: str, sides: int = 2) -> np.ndarray:
    """Return how much of the level alpha is spent by each look: [looks], ascending, alpha at a fraction of 1.

    fractions: share of the most seeds that each look has. spending: `obrien_fleming` spends almost nothing early, so
    that the last look is nearly as strong as a test without looks; `pocock` spends evenly, and so decides early where a
    difference is large. sides: a two-sided test spends as two one-sided ones of half the level.
    """
    from scipy.special import ndtr, ndtri

    t = np.asarray(fractions, np.float64)
    if spending == "pocock":
        return alpha * np.log1p((np.e - 1) * t)
    return 2 * sides * ndtr(ndtri(alpha / (2 * sides)) / np.sqrt(t))


@dataclass(frozen=True)
class Crossing:
    """What becomes of a study of normal differences: [looks] each.

    probability: to end at a look by reaching its boundary. estimate: the part that studies ending at a look, the last
    one included, have in the expected estimate of the drift.
    """

    probability: np.ndarray
    estimate: np.ndarray


@lru_cache
def boundaries(fractions: tuple[float, ...], alpha: float, spending: str) -> np.ndarray:
    """Return the boundary of |z| at each look of a two-sided design: [looks]; inf where a look can spend nothing."""
    from scipy.optimize import brentq

    z = np.full(len(fractions), np.inf)
    increments = np.diff(spent(fractions, alpha, spending), prepend=0.0)
    for k, increment in enumerate(increments):

        def excess(bound: float, k: int = k, increment: float = increment) -> float:
            z[k] = bound
            return float(crossing(fractions[: k + 1], z[: k + 1]).probability[k] - increment)

        if excess(WIDEST) > 0:
            z[k] = np.inf
        else:
            z[k] = brentq(excess, 0.0, WIDEST, xtol=1e-9)
    return z


def crossing(fractions: Sequence[float], z: np.ndarray, drift: float = 0.0) -> Crossing:
    """Follow a study whose z has mean drift * sqrt(t) at fraction t, and which ends where |z| reaches z [looks].

    drift: the expected z at a fraction of 1; 2.8 is what a two-sided test of level 0.05 finds with 80 % power.
    """
    from scipy.special import ndtr

    t = np.asarray(fractions, np.float64)
    probability, estimate = np.zeros(len(t)), np.zeros(len(t))
    points, weights = np.zeros(1), np.ones(1)  # of the score z * sqrt(t), among the paths that go on
    for k, (step, fraction) in enumerate(zip(np.diff(t, prepend=0.0), t, strict=True)):
        std, bound = np.sqrt(step), z[k] * np.sqrt(fraction)
        means = points + drift * step
        above, below = (means - bound) / std, (-means - bound) / std
        probability[k] = weights @ (ndtr(above) + ndtr(below))
        if k == len(t) - 1:
            estimate[k] = weights @ means / fraction
        elif np.isfinite(bound):
            ends = means * (ndtr(above) + ndtr(below)) + std * (_density(above) - _density(below))
            estimate[k] = weights @ ends / fraction
        widest = WIDEST * np.sqrt(fraction)
        low, high = max(-bound, drift * fraction - widest), min(bound, drift * fraction + widest)
        if low >= high:
            break  # every path has ended
        nodes, simpson = _simpson(low, high)
        density = _density((nodes[:, None] - means) / std) @ weights / std
        points, weights = nodes, simpson * density
    return Crossing(probability, estimate)


def unbiased_drift(observed: float, fractions: Sequence[float], z: np.ndarray) -> float:
    """Return the drift whose expected estimate at the end is `observed`, so without the bias of stopping early.

    observed: the estimate of the drift at the end, z / sqrt(fraction).
    """
    from scipy.optimize import brentq

    def excess(drift: float) -> float:
        return float(crossing(fractions, z, drift).estimate.sum()) - abs(observed)

    if excess(0.0) >= 0 or observed == 0:
        return 0.0
    return float(np.sign(observed) * brentq(excess, 0.0, abs(observed) * 1.01 + 1e-9, xtol=1e-6))


def _density(x: np.ndarray) -> np.ndarray:
    """Return the standard normal density."""
    return np.exp(-0.5 * np.square(x)) / np.sqrt(2 * np.pi)


def _simpson(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of Simpson's rule between two ends, and their weights."""
    points = np.linspace(low, high, NODES)
    weights = np.ones(NODES)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return points, weights * (high - low) / (NODES - 1) / 3
