"""Read the biases from the groups of a Keras 3 weights file (`model.weights.h5`, `*.weights.h5`).

A layer's group stores its variables by number in the order of `WEIGHTS` (`layers/dense_1/vars/1`). What a number means
follows from the layer's config; without a config, from the class that the group is named after, if the number and the
shapes of the variables leave no choice. Source: keras/src/saving/saving_lib.py.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import h5py
import numpy as np

from pipeline.biases.keras_config import SavedLayer
from pipeline.biases.keras_names import (
    ATTENTIONS,
    CELLS,
    KNOWN_CLASSES,
    MODELS,
    PROJECTIONS,
    class_of_name,
    natural_order,
    stored_name,
)
from pipeline.biases.older_layers import ALL_WEIGHTS, gates_of
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import child_group, read_array, required_dataset, required_group
from pipeline.biases.variables import ROLES, WEIGHTS, Bias, Weight, has_gates, initializer_name, join_path
from pipeline.errors import one_line

NOT_LAYERS = ("vars", "optimizer", "seed_generator")  # members of a layer's group that are no sublayers
ATTRIBUTE_ORDER = ["forward_layer", "backward_layer", *PROJECTIONS]  # of the sublayers in the live model
LAYERS_OF_CELLS = {cell: layer for layer, cell in CELLS.items()} | {"ConvLSTMCell": ""}  # its axes have several
KERNEL_AXES = {name: int(rank[1]) + 2 for name in WEIGHTS if (rank := re.search(r"(\d)D", name))}
KERNEL_AXES |= dict.fromkeys(("Dense", "SimpleRNNCell", "LSTMCell", "GRUCell"), 2)


def biases_of_layer(
    layer: SavedLayer, variables: Sequence[h5py.Dataset], expected: Sequence[Weight] | None
) -> Iterator[Bias]:
    """Yield an entry for each variable of one layer without its sublayers, then for each bias that it lacks.

    variables: all variables of the layer, in order. expected: what they are; None where that is unknown. The kind of an
    entry is empty where the variable is no bias.
    """
    if expected and not variables:  # the layer was not built
        return
    if expected is None or _contradicts(layer, len(variables), len(expected)):
        yield from _unknown_biases(layer, variables)
        return
    common: dict[str, Any] = {"layer": layer.path, "layer_type": layer.layer_type, "role": layer.role}
    for number, variable in enumerate(variables):  # quantization adds variables behind the expected
        weight = expected[number] if number < len(expected) else Weight(f"vars/{number}")
        gates = gates_of(layer.class_name, weight.attribute) if weight.kind else ""
        path = join_path(layer.path, weight.attribute)
        yield Bias(path, **common, kind=weight.kind, gates=gates, source=str(variable.name),
                   trainable=layer.config.get("trainable"), initializer=_initializer_of(layer, weight.attribute),
                   values=checked_values(variable, gates) if weight.kind else None)  # fmt: skip
    if any(weight.kind == "bias" for weight in expected):
        return  # of a recurrent layer of Keras 1, one for each gate
    for weight in ALL_WEIGHTS.get(layer.class_name, ()):
        if weight.kind and weight not in expected:
            yield Bias(join_path(layer.path, weight.attribute), **common, kind="absent", trainable=False,
                       gates=gates_of(layer.class_name, weight.attribute))  # fmt: skip


def _contradicts(layer: SavedLayer, n_variables: int, n_expected: int) -> bool:
    """Whether there are other variables than the config implies, so that a position does not tell which is the bias."""
    if n_variables == n_expected:
        return False
    policy = layer.config.get("dtype")
    quantized = n_variables > n_expected and isinstance(policy, dict) and "mode" in policy["config"]
    # Of a layer class without biases every variable is known to be none; a model may hold variables besides its layers.
    can_have_bias = any(weight.kind for weight in ALL_WEIGHTS.get(layer.class_name, ()))
    return not quantized and (can_have_bias or layer.class_name in MODELS)


def _unknown_biases(layer: SavedLayer, variables: Sequence[h5py.Dataset]) -> Iterator[Bias]:
    for number, variable in enumerate(variables):
        yield unknown_bias(join_path(layer.path, f"vars/{number}"), layer.path, layer.layer_type, variable, layer.role)


def unknown_bias(path: str, layer: str, layer_type: str, variable: h5py.Dataset, role: str = "") -> Bias:
    """The entry of a variable that may be a bias; one of integers is none: a count, a seed or a quantized kernel."""
    kind = "" if variable.dtype.kind in "iu" else "unknown"
    return Bias(path, layer, layer_type, kind, role, source=str(variable.name),
                values=checked_values(variable) if kind else None)  # fmt: skip


def _initializer_of(layer: SavedLayer, attribute: str) -> str:
    entry = layer.config.get(f"{attribute}_initializer")
    if not isinstance(entry, dict) or not isinstance(entry["config"], dict):
        return ""
    return one_line(initializer_name(entry["class_name"], entry["config"]))


def biases_of_group(
    group: h5py.Group, path: str, class_name: str, layer_type: str | None = None, role: str = ""
) -> Iterator[Bias]:
    """Yield the biases of a layer without a config and of its sublayers.

    class_name: the Keras class that the group's or the layer's name suggests; empty if it suggests none. layer_type:
    the class to report, if another one. A variable is `unknown` unless the class, the number of the variables and
    their shapes allow one reading only.
    """
    variables = variables_in(group)
    weights = _only_reading(class_name, variables)
    layer_type = class_name if layer_type is None else layer_type
    layer = SavedLayer(path, layer_type, class_name if weights is not None else "", {}, role)
    yield from biases_of_layer(layer, variables, weights)
    for attribute, key, subgroup in _subgroups(group):
        inner = PROJECTIONS.get(attribute.lstrip("_"), attribute) if class_name in ATTENTIONS else attribute
        name = stored_name(subgroup) or key or inner
        suggested = class_of_name(key or re.sub("^(forward|backward)_", "", name))
        holder = attribute.lstrip("_")
        if not key and holder == "cell":
            cell = CELLS.get(class_name, suggested) or cell_of_shapes([v.shape for v in variables_in(subgroup)])
            yield from biases_of_group(subgroup, path, cell, layer_type or LAYERS_OF_CELLS.get(cell, ""), role)
            continue
        if not key and holder in PROJECTIONS and class_name in ATTENTIONS:
            suggested = "EinsumDense"
        yield from biases_of_group(subgroup, join_path(path, name), suggested, None, ROLES.get(holder, role))


def _subgroups(group: h5py.Group) -> Iterator[tuple[str, str, h5py.Group]]:
    """Yield (attribute, key, group) of each sublayer; key is its class and count in a list (`dense_1`), else empty."""

    def live_order(attribute: str) -> tuple[int, tuple[str, int]]:
        public = attribute.lstrip("_")
        return ATTRIBUTE_ORDER.index(public) if public in ATTRIBUTE_ORDER else -1, natural_order(attribute)

    for attribute in sorted(group, key=live_order):
        member = group[attribute]
        is_metrics = attribute == "metrics" and group.name == "/"  # of a model that was fitted by Keras 2
        if attribute in NOT_LAYERS or is_metrics or not isinstance(member, h5py.Group):
            continue
        if "vars" in member:
            yield attribute, "", member
        else:
            yield from ((attribute, key, required_group(member, key)) for key in sorted(member, key=natural_order))


def _only_reading(class_name: str, variables: Sequence[h5py.Dataset]) -> list[Weight] | None:
    """What the variables of a layer of this class are, if their number and shapes allow one reading only; else None."""
    table = ALL_WEIGHTS.get(class_name)
    if not variables or table is None:
        return [] if class_name in KNOWN_CLASSES and not variables else None
    if not any(weight.kind for weight in table):
        return list(table)
    switches = sorted({weight.needs for weight in table if weight.needs})
    readings = []
    for values in product((True, False), repeat=len(switches)):
        setting = dict(zip(switches, values, strict=True))
        weights = [weight for weight in table if setting.get(weight.needs, True)]
        if len(weights) == len(variables) and all(
            shape_fits(class_name, weight, variable) for weight, variable in zip(weights, variables, strict=True)
        ):
            readings.append(weights)
    return readings[0] if len(readings) == 1 else None


def shape_fits(class_name: str, weight: Weight, variable: h5py.Dataset) -> bool:
    """Whether a variable of this shape can be this weight of a layer of this class."""
    if weight.attribute == "bias":
        may_have_more = class_name.startswith(("EinsumDense", "LocallyConnected", "MaxoutDense"))
        may_have_more |= class_name == "GRUCell" and variable.shape[:1] == (2,)
        return variable.ndim == 1 or (variable.ndim > 1 and may_have_more)
    if variable.dtype.kind in "iu":  # a quantized kernel, whose scale looks like a bias
        return False
    if "kernel" not in weight.attribute:
        return True
    is_image = class_name != "ConvLSTMCell" or variable.ndim > 2
    return is_image and variable.ndim == KERNEL_AXES.get(class_name, variable.ndim)


def cell_of_shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    """The class of a recurrent cell by the shapes of its kernels and bias; empty if they are no cell's.

    The recurrent kernel of `units` rows has as many columns for each gate.
    """
    padded = [*shapes, (), ()]
    kernel, recurrent, bias = padded[0], padded[1], list(shapes[2:])
    if len(bias) > 1 or len(recurrent) < 2 or len(kernel) != len(recurrent):
        return ""
    columns, units = recurrent[-1], recurrent[-2]
    gates = columns // units if units and not columns % units else 0
    cell = {1: "SimpleRNNCell", 3: "GRUCell", 4: "LSTMCell"}.get(gates, "")
    if len(kernel) > 2:
        cell = "ConvLSTMCell" if cell == "LSTMCell" else ""
    if cell in ("GRUCell", "LSTMCell") and bias == [(2 * columns,)]:
        return f"CuDNN{cell.removesuffix('Cell')}"
    fits = kernel[-1] == columns and all(shape in ((columns,), (2, columns)) for shape in bias)
    return cell if fits else ""


def variables_in(group: h5py.Group) -> list[h5py.Dataset]:
    """The variables of a layer's group, in order."""
    variables = child_group(group, "vars")
    if variables is None:
        return []
    count = sum(str(key).isdecimal() for key in variables)
    numbers = [str(number) for number in range(count)]
    refuse_if(any(number not in variables for number in numbers), f"variables of {group.name} are missing")
    return [required_dataset(variables, number) for number in numbers]


def checked_values(variable: h5py.Dataset, gates: str = "") -> np.ndarray:
    """Read a variable, refusing one that is empty or does not have these gates."""
    refuse_if(not variable.size, f"{variable.name} has no values")
    fits = not gates or has_gates(gates, variable.shape)
    refuse_if(not fits, f"{variable.name} of shape {variable.shape} is no bias of gates {gates}")
    return read_array(variable)
