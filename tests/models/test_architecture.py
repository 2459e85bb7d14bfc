"""The architecture that is read of a live or saved model: what it says beyond Keras' defaults, and nothing else."""

import json

import pytest

from pipeline.errors import ConfigError
from pipeline.models.architecture import architecture_of_config, read_architecture


def dense(units, **more):
    return {"class_name": "Dense", "config": {"units": units, **more}}


def two_branches(keras, name=None):
    """A Functional model that is no chain: a shared layer, a sum of two branches, a slice."""
    layers = keras.layers
    inputs = keras.Input((4,))
    shared = layers.Dense(4, activation="relu", name=name)
    one, other = shared(inputs), shared(shared(inputs))
    joined = layers.Concatenate()([layers.Add()([one, other]), other * 2.0])
    return keras.Model(inputs, layers.Dense(3)(joined[:, :6]))


def test_defaults_and_automatic_names_are_left_out():
    """A Sequential says what its author wrote."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Conv1D(2, 3, kernel_initializer="he_normal", bias_initializer="zeros"),
            layers.Bidirectional(layers.LSTM(3), name="both"),
            layers.Dense(4, use_bias=False, kernel_regularizer="l2", activation="relu"),
            layers.Dense(2, bias_initializer=keras.initializers.Constant(0.1), dtype="float16"),
        ]
    )
    assert architecture_of_config(json.loads(model.to_json())) == [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8]}},
        {"class_name": "Conv1D", "config": {"filters": 2, "kernel_size": [3],
                                            "kernel_initializer": {"class_name": "HeNormal", "config": {}}}},
        {"class_name": "Bidirectional",
         "config": {"name": "both", "layer": {"class_name": "LSTM", "config": {"units": 3}}}},
        dense(4, use_bias=False, activation="relu",
              kernel_regularizer={"class_name": "L2", "config": {"l2": 0.01}}),
        dense(2, dtype="float16", bias_initializer={"class_name": "Constant", "config": {"value": 0.1}}),
    ]  # fmt: skip


def test_what_a_layer_sets_apart_from_the_default_is_kept():
    """Of a Bidirectional with another backward layer, and of a frozen layer."""
    import keras

    layers = keras.layers
    both = layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(2, go_backwards=True))
    frozen = layers.Dense(1, trainable=False)
    bidirectional, last = architecture_of_config(keras.Sequential([both, frozen]).get_config())
    assert bidirectional["config"]["backward_layer"]["config"] == {"units": 2, "go_backwards": True}
    assert last == dense(1, trainable=False)


def test_a_functional_chain_is_a_list_of_layers():
    """As a Sequential is, nested models included."""
    import keras

    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.layers.Dense(3)], name="inner")
    chain = architecture_of_config(keras.Model(inputs, keras.layers.Dense(2)(inner(inputs))).get_config())
    assert chain == [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "input_layer"}},
        {"class_name": "Sequential", "config": {"name": "inner", "layers": [dense(3, name="dense")]}},
        dense(2, name="dense"),
    ]


def test_a_model_made_twice_has_one_architecture(tmp_path):
    """Though Keras counts its automatic names up; and so it has read from its files."""
    import keras

    first, second = two_branches(keras), two_branches(keras)
    expected = architecture_of_config(first.get_config())
    assert architecture_of_config(json.loads(second.to_json())) == expected
    assert architecture_of_config(keras.saving.serialize_keras_object(second)) == expected
    first.save(tmp_path / "größe, #2.keras")
    (tmp_path / "mine.json").write_text(second.to_json(), encoding="utf-8")
    assert read_architecture(str(tmp_path / "größe, #2.keras")) == expected
    assert read_architecture(str(tmp_path / "mine.json")) == expected
    (entry,) = expected
    assert entry["class_name"] == "Functional"
    names = [layer["config"]["name"] for layer in entry["config"]["layers"]]
    assert names == ["input_layer", "dense", "add", "multiply", "concatenate", "get_item", "dense_1"]


def test_models_with_several_inputs_or_outputs_are_refused():
    """In one line that says what is allowed."""
    import keras

    one, other = keras.Input((2,)), keras.Input((2,))
    both = keras.layers.Add()([one, other])
    for model, what in ((keras.Model([one, other], both), "inputs"), (keras.Model(one, [one, one + 1.0]), "outputs")):
        with pytest.raises(ConfigError, match=f"^model: a Functional model with several {what}; allowed: a keras"):
            architecture_of_config(model.get_config())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"class_name": "Mine", "module": "mine", "config": {}}, "model: Mine is a class of its own"),
        ({"class_name": "Sequential", "config": {"layers": []}}, "model: a model without layers"),
        ({"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense"}]}}, "Dense without its config"),
        ({"class_name": "Functional", "config": {"layers": [dense(2)], "input_layers": [["x", 0, 0]],
                                                 "output_layers": [["x", 0, 0]]}}, "not a config that Keras wrote"),
        ({"class_name": "Sequential", "config": {"layers": [{"class_name": "Mine", "module": "other.layers",
                                                             "config": {}, "registered_name": "Mine"}]}},
         "model: Mine of other.layers is no class of Keras"),
        ({"class_name": "Sequential", "config": {"layers": [dense(2, activation={"class_name": "__lambda__"})]}},
         "a function in a layer's arguments"),
    ],
)  # fmt: skip
def test_what_is_no_model_of_keras_is_refused(entry, words):
    """With the reason, whatever a file holds."""
    with pytest.raises(ConfigError, match=words):
        architecture_of_config(entry)


def test_files_that_hold_no_model_are_refused(tmp_path):
    """A path that is missing, of another kind, or holds something else."""
    (tmp_path / "mine.json").write_text("[1]")
    (tmp_path / "mine.keras").write_bytes(b"PK\x03\x04nothing")
    for name, words in (("no.keras", "there is no file"), ("mine.h5", "a .keras file, or the .json"),
                        ("mine.json", "it lacks class_name"), ("mine.keras", "damaged zip")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            read_architecture(str(tmp_path / name))
