"""Read the config of a saved Keras model: its layers in the order of the live model, and their groups of weights.

model.weights.h5 stores a layer in a group named by class and count if a list holds the layer (`layers/dense_1`), else
by attribute (`bidirectional/forward_layer/cell`). Source: keras/src/saving/saving_lib.py.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from pipeline.biases import limits
from pipeline.biases.keras_names import (
    ATTENTIONS,
    CELLS,
    KNOWN_CLASSES,
    MODELS,
    PROJECTIONS,
    has_name,
    keras_class,
    name_of,
    older_snake_case,
    short_class_name,
    snake_case,
    stored_name,
)
from pipeline.biases.older_layers import ALL_WEIGHTS, GATE_ORDER_OF_KERAS_1, weights_by_gate
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import child_group
from pipeline.biases.variables import ROLES, Weight, join_path

TWICE_EACH = "_layer_checkpoint_dependencies"  # the list of layers of Keras 2.12 to 2.15: those with variables twice
Entry = dict[str, Any]  # a layer as Keras serializes it: class_name, config, and in newer files module


@dataclass(frozen=True)
class SavedLayer:
    """A layer of a saved model.

    class_name: the Keras class; empty for a class of another library. layer_type: the class to report, which for a
    cell is that of the layer around it. group: its group in the weights file; None where the file has none.
    """

    path: str
    layer_type: str
    class_name: str
    config: dict[str, Any]
    role: str = ""
    group: h5py.Group | None = None


def config_layers(entry: Entry, path: str, group: h5py.Group | None) -> Iterator[SavedLayer]:
    """Yield the layer that an entry of a config describes, then its sublayers, in the order of the live model.

    path: the layer's path; empty for the model itself. group: its group in the weights file, or None without one.
    Raises ModelFileError for a config that Keras would not write.
    """
    # The limit is needed: a Bidirectional has two layers for one in its config, and they may be nested.
    for number, layer in enumerate(_walk(entry, path, group, set())):
        refuse_if(number > limits.MAX_OBJECTS, f"more than {limits.MAX_OBJECTS} layers")
        yield layer


def _walk(
    entry: Entry, path: str, group: h5py.Group | None, seen: set, role: str = "", layer_type: str = "", depth: int = 0
) -> Iterator[SavedLayer]:
    """Yield the layer and its sublayers. seen: the identities of those before, to which it adds theirs."""
    refuse_if(depth > limits.MAX_LAYER_DEPTH, f"layers nested deeper than {limits.MAX_LAYER_DEPTH}")
    class_name, short_name = keras_class(entry), short_class_name(entry)
    is_valid = short_name.isprintable() and len(short_name) <= limits.MAX_NAME_LENGTH
    refuse_if(not is_valid, "a class whose name cannot be printed")
    yield SavedLayer(path, layer_type or short_name, class_name, entry["config"], role, group)
    seen.add(_identity(entry))
    for attribute, inner, inner_group in _sublayers(class_name, entry["config"], group, seen):
        if attribute == "cell":
            yield from _walk(inner, path, inner_group, seen, role, short_name, depth + 1)
        else:
            inner_path = join_path(path, name_of(inner, inner_group))
            yield from _walk(inner, inner_path, inner_group, seen, ROLES.get(attribute, role), "", depth + 1)


def _identity(entry: Entry) -> tuple:
    return entry["class_name"], entry["config"].get("name") if has_name(entry) else None


def _sublayers(
    class_name: str, config: dict[str, Any], group: h5py.Group | None, seen: set
) -> Iterator[tuple[str, Entry, h5py.Group | None]]:
    """Yield (attribute that holds it, entry, group) of each sublayer; the attribute is empty if a list holds it."""
    if class_name in MODELS:
        entries = layer_entries(config)
        groups = _groups_of(entries, child_group(group, "layers", TWICE_EACH), seen)
        yield from (("", entry, entry_group) for entry, entry_group in zip(entries, groups, strict=True))
    elif class_name == "StackedRNNCells":
        groups = _groups_of(config["cells"], child_group(group, "cells"), set())
        yield from (("", entry, entry_group) for entry, entry_group in zip(config["cells"], groups, strict=True))
    elif class_name == "Bidirectional":
        for side in ("forward", "backward"):
            yield f"{side}_layer", _direction(config, side), child_group(group, f"{side}_layer")
    elif class_name in ATTENTIONS:
        shared = {key: config[key] for key in ("bias_initializer", "trainable", "dtype") if key in config}
        for attribute, name in PROJECTIONS.items():
            if attribute == "gate_dense" and not config.get("use_gate"):
                continue
            settings = shared | {"name": name, "bias_axes": config.get("use_bias", True)}
            entry = {"class_name": "EinsumDense", "config": settings}
            yield attribute, entry, child_group(group, attribute, f"_{attribute}")
    elif class_name in CELLS:
        yield "cell", {"class_name": CELLS[class_name], "config": config}, child_group(group, "cell")
    elif class_name in KNOWN_CLASSES:
        for attribute in ("cell", "layer"):
            if attribute in config:
                yield attribute, config[attribute], child_group(group, attribute)


def _direction(config: dict[str, Any], side: str) -> Entry:
    """The entry of one direction of a Bidirectional; files of older versions have only the forward layer's."""
    if side == "backward" and config.get("backward_layer"):
        return config["backward_layer"]
    forward = config["layer"]
    name = f"{side}_{name_of(forward).removeprefix('forward_')}"
    return forward | {"config": forward["config"] | {"name": name}}


def layer_entries(config: Any) -> list[Entry]:
    """The entries of a model's layers, without the operations between them, which hold no variables."""
    entries = config["layers"] if isinstance(config, dict) else config  # the oldest files have a list here
    return [entry for entry in entries if not re.match(r"keras(\.src)?\.ops\b", str(entry.get("module")))]


def _groups_of(entries: Sequence[Entry], container: h5py.Group | None, seen: set) -> list[h5py.Group | None]:
    """The group of each layer of a list, found by the name stored in it, or in older files by class and count."""
    if container is None:
        return [None] * len(entries)
    by_name = {stored_name(member): member for member in container.values() if isinstance(member, h5py.Group)}
    if set(by_name) - {""}:
        by_key = _keys_of(entries, container, seen) if not all(map(has_name, entries)) else {}
        return [
            by_name.get(name_of(entry)) if has_name(entry) else child_group(container, *by_key.get(number, ()))
            for number, entry in enumerate(entries)
        ]
    keys = _keys_of(entries, container, seen)
    return [child_group(container, *keys.get(number, ())) for number in range(len(entries))]


def _keys_of(entries: Sequence[Entry], container: h5py.Group, seen: set) -> dict[int, tuple[str, ...]]:
    """The names that the group of each layer can have, by class and count: `dense`, then `dense_1` or `dense_2`.

    A layer that is stored elsewhere has no group; whether it was counted depends on the version of Keras.
    """
    stored, elsewhere = set(seen), []
    for entry in entries:
        elsewhere.append(has_name(entry) and _identity(entry) in stored)
        stored.update(_identity_of_layer(layer) for layer in config_layers(entry, "", None))
    stems = [(snake_case(short_class_name(entry)), older_snake_case(short_class_name(entry))) for entry in entries]
    keys: dict[int, tuple[str, ...]] = {}
    for stem in dict.fromkeys(stems):
        numbers = [number for number, own in enumerate(stems) if own == stem]
        here = [number for number in numbers if not elsewhere[number]]
        for counted in (here, numbers):
            steps = [2 if _listed_twice(container, entries[number]) else 1 for number in counted]
            counts = [sum(steps[:position]) for position in range(len(counted))]
            named = {
                number: tuple(f"{name}_{count}" if count else name for name in stem)
                for number, count in zip(counted, counts, strict=True)
            }
            if all(child_group(container, *named[number]) is not None for number in here):
                break
        keys |= named
    return keys


def _identity_of_layer(layer: SavedLayer) -> tuple:
    return layer.layer_type, layer.config.get("name") if isinstance(layer.config, dict) else None


def _listed_twice(container: h5py.Group, entry: Entry) -> bool:
    """Whether a list has a layer twice since it has variables; a layer of another library is supposed to have some."""
    if not str(container.name).endswith(TWICE_EACH):
        return False
    weights = [expected_weights(layer) for layer in config_layers(entry, "", None)]
    return any(expected is None or expected for expected in weights)


def expected_weights(layer: SavedLayer) -> list[Weight] | None:
    """The variables that the config implies, in the order of the weights file; None where the order is unknown."""
    config, class_name = layer.config, layer.class_name
    policy = config.get("dtype")
    mode = policy["config"].get("mode", "") if isinstance(policy, dict) else ""
    if not class_name or str(mode).startswith(("gptq", "awq")):  # these two quantizations store the bias first
        return None
    if config.get("rms_scaling"):
        return [weight for weight in ALL_WEIGHTS[class_name] if weight.attribute == "gamma"]
    if class_name in GATE_ORDER_OF_KERAS_1 and config.get("consume_less", "gpu") != "gpu":  # a setting of Keras 1
        return weights_by_gate(class_name)
    return [weight for weight in ALL_WEIGHTS.get(class_name, ()) if not weight.needs or config.get(weight.needs)]
