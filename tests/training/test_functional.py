"""Functional models train stacked with the numbers of `model.fit`, and a chain with those of the same Sequential."""

import logging

import numpy as np
import pytest
from factories import compose_config
from reference import EPOCHS, assert_equal, train

COMMON = ("bias_initializer=glorot", "seeds=[0,3]", f"training.epochs={EPOCHS}", "training.batch_size=383")


def several_branches(keras):
    """Shared layers, merge layers, operations, nested models of one and two inputs, one of them called twice."""
    L = keras.layers
    inputs = keras.Input((8, 8, 1))
    flat = L.Flatten()(inputs)
    shared = L.Dense(6, activation="relu", name="shared")
    one, other = shared(L.Dense(6)(flat)), shared(L.Dense(6, activation="tanh")(flat))
    encoder = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="gelu")], name="encoder")
    left, right = keras.Input((6,)), keras.Input((6,))
    two = keras.Model([left, right], L.Add()([L.Dense(5)(left), L.Dense(5)(right)]), name="two")
    joined = L.Concatenate()([encoder(one), encoder(other), two([one, other])])
    scaled = keras.ops.relu(joined * 2.0)[:, :12] + 0.5
    return keras.Model(inputs, L.Dense(10, activation="softmax")(scaled))


def residual(keras):
    """Convolutions around which their input is added, with normalization and dropout of rate 0."""
    L = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = L.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = L.Add()([x, L.Conv2D(4, 3, padding="same", kernel_regularizer="l2")(x)])
    x = L.Multiply()([x, L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))])
    return keras.Model(inputs, L.Dense(10, activation="softmax")(L.Flatten()(x)))


def sequences(keras):
    """A recurrent branch that starts from the states of another, attention with keyword arguments."""
    L = keras.layers
    inputs = keras.Input((8, 8, 1))
    rows = L.Reshape((8, 8))(inputs)
    steps, state, memory = L.LSTM(4, return_sequences=True, return_state=True)(rows)
    again = L.LSTM(4, return_sequences=True)(L.Dense(4)(rows), initial_state=[state, memory])
    attended = L.MultiHeadAttention(2, 3)(query=again, value=steps)
    return keras.Model(inputs, L.Dense(10, activation="softmax")(L.GlobalAveragePooling1D()(attended)))


def nested_output(keras):
    """The softmax is in a nested model."""
    L = keras.layers
    head = keras.Sequential([keras.Input((6,)), L.Dense(10, activation="softmax", name="out")], name="head")
    inputs = keras.Input((8, 8, 1))
    flat = L.Flatten()(inputs)
    return keras.Model(inputs, head(L.Maximum()([L.Dense(6)(flat), L.Dense(6)(flat)])))


MODELS = (several_branches, residual, sequences, nested_output)


def config_of(model, folder, *overrides):
    path = folder / "mine, ö #1.keras"
    model.save(path)
    return compose_config("model=file", f"model.path='{path}'", *COMMON, *overrides)


@pytest.mark.slow
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_functional_model_equals_fit(make, tmp_path, caplog):
    """Losses, metrics, weights and biases at every epoch are those of `model.fit` on the same batches."""
    import keras

    with caplog.at_level(logging.INFO, logger="pipeline.training"):
        assert_equal(config_of(make(keras), tmp_path, "training.xla=false"))
    assert "cannot be stacked" not in caplog.text


def ending(keras, kind):
    """A model that ends in a softmax of its own, behind kernels so large that probabilities come out as 0."""
    L = keras.layers
    inputs = keras.Input((8, 8, 1))
    large = keras.initializers.RandomNormal(stddev=20.0)
    logits = L.Dense(10, kernel_initializer=large)(L.Add()([L.Flatten()(inputs), L.Flatten()(inputs)]))
    if kind == "operation":
        return keras.Model(inputs, keras.ops.softmax(logits))
    if kind == "nested":
        return keras.Model(inputs, keras.Sequential([keras.Input((10,)), L.Softmax()])(logits))
    if kind == "seed by seed":
        recurrent = [L.Reshape((2, 8, 4, 1)), L.ConvLSTM2D(1, 3), L.Flatten()]
        return keras.Sequential([inputs, *recurrent, L.Dense(10, kernel_initializer=large), L.Softmax()])
    return keras.Model(inputs, L.Softmax()(logits))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["layer", "operation", "nested", "seed by seed"])
def test_a_softmax_of_its_own_is_left_out_of_the_loss(kind, tmp_path):
    """As by `model.fit`, which finds the logits: the loss goes beyond 16.1, that of a probability of 1e-7.

    Of stacked seeds, Keras finds them as well; of seeds one by one, and of the ablation, it does not.
    """
    import keras

    config = config_of(ending(keras, kind), tmp_path, "training.xla=false")
    assert_equal(config)
    assert train(config)[1][0].history["loss"][0] > 17  # clipped probabilities allow 16.1


@pytest.mark.slow
def test_a_functional_chain_is_the_sequential_of_yaml(tmp_path):
    """Bit for bit, under the same key of a run, where the file's names are those that YAML gives."""
    import keras

    from pipeline.experiment.plan import plan_job

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Dense(64, activation="relu", name="dense")(keras.layers.Flatten(name="flatten")(inputs))
    x = keras.layers.Dense(32, activation="relu", name="dense_1")(x)
    chain = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(x))
    mine = config_of(chain, tmp_path)
    layers = [
        "{class_name: Flatten}", "{class_name: Dense, config: {units: 64, activation: relu}}",
        "{class_name: Dense, config: {units: 32, activation: relu}}",
        "{class_name: Dense, config: {units: 10, activation: softmax, name: output}}",
    ]  # fmt: skip
    yaml = compose_config(f"model.layers=[{','.join(layers)}]", *COMMON)
    assert plan_job(mine).recipe == plan_job(yaml).recipe
    for one, other in zip(train(mine)[0], train(yaml)[0], strict=True):
        for a, b in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
