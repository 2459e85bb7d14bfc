"""Files of Keras 1, Keras 2 and tf_keras: every bias is what h5py shows, and no variable is left out."""

import io
import json
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import stored_arrays

from pipeline import extract
from pipeline.biases.differences import bias_differences
from pipeline.biases.model_files import read_biases, read_variables
from pipeline.biases.tables import gate_parts

FILES = Path(__file__).with_name("files")
# What each version calls a bias or an offset: `bias:0` from Keras 2 on, `dense_1_b:0` or `lstm_1_b_i:0` in Keras 1, all
# with a number where the name was taken.
CALLED_BIAS = re.compile(r"(/(bias|beta)|_b|_b_[a-z]+|_beta)(_\d+)?:0$")


def _biases(path: Path) -> list:
    return [bias for bias in read_biases(path) if bias.kind in ("bias", "beta")]


@pytest.mark.parametrize("name", sorted(path.name for path in FILES.glob("*.h5")))
def test_every_bias_of_an_older_file_is_what_h5py_shows(name):
    """The biases are the datasets that the file calls so, with their values; no variable is unknown or left out."""
    arrays = stored_arrays(FILES / name)
    entries = [entry for entry in read_variables(FILES / name) if entry.kind != "absent"]
    assert sorted(entry.source for entry in entries) == sorted(arrays)
    assert {e.source for e in entries if e.kind} == {path for path in arrays if CALLED_BIAS.search(path)}
    for entry in entries:
        if entry.kind:
            assert entry.kind in ("bias", "beta") and entry.values.tobytes() == arrays[entry.source].tobytes()


NAMES = {
    "keras122-mlp.h5": ["dense_1/bias", "dense_2/bias"],
    "keras122-nested.h5": ["enc/dense_7/bias", "enc/batchnormalization_2/beta", "dense_8/bias"],
    "keras122-timedistributed.h5": ["tdm/sequential/i1/bias", "tdm/sequential/i2/bias", "dense_2/bias"],
    "keras122-frozen.h5": ["b1/a/bias", "b1/n/beta", "b1/z/bias", "bb/beta", "out/bias"],
    "keras122-frozen-weights.h5": ["b1/n/beta", "b1/z/bias", "b1/a/bias", "bb/beta", "out/bias"],
    "keras122-merge.h5": ["dense_9/bias", "dense_10/bias", "dense_11/bias"],
    "keras216-functional.h5": ["f/b1/a/bias", "f/z/bias", "o/bias"],
    "keras216-nested.h5": ["mid/sequential/a/bias", "mid/sequential/n/beta", "mid/c/bias", "out/bias"],
    "keras122-others.h5": ["block/fc/bias", "highway_1/bias", "highway_1/bias_carry", "maxoutdense_1/bias"],
    "keras224-depthwise.h5": ["depthwise_conv2d_1/bias", "separable_conv2d_1/bias", "dense_3/bias"],
    "keras224-weights-only.h5": ["bidirectional_1/forward_lstm_1/bias", "bidirectional_1/backward_lstm_1/bias",
                                 "gru_1/bias", "dense_4/bias"],
    "keras224-others.h5": ["up/t/bias", "batch_normalization_4/beta", "conv_lst_m2d_1/bias", "dense_12/bias"],
    "tfkeras-functional.keras": ["shared/bias", "encoder/e1/bias", "encoder/e2/bias", "head/bias"],
    "tfkeras-subclass-weights.h5": [f"dense_{number}/bias" for number in (11, 12, 13, 14)],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_biases_have_the_names_in_the_file(name):
    """A path is the names of the layers, whatever scope TensorFlow put around them."""
    assert [bias.path for bias in _biases(FILES / name)] == NAMES[name]


@pytest.mark.parametrize("model", [
    "tfkeras-functional", "tfkeras-shared", "tf213-shared", "tf213-convolutions", "tfkeras-same-names",
    "tfkeras-same-wrapped", "tfkeras-towers-shared", "tf213-same-names", "tf213-towers-shared", "tfkeras-backward",
])  # fmt: skip
def test_both_files_of_a_model_have_its_biases_under_the_same_names(model):
    """A .keras of tf_keras or TensorFlow 2.13 has the biases of the .h5; a shared layer is in the .h5 twice."""
    archive, listed = ({b.path: b for b in _biases(FILES / f"{model}{ending}")} for ending in (".keras", ".h5"))
    assert set(archive) <= set(listed) and (model.endswith("shared") or set(archive) == set(listed))
    for path, bias in archive.items():
        assert (bias.kind, bias.gates) == (listed[path].kind, listed[path].gates)
        np.testing.assert_array_equal(bias.values, listed[path].values)
    drifts = {row["drift"] for row in bias_differences(list(archive.values()), list(listed.values()))}
    assert drifts <= {0.0, None}


def test_metrics_are_no_variables_of_a_fitted_model(tmp_path):
    """Keras 2 stores the metrics of a fitted model beside its layers, in a .weights.h5 as in a .keras."""
    path = tmp_path / "fitted.weights.h5"
    with zipfile.ZipFile(FILES / "tfkeras-fitted.keras") as archive:
        path.write_bytes(archive.read("model.weights.h5"))
    for file in (path, FILES / "tfkeras-fitted.keras"):
        assert [bias.kind for bias in read_biases(file)].count("unknown") == 0
        assert not [entry for entry in read_variables(file) if "mean/vars" in entry.path]


# The first number of each bias of the live model of tfkeras-deep, whose .h5 Keras 2 cannot write.
DEEP = {
    "left/dense/bias": -0.40240, "left/bn/beta": 0.40217, "left/inner/dense/bias": 2.37454,
    "left/inner/bn/beta": -1.29391, "left/inner/inner/dense/bias": -1.01916, "left/inner/inner/bn/beta": -0.38183,
    "left/inner/inner/out/bias": 0.83456, "left/inner/out/bias": 0.53080, "left/out/bias": 0.19338,
    "right/dense/bias": -0.88708, "right/bn/beta": 0.04500, "right/inner/dense/bias": 0.43870,
    "right/inner/bn/beta": 1.37919, "right/inner/out/bias": 1.42571, "right/out/bias": -0.32334,
    "dense/bias": -0.72262,
}  # fmt: skip


def test_models_nested_with_the_same_names_have_their_own_biases():
    """The same names at every depth are layers of their own."""
    found = {bias.path: float(bias.values[0]) for bias in _biases(FILES / "tfkeras-deep.keras")}
    assert found == pytest.approx(DEEP, abs=1e-5)


@pytest.mark.parametrize("name", sorted(path.name for path in FILES.glob("*.keras")))
def test_no_variable_of_an_archive_is_left_out(name, tmp_path):
    """Each dataset of model.weights.h5 is one entry, and none is unknown."""
    with zipfile.ZipFile(FILES / name) as archive:
        arrays = stored_arrays(io.BytesIO(archive.read("model.weights.h5")))
    entries = [entry for entry in read_variables(FILES / name) if entry.kind != "absent"]
    of_model = [path for path in arrays if not path.startswith("/metrics/")]
    assert sorted(entry.source for entry in entries) == sorted(of_model)
    assert "unknown" not in {entry.kind for entry in entries}


@pytest.mark.parametrize(
    ("whole", "weights"),
    [
        ("tf29-cudnn", "tf29-cudnn-weights"),
        ("tfkeras-recurrent", "tfkeras-recurrent-weights"),
        ("tfkeras-backward", "tfkeras-backward-weights"),
        ("keras122-convlstm", "keras122-convlstm-weights"),
    ],
)
def test_weights_alone_have_the_biases_and_gates_of_the_whole_model(whole, weights):
    """What the config says of a layer follows from the names and shapes of its variables."""
    of_model, of_weights = (
        {(b.path, b.kind, b.gates, b.role): b.values.tolist() for b in _biases(FILES / f"{name}.h5")}
        for name in (whole, weights)
    )
    assert of_model == of_weights and of_model


def test_each_variable_of_a_recurrent_layer_of_keras_1_has_its_gate():
    """`lstm_1_b_f` is the bias of the forget gate, which Keras 1 starts at ones and the makers gave random numbers."""
    arrays = stored_arrays(FILES / "keras122-lstm.h5")
    gates = {gate: part for bias in _biases(FILES / "keras122-lstm.h5") for _, gate, part in gate_parts(bias)}
    assert set(gates) == {"i", "f", "c", "o", ""}
    for gate in "ifco":
        np.testing.assert_array_equal(gates[gate], arrays[f"/model_weights/lstm_1/lstm_1_b_{gate}:0"])


@pytest.mark.parametrize(
    ("n_biases", "gates"),
    [(2, {"rnn_1/bias": ("LSTM", "ifco"), "rnn_1/bias_1": ("GRU", "zrh")}), (1, {"rnn_1/bias": ("", "")})],
)
def test_cells_with_numbered_names_have_their_own_gates(tmp_path, n_biases, gates):
    """The variables of stacked cells have one scope; where only one cell has a bias, nothing tells which."""
    path = tmp_path / "w.h5"
    path.write_bytes((FILES / "keras224-stacked-weights.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        names = [name for name in file["rnn_1"].attrs["weight_names"] if n_biases == 2 or b"bias_1" not in name]
        file["rnn_1"].attrs["weight_names"] = names
        if n_biases == 1:
            del file["rnn_1/rnn_1/bias_1:0"]
    read = [bias for bias in read_biases(path) if bias.layer == "rnn_1"]
    assert {bias.path: (bias.layer_type, bias.gates) for bias in read} == gates
    assert {bias.kind for bias in read} == {"bias"}


def test_the_layers_of_cudnn_have_gates_of_the_inputs_and_of_the_state():
    """Their biases hold the inputs' gates, then the recurrent ones."""
    lstm, gru, _ = _biases(FILES / "tf29-cudnn-weights.h5")
    assert (lstm.layer_type, gru.layer_type) == ("CuDNNLSTM", "CuDNNGRU")
    for bias, gates in ((lstm, "ifco"), (gru, "zrh")):
        parts = list(gate_parts(bias))
        assert [(role, gate) for role, gate, _ in parts] == [(r, g) for r in ("input", "recurrent") for g in gates]
        np.testing.assert_array_equal(np.concatenate([part for _, _, part in parts]), bias.values)


def _weights_only(path: Path, layers: dict[str, dict[str, tuple[int, ...]]], version: str = "2.3.1") -> Path:
    """A file of `save_weights` of Keras 2 with these layers: name of each variable -> shape. version: may be empty."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs.update({"keras_version": version.encode()} if version else {})
        for layer, shapes in layers.items():
            file.create_group(layer).attrs["weight_names"] = [f"{name}:0".encode() for name in shapes]
            for name, shape in shapes.items():
                file[f"{layer}/{name}:0"] = np.ones(shape, np.float32)
    return path


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"a_1/kernel": (3, 2), "a_1/bias": (2,)}, [("a/bias", "", "bias", "")]),
        ({"a/kernel": (3, 2)}, [("a/bias", "", "absent", "")]),
        ({"m/a/kernel": (3, 2), "m/a/bias": (2,)}, [("a/bias", "", "bias", "")]),
        ({"b/gamma": (2,), "b/moving_mean": (2,), "b/moving_variance": (2,)},
         [("a/b/beta", "BatchNormalization", "absent", "")]),
        ({"a/kernel": (3, 8), "a/recurrent_kernel": (2, 8), "a/bias": (8,)}, [("a/bias", "LSTM", "bias", "ifco")]),
        ({"a/kernel": (3, 6), "a/recurrent_kernel": (2, 6), "a/bias": (2, 6)}, [("a/bias", "GRU", "bias", "zrh")]),
        ({"a/kernel": (3, 2), "a/recurrent_kernel": (2, 2), "a/bias": (2,)}, [("a/bias", "SimpleRNN", "bias", "")]),
        ({"a/kernel": (3, 4), "a/recurrent_kernel": (2, 4), "a/bias": (4,)},
         [("a/bias", "", "bias", "")]),
        ({"a/kernel": (3, 4), "a/recurrent_kernel": (2, 4), "a/shift": (4,)},
         [("a/kernel", "", "unknown", ""), ("a/recurrent_kernel", "", "unknown", ""), ("a/shift", "", "unknown", "")]),
        ({"a/embeddings": (3, 2)}, []),
        ({"a/alpha": (3,)}, []),
        ({"a/bias": (3,)}, [("a/bias", "", "unknown", "")]),
        ({"a/W": (3, 2), "a/b": (2,)}, [("a/W", "", "unknown", ""), ("a/b", "", "unknown", "")]),
    ],
)  # fmt: skip
def test_the_names_and_shapes_of_weights_alone_say_what_they_are(tmp_path, shapes, expected):
    """Where they are no layer's of Keras, the variables are unknown, but for a bias beside its kernel."""
    read = read_biases(_weights_only(tmp_path / "w.h5", {"a": shapes}))
    assert [(b.path, b.layer_type, b.kind, b.gates) for b in read] == expected


@pytest.mark.parametrize(("first", "second"), [("a", "c"), ("dense_1", "dense_2")])
def test_a_frozen_model_within_a_model_keeps_its_biases(tmp_path, first, second):
    """Its variables come last in the list, which its config does not say before Keras 2.3: their names do."""
    path = tmp_path / "model.h5"
    path.write_bytes((FILES / "keras216-nested.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config, group = json.loads(file.attrs["model_config"]), file["model_weights/mid"]
        frozen, dense = config["config"][0]["config"]
        del frozen["config"][1], group["n"]
        frozen["config"][0]["config"]["name"], dense["config"]["name"] = first, second
        file.attrs["model_config"] = json.dumps(config)
        for old, new in (("a", first), ("c", second)):
            if old != new:
                group.move(old, new)
        group.attrs["weight_names"] = [f"{name}/{end}:0" for name in (second, first) for end in ("kernel", "bias")]
    read = {bias.path: bias.source.split("/")[-2] for bias in _biases(path)}
    assert read == {f"mid/sequential/{first}/bias": first, f"mid/{second}/bias": second, "out/bias": "out"}


@pytest.mark.parametrize(
    ("layers", "biases"),
    [
        ({"a": {"a_W": (3, 2), "a_b": (2,)}, "own": {"shift": (3,)}}, ["a/bias"]),
        ({"a": {"a_W_1": (3, 2), "a_b_1": (2,)}, "b_1": {"b_1_W": (3, 2), "b_1_b": (2,)}}, ["a/bias", "b_1/bias"]),
        ({"b_W": {"b_W/kernel": (3, 2), "b_W/bias": (2,)}, "a": {"a/a_W": (3, 2), "a/a_b": (2,)}}, ["b_W/bias"]),
    ],
)
def test_weights_without_a_version_are_told_apart_by_their_names(tmp_path, layers, biases):
    """Those of Keras 1 have none; a layer of another library does not make the others unknown."""
    read = read_biases(_weights_only(tmp_path / "w.h5", layers, version=""))
    assert [bias.path for bias in read if bias.kind == "bias"] == biases


def test_a_model_without_a_version_is_read_by_its_names(tmp_path):
    """The settings of Keras 1 are known by how it names variables."""
    path = tmp_path / "model.h5"
    path.write_bytes((FILES / "keras122-convlstm.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file.attrs["keras_version"]
    assert [bias.path for bias in _biases(path)] == [b.path for b in _biases(FILES / "keras122-convlstm.h5")]


def test_two_variables_of_one_name_are_unknown(tmp_path):
    """`a/bias:0` and `a/bias:1` cannot both be the bias of `a`."""
    path = _weights_only(tmp_path / "w.h5", {"a": {"a/kernel": (3, 2), "a/bias": (2,)}})
    with h5py.File(path, "r+") as file:
        file["a/a/bias:1"] = np.ones(2, np.float32)
        file["a"].attrs["weight_names"] = [b"a/kernel:0", b"a/bias:0", b"a/bias:1"]
    assert {bias.kind for bias in read_biases(path)} == {"unknown"}


def test_one_layer_of_another_library_leaves_the_rest_of_a_nested_model_known(tmp_path):
    """Only the variables of that layer are unknown."""
    path = tmp_path / "model.h5"
    path.write_bytes((FILES / "tfkeras-functional.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        text = text.decode() if isinstance(text, bytes) else text
        file.attrs["model_config"] = re.sub(r'"class_name": "Dense", "config": {"name": "e1"',
                                            '"class_name": "pkg>Own", "config": {"name": "e1"', text)  # fmt: skip
        group = file["model_weights/encoder"]
        renamed = [re.sub("^e1/", "e1/own_", name) for name in group.attrs["weight_names"]]
        for name, new in zip(group.attrs["weight_names"], renamed, strict=True):
            if name != new:
                group.move(name, new)
        group.attrs["weight_names"] = renamed
    assert {b.path: b.kind for b in read_biases(path)} == {
        "shared/bias": "bias", "encoder/e1/own_kernel": "unknown", "encoder/e1/own_bias": "unknown",
        "encoder/e2/bias": "bias", "head/bias": "bias",
    }  # fmt: skip


def test_what_no_list_of_a_file_names_is_unknown(tmp_path):
    """A dataset besides the listed ones is not left out."""
    path = _weights_only(tmp_path / "w.h5", {"a": {"a/kernel": (3, 2), "a/bias": (2,)}})
    with h5py.File(path, "r+") as file:
        file["more/bias"] = np.ones(2, np.float32)
        file["optimizer_weights/momentum"] = np.ones(2, np.float32)
    assert [(b.path, b.kind) for b in read_biases(path)] == [("a/bias", "bias"), ("more/bias", "unknown")]


def test_a_kind_is_listed_with_how_many_variables_were_not_told_apart(tmp_path, capsys):
    """On standard error, so that standard output stays what it was; a refusal says it too."""
    own = {"a": {"a/kernel": (3, 2), "a/bias": (2,)}, "own": {"own/w": (2,), "own/b": (2,)}}
    path = str(_weights_only(tmp_path / "w.h5", own))
    assert extract.main([path, "--kind", "bias", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"{path}: 2 variables were not told apart, and may be biases: of own (see --kind unknown)\n"
    assert '"a/bias"' in printed.out and "own" not in printed.out
    for arguments in ([path], [path, "--kind", "unknown"]):
        assert extract.main(arguments) == 0 and capsys.readouterr().err == ""
    assert extract.main([path, "--kind", "beta"]) == 2
    line = capsys.readouterr().err
    assert "no beta was found" in line and "2 variables were not told apart" in line and line.count("\n") == 1
