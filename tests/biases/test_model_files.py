"""Saved models give the biases of the live model, read without Keras, and hostile files get nothing done.

The models hold every layer that has a bias, could have one, or has something that looks like one. Keras writes them in
all three formats, once.
"""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.biases import limits
from pipeline.biases.extraction import bias_variables, find_biases
from pipeline.biases.model_files import CONFIG, WEIGHTS_FILE, read_biases
from pipeline.biases.safe_hdf5 import HEAP_SIGNATURE
from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.runtime.device import start_tensorflow

FORMATS = ("keras", "weights.h5", "h5")
MODELS = ("dense", "conv1d", "conv2d", "conv3d", "recurrent", "recurrent_2d", "wrapped", "attention", "norms", "frozen",
          "shared", "renamed", "half")  # fmt: skip


def _models() -> dict:
    """Every layer of interest, in Sequential and functional models; the biases are random numbers."""
    start_tensorflow("cpu")
    import keras

    keras.backend.clear_session()  # the names that Keras gives count on from other tests
    L = keras.layers

    def chain(shape, *layers, name=None):
        model = keras.Sequential([keras.Input(shape), *layers], name=name)
        model.build((None, *shape))
        return model

    made = {}
    made["dense"] = chain((6, 5), L.Dense(4, bias_initializer=keras.initializers.Constant(0.1)),
                          L.EinsumDense("abc,cd->abd", (6, 3), bias_axes="d"),
                          L.EinsumDense("abc,cd->abd", (6, 3)), L.PReLU(), L.Dropout(0.1), L.Flatten(),
                          L.Dense(3, use_bias=False), L.Dense(2, name="out"))  # fmt: skip
    made["conv1d"] = chain((9, 4), L.Conv1D(4, 2), L.DepthwiseConv1D(2, depth_multiplier=2), L.SeparableConv1D(3, 2),
                           L.Conv1DTranspose(3, 2), L.Conv1D(2, 1, use_bias=False))  # fmt: skip
    made["conv2d"] = chain((8, 8, 2), L.Conv2D(3, 2), L.DepthwiseConv2D(2), L.SeparableConv2D(3, 2),
                           L.SeparableConv2D(2, 1, use_bias=False), L.Conv2DTranspose(2, 2))  # fmt: skip
    made["conv3d"] = chain((4, 4, 4, 1), L.Conv3D(2, 2), L.Conv3DTranspose(2, 2))
    cells = [L.LSTMCell(3), L.GRUCell(2, reset_after=False), L.SimpleRNNCell(2, name="last")]
    made["recurrent"] = chain((5, 3), L.SimpleRNN(2, return_sequences=True), L.GRU(3, return_sequences=True),
                              L.GRU(2, reset_after=False, dropout=0.5, return_sequences=True),
                              L.LSTM(4, return_sequences=True, use_bias=False), L.RNN(cells, return_sequences=True),
                              L.RNN(L.GRUCell(3), return_sequences=True), L.LSTM(2, bias_initializer="ones"),
                              L.Dense(1))  # fmt: skip
    made["recurrent_2d"] = chain((3, 5, 5, 1), L.ConvLSTM2D(2, 2, return_sequences=True),
                                 L.ConvLSTM2D(2, 2, use_bias=False), L.Flatten(), L.Dense(1))  # fmt: skip
    made["wrapped"] = chain((5, 3), L.Bidirectional(L.LSTM(2, return_sequences=True)),
                            L.Bidirectional(L.GRU(2, return_sequences=True),
                                            backward_layer=L.GRU(2, return_sequences=True, go_backwards=True,
                                                                 name="back")),
                            L.TimeDistributed(L.Dense(3)), L.SpectralNormalization(L.Dense(3, name="inner")),
                            L.TimeDistributed(chain((3,), L.Dense(2), name="small")), L.Flatten(),
                            L.Dense(2))  # fmt: skip
    at = keras.Input((6, 8))
    h = L.MultiHeadAttention(2, 3)(at, at)
    h = L.GroupQueryAttention(2, 4, 2)(h, h)
    h = L.MultiHeadAttention(2, 2, use_bias=False, dropout=0.1)(h, h)
    h = L.Attention(use_scale=True)([h, h])
    made["attention"] = keras.Model(at, L.Dense(1)(h))
    made["norms"] = chain((4, 6), L.BatchNormalization(), L.LayerNormalization(), L.GroupNormalization(2),
                          L.BatchNormalization(renorm=True, name="renorm"), L.UnitNormalization(), L.RMSNormalization(),
                          L.Normalization(), L.LayerNormalization(center=False), L.LayerNormalization(scale=False),
                          L.BatchNormalization(scale=False), L.BatchNormalization(center=False),
                          L.Dense(2))  # fmt: skip
    made["frozen"] = chain((4,), chain((4,), L.BatchNormalization(), L.Dense(3), L.BatchNormalization(name="second"),
                                       L.Dense(3), name="block"), L.Dense(2))  # fmt: skip
    made["frozen"].layers[0].layers[1].trainable = False
    words = keras.Input((4,))
    shared, inner = (
        L.Dense(5, name="shared"),
        chain((4, 5), L.Dense(5), L.BatchNormalization(), L.Dense(5), name="inner"),
    )
    h = shared(L.Embedding(7, 5)(words))
    deep = keras.Sequential([keras.Input((4, 5)), L.Dense(5), inner], name="deep")
    h = L.Add()([deep(shared(h)), h]) * 2.0
    made["shared"] = keras.Model(words, [L.Dense(1)(h), L.Dense(2)(inner(h)), keras.ops.relu(L.Dense(1)(h))])
    made["renamed"] = chain((3,), L.Dense(2, name="lstm"), L.Dense(2, name="vars"), L.Dense(2, name="dense_10"),
                            *(L.Dense(2) for _ in range(11)))  # fmt: skip
    made["half"] = chain((3,), L.Dense(4, dtype="bfloat16"), L.Dense(2, dtype="mixed_float16"), L.Dense(2))
    draw = np.random.default_rng(0)
    for model in made.values():
        for variable in bias_variables(model).values():
            variable.assign(draw.normal(size=variable.shape))
    made["dense"].compile("adam", "mse", metrics=["mae"])
    made["dense"].optimizer.build(made["dense"].trainable_variables)
    return made


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The live models, and the folder in which they are as `<name>.<format>`."""
    folder = tmp_path_factory.mktemp("models")
    made = _models()
    for name, model in made.items():
        for form in FORMATS:
            if form == "weights.h5":
                model.save_weights(folder / f"{name}.{form}")
            else:
                model.save(folder / f"{name}.{form}")
    return made, folder


def _described(vectors) -> list[dict]:
    """All that is said of the vectors, with the values as exact lists."""
    rows = []
    for vector in vectors:
        value = getattr(vector.values, "value", vector.values)
        array = None if value is None else np.array(value)
        rows.append({k: v for k, v in vars(vector).items() if k not in ("values", "owner")}
                    | {"values": None if array is None else array.tolist(),
                       "dtype": "" if array is None else str(array.dtype)})  # fmt: skip
    return rows


@pytest.mark.parametrize("name", MODELS)
def test_a_keras_file_gives_what_the_live_model_gives(models, name):
    """Reading a .keras file would give other biases, paths, kinds, gates or initializers than the live model."""
    made, folder = models
    assert _described(read_biases(folder / f"{name}.keras")) == _described(find_biases(made[name]))


@pytest.mark.parametrize("name", [name for name in MODELS if name != "shared"])
def test_a_legacy_h5_file_gives_what_the_live_model_gives(models, name):
    """Reading a whole-model .h5 would give other biases, paths, kinds, gates or initializers than the live model."""
    made, folder = models
    assert _described(read_biases(folder / f"{name}.h5")) == _described(find_biases(made[name]))


def test_a_layer_in_two_places_of_a_legacy_file_is_there_twice(models):
    """A .h5 file would lose a bias, or give other values than the live model has."""
    made, folder = models
    live = {row["path"]: row for row in _described(find_biases(made["shared"]))}
    read = {row["path"]: row for row in _described(read_biases(folder / "shared.h5"))}
    assert {path: read[path] for path in live} == live
    assert {path.split("/")[0] for path in set(read) - set(live)} == {"inner"}  # which `deep` holds as well


@pytest.mark.parametrize("name", MODELS)
def test_a_weights_file_says_nothing_wrong(models, name):
    """A .weights.h5 would call something a bias that is none, or miss a bias without a word."""
    made, folder = models
    live = {row["path"]: row for row in _described(find_biases(made[name]))}
    read = {row["path"]: row for row in _described(read_biases(folder / f"{name}.weights.h5"))}
    unsure = {row["layer"] for row in read.values() if row["kind"] == "unknown"}
    for path, row in read.items():
        if row["kind"] != "unknown":
            said = ("path", "layer", "kind", "role", "gates", "values", "dtype")
            assert {key: row[key] for key in said} == {key: live[path][key] for key in said}
            assert row["layer_type"] in ("", live[path]["layer_type"]) and row["initializer"] == ""
    assert {path for path, row in live.items() if row["layer"] not in unsure and row["values"] is not None} <= set(read)


def test_a_weights_file_is_unsure_of_one_gamma_or_beta_only(models):
    """A .weights.h5 would leave open what number and axes decide, or decide between gamma and beta by guess."""
    _, folder = models
    unsure = {v.layer for name in MODELS for v in read_biases(folder / f"{name}.weights.h5") if v.kind == "unknown"}
    assert all("normalization" in layer or layer in ("renorm", "rnn/last", "rnn_1") for layer in unsure), unsure
    kinds = {v.layer: v.kind for v in read_biases(folder / "norms.weights.h5")}
    assert kinds["batch_normalization"] == kinds["layer_normalization"] == "beta"


def test_older_files_without_names_are_read_by_class_and_count(models, tmp_path):
    """A file of an earlier Keras 3, whose groups have no name attribute, would be read wrongly."""
    made, folder = models
    for name in ("dense", "renamed", "wrapped", "shared"):
        target = tmp_path / f"{name}.keras"
        with zipfile.ZipFile(folder / f"{name}.keras") as old, zipfile.ZipFile(target, "w") as new:
            content = io.BytesIO(old.read(WEIGHTS_FILE))
            with h5py.File(content, "r+") as weights:
                weights.visititems(lambda _, there: there.attrs.pop("name", None) and None)
            new.writestr(WEIGHTS_FILE, content.getvalue(), zipfile.ZIP_DEFLATED)
            new.writestr(CONFIG, old.read(CONFIG), zipfile.ZIP_DEFLATED)
        assert _described(read_biases(target)) == _described(find_biases(made[name])), name


def test_layers_of_other_libraries_are_unknown(tmp_path):
    """A layer that Keras does not have would be taken for one of Keras', or left out."""
    import keras

    class Dense(keras.layers.Layer):  # the name of one of Keras' own
        def build(self, shape):
            self.first = self.add_weight(shape=(3,), name="bias")
            self.second = self.add_weight(shape=(2,), name="kernel")
            self.count = self.add_weight(shape=(), dtype="int32", trainable=False)

        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((3,)), Dense(name="own"), keras.layers.Dense(2, name="out")])
    model.save(tmp_path / "own.keras")
    found = read_biases(tmp_path / "own.keras")
    assert [(v.path, v.layer_type, v.kind) for v in found] == [
        ("own/vars/0", "Dense", "unknown"), ("own/vars/1", "Dense", "unknown"), ("out/bias", "Dense", "bias"),
    ]  # fmt: skip
    assert found[0].values.tolist() == model.layers[0].first.numpy().tolist()


def test_a_run_folder_gives_the_biases_after_training(tmp_path):
    """Our own runs could not be read, or gave the values before training."""
    epochs = {"trajectory/dense/bias": np.zeros((3, 2)), "epoch": np.arange(3)}
    arrays = {"before/dense/bias": np.zeros(2), "after/dense/bias": np.ones(2)}
    np.savez(tmp_path / "biases.npz", **arrays, **epochs)
    (vector,) = read_biases(tmp_path)
    assert (vector.path, vector.layer, vector.kind, vector.values.tolist()) == ("dense/bias", "dense", "bias", [1, 1])


def test_tensorflow_and_keras_stay_out(models):
    """Reading a file would wait for TensorFlow, Keras or MLflow."""
    _, folder = models
    names = [str(folder / f"wrapped.{form}") for form in FORMATS]
    code = f"""import sys; from pipeline import extract
for name in {names}: assert extract.main([name]) == 0
print([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'keras', 'mlflow', 'hydra')])"""
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert (said.returncode, said.stdout.splitlines()[-1:]) == (0, ["[]"]), said.stderr


def test_a_large_model_is_read_without_its_kernels(tmp_path):
    """A 50 MB model would take its time, or its kernels be read: more than 3 s with the start of Python."""
    with h5py.File(tmp_path / "large.weights.h5", "w") as weights:
        weights["layers/dense/vars/0"] = np.zeros((12_500, 1000), np.float32)
        weights["layers/dense/vars/1"] = np.arange(1000, dtype=np.float32)
    (vector,) = read_biases(tmp_path / "large.weights.h5")
    assert vector.values[-1] == 999
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "pipeline.biases.keras_format.read_array", lambda dataset: seen.append(dataset.name) or np.ones(1)
        )
        read_biases(tmp_path / "large.weights.h5")
    assert seen == ["/layers/dense/vars/1"]


# Hostile files: each is a function that writes one to a path, and what the refusal says.


class _Canary:
    """What a pickle does when it is opened."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _weights(change=lambda weights: None) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as weights:
        weights["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        weights["layers/dense/vars/1"] = np.ones(2, np.float32)
        weights["layers/dense/vars"].attrs["name"] = "dense"
        change(weights)
    return content.getvalue()


def _config(*layers: dict) -> str:
    own = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "use_bias": True}}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [*layers, own]}})


def _archive(*more: tuple, config: str | None = None, weights: bytes | None = None) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("config.json", _config() if config is None else config)
        archive.writestr("model.weights.h5", _weights() if weights is None else weights)
        for name, data in more:
            archive.writestr(name, data)
    return content.getvalue()


def _instead(name: str, make):
    """A change of the weights that puts something else where the bias is."""

    def change(weights):
        del weights[name]
        make(weights)

    return change


def _put(name: str, there):
    return lambda weights: weights.__setitem__(name, there)


BIAS = "layers/dense/vars/1"


def _dataset(**settings):
    return _instead(BIAS, lambda w: w.create_dataset(BIAS, **settings))


def _virtual(weights):
    layout = h5py.VirtualLayout((2,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    weights.create_virtual_dataset(BIAS, layout)


def _many_places(weights):
    """One array, as the bias of many layers: a small file that is large in memory."""
    weights["layers/dense_1/vars/0"] = np.ones((2, 10_000), np.float32)
    weights["layers/dense_1/vars/1"] = np.ones(10_000, np.float32)
    for number in range(2, 10):
        weights[f"layers/dense_{number}/vars/0"] = weights["layers/dense_1/vars/0"]
        weights[f"layers/dense_{number}/vars/1"] = weights["layers/dense_1/vars/1"]


def _texts(weights):
    """A thousand texts, which the file may all keep in one place, of two megabytes."""
    weights.attrs["long"] = "x" * 2**21
    weights.attrs["names"] = ["x"] * 1000


def _symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    return info


def _patched(content: bytes, field: int, value: int, form: str) -> bytes:
    """The archive with a field of the first central directory entry changed."""
    place = content.index(b"PK\1\2") + field
    return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]


def _endless(content: bytes) -> bytes:
    """The weights with a heap whose first object takes no place, in which HDF5's own library goes round for ever."""
    place = content.index(HEAP_SIGNATURE) + 16
    return content[:place] + bytes(16) + content[place + 16 :]


def _npz(member: str, data: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(member, data)
    return content.getvalue()


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


HOSTILE = {
    "external link": (lambda c: _weights(_instead(BIAS, _put(BIAS, h5py.ExternalLink("x.h5", "/x")))),
                      "is a link (ExternalLink)"),
    "soft link": (lambda c: _weights(_instead(BIAS, _put(BIAS, h5py.SoftLink("/layers")))),
                  "is a link (SoftLink)"),
    "link elsewhere in it": (lambda c: _weights(_put("more", h5py.SoftLink("/nowhere"))), "is a link"),
    "group in itself": (lambda c: _weights(lambda w: _put("layers/again", w["layers"])(w)), "in the file twice"),
    "dataset in many places": (lambda c: _weights(_many_places), "more than the whole file"),
    "texts that could be one": (lambda c: _weights(_texts), "bytes of text"),
    "deep groups": (lambda c: _weights(lambda w: w.create_group("/".join(["layers", "d", *["a"] * 600]))),
                    "nested deeper"),
    "layers without end": (lambda c: _archive(config=_doubled(40)), "layers"),
    "external dataset": (lambda c: _weights(_dataset(shape=(2,), dtype="f4", external=[("/etc/hostname", 0, 8)])),
                         "stored in another file"),
    "virtual dataset": (lambda c: _weights(_instead(BIAS, _virtual)), "stored in another file"),
    "compressed bomb": (lambda c: _weights(_dataset(shape=(10**9,), dtype="f4", compression="gzip")), "is compressed"),
    "absurd shape": (lambda c: _weights(_dataset(shape=(10**15,), dtype="f4", chunks=(1024,))), "but 0 are stored"),
    "objects": (lambda c: _weights(_dataset(data=["a", "b"])), "instead of numbers"),
    "compound": (lambda c: _weights(_dataset(data=np.zeros(2, [("a", "f4"), ("b", "i4")]))), "instead of numbers"),
    "missing variable": (lambda c: _weights(lambda w: w.move("layers/dense/vars/0", "layers/dense/vars/7")), "missing"),
    "name with a slash": (lambda c: _weights(lambda w: w["layers/dense/vars"].attrs.__setitem__("name", "../../x")),
                          "is no layer's name"),
    "name that moves the cursor": (lambda c: _archive(config=_config().replace('"dense"', r'"\u001b[2Jx"')),
                                   "is no layer's name"),
    "endless heap": (lambda c: _endless(_weights()), "a heap of texts without an end"),
    "truncated weights": (lambda c: _weights()[:-400], "truncated file"),
    "truncated archive": (lambda c: _archive()[:-30], "truncated or damaged"),
    "cut at the start": (lambda c: b"PK\3\4", "truncated or damaged"),
    "nothing": (lambda c: b"", "truncated"),
    "a flipped bit": (lambda c: _archive().replace(b"\x00\x00\x80\x3f" * 6, b"\x00\x00\x80\x3e" * 6), "CRC"),
    "parent folder": (lambda c: _archive(("../canary", b"x")), "points out of the archive"),
    "absolute member": (lambda c: _archive((str(c), b"x")), "points out of the archive"),
    "windows member": (lambda c: _archive(("assets\\..\\..\\x", b"x")), "points out of the archive"),
    "drive": (lambda c: _archive(("C:x", b"x")), "points out of the archive"),
    "symbolic link": (lambda c: _archive((_symlink(), str(c))), "is a link"),
    "member twice": (lambda c: _archive(("config.json", b"{}")), "twice"),
    "encrypted": (lambda c: _patched(_archive(), 8, 1, "<H"), "is encrypted"),
    "rare compression": (lambda c: _patched(_archive(), 10, 14, "<H"), "rare compression"),
    "says it is huge": (lambda c: _patched(_archive(), 24, 2**32 - 2, "<L"), "bytes, of"),
    "deep config": (lambda c: _archive(config='{"a":' * 100_000 + "1" + "}" * 100_000), "nested deeper"),
    "deep layers": (lambda c: _archive(config=_nested(400)), "nested deeper"),
    "config of nothing": (lambda c: _archive(config="[]"), "not what Keras writes"),
    "config of text": (lambda c: _archive(config="{"), "not what Keras writes"),
    "another model's weights": (lambda c: _archive(config=_config({
        "module": "keras.layers", "class_name": "Dense", "config": {"name": "more"}})), "nothing of layer more"),
    "pickle": (lambda c: pickle.dumps(_Canary(c)), "neither a .keras"),
    "pickle in an archive": (lambda c: _archive(weights=pickle.dumps(_Canary(c))), "not what Keras writes"),
    "pickle in an npz": (lambda c: _npz("a/b.npy", _npy(np.array([_Canary(c)], object))), "instead of numbers"),
    "pickle as an npy": (lambda c: _npz("a/b.npy", pickle.dumps(_Canary(c))), "not what Keras writes"),
    "npz bomb": (lambda c: _npz("a/b.npy", _npy(np.ones(3)).replace(b"(3,), }     ", b"(3333333,),}")),
                 "which is wrong"),
    "npz that points out": (lambda c: _npz("../a.npy", _npy(np.ones(3))), "points out of the archive"),
}  # fmt: skip


def _nested(depth: int) -> str:
    inner = {"class_name": "Dense", "config": {"name": "d"}}
    for _ in range(depth):
        inner = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    return _config(inner)


def _doubled(depth: int) -> str:
    """Bidirectional holds two of what its config says once."""
    inner = {"class_name": "Dropout", "config": {"name": "d"}}
    for _ in range(depth):
        inner = {"class_name": "Bidirectional", "config": {"name": "b", "layer": inner}}
    return _config(inner)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_files_are_refused_in_one_line(attack, tmp_path):
    """A file would be read that does what Keras' do not; or its refusal would not say why, in one line."""
    canary, path = tmp_path / "canary", tmp_path / "folder" / "model.keras"
    path.parent.mkdir()
    make, reason = HOSTILE[attack]
    path.write_bytes(make(canary))
    with pytest.raises(ConfigError) as refusal:
        read_biases(path)
    said = str(refusal.value)
    assert said.startswith(str(path)) and reason in said and "\n" not in said and len(said) < 500
    assert not canary.exists() and sorted(tmp_path.rglob("*")) == [path.parent, path]


def test_code_in_a_config_does_not_run(tmp_path):
    """A Lambda layer's code, or a class that the config names, would be run or imported."""
    canary = tmp_path / "canary"
    code = {"class_name": "__lambda__", "config": {"code": f"__import__('os').mkdir({str(canary)!r})"}}
    layers = [{"module": "keras.layers", "class_name": "Lambda", "config": {"name": "code", "function": code}},
              {"module": "os", "class_name": "system", "config": {"name": f"mkdir {canary.name}"}}]  # fmt: skip
    path = tmp_path / "model.keras"

    def add(weights):
        for group, name in (("lambda", "code"), ("system", f"mkdir {canary.name}")):
            weights.create_group(f"layers/{group}/vars").attrs["name"] = name

    path.write_bytes(_archive(config=_config(*layers), weights=_weights(add)))
    assert [vector.path for vector in read_biases(path)] == ["dense/bias"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_larger_than_the_limits_is_not_read(tmp_path, monkeypatch):
    """A file could fill memory or disk: the limits would not hold."""
    path = tmp_path / "model.keras"
    path.write_bytes(_archive())
    for limit, most in (("MAX_WEIGHTS_BYTES", 100), ("MAX_JSON_BYTES", 10), ("MAX_ARRAY_BYTES", 4), ("MAX_OBJECTS", 1),
                        ("MAX_TOTAL_BYTES", 6)):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, most)
            with pytest.raises(ConfigError, match=r"at most|more than|members"):
                read_biases(path)


def test_the_arrays_of_an_npz_are_not_too_large_together(tmp_path, monkeypatch):
    """A file of many arrays, each within its limit, could fill the memory; or what is not read be counted."""
    path = tmp_path / "biases.npz"
    np.savez(path, **{"after/dense/bias": np.ones(9), "after/out/bias": np.ones(9), "trajectory/x": np.ones(999)})
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 600)
    assert len(read_biases(path)) == 2
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 300)
    with pytest.raises(ConfigError, match="at most 300 are read"):
        read_biases(path)


def test_any_damage_is_refused_in_one_line_or_harmless(tmp_path):
    """A damaged file would end in a traceback, or not end."""
    draw = np.random.default_rng(1)
    for whole in (_archive(), _weights()):
        for round_ in range(150):
            content = bytearray(whole)
            for place in draw.integers(0, len(content), 1 + round_ % 8):
                content[place] = draw.integers(0, 256)
            path = tmp_path / "model.keras"
            path.write_bytes(content[: len(content) if round_ % 3 else draw.integers(0, len(content))])
            try:
                read_biases(path)
            except ConfigError as error:
                assert "\n" not in str(error)
