"""Intervals agree with SciPy's where it has them, and contain the true value as often as they promise."""

import numpy as np
import pytest
from scipy import stats

from pipeline.stats.intervals import (
    _resampled_mean,
    _share_below,
    bootstrap_interval,
    interquartile_mean,
)

SEEDS = 10
slow = pytest.mark.slow


def expanded_tail(n):
    """Hesterberg's tail: the normal probability of Student's t quantile, stretched by the bootstrap's narrowness."""
    return stats.norm.cdf(-((n / (n - 1)) ** 0.5) * stats.t.ppf(0.975, n - 1))


def test_the_interquartile_mean_is_scipys():
    """It leaves out whole values, as SciPy and rliable do."""
    for n in range(1, 25):
        values = np.random.default_rng(n).normal(size=n)
        assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert np.isnan(interquartile_mean([]))


@pytest.mark.parametrize(
    ("n", "distribution"),
    [
        (10, "normal"),
        pytest.param(10, "laplace", marks=slow),
        pytest.param(4, "normal", marks=slow),
        pytest.param(4, "laplace", marks=slow),
        pytest.param(30, "normal", marks=slow),
        pytest.param(30, "laplace", marks=slow),
    ],
)
def test_bootstrap_intervals_contain_the_mean(n, distribution):
    """The 95 % interval contains the true mean in 93 to 97 % of studies; of four Laplace values in up to 97.5 %."""
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(1000, n)) if distribution == "normal" else rng.laplace(0, 0.5**0.5, (1000, n))
    inside = [low <= 0.3 <= high for low, high in map(bootstrap_interval, 0.3 + noise)]
    assert 0.93 < np.mean(inside) < (0.97 if n >= SEEDS else 0.975)


def test_the_bootstrap_interval_is_scipys_bca_where_that_is_wider():
    """Of skewed values, the far end is SciPy's at the expanded level, and the near end is Student's t."""
    skewed = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.6, 1.0, 3.0])
    rng = np.random.default_rng(0)
    level = 1 - 2 * expanded_tail(10)
    bca = stats.bootstrap((skewed,), np.mean, n_resamples=100_000, confidence_level=level, rng=rng, batch=10_000)
    low, high = bootstrap_interval(skewed)
    assert high == pytest.approx(bca.confidence_interval.high, rel=0.01)
    student = stats.ttest_1samp(skewed, 0).confidence_interval()
    assert high > student.high and low == pytest.approx(student.low)


@pytest.mark.parametrize(
    "values",
    [[5, -5, 1, 1, -2, 0, 3], [0, 0.1, 0.1, 0.2, 0.2, 0.3, 3], [1, 0, 0, 0, 0, 0, 0], [0.013, -0.4, 0.7, 0.21]],
    ids=["counts", "skewed", "one differs", "few"],
)
def test_the_bootstrap_distribution_is_that_of_all_resamples(values):
    """Its quantiles and its share below the mean, ties counting half, are those of all n^n resamples, enumerated."""
    values = np.array(values) / 360  # the means of some resamples equal that of the sample, but for rounding
    n, mean = len(values), values.mean()
    means = np.sort(values[np.indices((n,) * n, np.int8).reshape(n, -1)].mean(0))
    tolerance = 1e-9 * np.abs(values).max()
    below, above = np.mean(means < mean - tolerance), np.mean(means > mean + tolerance)
    ends, cumulated = _resampled_mean(values - mean)
    assert _share_below(ends, cumulated, n) == pytest.approx((below + 1 - above) / 2, abs=1e-4)
    levels = np.array([0.001, 0.01, 0.025, 0.975, 0.99, 0.999])
    expected = np.quantile(means, levels, method="inverted_cdf")
    assert mean + np.interp(levels, cumulated, ends) == pytest.approx(expected, abs=1e-3 * np.ptp(expected))


def test_the_bootstrap_interval_of_many_seeds_is_near_the_normal_one():
    """Sums are folded into the grid where there are so many; the distribution stays that of the mean."""
    values = np.random.default_rng(1).exponential(size=3000)
    ends, cumulated = _resampled_mean(values - values.mean())
    error = values.std() / 3000**0.5
    assert np.interp([0.025, 0.975], cumulated, ends) / error == pytest.approx([-1.96, 1.96], abs=0.03)
