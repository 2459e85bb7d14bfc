"""The biases of saved models, read without Keras: the vectors that `biases.find` gives for the live model.

A `.keras` archive says in config.json what its layers are, and its model.weights.h5 holds their variables. A
`.weights.h5` alone has no config: what it leaves open is `unknown`. A legacy `.h5` lists the names of each layer's
variables in order. Our own runs keep their biases by path.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py

from pipeline import untrusted
from pipeline.biases import WEIGHTS, Vector, Weight, unique_paths
from pipeline.errors import ConfigError
from pipeline.layout import (
    KNOWN,
    MODELS,
    STATE,
    Layer,
    entries_of,
    expected_of,
    keras_class,
    layers_of,
    name_of,
    of_group,
    values_of,
    variables_in,
    vectors_of,
)

CONFIG, WEIGHTS_FILE, BIASES = "config.json", "model.weights.h5", "biases.npz"


def read(path: Path) -> list[Vector]:
    """The biases of a saved model or of a stored run (their values after training), with NumPy arrays as values.

    `path` is a `.keras`, `.weights.h5` or legacy `.h5` file, the folder of a run, or an npz of biases by path. Raises
    ConfigError, with one line, for anything else, and for a file that is damaged or does what Keras' do not.
    """
    with untrusted.refusing(path):
        return unique_paths(_read(path))


def _read(path: Path) -> Iterator[Vector]:
    if path.is_dir() and not (path / BIASES).is_file():
        raise ConfigError(f"a folder without {BIASES}, so not one of a run")
    file = path / BIASES if path.is_dir() else path
    if not file.is_file():
        raise ConfigError("no such file" if not file.exists() else "not a plain file")
    with file.open("rb") as opened:
        signature = opened.read(8)
    if signature.startswith(b"PK"):
        with untrusted.archive(file) as opened:
            names = opened.namelist()
            if not all(name.endswith(".npy") for name in names):
                for name in (CONFIG, WEIGHTS_FILE):
                    if name not in names:
                        raise ConfigError(f"an archive without {name}, so not one that Keras saved")
                with untrusted.unpacked(opened, WEIGHTS_FILE) as unpacked, untrusted.hdf5(unpacked) as weights:
                    yield from _of_model(untrusted.read_json(opened, CONFIG), weights)
                return
        yield from _of_run(file)
    elif signature == b"\x89HDF\r\n\x1a\n":
        with untrusted.hdf5(file) as weights:
            config = untrusted.read_text(weights.attrs, "model_config")
            if config:
                yield from _of_legacy(json.loads(config[0]), weights)
            elif "vars" in weights or "layers" in weights:
                yield from of_group(weights["/"], "", "")
            else:
                raise ConfigError("an HDF5 file, but neither a model nor weights that Keras 3 saved")
    else:
        raise ConfigError("truncated, or neither a .keras, .weights.h5, .h5 or .npz file")


def _of_run(file: Path) -> Iterator[Vector]:
    """The biases after training; an npz that has no `after/...` is taken to have nothing else."""
    arrays = untrusted.read_npz(file)
    after = {name.removeprefix("after/"): values for name, values in arrays.items() if name.startswith("after/")}
    for path, values in (after or arrays).items():
        layer, slash, variable = path.rpartition("/")
        untrusted.refuse_if(not slash or not path.isprintable() or ".." in path.split("/"), f"{path} is no bias's path")
        kind = variable.split(" ")[0]
        yield Vector(path, layer, "", kind if kind in ("bias", "beta") else "unknown", values=values)


def _of_model(entry: dict[str, Any], weights: h5py.File) -> Iterator[Vector]:
    """The vectors of the layers that config.json describes."""
    seen = set()
    for layer in layers_of(entry, "", weights["/"]):
        expected = expected_of(layer)
        shared = (layer.class_name, layer.config.get("name"))
        if layer.group is None:  # a layer that is used twice is stored where it comes first
            if expected and shared not in seen:
                raise ConfigError(f"{WEIGHTS_FILE} has nothing of layer {layer.path}: truncated, or of another model")
        elif layer.class_name in KNOWN:
            seen.add(shared)
            yield from vectors_of(layer, variables_in(layer.group), expected)
        else:
            yield from of_group(layer.group, layer.path, "", layer.layer_type, layer.role)


def _of_legacy(entry: dict[str, Any], weights: h5py.File) -> Iterator[Vector]:
    """The vectors of a whole-model `.h5`, which lists the variables of each layer of the model."""
    if keras_class(entry) not in MODELS:
        raise ConfigError("of a class that is not Keras' own; --load reads it, where that class can be imported")
    for top in entries_of(entry["config"]):
        name = name_of(top)
        layers = list(layers_of(top, name, None))
        group = weights["model_weights"].get(name)
        if group is None:
            if any(expected_of(layer) for layer in layers):
                raise ConfigError(f"nothing of layer {name} in it: truncated")
            continue
        numbers = (number for number in range(len(group.attrs)))
        listed = untrusted.read_text(group.attrs, "weight_names") or [
            text for number in numbers for text in untrusted.read_text(group.attrs, f"weight_names{number}")
        ]  # Keras cuts a long list in pieces
        variables = [group[path] for path in listed]
        found = _legacy_order(layers, [path.split("/")[-1].split(":")[0] for path in listed])
        if found is None:
            for path, variable in zip(listed, variables, strict=True):
                rest = path.split(":")[0].rpartition(f"{name}/")[2]
                untrusted.refuse_if(not rest.isprintable() or ".." in rest.split("/"), f"{path} is no variable's name")
                yield Vector(f"{name}/{rest}", name, layers[0].layer_type, "unknown", values=values_of(variable))
            continue
        for index, layer in enumerate(layers):
            own = {place: weight for place, (at, weight) in enumerate(found) if at == index}
            yield from vectors_of(layer, [variables[place] for place in own], list(own.values()))


def _legacy_order(layers: Sequence[Layer], names: Sequence[str]) -> list[tuple[int, Weight]] | None:
    """For each name in the list: which of the layers it is of, and what it is. None where that cannot be told."""
    expected = [
        (index, weight)
        for index, layer in enumerate(layers)
        for weight in expected_of(layer) or ()
        if (layer.class_name, weight.attribute) != ("SpectralNormalization", "kernel")  # listed with the layer it wraps
    ]
    if layers[0].config.get("trainable", True):  # what is trained comes first, else all is in the order of the layers
        expected.sort(key=lambda e: e[1].attribute in STATE or not layers[e[0]].config.get("trainable", True))
    found, waiting = [], list(names)
    for index, weight in expected:
        if waiting and weight.attribute == waiting[0]:
            found.append((index, weight))
            waiting.pop(0)
        elif waiting and any(w.kind for w in WEIGHTS[layers[index].class_name]):
            return None
    unknown = any(not layer.class_name for layer in layers)
    return None if waiting or (unknown and names) else found
