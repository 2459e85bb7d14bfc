"""The architecture that is read of a live or saved model: what it says beyond Keras' defaults, and nothing else."""

import json

import numpy as np
import pytest
from factories import change_config, compose_config

from pipeline.errors import ConfigError
from pipeline.models.architecture import architecture_of_config, read_architecture
from pipeline.models.build import build_model
from pipeline.models.live import architecture_of_model
from pipeline.models.spec import complete_layers
from pipeline.models.stable_names import in_stable_names


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


def test_defaults_are_left_out():
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
    assert architecture_of_model(model)[0] == [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8], "name": "input_layer"}},
        {"class_name": "Conv1D", "config": {"filters": 2, "kernel_size": [3], "name": "conv1_d",
                                            "kernel_initializer": {"class_name": "HeNormal", "config": {}}}},
        {"class_name": "Bidirectional",
         "config": {"name": "both", "layer": {"class_name": "LSTM", "config": {"units": 3, "name": "lstm"}}}},
        dense(4, use_bias=False, activation="relu", name="dense",
              kernel_regularizer={"class_name": "L2", "config": {"l2": 0.01}}),
        dense(2, dtype="float16", name="dense_1",
              bias_initializer={"class_name": "Constant", "config": {"value": 0.1}}),
    ]  # fmt: skip


def test_what_a_layer_sets_apart_from_the_default_is_kept():
    """Of a Bidirectional with another backward layer, and of a frozen layer."""
    import keras

    layers = keras.layers
    both = layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(2, go_backwards=True))
    frozen = layers.Dense(1, trainable=False)
    bidirectional, last = architecture_of_model(keras.Sequential([both, frozen]))[0]
    assert bidirectional["config"]["backward_layer"]["config"] == {"units": 2, "go_backwards": True, "name": "lstm_1"}
    assert last == dense(1, trainable=False, name="dense")


def test_a_functional_chain_is_a_list_of_layers():
    """As a Sequential is, nested models included."""
    import keras

    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.layers.Dense(3)], name="inner")
    chain, _ = architecture_of_model(keras.Model(inputs, keras.layers.Dense(2)(inner(inputs))))
    assert chain == [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "input_layer"}},
        {"class_name": "Sequential", "config": {"name": "inner", "layers": [dense(3, name="dense")]}},
        dense(2, name="dense"),
    ]


def test_a_live_model_made_twice_has_one_architecture():
    """Though Keras counts its automatic names up; the calls of its graph follow."""
    import keras

    (first, _), (second, names) = (architecture_of_model(two_branches(keras)) for _ in range(2))
    assert first == second
    (entry,) = first
    assert entry["class_name"] == "Functional"
    layers = entry["config"]["layers"]
    assert [layer["config"]["name"] for layer in layers] == [
        "input_layer", "dense", "add", "multiply", "concatenate", "get_item", "dense_1"]  # fmt: skip
    (call,) = layers[-1]["inbound_nodes"]
    assert call["args"][0]["config"]["keras_history"] == ["get_item", 0, 0]
    assert entry["config"]["output_layers"] == ["dense_1", 0, 0]
    assert list(names.values()) == [layer["config"]["name"] for layer in layers] and "dense" not in names


def test_a_nested_model_that_is_no_chain_has_stable_names():
    """As one that holds a recurrent layer, whose call has arguments; in a Sequential, and in a model that is nested."""
    import keras

    def model(depth):
        inputs = keras.Input((6, 3))
        inner = keras.Model(inputs, keras.layers.SimpleRNN(3)(inputs) if not depth else model(0)(inputs) + 1.0)
        return keras.Sequential([inner, keras.layers.Dense(2)]) if depth else inner

    first, second = (architecture_of_model(model(1))[0] for _ in range(2))
    assert first == second
    (graph,) = [layer["config"] for layer in first if layer["class_name"] == "Functional"]
    assert [layer["config"]["name"] for layer in graph["layers"]] == ["input_layer", "functional", "add"]
    assert graph["output_layers"] == ["add", 0, 0]
    (inner,) = [layer["config"] for layer in graph["layers"] if layer["class_name"] == "Functional"]
    assert inner["output_layers"] == ["simple_rnn", 0, 0]


def test_a_file_keeps_its_names(tmp_path):
    """They are what its user reads elsewhere, also where they look like automatic ones."""
    import keras

    model = two_branches(keras)
    model.save(tmp_path / "größe, #2.keras")
    (tmp_path / "mine.json").write_text(model.to_json(), encoding="utf-8")
    for name in ("größe, #2.keras", "mine.json"):
        (entry,) = read_architecture(str(tmp_path / name))
        names = [layer["config"]["name"] for layer in entry["config"]["layers"]]
        assert sorted(names) == sorted(operation.name for operation in model.operations)
    counted = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense_1"), keras.layers.Dense(2)])
    counted.layers[1].name = "conv2d_2"
    (tmp_path / "mine.json").write_text(counted.to_json(), encoding="utf-8")
    names = [layer["config"]["name"] for layer in read_architecture(str(tmp_path / "mine.json"))[1:]]
    assert names == ["dense_1", "conv2d_2"]


@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
def test_two_layers_of_one_name_are_refused(tmp_path, kind):
    """In a file that was made by hand too."""
    layers = [dense(4, name="dense_1"), dense(3, name="dense_1")]
    ends = {"input_layers": ["dense_1", 0, 0], "output_layers": ["dense_1", 0, 0]} if kind == "Functional" else {}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"class_name": kind, "config": {"layers": layers, **ends}}))
    with pytest.raises(ConfigError, match=r"^model.layers: two layers are named dense_1; allowed: "):
        complete_layers(compose_config("data=iris", "model=file", f"model.path={path}"))


def test_a_setting_may_call_live_layers_as_the_program_does(capsys):
    """By names that shift by one, and of layers within layers; what is ambiguous is refused."""
    import keras

    layers = keras.layers
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense_4")], name="inner")
    model = keras.Sequential([layers.Dense(3, name="dense_1"), layers.Dense(3, name="dense_2"), inner])
    names = architecture_of_model(model)[1]
    assert in_stable_names(["dense_2"], names, "bias_layers") == {"dense_2": "dense_1"}
    assert "model: dense_2 is called dense_1 here" in capsys.readouterr().err
    assert in_stable_names(["hidden", "inner"], names, "arms") == {"hidden": "hidden", "inner": "inner"}
    assert not capsys.readouterr().err
    for given, words in (
        (["dense_1"], "arms: dense_1 given, whose automatic name is that of several layers here; allowed: a name of"),
        (["dense_2", "first"], "two of which are dense_1; allowed: one name per layer"),
    ):
        with pytest.raises(ConfigError, match=words):
            in_stable_names(given, {**names, "first": "dense_1"}, "arms")


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


def test_what_adapt_found_is_kept_or_missed():
    """The boundaries of a Discretization are in its config; mean and variance of a Normalization only as arguments."""
    import keras

    layers, rows = keras.layers, np.arange(20.0).reshape(5, 4)
    bins = layers.Discretization(num_bins=3, name="bins")
    bins.adapt(rows)
    given = layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[2.0] * 4, name="given")
    kept, _ = architecture_of_model(keras.Sequential([keras.Input((4,)), given, bins, layers.Dense(3)]))
    (boundaries,) = [layer["config"]["bin_boundaries"] for layer in kept if layer["class_name"] == "Discretization"]
    assert len(boundaries) == 2
    config = change_config(compose_config("data=iris"), model={"layers": kept})
    built = build_model(complete_layers(config), (4,), "multiclass", 3, 0)
    np.testing.assert_array_equal(built.layers[0](rows), given(rows))
    np.testing.assert_array_equal(built.layers[1](rows), bins(rows))
    adapted = layers.Normalization()
    adapted.adapt(rows)
    missed, _ = architecture_of_model(keras.Sequential([keras.Input((4,)), adapted, layers.Dense(3)]))
    with pytest.raises(ConfigError, match="Normalization without mean and variance, and what adapt"):
        complete_layers(change_config(config, model={"layers": missed}))


def test_files_that_hold_no_model_are_refused(tmp_path):
    """A path that is missing, of another kind, or holds something else."""
    (tmp_path / "mine.json").write_text("[1]")
    (tmp_path / "mine.keras").write_bytes(b"PK\x03\x04nothing")
    for name, words in (("no.keras", "there is no file"), ("mine.h5", "a .keras file, or the .json"),
                        ("mine.json", "it lacks class_name"), ("mine.keras", "damaged zip")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            read_architecture(str(tmp_path / name))
