"""What normal theory says of a design with looks, and the fewest seeds that any test can do with."""

from collections.abc import Sequence

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.spending import boundaries, crossing
from tests.benchmarks.simulated import DRIFT


def power_and_seeds(fractions: Sequence[float], z: np.ndarray, drift: float = DRIFT) -> tuple[float, float]:
    """Power, and the mean share of the most seeds used, of a two-sided design with boundaries z [looks]."""
    ended = crossing(fractions, z, drift).probability
    going_on = 1 - np.cumsum(ended)[:-1]
    return float(ended.sum()), float(fractions[0] + going_on @ np.diff(fractions))


def declared(looks: Sequence[int], spending: str, drift: float = DRIFT) -> tuple[float, float]:
    """`power_and_seeds` of a design of the project."""
    fractions = tuple(n / looks[-1] for n in looks)
    return power_and_seeds(fractions, boundaries(fractions, ALPHA, spending), drift)


def wald_bound(power: float, level: float = ALPHA / 2, drift: float = DRIFT) -> float:
    """The least mean share of the seeds of a fixed design that any test of this level and power uses where it is true.

    That of the sequential probability ratio test of no difference against this one, one-sided, without overshoot,
    looked at after each seed and with no limit on seeds: no test of the same errors uses fewer (Wald and Wolfowitz
    1948, "Optimum Character of the Sequential Probability Ratio Test"). drift: expected z of the fixed design.
    """
    information = power * np.log(power / level) + (1 - power) * np.log((1 - power) / (1 - level))
    return float(2 * information / drift**2)


def best_boundaries(looks: Sequence[int], power: float, drift: float = DRIFT) -> tuple[float, float]:
    """`power_and_seeds` of the boundaries that need the fewest seeds of all with these looks, level 0.05 and power."""
    from scipy.optimize import minimize

    fractions = tuple(n / looks[-1] for n in looks)
    start = np.minimum(boundaries(fractions, ALPHA, "pocock"), 5)
    constraints = (
        {"type": "ineq", "fun": lambda z: ALPHA - crossing(fractions, z).probability.sum()},
        {"type": "ineq", "fun": lambda z: crossing(fractions, z, drift).probability.sum() - power},
    )
    best = minimize(
        lambda z: power_and_seeds(fractions, z, drift)[1], start, method="SLSQP", bounds=[(0.5, 6)] * len(looks),
        constraints=constraints, options={"eps": 1e-4, "ftol": 1e-6},
    )  # fmt: skip
    return power_and_seeds(fractions, best.x, drift)
