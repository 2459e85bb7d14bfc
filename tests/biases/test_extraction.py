"""Every bias of a live model is found, and nothing else: layer by layer, then over every layer that Keras has.

What a layer's biases are is said here by the layer's own attributes (`layer.bias`, `layer.cell.bias`).
"""

import numpy as np
import pytest

from pipeline.biases.extraction import bias_variables, extract_biases, find_biases
from pipeline.biases.tables import describe_biases
from pipeline.biases.variables import GATES
from pipeline.runtime.device import start_tensorflow

LSTM_GATES, GRU_GATES = "ifco", "zrh"


@pytest.fixture(scope="module")
def keras():
    start_tensorflow("cpu")
    import keras

    return keras


def _chain(keras, shape, *layers, **settings):
    model = keras.Sequential([keras.Input(shape), *layers], **settings)
    model.build((None, *shape))
    return model


def _randomize(model):
    """Other numbers in every float variable, so that no two of them are equal."""
    draw = np.random.default_rng(0)
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(draw.normal(size=variable.shape))


def _own(layer):
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


def _attention(layer):
    return {
        "query/bias": layer._query_dense.bias,
        "key/bias": layer._key_dense.bias,
        "value/bias": layer._value_dense.bias,
        "attention_output/bias": layer._output_dense.bias,
    }


# By name: the input's shape, what makes the layer (b: with or without a bias), its biases by path, its gates.
BIAS = {
    "Dense": ((5,), lambda L, b: L.Dense(3, use_bias=b), _own, ""),
    "EinsumDense": ((4, 5), lambda L, b: L.EinsumDense("abc,cd->abd", (4, 3), bias_axes="bd" if b else None), _own, ""),
    **{f"Conv{d}D": ((7,) * d + (2,), lambda L, b, d=d: getattr(L, f"Conv{d}D")(3, 2, use_bias=b), _own, "")
       for d in (1, 2, 3)},
    **{f"Conv{d}DTranspose": ((4,) * d + (2,), lambda L, b, d=d: getattr(L, f"Conv{d}DTranspose")(3, 2, use_bias=b),
                              _own, "") for d in (1, 2, 3)},
    **{f"{kind}Conv{d}D": ((7,) * d + (2,),
                           lambda L, b, d=d, kind=kind: getattr(L, f"{kind}Conv{d}D")(
                               **({"filters": 3} if kind == "Separable" else {}), kernel_size=2, depth_multiplier=2,
                               use_bias=b), _own, "")
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
        L.Dense(2, use_bias=b, name="in"), name="mid")), lambda it: {"mid/in/bias": it.layer.layer.bias}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BIAS)
def test_a_layer_s_biases_are_its_own_attributes(keras, name):
    """A layer's bias would be missed, be another variable, or not be absent from a layer built without one."""
    shape, make, own, gates = BIAS[name]
    for use_bias in (True, False):
        it = make(keras.layers, use_bias)
        model = _chain(keras, shape, it)
        _randomize(model)
        expected = {f"{it.name}/{path}": variable for path, variable in own(it).items()}
        table = describe_biases(model)
        if not use_bias:
            assert extract_biases(model) == {}
            assert list(table["variable"]) == list(expected) and set(table["kind"]) == {"absent"}
            assert table["mean"].isna().all() and not table["trainable"].any()
            continue
        found = bias_variables(model)
        assert list(found) == list(expected) and all(found[path] is expected[path] for path in expected)
        for path, values in extract_biases(model).items():
            assert np.array_equal(values, expected[path].numpy())
        assert set(table["kind"]) == {"bias"} and table["trainable"].all()
        assert "".join(table["gate"]) == gates * sum(variable.ndim for variable in expected.values() if gates)
        it.trainable = False
        assert not describe_biases(model)["trainable"].any()


@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupQueryAttention", "gated GroupQueryAttention"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_biases_of_attention_have_their_role(keras, name, use_bias):
    """A bias of an attention layer would be missed, or be said to be of the query when it is of the key."""
    if name == "MultiHeadAttention":
        it = keras.layers.MultiHeadAttention(2, 3, use_bias=use_bias)
    else:
        gate = {"use_gate": True} if name.startswith("gated") else {}
        it = keras.layers.GroupQueryAttention(2, 4, 2, use_bias=use_bias, **gate)
    at = keras.Input((6, 8))
    model = keras.Model(at, it(at, at))
    _randomize(model)
    expected = {f"{it.name}/{path}": variable for path, variable in _attention(it).items()}
    roles = {f"{it.name}/{name}/bias": name.removeprefix("attention_")
             for name in ("query", "key", "value", "attention_output")}  # fmt: skip
    if name.startswith("gated"):
        expected[f"{it.name}/gate/bias"], roles[f"{it.name}/gate/bias"] = it._gate_dense.bias, "gate"
    table = describe_biases(model)
    assert dict(zip(table["variable"], table["role"], strict=True)) == roles
    found = bias_variables(model)
    assert set(found) == (set(expected) if use_bias else set())
    assert all(variable is expected[path] for path, variable in found.items())
    assert set(table["kind"]) == {"bias" if use_bias else "absent"}


NORMS = {
    "BatchNormalization": lambda L, **s: L.BatchNormalization(**s),
    "renormalizing": lambda L, **s: L.BatchNormalization(renorm=True, **s),
    "LayerNormalization": lambda L, **s: L.LayerNormalization(**s),
    "GroupNormalization": lambda L, **s: L.GroupNormalization(2, **s),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_shift_of_a_normalisation_is_its_beta(keras, name):
    """The gamma or a moving average would be taken for the beta, or a beta be found where there is none."""
    for scale in (True, False):
        for center in (True, False):
            it = NORMS[name](keras.layers, scale=scale, center=center)
            model = _chain(keras, (4, 6), it)
            _randomize(model)
            found = bias_variables(model)
            assert [*found.values()] == ([it.beta] if center else []) and set(found) <= {f"{it.name}/beta"}
            table = describe_biases(model)
            assert [*table["kind"]] == ["beta" if center else "absent"]
            assert [*table["initializer"]] == ["Zeros" if center else ""]


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
def test_what_looks_like_a_bias_and_is_none(keras):
    """The slope of a PReLU, an embedding, a scale or a state would be taken for a bias."""
    L = keras.layers
    model = _chain(keras, (4,), L.Embedding(7, 6), L.PReLU(), L.RMSNormalization(), L.UnitNormalization(),
                   L.Normalization(mean=0.0, variance=1.0), L.LayerNormalization(rms_scaling=True, center=False),
                   L.Dropout(0.5), L.GaussianNoise(0.1), L.Flatten())  # fmt: skip
    assert extract_biases(model) == {} and [v.kind for v in find_biases(model)] == ["absent"]
    at = keras.Input((4, 6))
    scaled = L.Attention(use_scale=True, score_mode="concat")([at, at])
    assert find_biases(keras.Model(at, L.AdditiveAttention()([scaled, at]))) == []


def test_gates_are_slices_of_the_array_in_keras_order(keras):
    """A gate's numbers would be another gate's: Keras has i, f, c, o in an LSTM and z, r, h in a GRU."""
    L = keras.layers
    model = _chain(keras, (4, 3), L.LSTM(5, return_sequences=True, name="lstm"), L.GRU(3, name="gru"))
    lstm, gru = model.layers
    assert lstm.cell.unit_forget_bias  # so that it starts with ones where the forget gate is
    table = describe_biases(model)
    means = table[table["variable"] == "lstm/bias"].set_index("gate")["mean"]
    assert dict(means) == {"i": 0, "f": 1, "c": 0, "o": 0}
    _randomize(model)
    table = describe_biases(model).set_index(["variable", "role", "gate"])
    for number, gate in enumerate("ifco"):
        part = lstm.cell.bias.numpy()[5 * number : 5 * (number + 1)].astype(np.float64)
        row = table.loc["lstm/bias", "", gate]
        assert (row["mean"], row["std"], row["min"], row["max"]) == (part.mean(), part.std(), part.min(), part.max())
        assert (row["shape"], row["dtype"], row["layer_type"]) == ("(5,)", "float32", "LSTM")
    for index, role in enumerate(("input", "recurrent")):
        for number, gate in enumerate("zrh"):
            part = gru.cell.bias.numpy()[index, 3 * number : 3 * (number + 1)].astype(np.float64)
            assert table.loc["gru/bias", role, gate]["max"] == part.max()


def test_the_gru_keeps_where_z_is_one(keras):
    """z, r, h would be other gates than what the cell computes with them."""
    cell = keras.layers.GRUCell(1)
    cell.build((None, 1))
    state, x = np.full((1, 1), 0.7, np.float32), np.ones((1, 1), np.float32)
    for gate, kept in (("z", True), ("r", False), ("h", False)):
        bias = np.zeros((2, 3), np.float32)
        bias[0, GATES["GRUCell"].index(gate)] = 50
        cell.set_weights([np.zeros((1, 3)), np.zeros((1, 3)), bias])
        assert (abs(float(cell(x, [state])[0][0, 0]) - 0.7) < 1e-5) == kept, gate


def test_nested_and_shared_layers_are_found_once_in_model_order(keras):
    """A path would change with the order of creation, a shared layer be found twice, or a nested one be lost."""
    L = keras.layers
    last, shared = L.Dense(2, name="last"), L.Dense(4, name="shared")
    block = _chain(keras, (4,), shared, L.BatchNormalization(name="norm"), name="block")
    outer = _chain(keras, (4,), L.Dense(4, name="first"), block, name="outer")
    at = keras.Input((4,))
    model = keras.Model(at, last(shared(outer(at)) + block(at)))
    _randomize(model)
    expected = {"outer/first/bias": outer.layers[0].bias, "outer/block/shared/bias": shared.bias,
                "outer/block/norm/beta": block.layers[1].beta, "last/bias": last.bias}  # fmt: skip
    found = bias_variables(model)
    assert set(found) == set(expected) and all(found[path] is variable for path, variable in expected.items())
    order = [variable.path for variable in model.trainable_variables if any(variable is v for v in found.values())]
    assert order == [variable.path for variable in found.values()]


def test_paths_do_not_depend_on_what_was_made_before(keras):
    """A path would be another one in a copy of the model, where Keras' own paths of variables are."""
    L = keras.layers

    def fresh():
        both = L.Bidirectional(L.LSTM(2, return_sequences=True))
        stacked = L.RNN([L.GRUCell(2), L.GRUCell(3)])
        return _chain(keras, (4, 3), both, L.TimeDistributed(L.Dense(2)), stacked, L.Dense(2, name="out"))

    model = fresh()
    for copy in (keras.Sequential.from_config(model.get_config()), keras.models.clone_model(model)):
        assert list(extract_biases(copy)) == list(extract_biases(model))
    keras.backend.clear_session()
    paths = list(extract_biases(fresh()))
    keras.backend.clear_session()
    assert list(extract_biases(fresh())) == paths


def test_layers_of_one_name_are_told_apart(keras):
    """One of two layers with the same name would be lost."""
    blocks = [_chain(keras, (3,), keras.layers.Dense(3, name="d"), name=name) for name in ("a", "b")]
    two = keras.Sequential([keras.Input((3,)), *blocks])
    assert list(extract_biases(two)) == ["a/d/bias", "b/d/bias"]

    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = (keras.layers.Dense(3, name="d") for _ in range(2))

        def call(self, x):
            return self.two(self.one(x))

    model = Twins()
    model(np.ones((1, 3)))
    assert [*bias_variables(model)] == ["d/bias", "d/bias (2)"]
    assert bias_variables(model)["d/bias (2)"] is model.two.bias


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")
def test_subclassed_models_are_read_like_others(keras):
    """A layer that an attribute, a list or a dictionary of a subclassed model holds would be lost."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Dense(3, name="first")
            self.more = [keras.layers.Dense(3, name="second"), {"key": keras.layers.LSTM(2, name="third")}]
            self.never = keras.layers.Dense(3, name="never called")

        def call(self, x):
            return self.more[1]["key"](self.more[0](self.first(x)))

    model = Own()
    with pytest.raises(ValueError, match="not built"):
        extract_biases(model)
    model(np.ones((1, 4, 3)))
    found = bias_variables(model)
    assert {*found} == {"first/bias", "second/bias", "third/bias"}
    assert found["third/bias"] is model.more[1]["key"].cell.bias


def test_the_variables_of_unknown_layers_are_unknown(keras):
    """A variable would be guessed to be a bias by its name, or be left out of what is listed."""

    class Dense(keras.layers.Layer):  # the name of one of Keras' own
        def __init__(self, **settings):
            super().__init__(**settings)
            self.layers = [keras.layers.Dense(3, name="listed")]  # what a model calls its own
            self.norm = keras.layers.LayerNormalization(name="norm")

        def build(self, shape):
            self.bias = self.add_weight(shape=(3,), name="bias")
            self.held = [self.add_weight(shape=(2,), name="first"), {"key": self.add_weight(shape=(1,), name="second")}]
            self.add_weight(shape=(4,), name="nowhere")
            self.raw = keras.Variable(np.ones(2), name="raw")
            self.kept = self.add_weight(shape=(3,), name="kept", trainable=False)
            self.layers[0].build(shape)
            self.norm.build(shape)

        def call(self, x):
            return self.norm(self.layers[0](x))

    model = _chain(keras, (3,), Dense(name="it"))
    found = {vector.path: vector for vector in find_biases(model)}
    kinds = {path: vector.kind for path, vector in found.items()}
    unknown = dict.fromkeys([f"it/{name}" for name in ("bias", "first", "second", "nowhere", "raw")], "unknown")
    assert kinds == unknown | {"it/listed/bias": "bias", "it/norm/beta": "beta"}
    assert found["it/bias"].values is model.layers[0].bias and found["it/raw"].values is model.layers[0].raw
    assert list(extract_biases(model)) == ["it/listed/bias", "it/norm/beta"]


def test_a_subclass_of_a_keras_layer_keeps_its_bias(keras):
    """A subclass's bias would be unknown, or what it adds would be taken for something known."""

    class Scaled(keras.layers.Dense):
        def build(self, shape):
            super().build(shape)
            self.factor = self.add_weight(shape=(), name="factor")

    class Peephole(keras.layers.LSTMCell):
        def build(self, shape):
            super().build(shape)
            self.peephole = self.add_weight(shape=(6,), name="bias")

    class Short(keras.layers.LSTMCell):
        def build(self, shape):
            super().build(shape)
            del self.bias
            self.bias = self.add_weight(shape=(3,), name="bias")  # no number of gates divides it

    L = keras.layers
    model = _chain(keras, (4, 3), Scaled(2, name="scaled"), L.RNN(Peephole(2), return_sequences=True, name="rnn"))
    kinds = {v.path: (v.kind, v.gates) for v in find_biases(model)}
    assert kinds == {"scaled/bias": ("bias", ""), "scaled/factor": ("unknown", ""),
                     "rnn/bias": ("bias", "ifco"), "rnn/peephole": ("unknown", "")}  # fmt: skip
    cell = Short(2)
    cell.build((None, 3))
    assert {v.gates for v in find_biases(cell) if v.values is cell.bias} == {""}
    assert "" in set(describe_biases(cell)["gate"])


def test_a_variable_that_two_layers_hold_is_what_the_one_says_that_knows_it(keras):
    """A kernel that a custom wrapper holds as well would be unknown."""

    class Tied(keras.layers.Layer):
        def __init__(self, layer, **settings):
            super().__init__(**settings)
            self.layer = layer

        def build(self, shape):
            self.layer.build(shape)
            self.weight, self.shift = self.layer.kernel, self.layer.bias

        def call(self, x):
            return keras.ops.matmul(self.layer(x) + self.shift, keras.ops.transpose(self.weight))

    model = _chain(keras, (3,), Tied(keras.layers.Dense(3, name="in"), name="tied"))
    assert [(v.path, v.kind) for v in find_biases(model)] == [("tied/in/bias", "bias")]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_frozen_lora_and_quantized_layers_keep_their_biases(keras):
    """A frozen, LoRA or quantized layer's bias would be lost, or its other variables be unknown."""
    L = keras.layers

    def fresh():
        frozen = L.Dense(4, name="frozen", trainable=False)
        return _chain(keras, (4, 4), frozen, L.Dense(4, name="d"), L.EinsumDense("abc,cd->abd", (4, 4), bias_axes="d",
                      name="e"), L.Conv1D(4, 1, name="c"))  # fmt: skip

    names = ["frozen/bias", "d/bias", "e/bias", "c/bias"]
    lora = fresh()
    for layer in lora.layers:
        layer.enable_lora(2)
    models = [lora, fresh(), fresh(), fresh()]
    for model, mode in zip(models[1:], ("int8", "int4", "float8"), strict=True):
        model.quantize(mode)
    for model in models:
        assert [(v.path, v.kind) for v in find_biases(model)] == [(name, "bias") for name in names]
        assert [v.values for v in find_biases(model)] == [layer.bias for layer in model.layers]
    assert [v.trainable for v in find_biases(fresh())] == [False, True, True, True]


def test_what_is_no_built_model_is_refused(keras):
    """A model without variables, or of another library, would seem to have no biases."""
    with pytest.raises(ValueError, match="not built"):
        extract_biases(keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(2)]))
    with pytest.raises(TypeError, match=r"no model of Keras 3: builtins\.dict"):
        describe_biases({})
    assert extract_biases(_chain(keras, (3,), keras.layers.Flatten())) == {}
