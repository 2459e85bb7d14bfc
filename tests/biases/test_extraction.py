"""The biases of nested, shared, subclassed, frozen and foreign layers are found once, under stable paths."""

import numpy as np
import pytest
from keras_files import chain, randomize

from pipeline.biases.extraction import bias_variables, extract_biases, find_biases, variable_paths
from pipeline.biases.tables import describe_biases


def test_nested_and_shared_layers_are_found_once_in_model_order(keras):
    """Paths follow the nesting, a shared layer counts once where it comes first, and the order is the model's."""
    L = keras.layers
    last, shared = L.Dense(2, name="last"), L.Dense(4, name="shared")
    block = chain(keras, (4,), shared, L.BatchNormalization(name="norm"), name="block")
    outer = chain(keras, (4,), L.Dense(4, name="first"), block, name="outer")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, last(shared(outer(inputs)) + block(inputs)))
    randomize(model.variables)
    expected = {"outer/first/bias": outer.layers[0].bias, "outer/block/shared/bias": shared.bias,
                "outer/block/norm/beta": block.layers[1].beta, "last/bias": last.bias}  # fmt: skip
    variables = bias_variables(model)
    assert set(variables) == set(expected) and all(variables[path] is variable for path, variable in expected.items())
    order = [
        variable.path for variable in model.trainable_variables if any(variable is bias for bias in variables.values())
    ]
    assert order == [variable.path for variable in variables.values()]


def test_copies_of_a_model_have_equal_paths(keras):
    """Paths do not depend on what was built before, unlike Keras' own paths of variables."""
    L = keras.layers

    def fresh():
        both = L.Bidirectional(L.LSTM(2, return_sequences=True))
        stacked = L.RNN([L.GRUCell(2), L.GRUCell(3)])
        return chain(keras, (4, 3), both, L.TimeDistributed(L.Dense(2)), stacked, L.Dense(2, name="out"))

    model = fresh()
    for copy in (keras.Sequential.from_config(model.get_config()), keras.models.clone_model(model)):
        assert list(extract_biases(copy)) == list(extract_biases(model))
    keras.backend.clear_session()
    paths = list(extract_biases(fresh()))
    keras.backend.clear_session()
    assert list(extract_biases(fresh())) == paths


def test_biases_of_layers_with_equal_names_have_different_paths(keras):
    """Models around them tell them apart; within one model the second gets a number."""
    blocks = [chain(keras, (3,), keras.layers.Dense(3, name="d"), name=name) for name in ("a", "b")]
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
def test_layers_in_attributes_lists_and_dictionaries_are_found(keras):
    """A subclassed model has the biases of all layers it was called with, however it holds them."""

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
    variables = bias_variables(model)
    assert {*variables} == {"first/bias", "second/bias", "third/bias"}
    assert variables["third/bias"] is model.more[1]["key"].cell.bias


def test_the_variables_of_other_classes_are_unknown(keras):
    """Of a layer that Keras does not ship, even of the name `Dense`, every trainable variable is listed as unknown."""

    class Dense(keras.layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.layers = [keras.layers.Dense(3, name="listed")]  # the attribute in which a model holds its layers
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

    model = chain(keras, (3,), Dense(name="it"))
    biases = {bias.path: bias for bias in find_biases(model)}
    kinds = {path: bias.kind for path, bias in biases.items()}
    unknown = dict.fromkeys([f"it/{name}" for name in ("bias", "first", "second", "nowhere", "raw")], "unknown")
    assert kinds == unknown | {"it/listed/bias": "bias", "it/norm/beta": "beta"}
    assert biases["it/bias"].values is model.layers[0].bias and biases["it/raw"].values is model.layers[0].raw
    assert list(extract_biases(model)) == ["it/listed/bias", "it/norm/beta"]


def test_a_subclass_of_a_keras_layer_has_its_bias(keras):
    """The inherited bias is known, with its gates if its shape allows them; a variable that it adds is unknown."""

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
    model = chain(keras, (4, 3), Scaled(2, name="scaled"), L.RNN(Peephole(2), return_sequences=True, name="rnn"))
    kinds = {b.path: (b.kind, b.gates) for b in find_biases(model)}
    assert kinds == {"scaled/bias": ("bias", ""), "scaled/factor": ("unknown", ""),
                     "rnn/bias": ("bias", "ifco"), "rnn/peephole": ("unknown", "")}  # fmt: skip
    cell = Short(2)
    cell.build((None, 3))
    assert {b.gates for b in find_biases(cell) if b.values is cell.bias} == {""}
    assert "" in set(describe_biases(cell)["gate"])


def test_a_variable_in_two_layers_is_what_the_keras_layer_says(keras):
    """A kernel and a bias that a custom wrapper holds as well do not become unknown."""

    class Tied(keras.layers.Layer):
        def __init__(self, layer, **settings):
            super().__init__(**settings)
            self.layer = layer

        def build(self, shape):
            self.layer.build(shape)
            self.weight, self.shift = self.layer.kernel, self.layer.bias

        def call(self, x):
            return keras.ops.matmul(self.layer(x) + self.shift, keras.ops.transpose(self.weight))

    model = chain(keras, (3,), Tied(keras.layers.Dense(3, name="in"), name="tied"))
    assert [(b.path, b.kind) for b in find_biases(model)] == [("tied/in/bias", "bias")]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_frozen_lora_and_quantized_layers_have_their_biases(keras):
    """The bias stays known, and the variables that LoRA and quantization add are known to be none."""
    L = keras.layers

    def fresh():
        frozen = L.Dense(4, name="frozen", trainable=False)
        return chain(keras, (4, 4), frozen, L.Dense(4, name="d"), L.EinsumDense("abc,cd->abd", (4, 4), bias_axes="d",
                      name="e"), L.Conv1D(4, 1, name="c"))  # fmt: skip

    names = ["frozen/bias", "d/bias", "e/bias", "c/bias"]
    lora = fresh()
    for layer in lora.layers:
        layer.enable_lora(2)
    models = [lora, fresh(), fresh(), fresh()]
    for model, mode in zip(models[1:], ("int8", "int4", "float8"), strict=True):
        model.quantize(mode)
    for model in models:
        assert [(b.path, b.kind) for b in find_biases(model)] == [(name, "bias") for name in names]
        assert [b.values for b in find_biases(model)] == [layer.bias for layer in model.layers]
    assert [b.trainable for b in find_biases(fresh())] == [False, True, True, True]


def test_only_a_built_keras_model_is_read(keras):
    """A model without variables yet, or of another library, is refused instead of having no biases."""
    with pytest.raises(ValueError, match="not built"):
        extract_biases(keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(2)]))
    with pytest.raises(TypeError, match=r"no model of Keras 3: builtins\.dict"):
        describe_biases({})
    assert extract_biases(chain(keras, (3,), keras.layers.Flatten())) == {}


def test_variable_paths_name_every_trainable_variable(keras):
    """Kernels and scales have paths as biases have, so that any variable can be named."""
    L = keras.layers
    model = chain(keras, (4,), L.Dense(3, name="dense"), L.BatchNormalization(name="norm"))
    dense, norm = model.layers
    assert variable_paths(model) == {
        id(dense.kernel): "dense/kernel", id(dense.bias): "dense/bias", id(norm.gamma): "norm/gamma",
        id(norm.beta): "norm/beta",
    }  # fmt: skip
