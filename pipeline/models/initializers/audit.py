"""Check that initial biases were drawn from the distribution that their initializer stands for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.models.initializers.distributions import ExpectedDistribution, expected_biases

SMALLEST_P = 1e-9  # draws that are less probable than this count as a mistake


def audit_biases(models: Sequence[Any]) -> None:
    """Check the initial biases of models, one per seed, all of one structure, against their expected distributions.

    Raises ArithmeticError where a value is beyond the limits, or where the mean, the variance or the whole distribution
    of a seed, or of all seeds together, has a probability below 1e-9.
    """
    for over_seeds in zip(*map(expected_biases, models), strict=True):
        bias, role, gate, expected, _ = over_seeds[0]
        name = bias.path + f", gate {f'{role} {gate}'.strip()}" * bool(gate)
        for one in over_seeds:
            check_drawn_values(name, one.expected, one.values)
        if expected.distribution is not None:
            # Under an initializer with a fixed seed all seeds draw the same, which then counts once.
            different = {one.values.tobytes(): one.values.ravel() for one in over_seeds}
            check_drawn_values(name, expected, np.concatenate(list(different.values())))


def check_drawn_values(name: str, expected: ExpectedDistribution, values: np.ndarray) -> None:
    """Raise ArithmeticError, which describes both, where values [any shape] are not drawn as expected."""
    drawn = np.asarray(values, np.float64)
    step = 2.0**-7 if values.dtype.itemsize == 2 else 1e-6  # for float16 and bfloat16 alike
    if expected.distribution is None:
        agrees = np.isnan(expected.values).all() or np.allclose(drawn, expected.values, rtol=step, atol=step / 10)
    else:
        agrees = _plausible(expected.distribution, drawn.ravel(), step)
    if not agrees:
        f = expected.figures()
        raise ArithmeticError(
            f"{name}: expected {expected.words} with mean {f['mean']:.4g}, std {f['std']:.4g}, from {f['low']:.4g} to "
            f"{f['high']:.4g}; drawn mean {drawn.mean():.4g}, std {drawn.std():.4g}, from {drawn.min():.4g} to "
            f"{drawn.max():.4g}"
        )


def _plausible(distribution: Any, drawn: np.ndarray, step: float) -> bool:
    """Whether values [n] can be drawn from a distribution, by limits, mean, variance and the Kolmogorov-Smirnov test.

    n times their variance over the expected one is chi-square, with degrees of freedom corrected for the kurtosis (Box
    1953, "Non-normality and tests on variances"). step: relative rounding error of the values' type.
    """
    from scipy import stats

    low, high = distribution.support()
    mean, std, n = distribution.mean(), distribution.standard_deviation(), drawn.size
    magnitude = max(abs(x) for x in (low, high, mean) if np.isfinite(x)) + std
    if not np.all((drawn >= low - step * magnitude) & (drawn <= high + step * magnitude)):
        return False
    if std <= 100 * step * magnitude:  # rounded to a few different numbers
        return bool(np.all(np.abs(drawn - mean) <= 10 * std + step * magnitude))
    z = abs(drawn.mean() - mean) / std * n**0.5
    p_values = [stats.kstest(drawn, distribution.cdf).pvalue, 2 * stats.norm.sf(z)]
    if n > 2:
        freedom = 2 * n / (float(distribution.kurtosis()) - 1)
        ratio = np.mean((drawn - mean) ** 2) / std**2
        p_values.append(2 * min(stats.chi2.cdf(freedom * ratio, freedom), stats.chi2.sf(freedom * ratio, freedom)))
    return min(p_values) > SMALLEST_P
