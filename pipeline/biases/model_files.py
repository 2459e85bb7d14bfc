"""Read the biases of saved models without Keras: the same records that `find_biases` returns for the live model.

A `.keras` archive describes its layers in config.json and stores their variables in model.weights.h5. A `.weights.h5`
file has no config: a variable that it leaves ambiguous is `unknown`. An `.h5` file of Keras 1, Keras 2, tf_keras or the
legacy format lists the names of each layer's variables, with or without a config; of a layer that Keras does not have,
they tell a bias beside its kernel. The runs of this project store their biases by path.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py

from pipeline.biases import limits
from pipeline.biases.foreign_files import (
    describe_archive,
    describe_arrays,
    describe_file,
    describe_folder,
    describe_missing,
    models_in,
)
from pipeline.biases.keras_config import Entry, config_layers, expected_weights, identity
from pipeline.biases.keras_format import biases_of_group, biases_of_layer, unknown_bias, variables_in
from pipeline.biases.keras_names import KNOWN_CLASSES, checked_name
from pipeline.biases.legacy_h5 import read_legacy_h5, read_listed_weights
from pipeline.biases.listed_variables import LISTS_LAYERS, read_list
from pipeline.biases.safe_files import open_archive, read_json, read_npz, refuse_if, refusing_file, unpack_member
from pipeline.biases.safe_hdf5 import child_group, open_hdf5, read_texts
from pipeline.biases.variables import Bias, unique_paths
from pipeline.errors import ModelFileError

MODEL_WEIGHTS = "model_weights"  # the group of the weights in a whole-model `.h5` file
STATES = ("optimizer", "optimizer_weights", "metrics")  # the groups of what is no part of the model
CONFIG, WEIGHTS_FILE, BIASES = "config.json", "model.weights.h5", "biases.npz"
EPOCH = "epoch"  # the one array in that of a run whose layers have no biases
ZIP_SIGNATURE, HDF5_SIGNATURE = b"PK", b"\x89HDF\r\n\x1a\n"


def read_biases(path: Path) -> list[Bias]:
    """Read the biases of a saved model, or of a stored run after its training; `Bias.values` are NumPy arrays.

    path: a `.keras`, `.weights.h5` or `.h5` file, the folder of a run, or an npz of biases by path.
    Raises ModelFileError, in one line, for any other file, for a damaged one, and for one that does what no file of
    Keras does.
    """
    return unique_paths(entry for entry in read_variables(path) if entry.kind)


def read_variables(path: Path) -> list[Bias]:
    """Read an entry for each variable of a saved model, biases or not, and for each bias that a layer lacks.

    `kind` is empty for a variable that is known to be no bias, whose values are not read. Raises like `read_biases`.
    """
    with refusing_file(path):
        biases, size = [], 0
        for bias in _read(path):
            refuse_if(bias.values is not None and not bias.values.size, f"{bias.path} is empty")
            biases.append(bias)
            size += 0 if bias.values is None else bias.values.nbytes
            most = limits.MAX_TOTAL_BYTES
            refuse_if(size > most, f"more than {most} bytes of values; at most that is read")
        return biases


def _read(path: Path) -> Iterator[Bias]:
    if path.is_dir() and not (path / BIASES).is_file():
        no_run = f"a folder without {BIASES}, so not one of a run{models_in(path)}"
        raise ModelFileError(describe_folder(path) or no_run)
    file = path / BIASES if path.is_dir() else path
    if not file.is_file():
        missing = describe_missing(file) or "no such file"
        raise ModelFileError(missing if not file.exists() else "not a plain file")
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
        raise ModelFileError(describe_file(file) or "truncated, or neither a .keras, .weights.h5, .h5 or .npz file")


def _read_npz(file: Path) -> Iterator[Bias]:
    """Yield the biases after training (`after/<path>`), or every array of an npz that has no such names."""
    arrays = read_npz(file, "after/")
    if list(arrays) == [EPOCH]:
        return
    if not any("/" in name for name in arrays):
        raise ModelFileError(describe_arrays(list(arrays), file.name))
    for name, values in arrays.items():
        path = name.removeprefix("after/")
        layer, slash, variable = path.rpartition("/")
        refuse_if(not slash or not path.isprintable() or ".." in path.split("/"), f"{path} is no bias's path")
        kind = variable.split(" ")[0]  # without the number of `bias (2)`
        yield Bias(path, layer, "", kind if kind in ("bias", "beta") else "unknown", values=values)


def _read_keras_archive(file: Path) -> Iterator[Bias]:
    with open_archive(file) as archive:
        for name in (CONFIG, WEIGHTS_FILE):
            if name not in archive.namelist():
                described = describe_archive(archive.namelist())
                raise ModelFileError(described or f"an archive without {name}, so not one that Keras saved")
        with unpack_member(archive, WEIGHTS_FILE) as unpacked, open_hdf5(unpacked) as weights:
            yield from _with_remaining(_biases_by_config(read_json(archive, CONFIG), weights), weights)


def _read_hdf5(file: Path) -> Iterator[Bias]:
    with open_hdf5(file) as weights:
        config = read_texts(weights.attrs, "model_config")
        listing = child_group(weights, MODEL_WEIGHTS) or weights
        if config:
            entries = read_legacy_h5(json.loads(config[0]), weights)
        elif read_list(listing, LISTS_LAYERS):
            entries = read_listed_weights(listing)
        elif "vars" in weights or "layers" in weights:
            entries = biases_of_group(weights, "", "")
        else:
            raise ModelFileError(_no_weights(weights))
        yield from _with_remaining(entries, weights)


def _no_weights(weights: h5py.File) -> str:
    """What an HDF5 file is that has no weights of a model."""
    if {"optimizer_weights", "optimizer"} & set(weights):
        return "the state of an optimizer, without the weights of a model; name the file of the weights"
    members = ", ".join(sorted(weights)[:3]) or "nothing"
    return f"an HDF5 file that contains {members}, neither a model nor weights that Keras saved"


def _with_remaining(entries: Iterable[Bias], weights: h5py.File) -> Iterator[Bias]:
    """Yield the entries, then one for each variable of the file that none of them is of, so that none is left out."""
    told_apart = set()
    for entry in entries:
        told_apart.add(entry.source)
        yield entry
    for path, variable in _datasets(weights):
        if str(variable.name) not in told_apart and path.split("/")[0] not in STATES:
            layer = path.removeprefix(f"{MODEL_WEIGHTS}/").rpartition("/")[0].removesuffix("/vars")
            yield unknown_bias(checked_name(path.split(":")[0]), checked_name(layer or path), "", variable)


def _datasets(group: h5py.Group, path: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    for name, member in group.items():
        if isinstance(member, h5py.Dataset):
            yield f"{path}{name}", member
        else:
            yield from _datasets(member, f"{path}{name}/")


def _biases_by_config(entry: Entry, weights: h5py.File) -> Iterator[Bias]:
    """Yield the biases of the layers that config.json describes."""
    stored = set()
    for layer in config_layers(entry, "", weights):
        expected = expected_weights(layer)
        own = identity(layer.layer_type, layer.config)
        if not layer.is_told_apart:  # its variables are reported as unknown, by their place in the file
            stored.add(own)
        elif layer.group is None:  # Keras stores a layer that is used twice only where it comes first
            if expected and own not in stored:
                raise ModelFileError(
                    f"{WEIGHTS_FILE} has nothing of layer {layer.path}: truncated, or of another model"
                )
        elif layer.class_name in KNOWN_CLASSES:
            stored.add(own)
            yield from biases_of_layer(layer, variables_in(layer.group), expected)
        else:
            yield from biases_of_group(layer.group, layer.path, "", layer.layer_type, layer.role)
