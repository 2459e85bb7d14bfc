"""Arms at their best: no seed chooses and judges, and missing the best value never makes a difference."""

import numpy as np
import pytest
from factories import share

from pipeline.stats.paired import holm
from pipeline.stats.permutation import sign_flip
from pipeline.stats.tuning import Tuned, choose_and_judge, compare_tuned, equivalent_tuned, hardest_differences

STUDIES = 120


def grid(gap: float, best: int) -> np.ndarray:
    """True means of an arm at five values: 0 at its best one, and a gap less with each step away from it."""
    return -gap * np.abs((np.arange(5.0) - best + 2) % 5 - 2)


def studies(seed: int, n: int, curves: list[np.ndarray], count: int = STUDIES):
    """Simulated studies: validation and test metrics [seeds, arms, values], whose errors within a run correlate."""
    rng = np.random.default_rng(seed)
    shape = (n, len(curves), len(curves[0]))
    for _ in range(count):
        run, errors = rng.normal(0, 0.5**0.5, shape), rng.normal(0, 0.5**0.5, (2, *shape))
        yield np.stack(curves) + rng.normal(0, 1, (n, 1, 1)) + run + errors


def tuned(validation: np.ndarray, test: np.ndarray) -> list[Tuned]:
    return [choose_and_judge(validation[:, arm], test[:, arm], True) for arm in range(test.shape[1])]


def test_each_half_is_judged_at_the_value_that_the_other_chose():
    """Seeds 0 and 2 are best at the second value, 1 and 3 at the first: each half gets what suits the other."""
    validation = np.array([[0.1, 0.9], [0.8, 0.2], [0.2, 0.9], [0.9, 0.1]])
    test = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    result = choose_and_judge(validation, test, True)
    assert result.chosen == (0, 1) and result.judged.tolist() == [1, 4, 5, 8]
    assert choose_and_judge(-validation, test, False).chosen == (0, 1)


def test_no_seed_has_a_part_in_choosing_its_value():
    """Whatever a seed's validation metrics are, its own judged value stays as it is."""
    rng = np.random.default_rng(0)
    validation, test = rng.normal(size=(2, 9, 4))
    judged = choose_and_judge(validation, test, True).judged
    for seed in range(9):
        changed = validation.copy()
        changed[seed] = rng.normal(0, 100, 4)
        assert choose_and_judge(changed, test, True).judged[seed] == judged[seed]


def test_of_equal_values_the_first_is_chosen():
    """Means that differ by rounding alone are equal: 0.1 + 0.2 is 0.3."""
    validation = np.array([[0.3, 0.1 + 0.2, 0.2]] * 4)
    assert choose_and_judge(validation, validation, True).chosen == (0, 0)
    assert choose_and_judge(-validation, validation, False).chosen == (0, 0)


def test_judging_on_other_seeds_is_not_optimistic():
    """Of five equally good values the judged one is no better than any; chosen and judged on the same seeds it is."""
    ours, same, same_runs = [], [], []
    for validation, test in studies(0, 10, [np.zeros(5)], 400):
        ours.append(tuned(validation, test)[0].judged.mean())
        same.append(test[:, 0].mean(axis=0).max())
        same_runs.append(test[:, 0, validation[:, 0].mean(axis=0).argmax()].mean())
    error = np.std(ours) / len(ours) ** 0.5
    assert abs(np.mean(ours)) < 3 * error
    assert 0.3 < np.mean(same) < 0.45  # standard deviations of a run: by the test metric itself
    assert 0.1 < np.mean(same_runs) < 0.25  # by the validation metric of the same runs, which shares their luck


@pytest.mark.parametrize("gap", share([0.75, 0.25, 1.5]))
def test_arms_that_differ_by_their_best_value_alone_do_not_differ_at_their_best(gap: float):
    """A difference is found in at most 5 % of studies, whether or not the seeds can tell the values apart."""
    found = 0
    for validation, test in studies(1, 10, [grid(gap, best) for best in (1, 2, 3)]):
        base, *others = tuned(validation, test)
        found += min(holm([_p(arm, base) for arm in others])) <= 0.05
    assert found / STUDIES <= 0.05


def test_the_judged_differences_alone_would_find_what_is_not_there():
    """Where half of the seeds misses the best value, all that are judged there suffer: signs are not exchangeable."""
    naive = 0
    for validation, test in studies(1, 20, [grid(0.75, best) for best in (1, 2, 3)]):
        base, *others = tuned(validation, test)
        naive += min(holm([_rough_p(arm.judged - base.judged) for arm in others])) <= 0.05
    assert naive / STUDIES > 0.08


def _rough_p(differences: np.ndarray) -> float:
    """The sign-flip p of 20 differences from every 16th choice of signs, which is quick."""
    signs = np.random.default_rng(0).choice([-1, 1], (4000, len(differences)))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum())))


def _p(arm: Tuned, base: Tuned) -> float:
    """The p of `compare_tuned`, without its intervals, which take longer."""
    above = [arm.judged - column for column in base.test.T]
    below = [base.judged - column for column in arm.test.T]
    return min(max(sign_flip(d) if d.mean() > 0 else 1.0 for d in side) for side in (above, below))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.2])
def test_the_interval_holds_the_true_difference_of_the_bests(shift: float):
    """It holds it in at least 95 % of studies, and p is that of the rule which the module states."""
    held = 0
    for validation, test in studies(2, 10, [grid(0.75, 1), grid(0.75, 2) + shift], 60):
        base, arm = tuned(validation, test)
        result = compare_tuned(arm, base, True)
        held += result["low"] <= shift <= result["high"]
        assert result["p"] == pytest.approx(_p(arm, base))
        assert result["difference"] == pytest.approx((arm.judged - base.judged).mean())
    assert held / 60 >= 0.95


@pytest.mark.slow
def test_a_difference_at_the_best_is_found():
    """An arm that is better at its best by twice a run's deviation is found in most studies, in the right direction."""
    found = 0
    for validation, test in studies(3, 10, [grid(1.5, 1), grid(1.5, 3) + 2], 50):
        base, arm = tuned(validation, test)
        result = compare_tuned(arm, base, True)
        found += result["p"] <= 0.05 and result["low"] > 0
    assert found >= 45


def test_equivalence_allows_for_a_missed_value():
    """Arms are equivalent if neither's values beat the other's judged ones by the margin."""
    rng = np.random.default_rng(4)
    base = np.column_stack([np.zeros(10), np.full(10, -1.0)]) + rng.normal(0, 0.01, (10, 2))
    alike = choose_and_judge(base, base, True)
    assert equivalent_tuned(alike, alike, 0.1) < 0.001
    missed = Tuned(base, base[:, 1], (1, 1))  # as if both halves had missed the best value
    assert equivalent_tuned(missed, missed, 0.1) > 0.9


def test_the_seeds_that_an_arm_takes_follow_from_the_value_that_is_hardest_to_pass() -> None:
    """Of the baseline's values the best one; where it is better than the arm, only equality can be shown."""
    rng = np.random.default_rng(5)
    base = np.column_stack([np.zeros(10), np.full(10, 0.3)]) + rng.normal(0, 0.01, (10, 2))
    missed = Tuned(base, base[:, 0], (0, 0))
    arm = np.column_stack([np.full(10, 0.5), np.zeros(10)])
    better = Tuned(arm, arm[:, 0], (0, 0))
    assert hardest_differences(better, missed).mean() == pytest.approx(0.2, abs=0.02)
    assert hardest_differences(missed, better).mean() == pytest.approx(-0.2, abs=0.02)
    between = Tuned(arm - 0.4, arm[:, 0] - 0.4, (0, 0))
    assert hardest_differences(between, missed).mean() == pytest.approx(0, abs=1e-12)
