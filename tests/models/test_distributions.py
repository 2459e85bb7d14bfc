"""What is expected of each initializer of Keras is what Keras draws, and gates get their own expectations."""

import numpy as np
import pytest
from factories import LSTM_LAYERS, build, draws, layer

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.models.initializers.audit import audit_biases, check_drawn_values
from pipeline.models.initializers.distributions import expected_biases, expected_distribution
from pipeline.models.initializers.registry import initializer_names, is_custom_initializer

# Arguments without a usable default, and some that differ from it.
ARGUMENTS = {
    "Constant": {"value": 0.3},
    "RandomUniform": {"minval": -0.5, "maxval": 2.0},
    "RandomNormal": {"mean": 1.5, "stddev": 0.2},
    "TruncatedNormal": {"mean": -1.0, "stddev": 3.0},
    "VarianceScaling": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    "Orthogonal": {"gain": 2.0},
    "Identity": {"gain": 2.0},
}


@pytest.mark.parametrize("class_name", [name for name in initializer_names() if not is_custom_initializer(name)])
def test_keras_draws_from_the_expected_distribution(class_name):
    """Mean, spread and limits of 60 draws fit, and each draw passes the audit."""
    shape = {"Orthogonal": (2, 30), "Identity": (5, 5)}.get(class_name, (50,))
    initializer, values = draws(class_name, ARGUMENTS.get(class_name, {}), shape)
    expected = expected_distribution(initializer, shape)
    figures = expected.figures()
    assert values.mean() == pytest.approx(figures["mean"], abs=max(5 * figures["std"] / values.size**0.5, 1e-6))
    assert values.std() == pytest.approx(figures["std"], rel=0.1, abs=1e-6)
    slack = 1e-5 * max(abs(figures["low"]), 1) if np.isfinite(figures["low"]) else 0
    assert figures["low"] - slack <= values.min() and values.max() <= figures["high"] + slack
    for one in values:
        check_drawn_values("bias", expected, one)


@pytest.mark.parametrize("class_name", ["LSTM", "GRU"])
@pytest.mark.parametrize("option", ["chrono", "forget_gate", "glorot", "ones", "lecun_normal"])
def test_each_gate_is_drawn_as_expected(class_name, option):
    """The parts of a fused bias are its gates, in order, and Keras' ones on the forget gate are expected."""
    body = LSTM_LAYERS % layer(class_name, name="it", units=300)
    overrides = ("model.name=one", f"model.layers={body}", f"bias_initializer={option}")
    models = [build(*overrides, seed=seed)[0] for seed in range(2)]
    audit_biases(models)
    parts = [part for part in expected_biases(models[0]) if part.bias.layer == "it"]
    if class_name == "LSTM":
        assert [(part.role, part.gate) for part in parts] == [("", gate) for gate in "ifco"]
    else:
        assert [(part.role, part.gate) for part in parts] == [(r, g) for r in ("input", "recurrent") for g in "zrh"]
    whole = np.concatenate([part.values.ravel() for part in parts])
    np.testing.assert_array_equal(whole, extract_biases(models[0])["it/bias"].ravel())


def test_identity_fills_the_two_rows_of_a_gru():
    """Identity fits a GRU's (2, 3 * units), the shape that its configuration file is made for."""
    body = LSTM_LAYERS % layer("GRU", name="it", units=4)
    options = ("model.name=one", f"model.layers={body}", "bias_initializer=identity", "bias_layers=[it]")
    model, _ = build(*options)
    audit_biases([model])
    means = [part.expected.figures()["mean"] for part in expected_biases(model) if part.bias.layer == "it"]
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
def test_arguments_that_only_a_model_file_can_have_are_expected_too(class_name, config):
    """What Keras accepts for a layer's own initializer is audited like the rest, and a shifted value is noticed."""
    shape = (6, 6) if class_name == "Orthogonal" else (6,)
    initializer, values = draws(class_name, config, shape)
    expected = expected_distribution(initializer, shape)
    assert not np.isnan(list(expected.figures().values())).any()
    for one in values:
        check_drawn_values("bias", expected, one)
    with pytest.raises(ArithmeticError):
        check_drawn_values("bias", expected, values[0] + 9)


def test_expectations_cover_every_bias():
    """No bias of the default models is left out of plan and audit."""
    for model in ("mlp", "cnn", "lstm"):
        built, _ = build(f"model={model}", "bias_initializer=glorot")
        assert {part.bias.path for part in expected_biases(built)} == set(bias_variables(built))
