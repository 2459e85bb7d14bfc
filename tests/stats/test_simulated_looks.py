"""What a declared design promises, in simulated studies: `python -m tests.benchmarks.sequential` in shorter sizes."""

import numpy as np
import pytest

from tests.benchmarks.beside_adastop import EFFECT as ADASTOP_EFFECT
from tests.benchmarks.beside_adastop import beside_adastop
from tests.benchmarks.bounds import declared, wald_bound
from tests.benchmarks.simulated import (
    EFFECT,
    LOOKS,
    SPENDINGS,
    coverage,
    equivalent,
    false_positives,
    naive_looks,
    power,
)


def noise(share: float, studies: int) -> float:
    """Two standard errors of a simulated share."""
    return 2 * np.sqrt(share * (1 - share) / studies)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "discrete", "t3", "Cauchy"])
def test_false_positives_keep_the_level(kind: str) -> None:
    """Five looks, one arm and any of seven arms, both spendings."""
    found = false_positives(kind, LOOKS, 250, paths=400)
    for spending in SPENDINGS:
        assert 0.02 < found[spending].one_arm <= 0.05 + noise(0.05, 250 * 3)  # arms share a baseline
        assert found[spending].any_arm <= 0.05 + noise(0.05, 250)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "discrete", "Cauchy"])
def test_repeated_intervals_cover_at_all_five_looks(kind: str) -> None:
    """In at least 94.5 % of studies, but for the noise of 300 of them."""
    for held in coverage(kind, 300, paths=400).values():
        assert held >= 0.95 - noise(0.95, 300)


@pytest.mark.slow
def test_power_and_seeds_are_those_of_normal_theory() -> None:
    """O'Brien and Fleming's looks cost hardly any power; Pocock's save more seeds; larger effects save more."""
    for times in (1, 1.5):
        found = power(times * EFFECT, 300)
        for spending in SPENDINGS:
            share, seeds = declared(LOOKS, spending, times * EFFECT * np.sqrt(LOOKS[-1]))
            assert found[spending].found == pytest.approx(share, abs=noise(share, 300) + 0.02)
            assert found[spending].seeds / LOOKS[-1] == pytest.approx(seeds, abs=0.05)
        assert found["obrien_fleming"].found >= found["fixed"].found - 0.03


def test_what_no_test_can_do() -> None:
    """Wald's bound at the errors of a fixed design, worked out by hand: (0.8 ln 32 + 0.2 ln 8/39) * 2 / 2.8016^2."""
    assert wald_bound(0.8) == pytest.approx(0.6258, abs=1e-4)
    assert wald_bound(0.77) == pytest.approx(0.5878, abs=1e-4)


@pytest.mark.slow
def test_looks_without_a_design_find_what_is_not_there() -> None:
    """Adding ten seeds until p < 0.05 finds a difference in every sixth study; a design with these looks in 5 %."""
    found = naive_looks(tuple(range(10, 161, 10)), 250, paths=400)
    assert found.naive > 0.15
    assert found.corrected <= 0.05 + noise(0.05, 250) and found.declared <= 0.05 + noise(0.05, 250)


@pytest.mark.slow
def test_pairs_save_seeds_beside_adastop() -> None:
    """With correlated seeds, fewer than AdaStop and than ours with the pairs broken up; both keep their level."""
    none, some = (beside_adastop(0.9, effect, 60) for effect in (0, ADASTOP_EFFECT))
    for name in ("pocock", "adastop"):
        assert none[name].found <= 0.05 + noise(0.05, 60)
    assert some["pocock"].found >= some["adastop"].found
    assert some["pocock"].seeds < 0.7 * min(some["adastop"].seeds, some["pocock, broken"].seeds)


@pytest.mark.slow
def test_equivalence_excludes_rare_failures() -> None:
    """One that fails on a tenth of its seeds is called equivalent in a third of studies of ten; by the rule, in 5 %."""
    assert equivalent(10, 0.1, 1000).plain == pytest.approx(0.9**10, abs=0.05)
    for seeds in (5, 10, 29, 40):
        assert equivalent(seeds, 0.1, 1000).ruled <= 0.9**29 + noise(0.05, 1000)
    assert equivalent(40, 0.0, 200).ruled > 0.99
