"""The probability of improvement is Mann and Whitney's U, and its interval a bootstrap without noise to speak of."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from pipeline.stats.improvement import improvement_interval

SEEDS = 10


def expanded_tail(n):
    """Hesterberg's tail: the normal probability of Student's t quantile, stretched by the bootstrap's narrowness."""
    return stats.norm.cdf(-((n / (n - 1)) ** 0.5) * stats.t.ppf(0.975, n - 1))


def test_the_probability_of_improvement_is_mann_whitneys_u():
    """It counts all pairs of runs, ties as half, as U does."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 12), rng.integers(0, 9, 12)
    probability, low, high = improvement_interval(a, b, paired=True)
    assert probability == pytest.approx(stats.mannwhitneyu(a, b).statistic / (12 * 12))
    assert low <= probability <= high


def bootstrap_of(better, worse, rows, columns):
    """The share of wins in each resample: rows, columns [resamples, runs], the runs that it draws of each arm."""
    wins = np.sign(np.subtract.outer(better, worse)) / 2 + 0.5
    return wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_few_runs_is_that_of_all_resamples(paired):
    """Each of the n^n ways to draw n runs counts once, whatever they draw; no random number is involved."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, 5 if paired else 4), rng.integers(0, 5, 5 if paired else 3)
    rows = columns = np.array(list(product(range(len(a)), repeat=len(a))))
    if not paired:
        other = np.array(list(product(range(3), repeat=3)))
        rows, columns = np.repeat(rows, len(other), axis=0), np.tile(other, (len(rows), 1))
    tail = expanded_tail(len(b))
    expected = np.quantile(bootstrap_of(a, b, rows, columns), [tail, 1 - tail], method="inverted_cdf")
    assert improvement_interval(a, b, paired)[1:] == pytest.approx(tuple(expected))


# Beyond what is enumerated; 80,000 wins, too many for 16 bits.
@pytest.mark.parametrize("n", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_the_interval_of_many_runs_is_that_of_random_resamples(n):
    """Resamples that another generator draws have the same quantiles."""
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, n, n), rng.integers(0, n, n)
    resamples = 50_000 if n < 100 else 600
    rows = rng.integers(0, n, (resamples, n))
    tail, shares = expanded_tail(n), [bootstrap_of(a, b, part, part) for part in np.array_split(rows, 50)]
    expected = np.quantile(np.concatenate(shares), [tail, 1 - tail])
    low, high = improvement_interval(a, b, True)[1:]
    assert (low, high) == pytest.approx(tuple(expected), abs=(0.01 if n < 100 else 0.1) * (high - low))


def test_only_pairs_are_resampled_as_pairs():
    """Where seeds vary together, the paired interval is much narrower than the unpaired one of the same runs."""
    seeds = np.random.default_rng(0).normal(size=12)
    together = improvement_interval(seeds + 0.1, seeds, paired=True)
    apart = improvement_interval(seeds + 0.1, seeds, paired=False)
    assert together[0] == apart[0]
    assert apart[2] - apart[1] > 3 * (together[2] - together[1])


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_the_interval_of_improvement_contains_the_true_probability(effect):
    """The 95 % interval of ten seeds contains the true probability in 93 to 98 % of studies."""
    true, rng = stats.norm.cdf(effect / 2**0.5), np.random.default_rng(2)
    inside = []
    for _ in range(600):
        _, low, high = improvement_interval(rng.normal(effect, 1, SEEDS), rng.normal(size=SEEDS), paired=True)
        inside.append(low <= true <= high)
    assert 0.93 < np.mean(inside) < 0.98


def test_winning_every_time_is_no_certainty():
    """If every run wins, the interval reaches down to 0.025^(1/n); values equal but for rounding are ties."""
    assert improvement_interval([3, 4, 5], [0, 1, 2], paired=True) == pytest.approx((1, 0.025 ** (1 / 3), 1))
    assert improvement_interval([0, 1], [3, 4, 5], paired=False) == pytest.approx((0, 0, 1 - 0.025**0.5))
    assert improvement_interval([0.4] * 3, [0.4 + 1e-9] * 3, paired=True) == (0.5, 0.5, 0.5)
