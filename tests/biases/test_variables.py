"""Each variable of each Keras layer is what `WEIGHTS` says: its biases and no others are found.

The expected biases are named by public attributes of the layers (`layer.bias`, `layer.cell.bias`).
"""

import numpy as np
import pytest
from keras_files import chain, randomize

from pipeline.biases.extraction import bias_variables, extract_biases, find_biases
from pipeline.biases.introspection import direct_sublayers
from pipeline.biases.tables import describe_biases
from pipeline.biases.variables import GATES, Bias, has_gates, initializer_name, join_path, unique_paths

LSTM_GATES, GRU_GATES = "ifco", "zrh"


def _layer(layer):
    return {"bias": layer.bias}


def _cell(layer):
    return {"bias": layer.cell.bias}


def _cells(layer):
    return {f"{cell.name}/bias": cell.bias for cell in layer.cell.cells}


def _both(layer):
    sides = (layer.forward_layer, layer.backward_layer)
    return {f"{side.name}/bias": side.cell.bias for side in sides}


def _wrapped(layer):
    return {f"{layer.layer.name}/bias": layer.layer.bias}


# By name: the input's shape, what makes the layer (b: with or without a bias), its biases by path, its gates.
BIAS = {
    "Dense": ((5,), lambda L, b: L.Dense(3, use_bias=b), _layer, ""),
    "EinsumDense": ((4, 5), lambda L, b: L.EinsumDense("abc,cd->abd", (4, 3), bias_axes="bd" if b else None), _layer,
                    ""),
    **{f"Conv{d}D": ((7,) * d + (2,), lambda L, b, d=d: getattr(L, f"Conv{d}D")(3, 2, use_bias=b), _layer, "")
       for d in (1, 2, 3)},
    **{f"Conv{d}DTranspose": ((4,) * d + (2,), lambda L, b, d=d: getattr(L, f"Conv{d}DTranspose")(3, 2, use_bias=b),
                              _layer, "") for d in (1, 2, 3)},
    **{f"{kind}Conv{d}D": ((7,) * d + (2,),
                           lambda L, b, d=d, kind=kind: getattr(L, f"{kind}Conv{d}D")(
                               **({"filters": 3} if kind == "Separable" else {}), kernel_size=2, depth_multiplier=2,
                               use_bias=b), _layer, "")
       for d in (1, 2) for kind in ("Depthwise", "Separable")},
    "SimpleRNN": ((4, 3), lambda L, b: L.SimpleRNN(2, use_bias=b), _cell, ""),
    "LSTM": ((4, 3), lambda L, b: L.LSTM(2, use_bias=b), _cell, LSTM_GATES),
    "GRU, reset after": ((4, 3), lambda L, b: L.GRU(2, use_bias=b), _cell, GRU_GATES),
    "GRU, reset before": ((4, 3), lambda L, b: L.GRU(2, reset_after=False, use_bias=b), _cell, GRU_GATES),
    "LSTM with dropout": ((4, 3), lambda L, b: L.LSTM(2, dropout=0.5, use_bias=b), _cell, LSTM_GATES),
    **{f"ConvLSTM{d}D": ((3,) + (5,) * d + (2,),
                         lambda L, b, d=d: getattr(L, f"ConvLSTM{d}D")(3, 2, use_bias=b), _cell, LSTM_GATES)
       for d in (1, 2, 3)},
    "RNN of one cell": ((4, 3), lambda L, b: L.RNN(L.LSTMCell(2, use_bias=b)), _cell, LSTM_GATES),
    "RNN of stacked cells": ((4, 3), lambda L, b: L.RNN([L.LSTMCell(2, use_bias=b), L.LSTMCell(3, use_bias=b)]),
                             _cells, LSTM_GATES),
    "Bidirectional": ((4, 3), lambda L, b: L.Bidirectional(L.LSTM(2, use_bias=b)), _both, LSTM_GATES),
    "Bidirectional of two": ((4, 3), lambda L, b: L.Bidirectional(
        L.GRU(2, use_bias=b), backward_layer=L.GRU(2, go_backwards=True, use_bias=b, name="back")), _both, GRU_GATES),
    "TimeDistributed": ((4, 3), lambda L, b: L.TimeDistributed(L.Dense(2, use_bias=b)), _wrapped, ""),
    "SpectralNormalization": ((3,), lambda L, b: L.SpectralNormalization(L.Dense(2, use_bias=b)), _wrapped, ""),
    "wrapper in a wrapper": ((4, 3), lambda L, b: L.TimeDistributed(L.SpectralNormalization(
        L.Dense(2, use_bias=b, name="in"), name="mid")), lambda layer: {"mid/in/bias": layer.layer.layer.bias}, ""),
}  # fmt: skip


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", BIAS)
def test_a_layer_has_the_biases_that_its_attributes_hold(keras, name, use_bias):
    """All of them are found, with their gates; built without a bias, the layer has the same entries as absent."""
    shape, make, attributes, gates = BIAS[name]
    layer = make(keras.layers, use_bias)
    model = chain(keras, shape, layer)
    randomize(model.variables)
    expected = {f"{layer.name}/{path}": variable for path, variable in attributes(layer).items()}
    table = describe_biases(model)
    if not use_bias:
        assert extract_biases(model) == {}
        assert list(table["variable"]) == list(expected) and set(table["kind"]) == {"absent"}
        assert table["mean"].isna().all() and not table["trainable"].any()
        return
    variables = bias_variables(model)
    assert list(variables) == list(expected) and all(variables[path] is expected[path] for path in expected)
    for path, values in extract_biases(model).items():
        assert np.array_equal(values, expected[path].numpy())
    assert set(table["kind"]) == {"bias"} and table["trainable"].all()
    assert "".join(table["gate"]) == gates * sum(variable.ndim for variable in expected.values() if gates)
    layer.trainable = False
    assert not describe_biases(model)["trainable"].any()


@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupQueryAttention", "gated GroupQueryAttention"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_biases_of_attention_have_roles(keras, name, use_bias):
    """Each projection of an attention layer has its bias, in the role of that projection."""
    if name == "MultiHeadAttention":
        attention = keras.layers.MultiHeadAttention(2, 3, use_bias=use_bias)
    else:
        gate = {"use_gate": True} if name.startswith("gated") else {}
        attention = keras.layers.GroupQueryAttention(2, 4, 2, use_bias=use_bias, **gate)
    inputs = keras.Input((6, 8))
    model = keras.Model(inputs, attention(inputs, inputs))
    randomize(model.variables)
    names = ["query", "key", "value", "attention_output", *(["gate"] if name.startswith("gated") else [])]
    projections = {layer.name: layer for layer in direct_sublayers(attention) if layer.name in names}
    assert set(projections) == set(names)
    table = describe_biases(model)
    roles = {f"{attention.name}/{name}/bias": name.removeprefix("attention_") for name in names}
    assert dict(zip(table["variable"], table["role"], strict=True)) == roles
    variables = bias_variables(model)
    assert set(variables) == (set(roles) if use_bias else set())
    assert all(variable is projections[path.split("/")[-2]].bias for path, variable in variables.items())
    assert set(table["kind"]) == {"bias" if use_bias else "absent"}


NORMS = {
    "BatchNormalization": lambda L, **s: L.BatchNormalization(**s),
    "renormalizing": lambda L, **s: L.BatchNormalization(renorm=True, **s),
    "LayerNormalization": lambda L, **s: L.LayerNormalization(**s),
    "GroupNormalization": lambda L, **s: L.GroupNormalization(2, **s),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_the_offset_of_a_normalization_is_its_beta(keras, name, scale, center):
    """beta is found whether or not there is a gamma, and nothing is found in its place when it is absent."""
    layer = NORMS[name](keras.layers, scale=scale, center=center)
    model = chain(keras, (4, 6), layer)
    randomize(model.variables)
    variables = bias_variables(model)
    assert [*variables.values()] == ([layer.beta] if center else []) and set(variables) <= {f"{layer.name}/beta"}
    table = describe_biases(model)
    assert [*table["kind"]] == ["beta" if center else "absent"]
    assert [*table["initializer"]] == ["Zeros" if center else ""]


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
def test_slopes_embeddings_scales_and_states_are_no_biases(keras):
    """Variables that look like a bias by shape or position are not reported."""
    L = keras.layers
    model = chain(keras, (4,), L.Embedding(7, 6), L.PReLU(), L.RMSNormalization(), L.UnitNormalization(),
                  L.Normalization(mean=0.0, variance=1.0), L.LayerNormalization(rms_scaling=True, center=False),
                  L.Dropout(0.5), L.GaussianNoise(0.1), L.Flatten())  # fmt: skip
    assert extract_biases(model) == {} and [bias.kind for bias in find_biases(model)] == ["absent"]
    inputs = keras.Input((4, 6))
    scaled = L.Attention(use_scale=True, score_mode="concat")([inputs, inputs])
    assert find_biases(keras.Model(inputs, L.AdditiveAttention()([scaled, inputs]))) == []


def test_the_update_gate_of_a_gru_is_z(keras):
    """A GRU whose bias opens gate z keeps its state; opening r or h does not: the letters are in Keras' order."""
    cell = keras.layers.GRUCell(1)
    cell.build((None, 1))
    state, x = np.full((1, 1), 0.7, np.float32), np.ones((1, 1), np.float32)
    for gate, kept in (("z", True), ("r", False), ("h", False)):
        bias = np.zeros((2, 3), np.float32)
        bias[0, GATES["GRUCell"].index(gate)] = 50
        cell.set_weights([np.zeros((1, 3)), np.zeros((1, 3)), bias])
        assert (abs(float(cell(x, [state])[0][0, 0]) - 0.7) < 1e-5) == kept, gate


def test_equal_paths_are_numbered():
    """The first of equal paths stays as it is."""
    biases = [Bias(path, "", "", "bias") for path in ("a/bias", "b/bias", "a/bias", "a/bias")]
    assert [bias.path for bias in unique_paths(biases)] == ["a/bias", "b/bias", "a/bias (2)", "a/bias (3)"]


def test_paths_and_initializers_are_named():
    """Empty parts of a path and the seed of an initializer are left out."""
    assert join_path("", "dense", "bias") == "dense/bias" and join_path("") == ""
    assert initializer_name("Zeros", {}) == "Zeros"
    assert initializer_name("RandomNormal", {"mean": 0.0, "stddev": 0.1, "seed": 3, "dtype": None}) == (
        "RandomNormal(mean=0.0, stddev=0.1)"
    )


@pytest.mark.parametrize(
    ("gates", "shape", "expected"),
    [("ifco", (8,), True), ("zrh", (2, 6), True), ("zrh", (3, 6), False), ("ifco", (6,), False), ("zrh", (), False),
     ("", (8,), False)],
)  # fmt: skip
def test_gates_need_equal_parts_of_the_last_axis(gates, shape, expected):
    """Before the last axis there may be one of 2: the input and the recurrent bias."""
    assert has_gates(gates, shape) is expected
