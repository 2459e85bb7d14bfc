"""Permutation tests agree with published numbers and with SciPy, and find nothing where there is nothing."""

import numpy as np
import pytest
from scipy import stats

from pipeline.stats.paired import holm
from pipeline.stats.permutation import FLIPS, exchange, sign_flip, wilcoxon

# Darwin's maize, eighths of an inch, crossed minus self-fertilised; Fisher 1935, The Design of Experiments, section 21.
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
STUDIES, SEEDS = 2000, 10


def test_sign_flip_gives_fishers_p():
    """Of Darwin's 15 pairs, 1726 of 32768 sign choices lie as far from zero."""
    assert sign_flip(MAIZE) == 1726 / 32768


@pytest.mark.parametrize("n", [2, 5, 10, 12])
def test_sign_flip_agrees_with_scipy(n):
    """The exact p is that of SciPy's permutation test."""
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    scipys = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(scipys.pvalue)


def test_sign_flip_ignores_rounding_in_double_precision():
    """Sums that only rounding tells apart are equally far from zero: 0.1 + 0.2 - 0.3 counts as 0."""
    assert sign_flip([0.3]) == 1
    assert sign_flip([0.1, 0.2, -0.3]) == 1


def test_random_sign_flips_approach_the_exact_p(monkeypatch):
    """Beyond `MAX_EXACT` pairs, p is close to the exact one, the same at every call, and never 0."""
    differences = np.random.default_rng(4).normal(0.5, 1, 16)
    exact = sign_flip(differences)
    monkeypatch.setattr("pipeline.stats.permutation.MAX_EXACT", 10)
    assert sign_flip(differences) == pytest.approx(exact, abs=0.003)
    assert sign_flip(differences) == sign_flip(differences)
    assert sign_flip(np.ones(40)) == 1 / (1 + FLIPS)


@pytest.mark.parametrize("n", [21, 32, 35])
def test_random_sign_flips_count_every_difference_once(n):
    """Differences at the ends of the words of 16, and beyond the last whole word, are flipped like the others."""
    differences = np.zeros(n)
    differences[[0, 15, 16, n - 1]] = (1, 2, 4, 8)
    equal = np.zeros(n)
    equal[-6:] = 1  # six equal ones have the same sign in 2 of 64 choices
    assert sign_flip(differences) == pytest.approx(2 / 16, abs=0.005)
    assert sign_flip(equal) == pytest.approx(2 / 64, abs=0.003)


def test_wilcoxon_agrees_with_scipy():
    """p is SciPy's, with ties and zeros (Pratt's rule) too; it is 1 if all differences are 0."""
    assert wilcoxon(MAIZE) == pytest.approx(stats.wilcoxon(MAIZE).pvalue)
    tied = [3.0, -1, 1, 2, 0, 2, -1, 4, 0]
    assert wilcoxon(tied) == pytest.approx(stats.wilcoxon(tied, zero_method="pratt").pvalue)
    assert wilcoxon(np.zeros(5)) == 1


@pytest.mark.parametrize("distribution", ["normal", "laplace"])
def test_false_positives_stay_at_their_level(distribution):
    """Without a true difference, about 5 % of studies of ten seeds have p <= 0.05."""
    differences = getattr(np.random.default_rng(7), distribution)(size=(STUDIES, SEEDS))
    assert 0.035 < np.mean([sign_flip(d) <= 0.05 for d in differences]) < 0.065


@pytest.mark.slow
def test_false_positives_of_seven_arms_stay_at_their_level():
    """With seven equal arms against one baseline, at most 6.5 % of studies find a difference after Holm."""
    rng = np.random.default_rng(3)
    positives = 0
    for _ in range(STUDIES):
        baseline = rng.normal(size=SEEDS)
        p = [sign_flip(rng.normal(size=SEEDS) - baseline) for _ in range(7)]
        positives += bool((holm(p) <= 0.05).any())
    assert positives / STUDIES < 0.065


@pytest.mark.parametrize(("n", "m"), [(3, 3), (7, 5), (2, 30), pytest.param(10, 10, marks=pytest.mark.slow)])
def test_exchanging_runs_agrees_with_scipy(n, m):
    """All ways to divide the runs between the arms are counted, those of two arms of ten among them."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.8, 1, n), rng.normal(size=m)
    exact = stats.permutation_test((a, b), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=np.inf)
    assert exchange(a, b) == pytest.approx(exact.pvalue)


def test_random_exchanges_approach_the_exact_p(monkeypatch):
    """Beyond `MOST_CHOICES` ways p is close to the exact one, the same at every call, and never 0."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.9, 1, 9), rng.normal(size=10)
    exact = exchange(a, b)
    monkeypatch.setattr("pipeline.stats.permutation.MOST_CHOICES", 10)
    assert exchange(a, b) == pytest.approx(exact, abs=0.003) and exchange(a, b) == exchange(a, b)
    assert exchange(np.arange(20) + 100, np.arange(20)) == 2 / (1 + FLIPS)


def test_exchanging_runs_ignores_rounding_in_single_precision():
    """Accuracies of 3 and of 2 right answers in 7 tie with others of the same sum, however they are rounded."""
    counts = np.array([3, 5, 6, 6, 2, 1, 4, 2, 5, 3])
    exact = exchange(counts[:5], counts[5:])
    rounded = (counts / np.float32(7)).astype(np.float32) * (1 + np.random.default_rng(0).uniform(-1, 1, 10) * 2e-8)
    assert exchange(rounded[:5], rounded[5:], 2.0**-22) == exact
