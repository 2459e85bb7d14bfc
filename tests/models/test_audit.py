"""Biases that were not drawn from their initializer's distribution stop the run; right draws never do."""

import numpy as np
import pytest
from factories import FLAT, build, draws, layer, wide

from pipeline.models.initializers.audit import audit_biases, check_drawn_values
from pipeline.models.initializers.distributions import expected_distribution, normal
from pipeline.runtime.device import start_tensorflow

WRONG = {
    "too wide": lambda bias: bias * 1.01,  # beyond a limit in one of the seeds
    "too narrow": lambda bias: bias * 0.5,
    "shifted": lambda bias: bias * 0.5 + np.abs(bias).max() * 0.4,
    "zeros": np.zeros_like,
    "shuffled signs": np.abs,
    "not a number": lambda bias: np.where(np.arange(bias.size) == 3, np.nan, bias),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_draw_is_noticed(spoil):
    """Each kind of change to the drawn biases fails the audit."""
    body = [layer("Flatten"), layer("Dense", name="it", units=100)]
    models = [build(*wide(body), "bias_initializer=glorot", seed=seed)[0] for seed in range(4)]
    audit_biases(models)
    for model in models:
        bias = model.get_layer("it").bias
        bias.assign(spoil(np.array(bias.value)))
    with pytest.raises(ArithmeticError, match=r"^it/bias: expected uniform with mean 0, std 0.1, from -0.1732 to 0.17"):
        audit_biases(models)


@pytest.mark.parametrize("factor", [2**0.5, 0.7])
def test_a_wrong_variance_is_noticed(factor):
    """Twice or half the variance, as He's is to Glorot's, fails the audit."""
    values = np.float32(np.random.default_rng(0).normal(0, factor, 640))
    with pytest.raises(ArithmeticError, match="expected normal"):
        check_drawn_values("bias", normal(0.0, 1.0), values)


@pytest.mark.parametrize("n", [1, 2, 5, 64])
@pytest.mark.parametrize(
    ("class_name", "config"),
    [("RandomUniform", {}), ("RandomNormal", {}), ("TruncatedNormal", {}), ("HeNormal", {}),
     ("RandomAsymmetric", {"fan_in": 4})],
)  # fmt: skip
def test_right_draws_pass(class_name, config, n):
    """Biases of few units and of skewed distributions pass, for each of 60 seeds."""
    initializer, values = draws(class_name, config, (n,))
    expected = expected_distribution(initializer, (n,))
    for one in values:
        check_drawn_values("bias", expected, one)


def test_seeds_that_draw_the_same_pass():
    """An initializer with a fixed seed draws the same for all seeds, which counts as one draw."""
    options = ("bias_initializer=glorot", "+bias_initializer.config.seed=1")
    audit_biases([build(*options, seed=seed)[0] for seed in range(20)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("option", ["relu_small", "glorot", "he_normal"])
def test_rounded_values_pass(dtype, option):
    """Constants and limits may be rounded to the layer's precision."""
    body = [FLAT, layer("Dense", units=64, dtype=dtype)]
    audit_biases([build(*wide(body), f"bias_initializer={option}", seed=seed)[0] for seed in range(4)])


def test_one_wrong_seed_is_noticed():
    """A single wrong seed fails the audit of all."""
    models = [build("bias_initializer=he_normal", seed=seed)[0] for seed in range(6)]
    models[4].layers[1].bias.assign(np.zeros(64))
    with pytest.raises(ArithmeticError, match="dense/bias: expected truncated normal"):
        audit_biases(models)


def test_a_mismatch_fails_the_run(cli, monkeypatch, tmp_path):
    """No run is stored under an arm's name with biases that are not that arm's; the other arms are trained."""
    from pipeline.models.build import build_model

    start_tensorflow("cpu")
    right = build_model

    def wrong(*args):
        model = right(*args)
        if model.layers[-1].bias_initializer.__class__.__name__ == "Ones":
            model.layers[-1].bias.assign(np.full(3, 0.5))
        return model

    monkeypatch.setattr("pipeline.experiment.check.build_model", wrong)
    small = ("data=iris", "model=linear", "seeds=2", "training.epochs=1", "training.xla=false", "tracking=none")
    result = cli("-m", *small, "bias_initializer=zeros,ones")
    assert result.code == 1
    assert "failed: " in result.err and "bias_initializer=ones: " in result.err
    assert "output/bias: expected constant with mean 1, std 0, from 1 to 1; drawn mean 0.5" in result.err
    arms = [path.name.partition(",")[0] for path in (tmp_path / "results" / "iris-linear").iterdir() if path.is_dir()]
    assert arms == ["zeros"]
