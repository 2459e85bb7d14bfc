"""Advised numbers of seeds are those of G*Power and statsmodels, and have the power that they promise."""

import numpy as np
import pytest
from scipy import stats

from pipeline.stats.paired import equivalence, excludes_failures
from pipeline.stats.permutation import sign_flip
from pipeline.stats.power import PLAUSIBLE, fewest_seeds, seeds_range, seeds_to_decide, seeds_to_differ, seeds_to_equal

STUDIES = 1000


def share_found(effect, n, alpha=0.05):
    """Share of simulated studies of n seeds whose sign-flip p is at most alpha, from few draws where n is large."""
    differences = np.random.default_rng(7).normal(effect, 1, (STUDIES, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.stats.permutation.MAX_EXACT", 14)
        patch.setattr("pipeline.stats.permutation.FLIPS", 4000)
        return np.mean([sign_flip(d) <= alpha for d in differences])


def test_fewest_seeds_is_where_the_smallest_p_is_small_enough():
    """Six pairs can have p <= 0.05 and five cannot; three arms take seven."""
    assert sign_flip(np.arange(1, 6)) == 2 / 2**5
    assert fewest_seeds(0.05) == 6
    assert fewest_seeds(0.05 / 3) == 7
    assert sign_flip(np.arange(1, 7)) <= 0.05 < sign_flip(np.arange(1, 6))


def test_the_number_of_seeds_is_that_of_gpower():
    """For an effect of 0.5, 5 % two-sided and 80 % power G*Power 3 gives 34 pairs; for 0.2 it gives 199."""
    assert seeds_to_differ(0.5) == 34
    assert seeds_to_differ(-0.2) == 199
    assert seeds_to_differ(0) is None
    assert seeds_to_differ(0.001) is None
    assert [seeds_to_differ(effect) for effect in (2, 3, 50)] == [fewest_seeds()] * 3


def test_the_power_is_that_of_statsmodels():
    """The advised number of seeds is the smallest with 80 % power."""
    from statsmodels.stats.power import TTestPower

    for effect, alpha in ((0.3, 0.05), (0.7, 0.05 / 3), (1.5, 0.01)):
        n = seeds_to_differ(effect, alpha)
        before, after = (TTestPower().power(effect, seeds, alpha) for seeds in (n - 1, n))
        assert before < 0.8 <= after


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.05 / 3, 0.01, 0.05 / 7])
def test_a_larger_effect_never_takes_more_seeds(alpha):
    """The search is not led astray where the noncentral t is nan or has no digits left."""
    effects = np.union1d(np.geomspace(0.2, 60, 100), np.arange(0.1, 6, 0.1))
    needed = [seeds_to_differ(effect, alpha) for effect in effects]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == fewest_seeds(alpha)


@pytest.mark.parametrize("effect", [pytest.param(0.5, marks=pytest.mark.slow), 0.8, 1.2])
def test_the_advised_number_of_seeds_has_its_power(effect):
    """With as many seeds as advised, 75 to 86 % of studies find the difference."""
    assert 0.75 < share_found(effect, seeds_to_differ(effect)) < 0.86


@pytest.mark.parametrize(("effect", "arms"), [(1.5, 1), (1.6, 1), (1.8, 3), (1.6, 7)])
def test_few_seeds_are_advised_only_where_they_have_the_power(effect, arms):
    """Where so few seeds must all agree, the advice follows the signs, not the t test: 61 % is not taken for 80 %."""
    n, alpha = seeds_to_differ(effect, 0.05 / arms), 0.05 / arms
    assert share_found(effect, n, alpha) > 0.75
    if n > fewest_seeds(alpha):
        assert share_found(effect, n - 1, alpha) < 0.8


def test_the_advised_number_of_seeds_shows_equivalence():
    """With as many seeds as advised, about 80 % of studies of two equal arms call them equivalent."""
    n = seeds_to_equal(0.0, 1.0, 0.5)
    differences = np.random.default_rng(7).normal(size=(STUDIES, n))
    assert 0.77 < np.mean([equivalence(d, 0.5) <= 0.05 for d in differences]) < 0.83
    assert seeds_to_equal(0.6, 1.0, 0.5) is None
    assert seeds_to_equal(0.0, 1e-9, 0.5) == 2


def spread(mean, std, n=10):
    """Differences [n] of this mean and standard deviation."""
    values = stats.norm.ppf((np.arange(n) + 0.5) / n)
    return mean + std * values / values.std(ddof=1)


def test_the_advice_for_an_arm_within_the_margin_knows_the_rule_on_rare_failures():
    """29 seeds are the fewest, also where the t tests need fewer; one failure among them is never outweighed."""
    assert seeds_to_decide(spread(0, 0.001), 0.005, 0.05) == 29
    assert seeds_to_decide(spread(0, 0.03), 0.005, 0.05) == seeds_to_equal(0, 0.03, 0.005) > 29
    assert seeds_to_decide(spread(0.002, 0.001), 0.005, 0.05) == 29  # a difference shows with 6, and is no answer
    assert seeds_to_decide(spread(0.02, 0.01), 0.005, 0.05) == max(seeds_to_differ(2), 11)
    failure = np.zeros(10)
    failure[3] = 0.06
    assert seeds_to_decide(np.append(failure, [-0.06]), 0.005, 0.05) is None
    assert seeds_to_decide(np.append(failure[:5], 0.01), 0.005, 0.05) == seeds_to_differ(
        np.append(failure[:5], 0.01).mean() / np.append(failure[:5], 0.01).std(ddof=1)
    )


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.003), (0.002, 0.0012), (0.0, 0.012), (0.004, 0.003), (0.01, 0.01)])
def test_the_advice_comes_true(mean, std):
    """With as many seeds as advised, 75 % of studies or more are decided, by a difference or by equivalence."""
    n = seeds_to_decide(spread(mean, std), 0.005, 0.05)
    differences = np.random.default_rng(11).normal(mean, std, (400, n))
    within = np.array([equivalence(d, 0.005) <= 0.05 for d in differences])
    excluded = np.array([excludes_failures(d, 0.005) for d in differences])
    differ = np.abs(differences.mean(1)) / differences.std(1, ddof=1) * n**0.5 > stats.t.ppf(0.975, n - 1)
    assert np.mean((within & excluded) | (~within & differ)) > 0.75


def test_the_range_of_seeds_narrows_with_the_pilot():
    """Four times the pairs of the same mean and spread leave fewer numbers open; both ranges hold the one number."""
    pilot = np.array([0.01, 0.02, 0.005, 0.03, -0.005, 0.015, 0.01, 0.0, 0.02, 0.015])
    (few, many), (few_more, many_more) = seeds_range(pilot, 0, 0.05), seeds_range(np.tile(pilot, 4), 0, 0.05)
    assert few <= seeds_to_decide(pilot, 0, 0.05) <= many
    assert many_more - few_more < many - few


def test_the_range_asks_where_most_seeds_are_needed():
    """At no difference, and at the margin, wherever they lie between the means that are tried besides."""
    failing = np.array([0.1, -0.1, 0.03, -0.03, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0])  # one seed excludes equivalence
    assert seeds_to_decide(failing, 0.005, 0.05) is None
    for shift in (0.0, 0.004, 0.013):
        fewest, most = seeds_range(failing + shift, 0.005, 0.05)
        assert 10 < fewest < 100 and most is None


def test_a_range_without_an_end_has_none():
    """A pilot whose mean may as well be 0 leaves open that no number of seeds decides."""
    pilot = np.array([0.01, -0.01, 0.02, -0.02, 0.011, -0.012, 0.001, 0.0])
    fewest, most = seeds_range(pilot, 0, 0.05)
    assert 8 < fewest < 100 and most is None


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [10, 30])
def test_the_range_holds_the_number_of_the_true_effect(pairs):
    """In as many simulated pilots as the range promises, whatever the pilot's size."""
    true, generator = seeds_to_differ(0.5), np.random.default_rng(3)
    ranges = [seeds_range(generator.normal(0.5, 1, pairs), 0, 0.05) for _ in range(400)]
    # The advice is never below the pairs at hand plus one, nor does a pilot know the spread exactly.
    inside = np.mean([low <= max(true, pairs + 1) and (high is None or true <= high) for low, high in ranges])
    assert inside > PLAUSIBLE - 0.05
