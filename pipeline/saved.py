"""The biases of saved models, read without Keras: the vectors that `biases.find` gives for the live model.

A `.keras` archive says in config.json what its layers are, and its model.weights.h5 holds their variables. A
`.weights.h5` alone has no config: what it leaves open is `unknown`. A legacy `.h5` lists the names of each layer's
variables in order. Our own runs keep their biases by path.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from pipeline import untrusted
from pipeline.biases import WEIGHTS, Vector, Weight, unique_paths
from pipeline.errors import ConfigError
from pipeline.layout import (
    KNOWN,
    MODELS,
    Layer,
    entries_of,
    expected_of,
    has_name,
    keras_class,
    layers_of,
    name_of,
    of_group,
    values_of,
    variables_in,
    vectors_of,
)

CONFIG, WEIGHTS_FILE, BIASES = "config.json", "model.weights.h5", "biases.npz"
OF_THE_MODEL = "top_level_model_weights"  # what a legacy file calls the variables that no layer holds


def read(path: Path) -> list[Vector]:
    """The biases of a saved model or of a stored run (their values after training), with NumPy arrays as values.

    `path` is a `.keras`, `.weights.h5` or legacy `.h5` file, the folder of a run, or an npz of biases by path. Raises
    ConfigError, with one line, for anything else, and for a file that is damaged or does what Keras' do not.
    """
    with untrusted.refusing(path):
        vectors, size = [], 0
        for vector in _read(path):
            vectors.append(vector)
            size += 0 if vector.values is None else vector.values.nbytes
            most = untrusted.LARGEST_VALUES
            untrusted.refuse_if(size > most, f"more than {most} bytes of values; at most that is read")
        return unique_paths(vectors)


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
    elif file.name.endswith(".weights.json"):
        raise ConfigError("weights in several files (max_shard_size), which are not read; save them in one .weights.h5")
    else:
        raise ConfigError("truncated, or neither a .keras, .weights.h5, .h5 or .npz file")


def _of_run(file: Path) -> Iterator[Vector]:
    """The biases after training; an npz that has no `after/...` is taken to have nothing else."""
    for name, values in untrusted.read_npz(file, "after/").items():
        path = name.removeprefix("after/")
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
    stored, count = weights["model_weights"], 0
    known = keras_class(entry) in MODELS
    tops = entries_of(entry["config"]) if known else []
    taken = {name_of(top) for top in tops if has_name(top)}
    spare = (name for name in _texts(stored, "layer_names") if name not in taken)
    for top in tops:
        name = name_of(top) if has_name(top) else name_of({"config": {"name": next(spare, None)}})
        layers = list(layers_of(top, name, None))
        count += len(layers)
        untrusted.refuse_if(count > untrusted.MOST_OBJECTS, f"more than {untrusted.MOST_OBJECTS} layers")
        group = stored.get(name)
        if group is None:
            if any(expected_of(layer) for layer in layers):
                raise ConfigError(f"nothing of layer {name} in it: truncated")
            continue
        variables = _legacy_variables(group)
        if not variables and any(expected_of(layer) for layer in layers):  # not built
            continue
        found = _legacy_order(layers, [path.split("/")[-1].split(":")[0] for path in variables])
        if found is None:
            yield from _of_unknown(name, layers[0].layer_type, variables)
            continue
        for index, layer in enumerate(layers):
            own = {place: weight for place, (at, weight) in enumerate(found) if at == index}
            yield from vectors_of(layer, [list(variables.values())[place] for place in own], list(own.values()))
    for name in (OF_THE_MODEL,) if known else stored:
        if name in stored:
            yield from _of_unknown("" if name == OF_THE_MODEL else name, "", _legacy_variables(stored[name]))


def _legacy_variables(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """The variables of a layer, in order, by the name that a list of names gives them."""
    listed = _texts(group, "weight_names")
    untrusted.refuse_if(len(set(listed)) < len(listed), f"{group.name} lists a variable twice")
    return {path: group[path] for path in listed}


def _texts(group: h5py.Group, name: str) -> list[str]:
    """A list of texts, which Keras cuts in numbered pieces where it is long."""
    whole, pieces = untrusted.read_text(group.attrs, name), range(len(group.attrs))
    return whole or [text for n in pieces for text in untrusted.read_text(group.attrs, f"{name}{n}")]


def _of_unknown(layer: str, layer_type: str, variables: Mapping[str, h5py.Dataset]) -> Iterator[Vector]:
    """The variables of a layer that is not known, by the ends of their own names."""
    for path, variable in variables.items():
        rest = path.split(":")[0].rpartition(f"{layer}/")[2]
        untrusted.refuse_if(not rest.isprintable() or ".." in rest.split("/"), f"{path} is no variable's name")
        name = f"{layer}/{rest}" if layer else rest
        if variable.dtype.kind not in "iu":  # counts and quantized kernels are not trained
            yield Vector(name, layer, layer_type, "unknown", values=values_of(variable))


def _legacy_order(layers: Sequence[Layer], names: Sequence[str]) -> list[tuple[int, Weight]] | None:
    """For each name in the list: which of the layers it is of, and what it is. None where that cannot be told."""
    expected = []
    for index, layer in enumerate(layers):
        wrapped = index > 0 and layers[index - 1].class_name == "SpectralNormalization"
        for weight in expected_of(layer) or ():
            both = weight.attribute == "kernel"  # the wrapper's and the wrapped layer's: listed with the wrapper
            holder = layers[index + 1] if both and layer.class_name == "SpectralNormalization" else layer
            if not (both and wrapped):
                expected.append((index, weight, not weight.state and holder.config.get("trainable", True)))
    if layers[0].config.get("trainable", True):  # what is trained comes first, else all is in the order of the layers
        expected.sort(key=lambda e: not e[2])
    found, waiting = [], list(names)
    for index, weight, _ in expected:
        if waiting and weight.attribute == waiting[0]:
            found.append((index, weight))
            waiting.pop(0)
        elif any(w.kind for w in WEIGHTS[layers[index].class_name]):
            return None
    unknown = any(not layer.class_name for layer in layers)
    return None if waiting or (unknown and names) else found
