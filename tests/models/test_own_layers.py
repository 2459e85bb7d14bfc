"""Layers of the user's own: their biases are found, swept where they take the choice, and left alone where not."""

import numpy as np
import pytest
from factories import change_config, compose_config

from pipeline.biases.extraction import extract_biases
from pipeline.errors import ConfigError
from pipeline.models.build import build_model
from pipeline.models.live import architecture_of_model
from pipeline.models.spec import complete_layers


@pytest.fixture
def shift():
    """A registered layer that adds a bias, and takes the arguments that say how it starts."""
    import keras

    from pipeline.models.user_code import register_class

    class Shift(keras.layers.Layer):
        def __init__(self, use_bias=True, bias_initializer="zeros", **kwargs):
            super().__init__(**kwargs)
            self.use_bias, self.bias_initializer = use_bias, keras.initializers.get(bias_initializer)

        def build(self, shape):
            self.bias = self.add_weight(shape=shape[-1:], initializer=self.bias_initializer) if self.use_bias else None

        def call(self, inputs):
            return inputs + self.bias if self.use_bias else inputs

        def get_config(self):
            initializer = keras.initializers.serialize(self.bias_initializer)
            return super().get_config() | {"use_bias": self.use_bias, "bias_initializer": initializer}

    register_class(Shift, "own_layers")
    return Shift


def biases(layers, *overrides):
    config = change_config(compose_config("model.name=mine", *overrides), model={"layers": layers})
    return extract_biases(build_model(complete_layers(config), (4,), "multiclass", 3, 0))


def test_the_bias_of_an_own_layer_is_swept(shift):
    """It has the choice's values at the path of its layer, and is absent without biases."""
    import keras

    inputs = keras.Input((4,))
    branches = keras.layers.Add()([shift()(inputs), keras.layers.Dense(4)(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(branches))
    layers = architecture_of_model(model)[0]
    ones = biases(layers, "bias_initializer=ones")
    assert sorted(ones) == ["dense/bias", "dense_1/bias", "shift/bias"]
    assert all(np.all(values == 1) for values in ones.values())
    assert biases(layers, "use_bias=false") == {}


def test_a_bias_that_an_own_layer_sets_itself_is_kept(shift):
    """As for a layer of Keras."""
    import keras

    model = keras.Sequential([shift(bias_initializer=keras.initializers.Constant(0.5)), keras.layers.Dense(3)])
    kept = biases(architecture_of_model(model)[0], "bias_initializer=ones")
    assert np.all(kept["shift/bias"] == 0.5) and np.all(kept["dense/bias"] == 1)


def test_an_own_layer_without_its_file_is_refused_by_what_registers_it(tmp_path):
    """Of a saved model, its file is named; a name near Keras' is answered with that."""
    import json

    layers = [{"class_name": "mine>Gated", "config": {"units": 3}}, {"class_name": "Dense", "config": {"units": 3}}]
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": layers}}))
    refused = (
        r"layers.0.class_name: mine>Gated is not a Keras layer; allowed: code=\[mine.py\], the file that registers it$"
    )
    with pytest.raises(ConfigError, match=f"^model.path: {file}: {refused}"):
        complete_layers(compose_config("model=file", f"model.path={file}"))
    with pytest.raises(ConfigError, match=f"^model.{refused}"):
        biases(layers)
    with pytest.raises(ConfigError, match="Dennse is not a Keras layer; nearest: Dense"):
        biases([layers[0] | {"class_name": "Dennse"}])
