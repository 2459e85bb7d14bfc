"""The closed forms of published claims, each against a computation by brute force."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import binom

from pipeline.analysis.known import KNOWN
from pipeline.analysis.known.born_dead import binomial_interval, dead_share
from pipeline.analysis.known.edge_of_chaos import correlation_length, fixed_variance
from pipeline.analysis.known.gates import MEMORYLESS
from pipeline.analysis.known.mean_target import expected_bias
from pipeline.analysis.known.need_a_bias import circles_loss_floor, parabola_floor
from pipeline.analysis.known.prior_bias import entropy, expected_loss
from pipeline.config.schema import CLAIMS, CONF
from pipeline.data.generated import adding, circles, copying, parabola


def test_every_claim_has_an_experiment_and_sources() -> None:
    """The setting's values, the claims and the files that name one are the same; each says what would falsify it."""
    files = {path.stem for path in CONF.glob("experiment/*.yaml") if "\nclaim: " in path.read_text()}
    assert set(CLAIMS) == set(KNOWN) == files
    for name, claim in KNOWN.items():
        text = (CONF / "experiment" / f"{name}.yaml").read_text()
        assert f"\nclaim: {name}\n" in text and claim.name == name
        assert all(word in text for word in (f"experiment={name}", "pipeline.compare", "Source", "Takes", "Expect"))
        assert claim.sources and claim.falsified_by and claim.derivation


def test_mean_target_is_gradient_descent() -> None:
    """Twenty steps of gradient descent on random rows whose features have a mean of 0."""
    rng = np.random.default_rng(0)
    x, y, w, b, rate = rng.standard_normal((30, 4)), rng.standard_normal(30) + 5, rng.standard_normal(4), 3.0, 0.05
    x -= x.mean(0)
    biases = [b]
    for _ in range(20):
        error = x @ w + b - y
        w, b = w - rate * 2 * x.T @ error / 30, b - rate * 2 * error.mean()
        biases.append(b)
    np.testing.assert_allclose(biases, expected_bias(3.0, y.mean(), rate, np.arange(21)), rtol=1e-12)


def test_first_loss_is_lowest_at_the_log_odds() -> None:
    """It is log 2 at 0, the entropy at the log odds, and higher everywhere else."""
    share = 0.013
    biases = np.linspace(-9, 3, 2001)
    losses = [expected_loss(bias, share) for bias in biases]
    odds = np.log(share / (1 - share))
    assert expected_loss(0.0, share) == pytest.approx(np.log(2))
    assert min(losses) >= entropy(share) == pytest.approx(expected_loss(odds, share))
    assert biases[int(np.argmin(losses))] == pytest.approx(odds, abs=0.006)


def test_floors_are_those_of_the_best_homogeneous_function() -> None:
    """The parabola's by integration, the circles' over a grid of logits; the circles' pairs are exact in float32."""
    dense = (np.arange(200_000) + 0.5) / 100_000 - 1
    assert parabola_floor(dense, dense**2) == pytest.approx(1 / 80, abs=1e-9)
    x, y = parabola()
    assert parabola_floor(x[:, 0], y) >= 1 / 80
    z = np.linspace(-5, 5, 200_001)
    assert circles_loss_floor() == pytest.approx((np.logaddexp(0, z) + np.logaddexp(0, -z / 2)).min() / 2, abs=1e-9)
    points, codes = circles()
    np.testing.assert_array_equal(points[codes == 1] * 2, points[codes == 0])


def test_dead_share_is_that_of_random_networks() -> None:
    """4,000 random networks of width 2 and depth 5, and the exact interval against its definition."""
    rng = np.random.default_rng(0)
    h = np.ones((4000, 1))
    for fan_in in (1, 2, 2, 2, 2):
        h = np.maximum(np.einsum("ni,nij->nj", h, rng.standard_normal((4000, fan_in, 2))), 0)
    assert (~h.any(1)).mean() == pytest.approx(dead_share(2, 5), abs=0.02)
    low, high = binomial_interval(7, 30)
    assert binom.sf(6, 30, low) == pytest.approx(0.025) and binom.cdf(7, 30, high) == pytest.approx(0.025)
    assert binomial_interval(0, 30)[0] == 0 and binomial_interval(30, 30)[1] == 1


@pytest.mark.parametrize(("kernels", "biases"), [(1.5, 0.0), (1.5, 0.5), (2.5, 0.3)])
def test_fixed_points_are_those_of_adaptive_integration(kernels: float, biases: float) -> None:
    """q* by bisection over scipy's quad; the length, in the ordered phase, from chi_1 = kernels E[tanh'^2]."""

    def mean(f: Callable[[float], float]) -> float:
        return quad(lambda z: f(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -9, 9)[0]

    q = brentq(lambda q: kernels * mean(lambda z: np.tanh(np.sqrt(q) * z) ** 2) + biases - q, 1e-3, 20)
    assert fixed_variance(kernels, biases) == pytest.approx(q, rel=1e-6)
    chi = kernels * mean(lambda z: np.cosh(np.sqrt(q) * z) ** -4)
    if chi < 1:
        assert correlation_length(kernels, biases) == pytest.approx(-1 / np.log(chi), rel=1e-4)
    else:
        assert 0 < correlation_length(kernels, biases) < np.inf  # c* < 1 is stable there


def test_what_a_model_without_memory_reaches() -> None:
    """The least loss of one constant answer on each task's rows; the rows say what they are made of."""
    x, y = adding()
    assert (x[:, :, 1].sum(1) == 2).all() and (x[:, :20, 1].sum(1) == 1).all()
    np.testing.assert_allclose(y, (x[:, :, 0] * x[:, :, 1]).sum(1), rtol=1e-6)
    assert y.var() == pytest.approx(MEMORYLESS["adding"], rel=0.05) == pytest.approx(1 / 6, rel=0.05)
    x, codes = copying()
    np.testing.assert_array_equal(x[:, 0].argmax(1), codes)
    assert (x[:, 10:30, 8] == 1).all() and (x[:, 30, 9] == 1).all() and (x[:, :10, :8].sum(2) == 1).all()
    shares = np.bincount(codes) / len(codes)
    assert -(shares * np.log(shares)).sum() == pytest.approx(MEMORYLESS["copying"], rel=0.002)
