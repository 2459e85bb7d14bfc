"""What a saved model's config and the groups of its weights file say that its layers are.

model.weights.h5 holds the variables of each layer in the order of `WEIGHTS`, in a group named by class and count where
a list holds the layer (`layers/dense_1/vars/1`), else by attribute (`bidirectional/forward_layer/cell/vars/2`). The
layout is that of keras/src/saving/saving_lib.py.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import h5py

from pipeline.biases.keras_names import (
    ATTENTIONS,
    CELLS,
    DENSE,
    KNOWN,
    MODELS,
    child_group,
    class_called,
    has_name,
    keras_class,
    name_of,
    natural_order,
    short_name,
    snake_case,
    stored_name,
)
from pipeline.biases.safe_files import MOST_OBJECTS, printable, read_array, refuse_if
from pipeline.biases.variables import GATES, ROLES, WEIGHTS, Bias, Weight, has_gates, initializer_name

ORDER = ["forward_layer", "backward_layer", *DENSE]
DEEPEST = 100
# Axes of the kernels.
RANKS = {name: int(found[1]) + 2 for name in WEIGHTS if (found := re.search(r"(\d)D", name))}
RANKS |= dict.fromkeys(("Dense", "SimpleRNNCell", "LSTMCell", "GRUCell"), 2)


@dataclass(frozen=True)
class Layer:
    """A layer of a saved model. class_name: Keras' class, empty for any other. group: its place in the weights file."""

    path: str
    layer_type: str
    class_name: str
    config: dict[str, Any]
    role: str = ""
    group: h5py.Group | None = None


def config_layers(entry: dict[str, Any], path: str, group: h5py.Group | None) -> Iterator[Layer]:
    """The layer that an entry of the config describes, then those within it, in the order of the live model."""
    for number, layer in enumerate(_layers_of(entry, path, group)):  # two in each Bidirectional, which can be nested
        refuse_if(number > MOST_OBJECTS, f"more than {MOST_OBJECTS} layers")
        yield layer


def _layers_of(
    entry: dict[str, Any], path: str, group: h5py.Group | None, role: str = "", outer: str = "", depth: int = 0
) -> Iterator[Layer]:
    refuse_if(depth > DEEPEST, f"layers within layers, nested deeper than {DEEPEST}")
    class_name, config = keras_class(entry), entry["config"]
    short = short_name(entry)
    refuse_if(not short.isprintable() or len(short) > 500, "a class whose name cannot be printed")
    yield Layer(path, outer or short, class_name, config, role, group)
    for attribute, inner, place in _within(class_name, config, group):
        if attribute == "cell":
            yield from _layers_of(inner, path, place, role, short, depth + 1)
        else:
            name = name_of(inner, place)
            within = f"{path}/{name}" if path else name
            yield from _layers_of(inner, within, place, ROLES.get(attribute, role), "", depth + 1)


def _within(
    class_name: str, config: dict[str, Any], group: h5py.Group | None
) -> Iterator[tuple[str, dict[str, Any], h5py.Group | None]]:
    """The layers within a layer: (the attribute that holds it, its entry, its place in the weights file)."""
    if class_name in MODELS:
        entries = entries_of(config)
        places = _places(entries, child_group(group, "layers", "_layer_checkpoint_dependencies"))
        yield from (("", inner, place) for inner, place in zip(entries, places, strict=True))
    elif class_name == "StackedRNNCells":
        places = _places(config["cells"], child_group(group, "cells"))
        yield from (("", inner, place) for inner, place in zip(config["cells"], places, strict=True))
    elif class_name == "Bidirectional":
        for side in ("forward", "backward"):  # older files say only what the forward layer is
            inner = config["layer"] if side == "forward" else config.get("backward_layer") or config["layer"]
            name = f"{side}_{name_of(config['layer']).removeprefix('forward_')}"
            given = config.get("backward_layer") and side == "backward"
            inner = inner if given else inner | {"config": inner["config"] | {"name": name}}
            yield f"{side}_layer", inner, child_group(group, f"{side}_layer")
    elif class_name in ATTENTIONS:
        kept = {key: config[key] for key in ("bias_initializer", "trainable", "dtype") if key in config}
        for attribute, name in DENSE.items():
            if attribute == "gate_dense" and not config.get("use_gate"):
                continue
            settings = kept | {"name": name, "bias_axes": config.get("use_bias", True)}
            place = child_group(group, attribute, f"_{attribute}")
            yield attribute, {"class_name": "EinsumDense", "config": settings}, place
    elif class_name in CELLS:
        yield "cell", {"class_name": CELLS[class_name], "config": config}, child_group(group, "cell")
    elif class_name in KNOWN:
        for attribute in ("cell", "layer"):
            if attribute in config:
                yield attribute, config[attribute], child_group(group, attribute)


def expected_weights(layer: Layer) -> list[Weight] | None:
    """The variables that a layer of these settings has, in order; None where it is not known."""
    config, class_name = layer.config, layer.class_name
    policy = config.get("dtype")
    mode = policy["config"].get("mode", "") if isinstance(policy, dict) else ""
    if not class_name or str(mode).startswith(("gptq", "awq")):  # these two keep the bias first
        return None
    if config.get("rms_scaling"):
        return [weight for weight in WEIGHTS[class_name] if weight.attribute == "gamma"]
    return [weight for weight in WEIGHTS.get(class_name, ()) if not weight.needs or config.get(weight.needs)]


def biases_of_layer(
    layer: Layer, variables: Sequence[h5py.Dataset], expected: Sequence[Weight] | None
) -> Iterator[Bias]:
    """The vectors of one layer, given its variables in order."""
    table, prefix = WEIGHTS.get(layer.class_name, ()), f"{layer.path}/" if layer.path else ""
    common = {"layer": layer.path, "layer_type": layer.layer_type, "role": layer.role}
    gates = GATES.get(layer.class_name, "")
    trainable = layer.config.get("trainable")
    if expected and not variables:  # not built
        return
    more = len(variables) > len(expected or ()) and isinstance(layer.config.get("dtype"), dict)
    quantized = more and "mode" in layer.config["dtype"]["config"]
    sure = layer.class_name in MODELS or any(weight.kind for weight in table)  # a model may hold more than its layers
    if expected is None or (len(variables) != len(expected) and not quantized and sure):
        for number, variable in enumerate(variables):
            if variable.dtype.kind != "i" and variable.dtype.kind != "u":  # counts and seeds are not trained
                yield Bias(f"{prefix}vars/{number}", **common, kind="unknown", values=values_of(variable))
        return
    for weight, variable in zip(expected, variables, strict=False):
        if weight.kind:
            initializer = layer.config.get(f"{weight.attribute}_initializer")
            named = isinstance(initializer, dict) and isinstance(initializer["config"], dict)
            drawn = initializer_name(initializer["class_name"], initializer["config"]) if named else ""
            yield Bias(f"{prefix}{weight.attribute}", **common, kind=weight.kind, gates=gates, trainable=trainable,
                         initializer=printable(drawn)[:1000], values=values_of(variable, gates))  # fmt: skip
    for weight in table:
        if weight.kind and weight not in expected:
            yield Bias(f"{prefix}{weight.attribute}", **common, kind="absent", gates=gates, trainable=False)


def biases_of_group(
    group: h5py.Group, path: str, class_name: str, layer_type: str | None = None, role: str = ""
) -> Iterator[Bias]:
    """The vectors of a layer, and of those within it, of which only the group in the weights file is known.

    Its class is what the group is called after; for a layer that an attribute holds, what Keras would name it after.
    The number and the axes of its variables must leave nothing open, else they are unknown.
    """
    variables = variables_in(group)
    fits = _fitting(class_name, variables)
    known = class_name if fits is not None else ""
    kind = class_name if layer_type is None else layer_type
    yield from biases_of_layer(Layer(path, kind, known, {}, role), variables, fits)
    for key in sorted(
        group, key=lambda k: (ORDER.index(k.lstrip("_")) if k.lstrip("_") in ORDER else -1, natural_order(k))
    ):
        inner, attribute = group[key], key.lstrip("_")
        if key in ("vars", "optimizer", "seed_generator") or not isinstance(inner, h5py.Group):
            continue
        held = "vars" in inner  # else a list of layers, each under its class
        for place, stem in [(inner, "")] if held else [(inner[k], k) for k in sorted(inner, key=natural_order)]:
            name = stored_name(place) or stem or key
            within = f"{path}/{name}" if path else name
            called = class_called(stem or re.sub("^(forward|backward)_", "", name))
            if held and class_name in ATTENTIONS and attribute in DENSE:
                called = "EinsumDense"
            if held and attribute == "cell":
                yield from biases_of_group(place, path, CELLS.get(class_name, called), kind, role)
            else:
                yield from biases_of_group(place, within, called, None, ROLES.get(attribute, role))


def _fitting(class_name: str, variables: Sequence[h5py.Dataset]) -> list[Weight] | None:
    """The variables of a class, if there is one way only in which these can be they."""
    table = WEIGHTS.get(class_name)
    if not variables or table is None:
        return [] if class_name in KNOWN and not variables else None
    if not any(weight.kind for weight in table):
        return list(table)
    needs = sorted({weight.needs for weight in table if weight.needs})
    ways = []
    for there in product((True, False), repeat=len(needs)):
        has = dict(zip(needs, there, strict=True))
        way = [weight for weight in table if has.get(weight.needs, True)]
        if len(way) == len(variables) and all(map(_axes_fit, [class_name] * len(way), way, variables)):
            ways.append(way)
    return ways[0] if len(ways) == 1 else None


def _axes_fit(class_name: str, weight: Weight, variable: h5py.Dataset) -> bool:
    if weight.attribute == "bias":
        two = class_name == "EinsumDense" or (class_name == "GRUCell" and variable.shape[0] == 2)
        return variable.ndim == 1 or (variable.ndim > 1 and two)
    if variable.dtype.kind in "iu":  # quantized: its scale looks like a bias
        return False
    return "kernel" not in weight.attribute or variable.ndim == RANKS.get(class_name, variable.ndim)


def variables_in(group: h5py.Group) -> list[h5py.Dataset]:
    """The variables of a layer, in order."""
    own = child_group(group, "vars")
    numbers = sorted((key for key in own or () if key.isdecimal()), key=int)
    refuse_if(numbers != [str(n) for n in range(len(numbers))], f"variables of {group.name} are missing")
    return [own[number] for number in numbers]


def values_of(variable: h5py.Dataset, gates: str = "") -> Any:
    """Its array, checked to be one that can be described."""
    refuse_if(not isinstance(variable, h5py.Dataset) or not variable.size, f"{variable.name} has no values")
    whole = not gates or has_gates(gates, variable.shape)
    refuse_if(not whole, f"{variable.name} of shape {variable.shape} is no bias of gates {gates}")
    return read_array(variable)


def entries_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a model's config. A functional model's has operations between them, which hold no variables."""
    entries = config["layers"] if isinstance(config, dict) else config  # the oldest files have a list here
    return [entry for entry in entries if not re.match(r"keras(\.src)?\.ops\b", str(entry.get("module")))]


def _places(entries: Sequence[dict[str, Any]], container: h5py.Group | None) -> list[h5py.Group | None]:
    """Where each of the layers of a list is: by the name that newer files keep, else by class and count."""
    if container is None:
        return [None] * len(entries)
    named = {stored_name(container[key]): container[key] for key in container}
    counts: Counter[str] = Counter()
    places = []
    for entry in entries:
        stem = snake_case(short_name(entry))
        key = f"{stem}_{counts[stem]}" if counts[stem] else stem
        counts[stem] += 1
        by_key = set(named) == {""} or not has_name(entry)
        places.append(child_group(container, key) if by_key else named.get(name_of(entry)))
    return places
