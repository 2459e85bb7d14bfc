"""Read the config of a saved Keras model: its layers in the order of the live model, and their groups of weights.

model.weights.h5 stores a layer in a group named by class and count if a list holds the layer (`layers/dense_1`), else
by attribute (`bidirectional/forward_layer/cell`). Source: keras/src/saving/saving_lib.py.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from pipeline.biases import limits
from pipeline.biases.group_keys import Listed, match_keys
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
MARK = "shared_object_id"
Entry = dict[str, Any]  # a layer as Keras serializes it: class_name, config, and in newer files module


class _Ambiguous:
    """In place of a group: the file has several that may be the layer's."""


AMBIGUOUS = _Ambiguous()
Found = h5py.Group | _Ambiguous | None


@dataclass(frozen=True)
class SavedLayer:
    """A layer of a saved model.

    class_name: the Keras class; empty for a class of another library. layer_type: the class to report, which for a
    cell is that of the layer around it. group: its group in the weights file; None where the file has none, or where
    it has several that may be the layer's: then `is_told_apart` is False.
    """

    path: str
    layer_type: str
    class_name: str
    config: dict[str, Any]
    role: str = ""
    group: h5py.Group | None = None
    is_told_apart: bool = True


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
    entry: Entry, path: str, group: Found, seen: set, role: str = "", layer_type: str = "", depth: int = 0,
    is_told_apart: bool = True,
) -> Iterator[SavedLayer]:  # fmt: skip
    """Yield the layer and its sublayers. seen: the identities of those before, to which it adds theirs."""
    refuse_if(depth > limits.MAX_LAYER_DEPTH, f"layers nested deeper than {limits.MAX_LAYER_DEPTH}")
    class_name, short_name = keras_class(entry), short_class_name(entry)
    is_valid = short_name.isprintable() and len(short_name) <= limits.MAX_NAME_LENGTH
    refuse_if(not is_valid, "a class whose name cannot be printed")
    is_told_apart = is_told_apart and group is not AMBIGUOUS
    group = group if isinstance(group, h5py.Group) else None
    yield SavedLayer(path, layer_type or short_name, class_name, entry["config"], role, group, is_told_apart)
    if group is not None or not is_told_apart:
        seen.add(identity(entry["class_name"], entry["config"]))
    for attribute, inner, inner_group in _sublayers(class_name, entry["config"], group, seen):
        if attribute == "cell":
            yield from _walk(inner, path, inner_group, seen, role, short_name, depth + 1, is_told_apart)
        else:
            inner_path = join_path(path, name_of(inner, inner_group if isinstance(inner_group, h5py.Group) else None))
            inner_role = ROLES.get(attribute, role)
            yield from _walk(inner, inner_path, inner_group, seen, inner_role, "", depth + 1, is_told_apart)


def _sublayers(
    class_name: str, config: dict[str, Any], group: h5py.Group | None, seen: set
) -> Iterator[tuple[str, Entry, Found]]:
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
                inner = config[attribute]
                if isinstance(inner, list):  # of cells, in a model of YAML: Keras stacks them, and writes the stack
                    inner = {"class_name": "StackedRNNCells", "config": {"cells": inner}}
                yield attribute, inner, child_group(group, attribute)


def _direction(config: dict[str, Any], side: str) -> Entry:
    """The entry of one direction of a Bidirectional; files of older versions have only the forward layer's."""
    forward = config["layer"]
    if side == "backward" and config.get("backward_layer"):
        backward = config["backward_layer"]
        if name_of(forward).startswith("forward_"):
            return backward
        # Keras 2 gives both their prefixes, and stores the names of before.
        return backward | {"config": backward["config"] | {"name": f"backward_{name_of(backward)}"}}
    name = f"{side}_{name_of(forward).removeprefix('forward_')}"
    return forward | {"config": forward["config"] | {"name": name}}


def layer_entries(config: Any) -> list[Entry]:
    """The entries of a model's layers, without the operations between them, which hold no variables."""
    entries = config["layers"] if isinstance(config, dict) else config  # the oldest files have a list here
    return [entry for entry in entries if not re.match(r"keras(\.src)?\.ops\b", str(entry.get("module")))]


def _groups_of(entries: Sequence[Entry], container: h5py.Group | None, seen: set) -> list[Found]:
    """The group of each layer of a list, found by the name stored in it, or in older files by class and count."""
    if container is None:
        return [None] * len(entries)
    by_name = {stored_name(member): member for member in container.values() if isinstance(member, h5py.Group)}
    if set(by_name) - {""}:
        by_count = _groups_by_count(entries, container, seen) if not all(map(has_name, entries)) else []
        return [
            by_name.get(name_of(entry)) if has_name(entry) else by_count[number] for number, entry in enumerate(entries)
        ]
    return _groups_by_count(entries, container, seen)


def _groups_by_count(entries: Sequence[Entry], container: h5py.Group, seen: set) -> list[Found]:
    """The group of each layer of a list, found by class and count."""
    inner = [list(config_layers(entry, "", None)) for entry in entries]
    weights = [[expected_weights(layer) for layer in layers] for layers in inner]
    # A layer of another library is supposed to have variables.
    has_variables = [any(expected is None or expected for expected in lists) for lists in weights]
    names = [(snake_case(name), older_snake_case(name)) for name in map(short_class_name, entries)]
    keys = {str(key) for key in container if child_group(container, str(key)) is not None}
    stored, like_another = set(seen), []
    for entry, layers in zip(entries, inner, strict=True):
        like_another.append(has_name(entry) and identity(entry["class_name"], entry["config"]) in stored)
        stored.update(identity(layer.layer_type, layer.config) for layer in layers)
    # Versions that mark the objects that a file describes again mark the shared layers: two layers can be alike.
    marked = [alike and _is_marked(entry) for alike, entry in zip(like_another, entries, strict=True)]
    found, ambiguous = {}, set()
    for may_be_elsewhere in (marked, like_another):
        listed = [
            Listed(own, 1 + (has and str(container.name).endswith(TWICE_EACH)), elsewhere, has)
            for own, elsewhere, has in zip(names, may_be_elsewhere, has_variables, strict=True)
        ]
        found, ambiguous = match_keys(listed, keys)
        if all(i not in ambiguous and (i in found or layer.is_optional) for i, layer in enumerate(listed)):
            break
    return [AMBIGUOUS if number in ambiguous else child_group(container, found.get(number, ""))
            for number in range(len(entries))]  # fmt: skip


def identity(class_name: str, config: Any) -> tuple[str, str]:
    """What all entries of one layer have in common; two layers of one name mostly differ in it."""
    return class_name, json.dumps(_unmarked(config), sort_keys=True)


def _unmarked(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _unmarked(value) for key, value in config.items() if key != MARK}
    return [_unmarked(value) for value in config] if isinstance(config, list) else config


def _is_marked(config: Any) -> bool:
    """Whether an entry, or every initializer in it, is marked as an object that the file describes again."""
    if isinstance(config, list):
        return all(map(_is_marked, config))
    if not isinstance(config, dict) or MARK in config:
        return True
    return all(
        MARK in value if key.endswith("_initializer") and isinstance(value, dict) else _is_marked(value)
        for key, value in config.items()
    )


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
