"""What is promised of each initializer is what Keras and this project draw, and a wrong draw is found out."""

import numpy as np
import pytest
from factories import FLAT, LSTM_LAYERS, build, layer, wide

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.config.keras_signatures import constructor_arguments, is_custom
from pipeline.models.initializers import custom
from pipeline.models.initializers.distributions import (
    audit_biases,
    check_drawn_values,
    expected_biases,
    expected_distribution,
    initializer_arguments,
)
from pipeline.models.initializers.registry import initializer_names
from pipeline.runtime.device import start_tensorflow

SEEDS = 60
# What a config must say, or what a layer would fill in.
GIVEN = {
    "Constant": {"value": 0.3},
    "RandomUniform": {"minval": -0.5, "maxval": 2.0},
    "RandomNormal": {"mean": 1.5, "stddev": 0.2},
    "TruncatedNormal": {"mean": -1.0, "stddev": 3.0},
    "VarianceScaling": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    "Orthogonal": {"gain": 2.0},
    "Identity": {"gain": 2.0},
    "FanInUniform": {"fan_in": 9},
    "SklearnUniform": {"fan_in": 9, "fan_out": 5},
    "RandomAsymmetric": {"fan_in": 4},
    "ClassPrior": {"values": [0.1, 0.2, 0.3]},
}
GATED = ("Chrono", "ForgetGate")


def drawn(class_name, config, shape):
    """(SEEDS draws, the config with every argument) of an initializer."""
    import keras

    module = custom if is_custom("initializers", class_name) else keras.initializers
    seeded = "seed" in constructor_arguments("initializers", class_name)
    made = [getattr(module, class_name)(**config, **({"seed": s} if seeded else {})) for s in range(SEEDS)]
    return np.stack([np.array(one(shape)) for one in made]), initializer_arguments(made[0])


@pytest.mark.parametrize("class_name", [name for name in initializer_names() if name not in GATED])
def test_the_promise_is_what_is_drawn(class_name):
    """The plan would name another distribution, mean, spread or limit than the initializer has."""
    shape = {"Orthogonal": (2, 30), "Identity": (5, 5), "ClassPrior": (3,)}.get(class_name, (50,))
    values, config = drawn(class_name, GIVEN.get(class_name, {}), shape)
    figures = expected_distribution(class_name, config, shape).figures()
    assert values.mean() == pytest.approx(figures["mean"], abs=max(5 * figures["std"] / values.size**0.5, 1e-6))
    assert values.std() == pytest.approx(figures["std"], rel=0.1, abs=1e-6)
    slack = 1e-5 * max(abs(figures["low"]), 1) if np.isfinite(figures["low"]) else 0
    assert figures["low"] - slack <= values.min()
    assert values.max() <= figures["high"] + slack
    for one in values:
        check_drawn_values("bias", expected_distribution(class_name, config, shape), one)


@pytest.mark.parametrize("class_name", ["LSTM", "GRU"])
@pytest.mark.parametrize("option", ["chrono", "forget_gate", "glorot", "ones", "lecun_normal"])
def test_gates_keep_their_promises(class_name, option):
    """A gate's promise would be another gate's, or Keras' ones on the forget gate be taken for a mistake."""
    body = LSTM_LAYERS % layer(class_name, name="it", units=300)
    overrides = ("model.name=one", f"model.layers={body}", f"bias_initializer={option}")
    models = [build(*overrides, seed=seed)[0] for seed in range(3)]
    audit_biases(models)
    found = list(expected_biases(models[0]))
    gates = [(role, gate) for vector, role, gate, _, _ in found if vector.layer == "it"]
    letters = "ifco" if class_name == "LSTM" else "zrh"
    assert gates == ([("", g) for g in letters] if class_name == "LSTM"
                     else [(r, g) for r in ("input", "recurrent") for g in letters])  # fmt: skip
    whole = np.concatenate([values.ravel() for vector, *_, values in found if vector.layer == "it"])
    np.testing.assert_array_equal(np.sort(whole), np.sort(extract_biases(models[0])["it/bias"].ravel()))


WRONG = {
    "too wide": lambda bias: bias * 1.01,  # beyond a limit in one of the seeds
    "too narrow": lambda bias: bias * 0.5,
    "shifted": lambda bias: bias * 0.5 + np.abs(bias).max() * 0.4,
    "zeros": np.zeros_like,
    "shuffled signs": np.abs,
    "not a number": lambda bias: np.where(np.arange(bias.size) == 3, np.nan, bias),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_draw_is_found_out(spoil):
    """A bias that was drawn from something else than the arm says would be trained, and called by the arm's name."""
    body = [layer("Flatten"), layer("Dense", name="it", units=100)]
    models = [build(*wide(body), "bias_initializer=glorot", seed=seed)[0] for seed in range(4)]
    audit_biases(models)
    for model in models:
        bias = model.get_layer("it").bias
        bias.assign(spoil(np.array(bias.value)))
    with pytest.raises(ArithmeticError, match=r"^it/bias: promised uniform with mean 0, std 0.1, from -0.1732 to 0.17"):
        audit_biases(models)


ROUGH = {"a little too wide": 2**0.5, "a little too narrow": 0.7}


@pytest.mark.parametrize("factor", ROUGH.values(), ids=ROUGH.keys())
def test_a_wrong_variance_is_found_out(factor):
    """He's variance would pass for Glorot's: half of it, or twice."""
    values = np.float32(np.random.default_rng(0).normal(0, factor, 640))
    with pytest.raises(ArithmeticError, match="promised normal"):
        check_drawn_values("bias", expected_distribution("RandomNormal", {"mean": 0.0, "stddev": 1.0}, (64,)), values)


@pytest.mark.parametrize(
    "class_name", ["RandomUniform", "RandomNormal", "TruncatedNormal", "RandomAsymmetric", "HeNormal"]
)
def test_right_draws_raise_no_alarm(class_name):
    """One of many sweeps would fail by chance, small and skewed biases above all."""
    for n in (1, 2, 5, 64):
        for _ in range(10):
            values, config = drawn(class_name, GIVEN.get(class_name, {}), (n,))
            promised = expected_distribution(class_name, config, (n,))
            for one in values[:15]:
                check_drawn_values("bias", promised, one)


def test_seeds_that_draw_the_same_raise_no_alarm():
    """An initializer with a seed of its own draws the same for all seeds, which is no sign of a wrong distribution."""
    options = ("bias_initializer=glorot", "+bias_initializer.config.seed=1")
    audit_biases([build(*options, seed=seed)[0] for seed in range(20)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("option", ["relu_small", "glorot", "he_normal"])
def test_half_precision_raises_no_alarm(dtype, option):
    """A rounded constant or limit would pass for a wrong one."""
    body = [FLAT, layer("Dense", units=64, dtype=dtype)]
    audit_biases([build(*wide(body), f"bias_initializer={option}", seed=seed)[0] for seed in range(4)])


def test_identity_fills_the_two_rows_of_a_gru():
    """The only layer that its file names would always fail the audit."""
    body = LSTM_LAYERS % layer("GRU", name="it", units=4)
    options = ("model.name=one", f"model.layers={body}", "bias_initializer=identity", "bias_layers=[it]")
    model, _ = build(*options)
    audit_biases([model])
    means = [promised.figures()["mean"] for v, _, _, promised, _ in expected_biases(model) if v.layer == "it"]
    assert means == [0.25, 0, 0, 0.25, 0, 0]


UNUSUAL = {
    "no spread": ("RandomNormal", {"mean": 1.0, "stddev": 0.0}),
    "no spread to cut": ("TruncatedNormal", {"mean": 1.0, "stddev": 0.0}),
    "a spread below 0": ("RandomNormal", {"mean": 0.0, "stddev": -2.0}),
    "limits the other way round": ("RandomUniform", {"minval": 1.0, "maxval": -1.0}),
    "a value for each": ("Constant", {"value": [1, 2, 3, 4, 5, 6]}),
    "an Orthogonal of nothing": ("Orthogonal", {"gain": 0.0}),
}


@pytest.mark.parametrize(("class_name", "config"), UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_keras_draws_of_a_layers_own_initializer_raises_no_alarm(class_name, config):
    """A layer's own initializer, which Keras accepts, would fail every run or end the plan in a traceback."""
    shape = (6, 6) if class_name == "Orthogonal" else (6,)
    values, arguments = drawn(class_name, config, shape)
    promised = expected_distribution(class_name, arguments, shape)
    assert not np.isnan(list(promised.figures().values())).any()
    for one in values:
        check_drawn_values("bias", promised, one)
    with pytest.raises(ArithmeticError):
        check_drawn_values("bias", promised, values[0] + 9)


def test_one_wrong_seed_is_found_out():
    """Among many seeds, a single one that starts elsewhere would hide."""
    models = [build("bias_initializer=he_normal", seed=seed)[0] for seed in range(6)]
    models[4].layers[1].bias.assign(np.zeros(64))
    with pytest.raises(ArithmeticError, match="dense/bias: promised truncated normal"):
        audit_biases(models)


def test_a_mismatch_fails_the_run(cli, monkeypatch, tmp_path):
    """A sweep would store runs under an arm's name whose biases are not that arm's."""
    from pipeline.models.build import build_model

    start_tensorflow("cpu")
    right = build_model

    def wrong(*args):
        model = right(*args)
        if model.layers[-1].bias_initializer.__class__.__name__ == "Ones":
            model.layers[-1].bias.assign(np.full(3, 0.5))
        return model

    monkeypatch.setattr("pipeline.experiment.check.build_model", wrong)
    small = ("data=iris", "model=linear", "seeds=2", "tracking=none")
    said = cli("-m", *small, "bias_initializer=zeros,ones")
    assert said.code == 1
    assert "failed: " in said.err and "bias_initializer=ones: " in said.err
    assert "output/bias: promised constant with mean 1, std 0, from 1 to 1; drawn mean 0.5" in said.err
    assert [p.name for p in (tmp_path / "results" / "iris-linear").iterdir() if p.is_dir()] == ["zeros"]


def test_the_audit_looks_at_every_bias():
    """A bias of the default models would be left out of plan and audit."""
    for model in ("mlp", "cnn", "lstm"):
        built, _ = build(f"model={model}", "bias_initializer=glorot")
        assert {v.path for v, *_ in expected_biases(built)} == set(bias_variables(built))
