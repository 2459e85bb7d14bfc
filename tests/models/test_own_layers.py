"""Layers of the user's own: their biases are found, swept where they take the choice, and left alone where not."""

import numpy as np
import pytest
from factories import change_config, compose_config

from pipeline.biases.extraction import extract_biases
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
