"""The variables of an `.h5` file of Keras 1, Keras 2 or the legacy format of Keras 3: lists of names, by layer.

A group of the file holds the variables of one layer of the model and of its sublayers. The attribute `weight_names`
lists them in order: `dense_1/kernel:0`, `bidirectional/forward_lstm/lstm_cell/bias:0`; of Keras 1, `dense_1_W:0`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import h5py

from pipeline.biases.keras_config import SavedLayer
from pipeline.biases.keras_format import (
    LAYERS_OF_CELLS,
    biases_of_layer,
    cell_of_shapes,
    checked_values,
    shape_fits,
    unknown_bias,
)
from pipeline.biases.keras_names import CELLS, PROJECTIONS, checked_name, class_of_name
from pipeline.biases.older_layers import (
    ALL_WEIGHTS,
    GATE_ORDER_OF_KERAS_1,
    is_called,
    is_keras_1,
    split_name,
    weights_by_gate,
)
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import child_group, read_texts, required_dataset, required_group
from pipeline.biases.variables import ROLES, Bias, Weight, join_path

LISTS_LAYERS = "layer_names"
MODEL_VARIABLES = "top_level_model_weights"  # the group of the variables that no layer holds
ROLES_BY_NAME = {name: ROLES[attribute] for attribute, name in PROJECTIONS.items()}


@dataclass(frozen=True)
class Listed:
    """A variable in the list of a layer. scope: what stands before its attribute, the names of the layers around it."""

    path: str
    scope: str
    attribute: str
    variable: h5py.Dataset


def listed_layers(stored: h5py.Group, version: str) -> dict[str, list[Listed]]:
    """The variables of each group that the file lists, in order. version: of the Keras that wrote it, or empty.

    Raises ModelFileError where a list names what is not there.
    """
    paths = _listed_paths(stored)
    by_keras_1 = wrote_keras_1(stored, version)
    return {
        name: [
            Listed(path, *split_name(path, by_keras_1), required_dataset(required_group(stored, name), path))
            for path in listed
        ]
        for name, listed in paths.items()
    }


def wrote_keras_1(stored: h5py.Group, version: str) -> bool:
    """Whether Keras 1 wrote the weights in this group."""
    return is_keras_1(version, [path for listed in _listed_paths(stored).values() for path in listed])


def _listed_paths(stored: h5py.Group) -> dict[str, list[str]]:
    groups = [name for name in dict.fromkeys(read_list(stored, LISTS_LAYERS)) if name in stored]
    groups += [name for name in _listing_groups(stored) if name not in groups]
    return {name: _read_paths(required_group(stored, name)) for name in groups}


def _listing_groups(stored: h5py.Group) -> list[str]:
    groups = {str(name): child_group(stored, str(name)) for name in stored}
    return [name for name, group in groups.items() if group is not None and "weight_names" in group.attrs]


def _read_paths(group: h5py.Group) -> list[str]:
    paths = read_list(group, "weight_names")
    refuse_if(len(set(paths)) < len(paths), f"{group.name} lists a variable twice")
    return paths


def read_list(group: h5py.Group, name: str) -> list[str]:
    """Read a list of texts, which Keras splits into numbered attributes (`name0`, `name1`, ...) if it is long."""
    return read_texts(group.attrs, name) or [
        text for number in range(len(group.attrs)) for text in read_texts(group.attrs, f"{name}{number}")
    ]


def by_scope(variables: Sequence[Listed]) -> dict[str, list[Listed]]:
    """The variables of each scope, in order."""
    scopes: dict[str, list[Listed]] = {}
    for listed in variables:
        scopes.setdefault(listed.scope, []).append(listed)
    return scopes


def unknown_biases(layer: str, layer_type: str, variables: Sequence[Listed]) -> Iterator[Bias]:
    """Yield the variables of a layer that is not known, named by the ends of their listed paths."""
    for listed in variables:
        rest = listed.path.split(":")[0].rpartition(f"{layer}/")[2]
        refuse_if(not rest.isprintable() or ".." in rest.split("/"), f"{listed.path} is no variable's name")
        yield unknown_bias(join_path(layer, rest), layer, layer_type, listed.variable)


def biases_of_other_layer(top: str, path: str, layer_type: str, members: Sequence[Listed]) -> Iterator[Bias]:
    """Yield the variables of a layer that Keras does not have. top: the layer of the model in whose group they are.

    A `bias` beside a kernel with an output axis of its shape is one, and so is a `beta` beside a `gamma` of its shape:
    Keras names them so. All else is `unknown`.
    """
    named = {listed.attribute: listed.variable for listed in members}
    kernels = {name for name, variable in named.items() if "kernel" in name and variable.ndim > 1}
    kinds = {}
    if any(_is_output_axis(named["bias"].shape, named[name].shape) for name in kernels if "bias" in named):
        kinds |= dict.fromkeys(kernels, "") | {"bias": "bias"}
    if {"beta", "gamma"} <= set(named) and named["beta"].shape == named["gamma"].shape:
        kinds |= {"beta": "beta", "gamma": ""}
    is_unique = len(named) == len(members)
    for listed in members:
        if not is_unique or listed.attribute not in kinds:
            yield from unknown_biases(top, layer_type, [listed])
            continue
        kind, variable = kinds[listed.attribute], listed.variable
        yield Bias(join_path(path, listed.attribute), path, layer_type, kind, source=str(variable.name),
                   values=checked_values(variable) if kind else None)  # fmt: skip


def _is_output_axis(shape: Sequence[int], kernel: Sequence[int]) -> bool:
    """Whether a bias has the shape of a kernel's outputs: its last axis, or as in transposed and depthwise kernels."""
    outputs = {kernel[-1]} | ({kernel[-2], kernel[-2] * kernel[-1]} if len(kernel) > 2 else set())
    return len(shape) == 1 and shape[0] in outputs


def biases_by_name(top: str, variables: Sequence[Listed]) -> Iterator[Bias]:
    """Yield an entry for each variable of a group of a file without config.

    The variables of a scope are a layer's if their names, number and shapes are those of a class of Keras; if they are
    not, they are those of a layer that Keras does not have.
    """
    scopes = by_scope(variables)
    is_attention = {"query", "key", "value"} <= {scope.split("/")[-1] for scope in scopes}
    for scope, members in scopes.items():
        attributes = [listed.attribute for listed in members]
        path = path_of_scope(top, scope, "recurrent_kernel" in attributes)
        name = path.split("/")[-1]
        suggested = class_of_name(re.sub("^(forward|backward)_", "", name))
        readings = _readings({listed.attribute: listed.variable for listed in members}, CELLS.get(suggested, suggested))
        if not readings or len(set(attributes)) < len(members):
            yield from _biases_of_cells(path, members) or biases_of_other_layer(top, path, "", members)
            continue
        yield from _biases_of_reading(path, members, readings, ROLES_BY_NAME.get(name, "") if is_attention else "")


def _biases_of_cells(path: str, members: Sequence[Listed]) -> list[Bias]:
    """The entries of the cells of an RNN of Keras 2.2, which have one scope; empty if its variables are no cells'.

    TensorFlow numbers the names of the later cells: `rnn_1/bias`, `rnn_1/bias_1`. If the cells have the same names,
    each has those of one number.
    """
    cells: dict[str, dict[str, Listed]] = {}
    for listed in members:
        attribute = re.sub(r"_\d+$", "", listed.attribute)
        cells.setdefault(listed.attribute.removeprefix(attribute), {})[attribute] = listed
    biases = []
    for number, cell in cells.items():
        readings = _readings({attribute: listed.variable for attribute, listed in cell.items()}, "")
        if len(readings) != 1 or "recurrent_kernel" not in cell or set(cell) != set(cells.get("", ())):
            return []
        renamed = [replace(listed, attribute=attribute) for attribute, listed in cell.items()]
        biases += [replace(bias, path=bias.path + number) for bias in _biases_of_reading(path, renamed, readings, "")]
    return biases


def _biases_of_reading(
    path: str, members: Sequence[Listed], readings: Mapping[str, list[Weight]], role: str
) -> Iterator[Bias]:
    """Yield the entries of a layer: of what all readings agree on."""
    class_name, weights = next(iter(readings.items()))
    if role and "EinsumDense" in readings:
        class_name, weights = "EinsumDense", readings["EinsumDense"]
    elif len(readings) > 1:
        class_name = ""
    layer_type = LAYERS_OF_CELLS.get(class_name, class_name)
    variables = {listed.attribute: listed.variable for listed in members}
    called = {
        name: next(w for w in weights if is_called(next(iter(readings)), w.attribute, name)) for name in variables
    }
    ordered = sorted(members, key=lambda listed: weights.index(called[listed.attribute]))
    layer = SavedLayer(path, layer_type, class_name, {}, role)
    yield from biases_of_layer(layer, [listed.variable for listed in ordered], weights)
    if class_name:
        return
    lacking = [{w.attribute for w in ALL_WEIGHTS[name] if w.kind} - {w.attribute for w in reading}
               for name, reading in readings.items()]  # fmt: skip
    for attribute in sorted(set.intersection(*lacking)):
        yield Bias(join_path(path, attribute), path, "", "absent", role, trainable=False)


def _readings(variables: Mapping[str, h5py.Dataset], suggested: str) -> dict[str, list[Weight]]:
    """What the variables of a layer can be, by class; only the suggested class if they can be its."""
    readings = {}
    for class_name, weights, names in _readings_of_names(tuple(variables)):
        arrays = [variables[name] for name in names]
        fits = all(shape_fits(class_name, weight, array) for weight, array in zip(weights, arrays, strict=True))
        is_recurrent = any(weight.attribute == "recurrent_kernel" for weight in weights)
        if fits and (not is_recurrent or cell_of_shapes([array.shape for array in arrays]) == class_name):
            readings[class_name] = weights
    if suggested in readings:
        return {suggested: readings[suggested]}
    if "kernel" in variables:  # which an Embedding of Keras 1 has too; it is known by its name
        readings.pop("Embedding", None)
    return readings


@lru_cache(1000)
def _readings_of_names(listed: tuple[str, ...]) -> list[tuple[str, list[Weight], list[str]]]:
    """(class, its variables, what they are called) for each class whose variables can be called so."""
    readings = []
    for class_name in ALL_WEIGHTS:
        for weights in _possible_weights(class_name):
            called = [[name for name in listed if is_called(class_name, w.attribute, name)] for w in weights]
            names = [names[0] for names in called if names]
            if len(names) == len(weights) and sorted(names) == sorted(listed):
                readings.append((class_name, weights, names))
    return readings


def _possible_weights(class_name: str) -> Iterator[list[Weight]]:
    """The variables of a layer of this class, with and without those that a setting adds."""
    table = ALL_WEIGHTS[class_name]
    switches = sorted({weight.needs for weight in table if weight.needs})
    for values in product((True, False), repeat=len(switches)):
        setting = dict(zip(switches, values, strict=True))
        yield [weight for weight in table if setting.get(weight.needs, True)]
    if class_name in GATE_ORDER_OF_KERAS_1:
        yield weights_by_gate(class_name)


def path_of_scope(top: str, scope: str, is_recurrent: bool) -> str:
    """The path of the layer that a scope names, within the layer of the model whose group it is in.

    TensorFlow 1 numbers a name that it has given before (`dense_1_1` in the group `dense_1`); a subclassed model's name
    stands before the layer's (`model/dense` in `dense`).
    """
    inner = re.sub(rf"^(?:.*/)?{re.escape(top)}(?:_\d+)?(?:/|$)", "", scope)
    parts = inner.split("/") if inner else []
    if is_recurrent and parts and re.search(r"_cell(_\d+)?$", parts[-1]):
        stacked = len(parts) > 1 and re.fullmatch(r"stacked_rnn_cells(_\d+)?", parts[-2])
        parts = [*parts[:-2], parts[-1]] if stacked else parts[:-1]
    return checked_name(join_path(top, *parts))
