"""What is no saved Keras model is refused in one line that says what it is and what to do."""

import io
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from keras_files import npy, zip_file

from pipeline import extract
from pipeline.biases.model_files import read_biases
from pipeline.errors import ModelFileError


def _hdf5(**members) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in members.items():
            file[name.replace("__", "/")] = array
    return content.getvalue()


def _tar() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz"):
        pass
    return content.getvalue()


PYTORCH = zip_file(("model/data.pkl", pickle.dumps({})), ("model/data/0", b"1234"))
# The file's name, its content, and what the refusal says it is and what to do.
FILES = [
    ("model.tflite", b"\x1c\0\0\0TFL3\0", ["a TensorFlow Lite model", "name the .keras or .h5 file"]),
    ("renamed.keras", b"\x1c\0\0\0TFL3\0", ["a TensorFlow Lite model"]),
    ("model.onnx", b"\x08\x08\x12\x07pytorch", ["an ONNX model", "name the .keras or .h5 file"]),
    ("saved_model.pb", b"\x08\x01\x12", ["a TensorFlow graph", "name the SavedModel folder"]),
    ("model.pt", PYTORCH, ["a PyTorch file", "torch.load(FILE, weights_only=True)"]),
    ("model.pth", pickle.dumps({}), ["a PyTorch file"]),
    ("renamed.h5", PYTORCH, ["a PyTorch file"]),
    ("model.pkl", pickle.dumps({}), ["a pickle, which can run code"]),
    ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", ["a safetensors file"]),
    ("model.ckpt.index", b"\0\0\0", ["a TensorFlow checkpoint", "tf.train.list_variables"]),
    ("model.ckpt.data-00000-of-00001", b"\0\0\0", ["a TensorFlow checkpoint"]),
    ("checkpoint", b'model_checkpoint_path: "model.ckpt"', ["a TensorFlow checkpoint"]),
    ("model.json", b'{"class_name": "Sequential"}', ["architecture of a model, without weights", ".h5"]),
    ("model.yaml", b"class_name: Sequential", ["architecture of a model, without weights"]),
    ("model.h5.gz", _tar(), ["compressed", "unpack it"]),
    ("model.keras", _tar(), ["compressed", "unpack it"]),
    ("model.zip", zip_file(("a/model.h5", b"")), ["contains a/model.h5: unpack it"]),
    ("saved.zip", zip_file(("m/saved_model.pb", b"")), ["a SavedModel folder: unpack it"]),
    (
        "split.npz",
        zip_file(("x_train.npy", npy(np.ones((2, 2)))), ("y_train.npy", npy(np.ones(2)))),
        ["an npz of x_train, y_train, none of which is a bias by its path", "data=file data.path=split.npz"],
    ),
    ("sums.npz", zip_file(("total.npy", npy(np.ones(2)))), ["an npz of total", "name a model file"]),
    ("nothing.npz", zip_file(), ["an npz without arrays"]),
    ("bias.npy", npy(np.ones(2)), ["one array without a name", "numpy.savez"]),
    ("pointer.h5", b"version https://git-lfs.github.com/spec/v1\n", ["a pointer of Git LFS", "git lfs pull"]),
    ("page.h5", b"\n<!DOCTYPE html><html>", ["a web page", "the download went wrong"]),
    ("empty.h5", b"", ["an empty file"]),
    ("optimizer.h5", _hdf5(optimizer_weights__Adam=np.ones(2)), ["the state of an optimizer", "name the file of the"]),
    ("table.h5", _hdf5(measurements=np.ones(2)), ["contains measurements, neither a model nor weights"]),
    ("cut.h5", _hdf5(measurements=np.ones(2))[:600], ["damaged"]),
]


@pytest.mark.parametrize(("name", "content", "parts"), FILES, ids=[name for name, *_ in FILES])
def test_another_file_is_refused_with_what_it_is_and_what_to_do(tmp_path, capsys, name, content, parts):
    """One line, exit code 2, the file's name in it."""
    path = tmp_path / name
    path.write_bytes(content)
    assert extract.main([str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "(log: " not in printed.err
    assert printed.err.startswith(str(path)) and all(part in printed.err for part in parts)


FOLDERS = [
    (["saved_model.pb", "keras_metadata.pb"], ["a SavedModel folder of Keras 2", "tf_keras.models.load_model(FOLDER)"]),
    (["saved_model.pb", "fingerprint.pb"], ["a SavedModel folder of TensorFlow", "name the .keras or .h5 file"]),
    (["checkpoint", "a.index"], ["a TensorFlow checkpoint", "load it into its model"]),
    (["checkpoint", "a.index", "b.h5"], ["a TensorFlow checkpoint", "name a file in it: b.h5"]),
    (["a.h5", "b.keras", "c.txt"], ["without biases.npz, so not one of a run", "name a file in it: a.h5, b.keras"]),
    ([], ["without biases.npz, so not one of a run"]),
]


@pytest.mark.parametrize(("names", "parts"), FOLDERS)
@pytest.mark.parametrize("load", [[], ["--load"]])
def test_another_folder_is_refused_with_what_it_is_and_what_to_do(tmp_path, capsys, names, parts, load):
    """Also with --load."""
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert extract.main([str(tmp_path), *load]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and all(part in line for part in parts)


def test_the_beginning_of_a_checkpoints_name_is_known_for_one(tmp_path):
    """`model.ckpt` is what people name, and no file is called so."""
    (tmp_path / "model.ckpt.index").write_bytes(b"\0")
    with pytest.raises(ModelFileError, match="a TensorFlow checkpoint"):
        read_biases(tmp_path / "model.ckpt")


def test_an_archive_of_keras_is_no_foreign_file(tmp_path):
    """Its own refusals stay: what it lacks."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelFileError, match=r"an archive without model\.weights\.h5"):
        read_biases(path)
