"""Boundaries and spending functions, held to published tables and to simulation."""

import numpy as np
import pytest

from pipeline.stats.spending import boundaries, crossing, spent, unbiased_drift

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
GEOMETRIC = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


@pytest.mark.parametrize(
    ("spending", "alpha", "published"),
    [
        # Lan and DeMets 1983; Reboussin, DeMets, Kim and Lan 2000, "Computations for Group Sequential Boundaries"
        ("obrien_fleming", 0.05, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ("pocock", 0.05, (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_boundaries_are_the_published_ones(spending: str, alpha: float, published: tuple[float, ...]) -> None:
    """Five equal looks, level 0.05, two-sided."""
    assert boundaries(FIFTHS, alpha, spending) == pytest.approx(published, abs=2e-4)


def test_one_look_is_a_test_without_looks() -> None:
    """The boundary is the normal quantile, and the whole level is spent."""
    for spending in ("obrien_fleming", "pocock"):
        assert boundaries((1.0,), 0.05, spending) == pytest.approx([1.959964], abs=1e-6)
        assert spent([1.0], 0.05, spending, sides=1) == pytest.approx([0.05])


def test_constant_boundaries_spend_what_pocock_says() -> None:
    """Pocock 1977, table 1: |z| >= 2.413 at each of five equal looks has level 0.05; O'Brien and Fleming's 2.040."""
    assert crossing(FIFTHS, np.full(5, 2.413)).probability.sum() == pytest.approx(0.05, abs=1e-4)
    fleming = 2.040 / np.sqrt(FIFTHS)
    assert crossing(FIFTHS, fleming).probability.sum() == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("drift", [0.0, 1.5, 2.8])
def test_crossing_and_estimates_are_those_of_simulated_paths(drift: float) -> None:
    """Probabilities to end at each look, and the mean estimate at the end, over 200,000 normal paths."""
    z, rng = boundaries(GEOMETRIC, 0.05, "pocock"), np.random.default_rng(0)
    t = np.array(GEOMETRIC)
    steps = np.diff(t, prepend=0)
    scores = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (200_000, 5)), axis=1)
    crossed = np.abs(scores) >= z * np.sqrt(t)
    end = np.where(crossed.any(1), crossed.argmax(1), 4)
    computed = crossing(GEOMETRIC, z, drift)
    first = np.array([np.mean(crossed.any(1) & (end == k)) for k in range(5)])
    assert computed.probability == pytest.approx(first, abs=0.004)
    estimates = scores[np.arange(len(end)), end] / t[end]
    assert computed.estimate.sum() == pytest.approx(estimates.mean(), abs=4 * estimates.std() / np.sqrt(200_000))


def test_the_unbiased_drift_undoes_the_overstatement() -> None:
    """A drift that comes out as x on average is the estimate where x is observed; its sign is kept."""
    z = boundaries(GEOMETRIC, 0.05, "pocock")
    for drift in (0.7, 2.0, 4.0):
        observed = float(crossing(GEOMETRIC, z, drift).estimate.sum())
        assert observed > drift
        assert unbiased_drift(observed, GEOMETRIC, z) == pytest.approx(drift, abs=1e-4)
        assert unbiased_drift(-observed, GEOMETRIC, z) == pytest.approx(-drift, abs=1e-4)
    assert unbiased_drift(0.0, GEOMETRIC, z) == 0.0
