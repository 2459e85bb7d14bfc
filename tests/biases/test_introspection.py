"""What breaks when a private name of Keras goes: one test for each, and for what the project reads through it."""

import pytest

from pipeline.biases.introspection import (
    attribute_names,
    compile_arguments,
    direct_state_variables,
    direct_sublayers,
    direct_trainable_variables,
    flatten_layers,
    inbound_output_shapes,
    is_keras_layer,
    name_counts,
    recurrent_layers,
    set_name_counts,
)


@pytest.fixture(scope="module")
def model(keras):
    """A model with layers in layers, a shared layer, a frozen one and one with state, as (model, its layers)."""
    L = keras.layers
    shared, frozen = L.Dense(3, name="shared"), L.Dense(3, name="frozen", trainable=False)
    block = keras.Sequential([keras.Input((4, 3)), shared, L.BatchNormalization(name="norm")], name="block")
    both = L.Bidirectional(L.LSTM(2, return_sequences=True, name="lstm"), name="both")
    entry = keras.Input((4, 3), name="entry")
    return keras.Model(entry, both(frozen(block(shared(entry)))), name="model")


def test_flatten_layers_gives_every_layer_at_any_depth_once(model):
    """Without `_flatten_layers`, the biases of layers within layers are not found."""
    names = [layer.name for layer in flatten_layers(model)]
    assert names[0] == "model" and names.count("shared") == 1
    assert {"entry", "shared", "block", "norm", "frozen", "both", "forward_lstm", "backward_lstm"} <= set(names)
    both = model.get_layer("both")
    assert both.forward_layer.cell in flatten_layers(model)


def test_direct_sublayers_leave_out_the_layer_itself_and_what_is_deeper(model):
    """Without `_flatten_layers(include_self=False, recursive=False)`, no bias has a path."""
    assert direct_sublayers(model) == model.layers
    both = model.get_layer("both")
    assert direct_sublayers(both) == [both.forward_layer, both.backward_layer]
    assert direct_sublayers(model.get_layer("frozen")) == []


def test_direct_trainable_variables_have_frozen_ones_and_none_of_sublayers(model):
    """Without `_trainable_variables`, the bias of a frozen layer, or which layer holds a bias, is unknown."""
    frozen = model.get_layer("frozen")
    assert frozen.trainable_variables == []
    assert [id(variable) for variable in direct_trainable_variables(frozen)] == [id(frozen.kernel), id(frozen.bias)]
    assert direct_trainable_variables(model) == []


def test_direct_state_variables_are_the_moving_averages(model):
    """Without `_non_trainable_variables`, nobody notices that Keras gives a layer another state."""
    norm = model.get_layer("block").get_layer("norm")
    state = [id(variable) for variable in direct_state_variables(norm)]
    assert state == [id(norm.moving_mean), id(norm.moving_variance)]


def test_what_has_trainable_variables_of_its_own_is_a_keras_layer(keras, model):
    """Without `_trainable_variables`, every model is refused as not one of Keras 3."""
    assert is_keras_layer(model) and is_keras_layer(keras.layers.Flatten())
    assert not is_keras_layer({}) and not is_keras_layer(keras.Variable(1.0))


def test_attribute_names_know_private_attributes_by_their_public_name(keras):
    """Without the attributes `_query_dense` and so on, the biases of attention layers have no role."""
    attention = keras.layers.MultiHeadAttention(2, 3)
    attention.build((None, 4, 6), (None, 4, 6))
    names = attribute_names(attention)
    assert [names[id(layer)] for layer in direct_sublayers(attention) if "dense" in names[id(layer)]] == [
        "query_dense", "key_dense", "value_dense", "output_dense",
    ]  # fmt: skip


def test_recurrent_layers_are_found_within_wrappers(keras, model):
    """Without the base class `RNN`, an LSTM is compiled step by step, or its memory and its time are misjudged."""
    assert {layer.name for layer in recurrent_layers(model)} == {"forward_lstm", "backward_lstm"}
    convolutional, cell = keras.layers.ConvLSTM1D(2, 2), model.get_layer("both").forward_layer.cell
    assert recurrent_layers(convolutional) == [convolutional] and recurrent_layers(cell) == []


def test_inbound_output_shapes_have_one_for_each_call(keras, model):
    """Without `_inbound_nodes`, memory and time are estimated without the outputs of the layers."""
    assert inbound_output_shapes(model.get_layer("shared")) == [(None, 4, 3)] * 2
    assert inbound_output_shapes(keras.layers.Dense(3)) == []


def test_automatic_names_are_counted_from_where_they_are_told(keras):
    """Without `object_name_uids`, a function's model has other names after other models than alone."""
    before = name_counts()
    try:
        set_name_counts({"dense": 4})
        assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense_4", "dense_5"]
        assert name_counts() == {"dense": 6}
    finally:
        set_name_counts(before)
    assert name_counts() == before


def test_compile_arguments_are_the_objects_that_were_given(keras):
    """Without `_compile_config`, a metric of the user's own class is known by its name alone."""
    metric = keras.metrics.AUC()
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric, "mae"])
    assert compile_arguments(model)["metrics"] == [metric, "mae"]
