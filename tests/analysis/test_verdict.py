"""Verdicts follow the differences, the margin and the correction for several arms."""

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis.verdict import judge
from pipeline.stats.paired import compare_paired, equivalence, holm
from pipeline.stats.permutation import sign_flip
from pipeline.stats.power import seeds_to_differ


def standardised(n):
    """Values [n] of mean 0 and standard deviation 1, about normal."""
    values = stats.norm.ppf((np.arange(n) + 0.5) / n)
    return values / values.std(ddof=1)


def test_every_verdict_has_its_case():
    """better and worse follow the metric's direction; equivalence goes first; undecided names the seeds needed."""
    spread, many = standardised(12) * 0.001, standardised(29) * 0.001

    def verdict(differences, higher_is_better=True, margin=0.005, same_curves=False):
        p, p_equivalent = sign_flip(differences), equivalence(differences, margin)
        return judge(differences, p, p_equivalent, higher_is_better, margin, 1, same_curves)

    assert verdict(spread + 0.02) == ("better", None)
    assert verdict(spread - 0.02) == ("worse", None)
    assert verdict(spread + 0.02, higher_is_better=False) == ("worse", None)
    assert verdict(many + 0.002) == verdict(many * 0) == ("equivalent", None)
    assert verdict(spread + 0.002) == verdict(spread * 0) == ("undecided", 29)
    assert verdict(spread * 0, same_curves=True)[0] == "identical"
    assert verdict(spread[:2] * 0) == ("undecided", 29)
    assert verdict(spread * 20 + 0.01) == ("undecided", 34)  # G*Power: an effect of 0.5
    assert verdict(np.array([0.02, 0.021, 0.019])) == ("undecided", 6)
    assert verdict(np.array([0.02])) == ("undecided", 6)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([], "undecided"),
        ([0.3], "undecided"),
        ([0.0] * 6, "identical"),
        ([0.1] * 6, "better"),
        ([0.1, -0.1], "undecided"),
    ],
    ids=["nothing", "one seed", "all equal", "the same difference", "two seeds"],
)
def test_degenerate_studies_have_sensible_numbers(differences, expected):
    """A study of one seed, or of equal runs, gives no warning, no error, and nothing significant by accident."""
    baseline = np.full(len(differences), 0.5)
    with np.errstate(all="raise"):
        result = compare_paired(baseline + differences, baseline, True)
    assert result["pairs"] == len(differences)
    if expected == "identical":
        assert [result[name] for name in ("difference", "low", "high", "p", "effect")] == [0, 0, 0, 1, 0]
        assert (result["improvement"], result["won"]) == (0.5, 0.5)
    differences = np.array(differences)
    verdict, _ = judge(differences, result["p"], equivalence(differences, 0.01), True, 0.01, 1, True)
    assert verdict == expected


def test_advised_seeds_account_for_the_number_of_arms():
    """An undecided arm of three is advised the seeds for a third of the level."""
    undecided = standardised(10) * 0.01 + 0.008
    p = holm([sign_flip(undecided), 0.9, 0.9])
    verdict, n = judge(undecided, p[0], np.nan, True, 0.005, 3, False)
    assert verdict == "undecided" and n == seeds_to_differ(0.8, 0.05 / 3) > 10


@pytest.mark.slow
def test_an_undecided_arm_of_three_is_decided_by_the_advised_seeds(monkeypatch):
    """With as many seeds as advised, 75 to 86 % of studies of three arms call the better one better."""
    monkeypatch.setattr("pipeline.stats.permutation.MAX_EXACT", 14)
    monkeypatch.setattr("pipeline.stats.permutation.FLIPS", 4000)
    n, rng, studies = seeds_to_differ(0.8, 0.05 / 3), np.random.default_rng(5), 1000
    decided = 0
    for _ in range(studies):
        arms = rng.normal(size=(3, n)) * 0.01 + [[0.008], [0], [0]]
        p = holm([sign_flip(arm) for arm in arms])
        decided += judge(arms[0], p[0], np.nan, True, 0.005, 3, False)[0] == "better"
    assert 0.75 < decided / studies < 0.86
