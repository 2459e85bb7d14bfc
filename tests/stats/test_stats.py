"""Every statistic agrees with a published example or another implementation, and keeps its promise in simulation."""

from itertools import combinations

import numpy as np
import pytest
from factories import DEMSAR
from scipy import stats as scipy_stats

from pipeline.analysis.verdict import judge
from pipeline.stats.friedman import friedman
from pipeline.stats.intervals import (
    RESAMPLES,
    _expanded_tail,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
)
from pipeline.stats.paired import compare_paired, compare_unpaired, equivalence, holm
from pipeline.stats.permutation import FLIPS, sign_flip, wilcoxon
from pipeline.stats.power import fewest_seeds, seeds_to_differ, seeds_to_equal

# Darwin's maize, eighths of an inch, crossed minus self-fertilised; Fisher 1935, The Design of Experiments, section 21.
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
STUDIES, SEEDS = 2000, 10


def test_sign_flips_give_fishers_number():
    """Of Darwin's 15 pairs, 1726 of 32768 sign choices lie as far from zero."""
    assert sign_flip(MAIZE) == 1726 / 32768


@pytest.mark.parametrize("n", [2, 5, 10, 12])
def test_sign_flips_agree_with_scipy(n):
    """The exact p would be another than that of SciPy's permutation test."""
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    found = scipy_stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(found.pvalue)


def test_sums_that_only_rounding_tells_apart_are_as_far():
    """Ties would be lost: 2 * 1/360 and 1/360 + 1/360 differ in single precision, and 0.1 + 0.2 - 0.3 is not 0."""
    assert sign_flip([0.3]) == 1
    assert sign_flip([0.1, 0.2, -0.3]) == 1
    rng = np.random.default_rng(1)
    for _ in range(100):  # pictures of 360 that were told right; the differences of the counts are whole numbers
        right, other = rng.integers(330, 350, (2, 10))
        found = compare_paired(*(np.float64(np.float32(count / 360)) for count in (right, other)), True)
        assert found["p"] == sign_flip(right - other)
        assert found["p_wilcoxon"] == wilcoxon(right - other)
        wins = np.mean(right > other) + np.mean(right == other) / 2
        assert found["won"] == pytest.approx(wins)


def test_what_only_rounding_tells_apart_is_no_difference():
    """A loss of 0.4 and one of 0.4 + 1e-9, both computed in single precision, would be a win."""
    found = compare_paired(np.array([0.3, 0.4 + 1e-9, 0.5 - 1e-9]), np.array([0.3, 0.4, 0.5]), True)
    assert (found["difference"], found["low"], found["high"], found["p"], found["won"]) == (0, 0, 0, 1, 0.5)


def test_one_huge_value_blurs_no_other_seed():
    """One seed with a loss of a million, in both arms, would turn the differences of nine others to nothing."""
    found = compare_paired(np.array([0.31] * 9 + [1e6]), np.array([0.3] * 9 + [1e6]), False)
    assert found["difference"] == pytest.approx(0.009)
    assert found["won"] == pytest.approx(0.05)
    assert found["p"] == found["p_wilcoxon"] == 2 / 2**9


def test_many_sign_flips_are_drawn_and_come_near_the_exact_ones(monkeypatch):
    """Beyond 20 pairs, the drawn p would be another than the exact one, differ from call to call, or be 0."""
    differences = np.random.default_rng(4).normal(0.5, 1, 16)
    exact = sign_flip(differences)
    monkeypatch.setattr("pipeline.stats.permutation.MAX_EXACT", 10)
    assert sign_flip(differences) == pytest.approx(exact, abs=0.003)
    assert sign_flip(differences) == sign_flip(differences)
    assert sign_flip(np.ones(40)) == 1 / (1 + FLIPS)


@pytest.mark.parametrize("n", [21, 32, 35])
def test_drawn_sign_flips_take_in_every_difference(n):
    """A difference at the end of a word of 16, or beyond the last whole word, would be lost or count twice."""
    differences = np.zeros(n)
    differences[[0, 15, 16, n - 1]] = (1, 2, 4, 8)
    counts = np.zeros(n)
    counts[-6:] = 1  # of six equal ones, all have one sign in 2 of 64 choices
    assert sign_flip(differences) == pytest.approx(2 / 16, abs=0.005)
    assert sign_flip(counts) == pytest.approx(2 / 64, abs=0.003)


def test_the_smallest_p_is_known_beforehand():
    """A study too small to show anything would be called undecided for another reason."""
    assert sign_flip(np.arange(1, 6)) == 2 / 2**5
    assert fewest_seeds(0.05) == 6
    assert fewest_seeds(0.05 / 3) == 7
    assert sign_flip(np.arange(1, 7)) <= 0.05 < sign_flip(np.arange(1, 6))


def test_friedman_gives_demsars_numbers():
    """Ranks, chi square, Iman and Davenport's F and Nemenyi's critical difference of his worked example."""
    found = friedman(DEMSAR)
    np.testing.assert_allclose(found["ranks"], [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found["chi2"] == pytest.approx(9.28, abs=0.01)
    assert found["F"] == pytest.approx(3.69, abs=0.01)
    assert found["p"] == pytest.approx(scipy_stats.f.sf(3.69, 3, 39), abs=5e-4)
    assert found["critical_difference"] == pytest.approx(1.25, abs=0.01)
    np.testing.assert_allclose(friedman(1 - DEMSAR, higher_is_better=False)["ranks"], found["ranks"])
    with pytest.raises(ValueError, match="1 datasets"):
        friedman(DEMSAR[:1])


def test_few_datasets_that_rank_alike_are_no_certainty():
    """Two datasets on which the same of two arms wins would give p = 0: by chance that is every second study."""
    assert friedman([[0.9, 0.8], [0.7, 0.6]])["p"] == 0.5
    assert friedman([[0.9, 0.8, 0.7]] * 2)["p"] == pytest.approx(1 / 6)
    assert friedman([[0.9, 0.9, 0.9]] * 2)["p"] == 1


def test_holm_gives_his_example():
    """The step-down correction would be Bonferroni's, or lose the order of the arms; nan would spoil the family."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(0).uniform(0, 0.2, 9)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(holm([0.04, np.nan, 0.02]), [0.04, np.nan, 0.04])
    assert np.isnan(holm([np.nan])).all()


def test_the_interquartile_mean_is_the_trimmed_mean():
    """The mean of the middle half would be taken over other values than SciPy's, or lose the parts of a value."""
    for n in (4, 8, 20):
        values = np.random.default_rng(n).normal(size=n)
        assert interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25))
    assert interquartile_mean([1, 2, 3, 4, 5]) == pytest.approx(3)
    assert interquartile_mean([0, 1, 5]) == pytest.approx((0.25 * 0 + 1 + 0.25 * 5) / 1.5)
    assert interquartile_mean([7]) == 7


def test_the_number_of_seeds_is_that_of_gpower():
    """For an effect of 0.5, 5 % two-sided and 80 % power G*Power 3 gives 34 pairs; for 0.2 it gives 199."""
    assert seeds_to_differ(0.5) == 34
    assert seeds_to_differ(-0.2) == 199
    assert seeds_to_differ(0) is None
    assert seeds_to_differ(0.001) is None
    assert [seeds_to_differ(effect) for effect in (2, 3, 50)] == [fewest_seeds()] * 3


def test_a_larger_effect_never_takes_more_seeds():
    """A power that is nan at some effects, as statsmodels' is at 3, would send the search past the number."""
    for alpha in (0.05, 0.05 / 3, 0.05 / 7):
        seeds = [seeds_to_differ(effect, alpha) for effect in np.arange(0.1, 6, 0.1)]
        assert seeds == sorted(seeds, reverse=True)
        assert seeds[-1] == fewest_seeds(alpha)


def test_the_power_is_that_of_statsmodels():
    """The advised number of seeds would have less than 80 % power, or one seed less would have it too."""
    from statsmodels.stats.power import TTestPower

    for effect, alpha in ((0.3, 0.05), (0.7, 0.05 / 3), (1.5, 0.01)):
        n = seeds_to_differ(effect, alpha)
        power = [TTestPower().power(effect, seeds, alpha) for seeds in (n - 1, n)]
        assert power[0] < 0.8 <= power[1]


def test_a_larger_effect_takes_no_more_seeds():
    """A noncentral t that has no digits left would send the search past the number that is enough."""
    for alpha in (0.05, 0.025, 0.05 / 3, 0.01):
        needed = [seeds_to_differ(effect, alpha) for effect in np.geomspace(0.2, 60, 200)]
        assert needed == sorted(needed, reverse=True)
        assert needed[-1] == fewest_seeds(alpha)


def test_the_wilcoxon_is_scipys():
    """Zeros would be dropped without a word, or equal runs give nan."""
    assert wilcoxon(MAIZE) == pytest.approx(scipy_stats.wilcoxon(MAIZE).pvalue)
    tied = [3.0, -1, 1, 2, 0, 2, -1, 4, 0]
    assert wilcoxon(tied) == pytest.approx(scipy_stats.wilcoxon(tied, zero_method="pratt").pvalue)
    assert wilcoxon(np.zeros(5)) == 1


def test_the_probability_of_improvement_is_mann_whitneys_u():
    """It would count pairs of seeds alone, or ties for a win."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 12), rng.integers(0, 9, 12)
    u = scipy_stats.mannwhitneyu(a, b).statistic / (12 * 12)
    mean, low, high = improvement_interval(a, b, paired=True)
    assert mean == pytest.approx(u)
    assert low <= mean <= high


@pytest.mark.parametrize(("n", "m"), [(7, 7), (9, 5)])
def test_the_interval_of_improvement_is_that_of_all_resampled_pairs(n, m):
    """The sums over sorted runs would differ from counting every pair of the runs drawn, ties included."""
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 5, n), rng.integers(0, 5, m)
    paired = n == m
    draws = np.random.default_rng(0)
    rows = draws.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    columns = rows if paired else draws.multinomial(m, np.full(m, 1 / m), RESAMPLES)
    wins = np.sign(np.subtract.outer(a, b)) / 2 + 0.5
    shares = np.einsum("ri,ij,rj->r", rows, wins, columns) / (n * m)
    tail = _expanded_tail(min(n, m))
    expected = (wins.mean(), *np.quantile(shares, [tail, 1 - tail]))
    assert improvement_interval(a, b, paired) == pytest.approx(expected)


def test_the_probability_of_improvement_is_resampled_by_pairs_only_if_they_are_pairs():
    """Arms of equal size that are no pairs would be resampled as pairs: too narrow where the seeds vary together."""
    seeds = np.random.default_rng(0).normal(size=12)
    together = improvement_interval(seeds + 0.1, seeds, paired=True)
    apart = improvement_interval(seeds + 0.1, seeds, paired=False)
    assert together[0] == apart[0]
    assert apart[2] - apart[1] > 3 * (together[2] - together[1])


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_the_interval_of_the_probability_of_improvement_covers_it(effect):
    """The 95 % interval of ten seeds would hold the true probability in about 90 % of studies."""
    true, rng = scipy_stats.norm.cdf(effect / 2**0.5), np.random.default_rng(2)
    inside = []
    for _ in range(600):
        _, low, high = improvement_interval(rng.normal(effect, 1, SEEDS), rng.normal(size=SEEDS), paired=True)
        inside.append(low <= true <= high)
    assert 0.93 < np.mean(inside) < 0.98


def test_winning_every_time_is_no_certainty():
    """Three seeds that all won would say that the arm always wins, with an interval of no width."""
    assert improvement_interval([3, 4, 5], [0, 1, 2], paired=True) == pytest.approx((1, 0.025 ** (1 / 3), 1))
    assert improvement_interval([0, 1], [3, 4, 5], paired=False) == pytest.approx((0, 0, 1 - 0.025**0.5))
    assert improvement_interval([0.4] * 3, [0.4 + 1e-9] * 3, paired=True) == (0.5, 0.5, 0.5)


def test_arms_that_are_no_pairs_are_compared_as_scipy_does():
    """Welch's interval, Mann and Whitney's p or the permutations would be others, or equal arms would give nan."""
    a, b = np.array([4.0, 5, 7, 8, 9]), np.array([1.0, 2, 3, 6])
    found = compare_unpaired(a, b, True)
    welch = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((welch.low, welch.high))
    sums = np.array([sum(chosen) for chosen in combinations([*a, *b], 4)])  # b's is 12, that of all nine 45
    assert found["p"] == pytest.approx(np.mean(np.abs(sums - 4 * 5) >= 8))
    assert found["p_wilcoxon"] == pytest.approx(scipy_stats.mannwhitneyu(a, b).pvalue)
    assert found["pairs"] == 0
    equal = compare_unpaired(np.full(3, 0.5), np.full(3, 0.5), True)
    assert (equal["difference"], equal["p"], equal["improvement"]) == (0, 1, 0.5)


def test_the_effect_size_is_cohens():
    """Fisher's own t of the maize, 2.148, is the effect times the root of 15."""
    assert compare_paired(MAIZE, np.zeros(15), True)["effect"] * 15**0.5 == pytest.approx(2.148, abs=5e-4)


def test_equivalence_agrees_with_statsmodels():
    """The two one-sided tests would use another margin or tail than statsmodels' own."""
    from statsmodels.stats.weightstats import DescrStatsW

    differences = np.random.default_rng(2).normal(0.1, 0.3, 25)
    for margin in (0.1, 0.25, 0.5):
        expected = DescrStatsW(differences).ttost_mean(-margin, margin)[0]
        assert equivalence(differences, margin) == pytest.approx(expected)


def test_equal_differences_are_no_certainty():
    """Two seeds that happen to differ by the same would be proof of equivalence, since their spread is 0."""
    assert equivalence(np.full(2, 0.001), 0.005) == 0.25
    assert equivalence(np.full(5, 0.001), 0.005) == 1 / 32
    assert equivalence(np.full(5, 0.005), 0.005) == 1


DEGENERATE = {
    "nothing": [],
    "one seed": [0.3],
    "all equal": [0.0] * 6,
    "the same difference": [0.1] * 6,
    "two seeds": [0.1, -0.1],
}


@pytest.mark.parametrize("differences", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_studies_have_sensible_numbers(differences):
    """A study of one seed, or of equal runs, would warn, fail, or call something significant."""
    baseline = np.full(len(differences), 0.5)
    with np.errstate(all="raise"):
        found = compare_paired(baseline + differences, baseline, True)
    assert found["pairs"] == len(differences)
    if not any(differences) and differences:
        assert (found["difference"], found["low"], found["high"], found["p"], found["effect"]) == (0, 0, 0, 1, 0)
        assert (found["improvement"], found["won"]) == (0.5, 0.5)
    word, _ = judge(np.array(differences), found["p"], equivalence(differences, 0.01), True, 0.01, 1, True)
    expected = {"all equal": "identical", "the same difference": "better"}
    name = next(k for k, v in DEGENERATE.items() if v is differences)
    assert word == expected.get(name, "undecided")


def simulated(effect, n=SEEDS, studies=STUDIES, draw="normal"):
    """Paired differences [studies, n] of standard deviation 1."""
    rng = np.random.default_rng(7)
    return effect + (rng.normal(size=(studies, n)) if draw == "normal" else rng.laplace(0, 0.5**0.5, (studies, n)))


@pytest.mark.parametrize("draw", ["normal", "laplace"])
def test_without_a_difference_few_studies_find_one(draw):
    """More than 6.5 % of studies of ten seeds would find a difference where there is none."""
    found = np.mean([sign_flip(d) <= 0.05 for d in simulated(0, draw=draw)])
    assert 0.035 < found < 0.065


def test_the_familys_error_stays_below_its_level():
    """With seven arms against one baseline, a study would find a difference somewhere in more than 6.5 % of cases."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(STUDIES):
        baseline = rng.normal(size=SEEDS)
        p = [sign_flip(rng.normal(size=SEEDS) - baseline) for _ in range(7)]
        found += bool((holm(p) <= 0.05).any())
    assert found / STUDIES < 0.065


@pytest.mark.parametrize("draw", ["normal", "laplace"])
@pytest.mark.parametrize("n", [4, 10, 30])
def test_intervals_cover_what_they_promise(n, draw):
    """The 95 % interval of differences would hold the true mean in fewer than 93 % or more than 97.5 % of studies."""
    inside = [low <= 0.3 <= high for low, high in map(bootstrap_interval, simulated(0.3, n, 1000, draw))]
    assert 0.93 < np.mean(inside) < 0.97 + (0.005 if n < SEEDS else 0)  # Student's t of four Laplace values: 97.0 %


def test_the_interval_is_scipys_bca_where_that_is_wider():
    """The skewness of the differences would be lost, or the interval would not be widened for few seeds."""
    skewed = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.6, 1.0, 3.0])
    tail = scipy_stats.norm.cdf(-((10 / 9) ** 0.5) * 2.262157)  # 2.262: Student's t, 9 degrees of freedom
    rng = np.random.default_rng(0)
    bca = scipy_stats.bootstrap((skewed,), np.mean, n_resamples=4000, confidence_level=1 - 2 * tail, rng=rng)
    low, high = bootstrap_interval(skewed)
    assert high == pytest.approx(bca.confidence_interval.high)
    t = scipy_stats.ttest_1samp(skewed, 0).confidence_interval()
    assert high > t.high and low == pytest.approx(t.low)


@pytest.mark.parametrize("effect", [0.5, 0.8, 1.2])
def test_the_advised_number_of_seeds_has_its_power(effect):
    """With as many seeds as advised, fewer than 75 % or more than 86 % of studies would find the difference."""
    n = seeds_to_differ(effect)
    found = np.mean([quick_sign_flip(d) <= 0.05 for d in simulated(effect, n, 1000)])
    assert 0.75 < found < 0.86


@pytest.mark.parametrize(("effect", "arms"), [(1.5, 1), (1.6, 1), (1.8, 3), (1.6, 7)])
def test_few_seeds_are_advised_only_where_they_have_the_power(effect, arms):
    """Of so few seeds that all must agree, a t test's power is not that of the signs: 61 % would be taken for 80 %."""
    n = seeds_to_differ(effect, 0.05 / arms)
    assert np.mean([sign_flip(d) <= 0.05 / arms for d in simulated(effect, n, 1000)]) > 0.75
    if n > fewest_seeds(0.05 / arms):
        assert np.mean([sign_flip(d) <= 0.05 / arms for d in simulated(effect, n - 1, 1000)]) < 0.8


def quick_sign_flip(differences):
    """The p of many pairs, from as few draws as a simulation needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.stats.permutation.MAX_EXACT", 14)
        patch.setattr("pipeline.stats.permutation.FLIPS", 4000)
        return sign_flip(differences)


def test_the_seeds_that_would_show_equivalence_do():
    """With as many seeds as advised, far from 80 % of studies of two equal arms would say so."""
    n = seeds_to_equal(0.0, 1.0, 0.5)
    found = np.mean([equivalence(d, 0.5) <= 0.05 for d in simulated(0, n, 1000)])
    assert 0.77 < found < 0.83
    assert seeds_to_equal(0.6, 1.0, 0.5) is None
    assert seeds_to_equal(0.0, 1e-9, 0.5) == 2


def test_an_undecided_arm_of_three_is_decided_by_the_advised_seeds():
    """The advice would leave out that several arms are compared, so that too few seeds were advised."""
    undecided = standardised(10) * 0.01 + 0.008
    p = holm([sign_flip(undecided), 0.9, 0.9])
    word, n = judge(undecided, p[0], np.nan, True, 0.005, 3, False)
    assert word == "undecided" and n == seeds_to_differ(0.8, 0.05 / 3) > 10
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(1000):
        arms = rng.normal(size=(3, n)) * 0.01 + [[0.008], [0], [0]]
        p = holm([quick_sign_flip(arm) for arm in arms])
        found += judge(arms[0], p[0], np.nan, True, 0.005, 3, False)[0] == "better"
    assert 0.75 < found / 1000 < 0.86


def standardised(n):
    """Values [n] of mean 0 and standard deviation 1, more or less normal."""
    values = scipy_stats.norm.ppf((np.arange(n) + 0.5) / n)
    return values / values.std(ddof=1)


def test_verdicts():
    """An arm would be called better for a lower accuracy, or a difference within the margin would be called one."""
    spread = standardised(12) * 0.001

    def word(differences, higher=True, margin=0.005, same=False):
        p, equal = sign_flip(differences), equivalence(differences, margin)
        return judge(differences, p, equal, higher, margin, 1, same)

    assert word(spread + 0.02) == ("better", None)
    assert word(spread - 0.02) == ("worse", None)
    assert word(spread + 0.02, higher=False) == ("worse", None)
    assert word(spread + 0.002)[0] == "equivalent"
    assert word(spread * 0, same=True)[0] == "identical"
    assert word(spread * 0) == ("equivalent", None)
    assert word(spread[:2] * 0) == ("undecided", 6)
    assert word(spread * 20 + 0.01) == ("undecided", 34)  # G*Power: an effect of 0.5
    assert word(np.array([0.02, 0.021, 0.019])) == ("undecided", 6)
    assert word(np.array([0.02])) == ("undecided", 6)
