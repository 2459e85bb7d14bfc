"""Recurrent layers under XLA: the product of all inputs is taken once, and layers are afterwards as they were."""

import numpy as np
import pytest

from pipeline.runtime.device import start_tensorflow
from pipeline.training.recurrence import unrolled_recurrence

STEPS = 4


def products(function, x):
    """How many matrix products a traced function has."""
    import tensorflow as tf

    graph = tf.function(function, autograph=False).get_concrete_function(x).graph
    return sum("MatMul" in operation.type for operation in graph.get_operations())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "settings", "expected"),
    [
        ("LSTM", {}, 1 + STEPS),
        ("LSTM", {"activation": "relu", "use_bias": False}, 1 + STEPS),
        ("GRU", {"return_sequences": True}, 1 + STEPS),
        ("GRU", {"use_bias": False}, 1 + STEPS),
        ("GRU", {"reset_after": False, "go_backwards": True}, 1 + 2 * STEPS),
        ("SimpleRNN", {"activation": "tanh"}, 1 + STEPS),
        ("LSTM", {"recurrent_dropout": 0.1}, 8 * STEPS),
    ],
)
def test_the_inputs_product_is_taken_once(cell, settings, expected):
    """One product for the inputs of all steps and one per step for the state, with the outputs of Keras' own cells."""
    start_tensorflow("cpu")
    import keras

    layer = getattr(keras.layers, cell)(3, bias_initializer="glorot_uniform", **settings)
    model = keras.Sequential([keras.Input((STEPS, 5)), layer])
    x = np.random.default_rng(0).normal(size=(2, STEPS, 5)).astype(np.float32)
    alone = model(x).numpy()
    with unrolled_recurrence(model, xla=True):
        assert products(model, x) == expected
        np.testing.assert_allclose(model(x).numpy(), alone, rtol=0, atol=1e-6)
    assert not layer.unroll
    assert "inner_loop" not in vars(layer)
    assert "call" not in vars(layer.cell)


@pytest.mark.slow
def test_a_cell_of_a_users_own_stays_as_it_is():
    """A subclass may compute anything, so only Keras' own cells are computed here."""
    start_tensorflow("cpu")
    import keras

    class Doubled(keras.layers.SimpleRNNCell):
        def call(self, sequence, states, training=False):
            output, states = super().call(sequence, states, training=training)
            return 2 * output, states

    model = keras.Sequential([keras.Input((STEPS, 5)), keras.layers.RNN(Doubled(3))])
    x = np.ones((2, STEPS, 5), np.float32)
    alone = model(x).numpy()
    with unrolled_recurrence(model, xla=True):
        np.testing.assert_allclose(model(x).numpy(), alone, rtol=0, atol=1e-6)
