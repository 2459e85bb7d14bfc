"""Unusual saved models: biases are read right, or reported as unknown, or the file is refused."""

import json

import h5py
import numpy as np
import pytest

from pipeline import extract
from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases
from pipeline.biases.tables import gate_parts
from pipeline.errors import ConfigError
from pipeline.runtime.device import start_tensorflow


@pytest.fixture(scope="module")
def keras():
    start_tensorflow("cpu")
    import keras

    return keras


def _values(vectors):
    """Path, kind and exact values."""
    arrays = [None if v.values is None else np.array(getattr(v.values, "value", v.values)).tolist() for v in vectors]
    return [(v.path, v.kind, array) for v, array in zip(vectors, arrays, strict=True)]


def _saved(model, folder, form):
    path = folder / f"model.{form}"
    model.save_weights(path) if form == "weights.h5" else model.save(path)
    return read_biases(path)


def _nothing_wrong(read, live):
    known = [row for row in _values(read) if row[1] != "unknown"]
    assert all(row in _values(live) for row in known)
    assert all(vector.values.dtype.kind not in "iu" for vector in read if vector.kind == "unknown")


@pytest.mark.parametrize("mode", ["int8", "int4", "float8", "lora", "lora and int8"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantized_and_lora_models(keras, mode, tmp_path):
    """A layer without bias stays without: the scale of its quantized kernel is not taken for one."""
    L = keras.layers
    model = keras.Sequential([keras.Input((8,)), L.Dense(4, name="a"), L.Dense(4, use_bias=False, name="without"),
                              L.EinsumDense("ab,bc->ac", output_shape=4, bias_axes="c", name="e")])  # fmt: skip
    for layer in model.layers if "lora" in mode else ():
        layer.enable_lora(2)
    if mode != "lora":
        model.quantize(mode.split(" ")[-1])
    for number, layer in enumerate(model.layers):
        if layer.bias is not None:
            layer.bias.assign(np.arange(4.0) + number)
    live = find_biases(model)
    assert [v.kind for v in live] == ["bias", "absent", "bias"]
    assert _values(_saved(model, tmp_path, "keras")) == _values(live)
    for form in ("h5", "weights.h5"):
        _nothing_wrong(_saved(model, tmp_path, form), live)


def test_the_states_of_a_stateful_layer_are_no_biases(keras, tmp_path):
    """The state that a recurrent layer keeps between batches is not listed, and its bias is."""
    layers = [keras.layers.LSTM(2, stateful=True, return_sequences=True), keras.layers.GRU(2, stateful=True)]
    model = keras.Sequential([keras.Input((4, 3), batch_size=2), *layers])
    for form in ("keras", "h5", "weights.h5"):
        assert sorted(_values(_saved(model, tmp_path, form))) == sorted(_values(find_biases(model)))


def test_a_layer_of_another_library_need_not_keep_its_name(keras, tmp_path):
    """The variables of a custom layer without get_config are unknown; the rest of the file is read.

    A .h5 file names the variables of the Dense layer in it.
    """

    class Own(keras.layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.inner = keras.layers.Dense(2, name="inner")

        def build(self, shape):
            self.inner.build(shape)
            self.bias = self.add_weight(shape=(2,), name="bias")

        def call(self, x):
            return self.inner(x) + self.bias

    model = keras.Sequential([keras.Input((2,)), Own(name="one"), Own(), keras.layers.Dense(1, name="out")])
    own = {"one", model.layers[1].name}
    for form in ("keras", "h5", "weights.h5"):
        read = _saved(model, tmp_path, form)
        assert {v.path.split("/")[0] for v in read if v.kind == "unknown"} == own
        inner = [f"{name}/inner/bias" for name in ("one", model.layers[1].name)] if form == "h5" else []
        assert [v.path for v in read if v.kind != "unknown"] == [*inner, "out/bias"]
        values = [v.values.tolist() for v in read]
        assert all(layer.bias.numpy().tolist() in values for layer in model.layers)


def test_what_a_model_holds_beside_its_layers_is_unknown(keras, tmp_path):
    """A variable of the model itself is listed as unknown."""
    model = keras.Sequential([keras.layers.Dense(2, name="out")])
    model.extra = model.add_weight(shape=(3,), name="extra")
    model.build((None, 3))
    for form in ("keras", "h5", "weights.h5"):
        read = {kind: values for _, kind, values in _values(_saved(model, tmp_path, form))}
        assert read == {"unknown": model.extra.numpy().tolist(), "bias": [0, 0]}


def test_a_whole_model_file_of_another_class_is_read_by_names(keras, tmp_path):
    """Its config has no layers, but a .h5 file names their variables, as it does where it has weights alone."""

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(2, name="first"), keras.layers.BatchNormalization(name="norm")]

        def call(self, x):
            return self.parts[1](self.parts[0](x))

    model = Mine()
    model(np.zeros((1, 3), np.float32))
    live = [("first/bias", "bias"), ("norm/beta", "beta")]
    assert [(v.path, v.kind) for v in _saved(model, tmp_path, "h5")] == live
    assert [(v.path, v.kind) for v in find_biases(model)] == live
    _nothing_wrong(_saved(model, tmp_path, "keras"), find_biases(model))


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built:UserWarning")
def test_a_model_that_was_not_built_has_nothing_to_show(keras, tmp_path, capsys):
    """An unbuilt or empty model has no biases, and `extract` says why."""
    for layers in ([keras.layers.Dense(2), keras.layers.LSTM(2)], [], [keras.Input((3,))]):
        for form in ("keras", "h5"):
            assert _saved(keras.Sequential(layers), tmp_path, form) == []
            assert extract.main([str(tmp_path / f"model.{form}")]) == 2
            assert "were not built" in capsys.readouterr().err


def test_weights_in_several_files_are_refused(keras, tmp_path):
    """Weights that are spread over several files are refused, not read in part."""
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300), keras.layers.Dense(300)])
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=0.0004)
    with pytest.raises(ConfigError, match=r"in several files"):
        read_biases(tmp_path / "model.weights.json")


def _legacy(path, config, variables):
    """A whole-model file as Keras 2 wrote it: layers by name, each with its variables by name."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in variables]
        for layer, arrays in variables.items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in arrays]
            for name, array in arrays.items():
                own[f"{layer}/{name}:0"] = np.asarray(array, np.float32)
    return path


DENSE = {"kernel": [[1, 2], [3, 4], [5, 6]], "bias": [7, 8]}


def _dense(name, **more):
    return {"class_name": "Dense", "config": {"name": name, "trainable": True, "use_bias": True, "units": 2, **more}}


def test_files_of_the_first_keras_versions(tmp_path):
    """A Sequential whose config is a list, and layer names with a slash, are read."""
    for layers in ([_dense("block/dense")], {"name": "sequential", "layers": [_dense("block/dense")]}):
        config = {"class_name": "Sequential", "config": layers}
        read = read_biases(_legacy(tmp_path / "old.h5", config, {"block/dense": DENSE}))
        assert _values(read) == [("block/dense/bias", "bias", [7, 8])]


def test_the_bias_of_a_layer_of_cudnn_has_the_gates_of_inputs_and_state(tmp_path):
    """CuDNNLSTM's bias holds two values for each gate and unit, and is not read as an LSTM's."""
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [
        {"class_name": "CuDNNLSTM", "config": {"name": "lstm", "trainable": True}}, _dense("out")]}}  # fmt: skip
    lstm = {"kernel": np.ones((3, 8)), "recurrent_kernel": np.ones((2, 8)), "bias": np.arange(16)}
    read = read_biases(_legacy(tmp_path / "old.h5", config, {"lstm": lstm, "out": DENSE}))
    assert {v.layer: v.kind for v in read} == {"lstm": "bias", "out": "bias"}
    assert [(role, gate, *part) for role, gate, part in gate_parts(read[0])] == [
        ("input", "i", 0, 1), ("input", "f", 2, 3), ("input", "c", 4, 5), ("input", "o", 6, 7),
        ("recurrent", "i", 8, 9), ("recurrent", "f", 10, 11), ("recurrent", "c", 12, 13), ("recurrent", "o", 14, 15),
    ]  # fmt: skip


def test_a_legacy_layer_with_other_variables_than_its_class_has_is_unknown(tmp_path):
    """Where a layer's variables are not those of its class, all of them are unknown."""
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [_dense("out")]}}
    for arrays in ({"kernel": DENSE["kernel"]}, {"bias": [1, 2]}, {"bias": [1, 2], "kernel": [[1]]},
                   DENSE | {"more": [1]}):  # fmt: skip
        read = read_biases(_legacy(tmp_path / "old.h5", config, {"out": arrays}))
        assert {v.kind for v in read} == {"unknown"} and len(read) == len(arrays)
    assert read_biases(_legacy(tmp_path / "old.h5", config, {"out": {}})) == []


def test_numbers_that_are_none_are_shown_as_such(tmp_path, capfd):
    """A diverged model's biases are shown as nan, without warnings."""
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [_dense("out"), _dense("more")]}}
    broken = {"kernel": DENSE["kernel"], "bias": [np.nan, np.inf]}
    path = str(_legacy(tmp_path / "nan.h5", config, {"out": broken, "more": DENSE | {"bias": [3e38, -3e38]}}))
    assert extract.main([path, "--layer", "out"]) == 0
    assert capfd.readouterr().out.splitlines()[-1].split()[-4:] == ["nan", "nan", "nan", "nan"]
    assert extract.main([path, "--format", "csv"]) == 0 and extract.main([path, "--diff", path]) == 0
    assert extract.main([path, "--format", "json", "--layer", "out"]) == 0
    out, err = capfd.readouterr()
    assert '"mean": null' in out and err == ""


def test_an_initializer_cannot_move_the_cursor(tmp_path, capsys):
    """Control characters in an initializer's arguments do not reach the terminal."""
    start = {"class_name": "Constant", "config": {"value": "\x1b[2J\n"}}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [_dense("out", bias_initializer=start)]}}
    assert extract.main([str(_legacy(tmp_path / "m.h5", config, {"out": DENSE})), "--format", "csv"]) == 0
    assert r"Constant(value=\x1b[2J )" in capsys.readouterr().out
