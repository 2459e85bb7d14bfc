"""Read the biases of saved models without Keras: the same records that `find_biases` returns for the live model.

A `.keras` archive describes its layers in config.json and stores their variables in model.weights.h5. A `.weights.h5`
file has no config: a variable that it leaves ambiguous is `unknown`. A legacy `.h5` file lists the names of each
layer's variables. The runs of this project store their biases by path.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import h5py

from pipeline.biases import limits
from pipeline.biases.keras_config import Entry, config_layers, expected_weights
from pipeline.biases.keras_format import biases_of_group, biases_of_layer, variables_in
from pipeline.biases.keras_names import KNOWN_CLASSES
from pipeline.biases.legacy_h5 import read_legacy_h5
from pipeline.biases.safe_files import open_archive, read_json, read_npz, refuse_if, refusing_file, unpack_member
from pipeline.biases.safe_hdf5 import open_hdf5, read_texts
from pipeline.biases.variables import Bias, unique_paths
from pipeline.errors import ModelFileError

CONFIG, WEIGHTS_FILE, BIASES = "config.json", "model.weights.h5", "biases.npz"
ZIP_SIGNATURE, HDF5_SIGNATURE = b"PK", b"\x89HDF\r\n\x1a\n"


def read_biases(path: Path) -> list[Bias]:
    """Read the biases of a saved model, or of a stored run after its training; `Bias.values` are NumPy arrays.

    path: a `.keras`, `.weights.h5` or legacy `.h5` file, the folder of a run, or an npz of biases by path.
    Raises ModelFileError, in one line, for any other file, for a damaged one, and for one that does what no file of
    Keras does.
    """
    with refusing_file(path):
        biases, size = [], 0
        for bias in _read(path):
            refuse_if(bias.values is not None and not bias.values.size, f"{bias.path} is empty")
            biases.append(bias)
            size += 0 if bias.values is None else bias.values.nbytes
            most = limits.MAX_TOTAL_BYTES
            refuse_if(size > most, f"more than {most} bytes of values; at most that is read")
        return unique_paths(biases)


def _read(path: Path) -> Iterator[Bias]:
    if path.is_dir() and not (path / BIASES).is_file():
        raise ModelFileError(f"a folder without {BIASES}, so not one of a run")
    file = path / BIASES if path.is_dir() else path
    if not file.is_file():
        raise ModelFileError("no such file" if not file.exists() else "not a plain file")
    with file.open("rb") as opened:
        signature = opened.read(8)
    if signature.startswith(ZIP_SIGNATURE):
        with open_archive(file) as archive:
            is_npz = all(name.endswith(".npy") for name in archive.namelist())
        yield from _read_npz(file) if is_npz else _read_keras_archive(file)
    elif signature == HDF5_SIGNATURE:
        yield from _read_hdf5(file)
    elif file.name.endswith(".weights.json"):
        raise ModelFileError(
            "weights in several files (max_shard_size), which are not read; save them in one .weights.h5"
        )
    else:
        raise ModelFileError("truncated, or neither a .keras, .weights.h5, .h5 or .npz file")


def _read_npz(file: Path) -> Iterator[Bias]:
    """Yield the biases after training (`after/<path>`), or every array of an npz that has no such names."""
    for name, values in read_npz(file, "after/").items():
        path = name.removeprefix("after/")
        layer, slash, variable = path.rpartition("/")
        refuse_if(not slash or not path.isprintable() or ".." in path.split("/"), f"{path} is no bias's path")
        kind = variable.split(" ")[0]  # without the number of `bias (2)`
        yield Bias(path, layer, "", kind if kind in ("bias", "beta") else "unknown", values=values)


def _read_keras_archive(file: Path) -> Iterator[Bias]:
    with open_archive(file) as archive:
        for name in (CONFIG, WEIGHTS_FILE):
            if name not in archive.namelist():
                raise ModelFileError(f"an archive without {name}, so not one that Keras saved")
        with unpack_member(archive, WEIGHTS_FILE) as unpacked, open_hdf5(unpacked) as weights:
            yield from _biases_by_config(read_json(archive, CONFIG), weights)


def _read_hdf5(file: Path) -> Iterator[Bias]:
    with open_hdf5(file) as weights:
        config = read_texts(weights.attrs, "model_config")
        if config:
            yield from read_legacy_h5(json.loads(config[0]), weights)
        elif "vars" in weights or "layers" in weights:
            yield from biases_of_group(weights, "", "")
        else:
            raise ModelFileError("an HDF5 file, but neither a model nor weights that Keras 3 saved")


def _biases_by_config(entry: Entry, weights: h5py.File) -> Iterator[Bias]:
    """Yield the biases of the layers that config.json describes."""
    stored = set()
    for layer in config_layers(entry, "", weights):
        expected = expected_weights(layer)
        identity = (layer.class_name, layer.config.get("name"))
        if layer.group is None:  # Keras stores a layer that is used twice only where it comes first
            if expected and identity not in stored:
                raise ModelFileError(
                    f"{WEIGHTS_FILE} has nothing of layer {layer.path}: truncated, or of another model"
                )
        elif layer.class_name in KNOWN_CLASSES:
            stored.add(identity)
            yield from biases_of_layer(layer, variables_in(layer.group), expected)
        else:
            yield from biases_of_group(layer.group, layer.path, "", layer.layer_type, layer.role)
