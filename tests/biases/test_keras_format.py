"""Weights files without a config: what number and shapes of the variables decide is known, the rest is `unknown`."""

import h5py
import numpy as np
import pytest
from keras_files import MODELS, config_text, descriptions, keras_file, weights_file

from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases
from pipeline.errors import ModelFileError


@pytest.mark.parametrize("name", MODELS)
def test_a_weights_file_says_nothing_wrong(saved_models, name):
    """What a .weights.h5 calls a bias is one, and a bias that it misses is in a layer that it calls unknown."""
    models, folder = saved_models
    live = {row["path"]: row for row in descriptions(find_biases(models[name]))}
    read = {row["path"]: row for row in descriptions(read_biases(folder / f"{name}.weights.h5"))}
    unknown_layers = {row["layer"] for row in read.values() if row["kind"] == "unknown"}
    compared = ("path", "layer", "kind", "role", "gates", "values", "dtype")
    for path, row in read.items():
        if row["kind"] != "unknown":
            assert {key: row[key] for key in compared} == {key: live[path][key] for key in compared}
            assert row["layer_type"] in ("", live[path]["layer_type"]) and row["initializer"] == ""
    present = {path for path, row in live.items() if row["values"] is not None and row["layer"] not in unknown_layers}
    assert present <= set(read)


def test_only_a_single_gamma_or_beta_and_a_renamed_cell_are_unknown(saved_models):
    """Everything that number and axes decide is decided; between a gamma and a beta there is no guess."""
    _, folder = saved_models
    unknown = {b.layer for name in MODELS for b in read_biases(folder / f"{name}.weights.h5") if b.kind == "unknown"}
    assert all("normalization" in layer or layer in ("renorm", "rnn/last", "rnn_1") for layer in unknown), unknown
    kinds = {b.layer: b.kind for b in read_biases(folder / "norms.weights.h5")}
    assert kinds["batch_normalization"] == kinds["layer_normalization"] == "beta"


def test_kernels_are_not_read(tmp_path, monkeypatch):
    """Of a large model only the biases are read."""
    path = tmp_path / "large.weights.h5"
    with h5py.File(path, "w") as weights:
        weights["layers/dense/vars/0"] = np.zeros((12_500, 1000), np.float32)
        weights["layers/dense/vars/1"] = np.arange(1000, dtype=np.float32)
    (bias,) = read_biases(path)
    assert bias.values[-1] == 999
    read = []
    monkeypatch.setattr("pipeline.biases.keras_format.read_array", lambda data: read.append(data.name) or np.ones(1))
    read_biases(path)
    assert read == ["/layers/dense/vars/1"]


def test_the_variables_of_layers_of_other_libraries_are_unknown(keras, tmp_path):
    """A layer that Keras does not ship is never taken for the Keras layer of the same name."""

    class Dense(keras.layers.Layer):
        def build(self, shape):
            self.first = self.add_weight(shape=(3,), name="bias")
            self.second = self.add_weight(shape=(2,), name="kernel")
            self.count = self.add_weight(shape=(), dtype="int32", trainable=False)

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((3,)), Dense(name="own"), keras.layers.Dense(2, name="out")])
    model.save(tmp_path / "own.keras")
    biases = read_biases(tmp_path / "own.keras")
    assert [(b.path, b.layer_type, b.kind) for b in biases] == [
        ("own/vars/0", "Dense", "unknown"), ("own/vars/1", "Dense", "unknown"), ("out/bias", "Dense", "bias"),
    ]  # fmt: skip
    assert biases[0].values.tolist() == model.layers[0].first.numpy().tolist()


def test_a_bias_that_its_gates_do_not_divide_is_refused(tmp_path):
    """The bias of an LSTM has four gates, so it cannot have three numbers."""
    lstm = {"module": "keras.layers", "class_name": "LSTM", "config": {"name": "lstm", "use_bias": True}}

    def add(weights):
        weights.create_group("layers/lstm/vars").attrs["name"] = "lstm"
        for number, shape in enumerate([(1, 4), (1, 4), (3,)]):
            weights[f"layers/lstm/cell/vars/{number}"] = np.ones(shape, np.float32)

    path = tmp_path / "model.keras"
    path.write_bytes(keras_file(config=config_text(lstm), weights=weights_file(add)))
    with pytest.raises(ModelFileError, match=r"of shape \(3,\) is no bias of gates ifco"):
        read_biases(path)
