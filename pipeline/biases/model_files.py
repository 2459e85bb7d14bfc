"""The biases of saved models, read without Keras: the vectors that `biases.find` gives for the live model.

A `.keras` archive says in config.json what its layers are, and its model.weights.h5 holds their variables. A
`.weights.h5` alone has no config: what it leaves open is `unknown`. A legacy `.h5` lists the names of each layer's
variables in order. Our own runs keep their biases by path.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from pipeline.biases.keras_format import biases_of_group, biases_of_layer, config_layers, expected_weights, variables_in
from pipeline.biases.keras_names import KNOWN
from pipeline.biases.legacy_h5 import read_legacy_h5
from pipeline.biases.safe_files import (
    LARGEST_VALUES,
    open_archive,
    open_hdf5,
    read_json,
    read_npz,
    read_text,
    refuse_if,
    refusing_file,
    unpack_member,
)
from pipeline.biases.variables import Bias, unique_paths
from pipeline.errors import ConfigError

CONFIG, WEIGHTS_FILE, BIASES = "config.json", "model.weights.h5", "biases.npz"


def read_biases(path: Path) -> list[Bias]:
    """The biases of a saved model or of a stored run (their values after training), with NumPy arrays as values.

    `path` is a `.keras`, `.weights.h5` or legacy `.h5` file, the folder of a run, or an npz of biases by path. Raises
    ConfigError, with one line, for anything else, and for a file that is damaged or does what Keras' do not.
    """
    with refusing_file(path):
        vectors, size = [], 0
        for vector in _read(path):
            vectors.append(vector)
            size += 0 if vector.values is None else vector.values.nbytes
            most = LARGEST_VALUES
            refuse_if(size > most, f"more than {most} bytes of values; at most that is read")
        return unique_paths(vectors)


def _read(path: Path) -> Iterator[Bias]:
    if path.is_dir() and not (path / BIASES).is_file():
        raise ConfigError(f"a folder without {BIASES}, so not one of a run")
    file = path / BIASES if path.is_dir() else path
    if not file.is_file():
        raise ConfigError("no such file" if not file.exists() else "not a plain file")
    with file.open("rb") as opened:
        signature = opened.read(8)
    if signature.startswith(b"PK"):
        with open_archive(file) as opened:
            names = opened.namelist()
            if not all(name.endswith(".npy") for name in names):
                for name in (CONFIG, WEIGHTS_FILE):
                    if name not in names:
                        raise ConfigError(f"an archive without {name}, so not one that Keras saved")
                with unpack_member(opened, WEIGHTS_FILE) as unpacked, open_hdf5(unpacked) as weights:
                    yield from _of_model(read_json(opened, CONFIG), weights)
                return
        yield from _of_run(file)
    elif signature == b"\x89HDF\r\n\x1a\n":
        with open_hdf5(file) as weights:
            config = read_text(weights.attrs, "model_config")
            if config:
                yield from read_legacy_h5(json.loads(config[0]), weights)
            elif "vars" in weights or "layers" in weights:
                yield from biases_of_group(weights["/"], "", "")
            else:
                raise ConfigError("an HDF5 file, but neither a model nor weights that Keras 3 saved")
    elif file.name.endswith(".weights.json"):
        raise ConfigError("weights in several files (max_shard_size), which are not read; save them in one .weights.h5")
    else:
        raise ConfigError("truncated, or neither a .keras, .weights.h5, .h5 or .npz file")


def _of_run(file: Path) -> Iterator[Bias]:
    """The biases after training; an npz that has no `after/...` is taken to have nothing else."""
    for name, values in read_npz(file, "after/").items():
        path = name.removeprefix("after/")
        layer, slash, variable = path.rpartition("/")
        refuse_if(not slash or not path.isprintable() or ".." in path.split("/"), f"{path} is no bias's path")
        kind = variable.split(" ")[0]
        yield Bias(path, layer, "", kind if kind in ("bias", "beta") else "unknown", values=values)


def _of_model(entry: dict[str, Any], weights: h5py.File) -> Iterator[Bias]:
    """The vectors of the layers that config.json describes."""
    seen = set()
    for layer in config_layers(entry, "", weights["/"]):
        expected = expected_weights(layer)
        shared = (layer.class_name, layer.config.get("name"))
        if layer.group is None:  # a layer that is used twice is stored where it comes first
            if expected and shared not in seen:
                raise ConfigError(f"{WEIGHTS_FILE} has nothing of layer {layer.path}: truncated, or of another model")
        elif layer.class_name in KNOWN:
            seen.add(shared)
            yield from biases_of_layer(layer, variables_in(layer.group), expected)
        else:
            yield from biases_of_group(layer.group, layer.path, "", layer.layer_type, layer.role)
