"""The sign-flip test over several looks: exact, and the ordinary one where there is one look."""

import itertools

import numpy as np
import pytest

from pipeline.stats.paired import holm
from pipeline.stats.permutation import sign_flip
from pipeline.stats.sequential import (
    Design,
    Paths,
    ending_looks,
    judge_look,
    levels_of,
    repeated_interval,
    sequential_p,
    stagewise_p,
    toss_signs,
    unbiased_mean,
    undeclared_looks_p,
)

DESIGN = Design((5, 8, 12), spending="pocock")


def all_paths(differences: np.ndarray, looks: tuple[int, ...]) -> Paths:
    """Every choice of signs once, that of no change first."""
    choices = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    sums = np.stack([choices[:, :n] @ differences[:n] for n in looks], axis=1)
    signs = np.stack([choices[:, :n].sum(1) for n in looks], axis=1).astype(float)
    return Paths(sums, signs, np.full(len(looks), 1e-12))


@pytest.mark.parametrize("name", ["normal", "discrete", "heavy"])
def test_no_more_than_alpha_of_all_signs_end_by_chance(name: str) -> None:
    """Of all 4,096 choices of signs, those that end by each look are never more than was spent, ties or not."""
    rng = np.random.default_rng(3)
    differences = {"normal": rng.normal(size=12), "discrete": rng.integers(-3, 4, 12) / 360.0,
                   "heavy": rng.standard_cauchy(12)}[name]  # fmt: skip
    paths = all_paths(differences, DESIGN.looks)
    for alpha in (0.05, 0.2):
        spent = DESIGN.spent(alpha, 3)
        ends, _ = ending_looks(np.abs(paths.sums), spent, paths.tolerance)
        shares = np.array([np.mean(ends <= k) for k in range(3)])
        assert np.all(shares <= spent + 1e-12)
        if name != "discrete":
            assert shares[-1] == pytest.approx(alpha, abs=2 / 4096)


def test_p_holds_at_every_look() -> None:
    """Over all choices of signs, p is at most a with probability a, for the smallest p over the looks too."""
    differences = np.random.default_rng(5).normal(size=9)
    design = Design((5, 7, 9), spending="pocock")
    paths = all_paths(differences, design.looks)
    smallest = np.ones(len(paths.sums))
    for k in (1, 2, 3):
        evidence = np.abs(paths.sums[:, :k])
        for row in range(len(smallest)):
            first = np.roll(evidence, -row, axis=0)  # each choice in turn is the observed one
            p = sequential_p(first, lambda level, k=k: design.spent(level, k), paths.tolerance[:k])
            smallest[row] = min(smallest[row], p)
    for level in (*np.unique(smallest), 0.02, 0.05, 0.1, 0.3):
        assert np.mean(smallest <= level) <= level + 1e-9


def test_one_look_is_the_sign_flip_test() -> None:
    """p_stagewise of one look is that of `sign_flip`, p at most 26 % above; the interval ends where p is alpha."""
    for mean in (0.3, 0.6, 0.9):
        differences = np.random.default_rng(2).normal(mean, 1, 11)
        result = judge_look(differences, (11,), Design((11,)))
        assert sign_flip(differences) <= result.p < 1.26 * sign_flip(differences)
    differences = np.random.default_rng(2).normal(0.6, 1, 11)
    result = judge_look(differences, (11,), Design((11,)))
    assert result.p_stagewise == pytest.approx(sign_flip(differences), abs=0.003)
    for end in repeated_interval(differences, (11,), Design((11,))):
        assert sign_flip(differences - end) == pytest.approx(0.05, abs=0.005)


def test_a_look_does_not_change_what_earlier_ones_said() -> None:
    """Signs of a seed are the same at every look, so the boundary of a past look is the same later."""
    differences = np.random.default_rng(0).normal(size=30)
    for n in (12, 20):
        early, late = toss_signs(differences, (10, n), paths=500), toss_signs(differences, (10, n, 30), paths=500)
        assert np.array_equal(early.sums, late.sums[:, :2])


@pytest.mark.parametrize("name", ["normal", "whole"])
def test_p_is_the_smallest_level_by_all_signs(name: str) -> None:
    """Held against counting, level by level, for two looks at six and nine seeds with and without ties."""
    rng = np.random.default_rng(7)
    differences = {"normal": rng.normal(0.8, 1, 9), "whole": rng.integers(-1, 5, 9).astype(float)}[name]
    design, paths = Design((6, 9), spending="pocock"), all_paths(differences, (6, 9))
    sums = np.abs(paths.sums)

    def ends(level: float) -> bool:
        """By hand: at each look the largest sums, as many as were spent, and ties together or not at all."""
        going = np.ones(len(sums), bool)
        for k, share in enumerate(design.spent(level, 2)):
            kept = sorted(sums[going, k], reverse=True)
            allowed = int(share * len(sums) + 1e-9) - int(np.sum(~going))
            ended = going & (sums[:, k] > kept[allowed] + 1e-9 if 0 <= allowed < len(kept) else allowed > 0)
            if ended[0]:
                return True
            going &= ~ended
        return False

    p, levels = judge_look(differences, (6, 9), design).p, levels_of(0.05)
    below = levels[levels < p][-1]
    assert p < 0.5 and p <= 1.26 * below and not ends(below)
    assert all(ends(level) for level in levels[levels >= p]) and p >= sign_flip(differences)


def test_no_p_is_below_that_of_the_same_seeds_alone() -> None:
    """Though an early look would have ended at a smaller level than a later one can show."""
    differences = np.array([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.1, -0.9, -1.0, -0.7, -0.8, 0.1, -0.9, -0.6, -1.0, -0.5])
    early, late = (judge_look(differences[:n], looks, Design((7, 16, 20), spending="pocock"))
                   for n, looks in ((7, (7,)), (16, (7, 16))))  # fmt: skip
    alone = sign_flip(differences)
    assert early.p < 0.1 < alone <= late.p and alone <= late.p_stagewise
    for mean in (0.0, 0.5, 1.0):
        some = np.random.default_rng(int(100 * mean)).normal(mean, 1, 16)
        for looks in ((5,), (5, 9), (5, 9, 16)):
            result = judge_look(some[: looks[-1]], looks, Design((5, 9, 16, 24)))
            assert min(result.p, result.p_stagewise) >= sign_flip(some[: looks[-1]])


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
def test_p_can_be_what_holm_compares_with_the_level(alpha: float) -> None:
    """Of any number of arms, one whose design ends at alpha over that number is decided."""
    for arms in range(1, 31):
        p = max(level for level in levels_of(alpha) if level <= alpha / arms)
        assert alpha / arms - p < 1e-15 and holm([p, *[1.0] * (arms - 1)])[0] <= alpha


def test_a_look_that_may_spend_nothing_excludes_nothing() -> None:
    """O'Brien and Fleming's first look at a sixteenth of the seeds: no p below 1, an interval without ends."""
    design = Design((10, 20, 40, 80, 160))
    assert repeated_interval(np.full(10, 1.0), (10,), design) == (-np.inf, np.inf)
    assert judge_look(np.full(10, 1.0), (10,), design).p > 0.05


def test_equal_differences_are_decided() -> None:
    """They have an interval of no width, and p as small as the level that may be spent."""
    result = judge_look(np.full(12, -0.1), (5, 8, 12), DESIGN, margin=0.2)
    assert result.p < 0.01 and result.p_equivalent < 0.01
    low, high = repeated_interval(np.full(12, -0.1), (5, 8, 12), DESIGN)
    assert -0.2 < low <= -0.1 <= high < 0.0


@pytest.mark.slow
def test_repeated_intervals_hold_the_true_difference() -> None:
    """All looks together, in at least 94.5 % of studies: heavy tails, and whole numbers of 360 rows."""
    rng, design = np.random.default_rng(1), Design((10, 20, 40), spending="pocock")
    for draw in (lambda: 0.4 + rng.standard_t(3, 40), lambda: 2 / 360 + rng.integers(-4, 5, 40) / 360):
        truth = 0.4 if draw().max() > 0.1 else 2 / 360
        held = 0
        for _ in range(200):
            differences = draw()
            intervals = [repeated_interval(differences, design.looks[:k], design, paths=400) for k in (1, 2, 3)]
            held += all(low <= truth <= high for low, high in intervals)
        assert held >= 200 * 0.905  # 0.945 less three standard errors of 200 studies


@pytest.mark.slow
def test_stopping_overstates_and_the_unbiased_mean_does_not() -> None:
    """Over studies that end where they cross, the mean at the end is too large; the corrected one is not."""
    rng, design, truth = np.random.default_rng(4), Design((10, 20, 40), spending="pocock"), 0.35
    ends = []
    for _ in range(250):
        differences = rng.normal(truth, 1, 40)
        tossed = toss_signs(differences, design.looks, paths=400)
        look = ending_looks(np.abs(tossed.sums), design.spent(0.05, 3), tossed.tolerance)[0][0]
        ends.append(differences[: design.looks[min(look, 2)]])
    plain = np.array([part.mean() for part in ends])
    corrected = np.array([unbiased_mean(part, design, 0.05) for part in ends])
    error = plain.std() / np.sqrt(len(plain))
    assert plain.mean() > truth + 2 * error
    assert abs(corrected.mean() - truth) < abs(plain.mean() - truth) / 2


def test_undeclared_looks_cost_what_they_add_by_chance() -> None:
    """One look costs nothing; of each further one, the corrected p is the chance that any would have shown it."""
    differences = np.random.default_rng(1).normal(0.5, 1, 20)
    p, level = undeclared_looks_p(differences[:12], (12,))
    assert p == pytest.approx(sign_flip(differences[:12]), abs=0.003) and level == pytest.approx(0.05, abs=0.001)
    twice, lower = undeclared_looks_p(differences[:12], (10, 12))
    assert p < twice < 2 * p and 0.025 < lower < 0.05
    many, lowest = undeclared_looks_p(differences, tuple(range(5, 21, 5)))
    assert lowest < lower and many > sign_flip(differences)


def test_stagewise_p_counts_what_ended_before() -> None:
    """It is at least the share that had ended before, and that share more than among those alone."""
    differences = np.random.default_rng(1).normal(0.2, 1, 12)
    paths = all_paths(differences, DESIGN.looks)
    spent = DESIGN.spent(0.05, 3)
    ends, _ = ending_looks(np.abs(paths.sums), spent, paths.tolerance)
    p = stagewise_p(np.abs(paths.sums), spent, paths.tolerance)
    extreme = np.abs(paths.sums[:, -1]) >= abs(differences.sum()) - 1e-12
    assert p == pytest.approx(np.mean((ends < 2) | extreme))


@pytest.mark.parametrize(("differences", "looks"), [
    ([2, -1, 1, 1, 2, -1, 3, 3, -3, -3, -3, 1], (6, 12)), ([0, 2, -2, 1, 2, 3, -2, 0, -3, -3], (8, 10)),
])  # fmt: skip
def test_the_level_of_undeclared_looks_is_held_with_ties(differences: list[int], looks: tuple[int, ...]) -> None:
    """By enumeration: of all signs, no more than alpha have a p that small at any look, also where many are tied."""
    values = np.array(differences) / 360
    _, level = undeclared_looks_p(values, looks)
    signs = np.array(list(itertools.product([1, -1], repeat=len(values))))
    sums = [np.abs(signs[:, :n] @ values[:n]) for n in looks]
    smallest = np.min([[np.mean(of_look >= s - 1e-12) for s in of_look] for of_look in sums], axis=0)
    assert 0.05 / len(looks) <= level <= 0.05 and np.mean(smallest <= level + 1e-12) <= 0.05


def test_few_seeds_are_enumerated() -> None:
    """Six seeds of one sign have p 2 / 64 at the first of two looks, which may spend a little less than that."""
    design = Design((6, 12), 0.05, "pocock")
    result = judge_look(np.array([0.1, 0.2, 0.15, 0.3, 0.25, 0.12]), (6,), design)
    assert result.p_stagewise == 2 / 64 > design.spent(0.05, 1)[0]
    assert result.p > 0.05
