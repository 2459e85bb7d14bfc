"""Read the biases of a whole-model `.h5` file of Keras 1, Keras 2, tf_keras or the legacy format of Keras 3."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import h5py

from pipeline.biases import limits
from pipeline.biases.keras_config import Entry, SavedLayer, config_layers, expected_weights, layer_entries
from pipeline.biases.keras_format import biases_of_layer
from pipeline.biases.keras_names import CELLS, KNOWN_CLASSES, MODELS, has_name, keras_class, name_of
from pipeline.biases.listed_variables import (
    LISTS_LAYERS,
    MODEL_VARIABLES,
    Listed,
    biases_by_name,
    biases_of_other_layer,
    by_scope,
    listed_layers,
    path_of_scope,
    read_list,
    unknown_biases,
    wrote_keras_1,
)
from pipeline.biases.older_configs import current_config
from pipeline.biases.older_layers import ALL_WEIGHTS, is_called
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import read_texts, required_group
from pipeline.biases.variables import Bias, Weight
from pipeline.errors import ModelFileError


def read_listed_weights(weights: h5py.Group) -> Iterator[Bias]:
    """Yield an entry for each variable of a file that `save_weights` of Keras 1, Keras 2 or tf_keras made."""
    for name, variables in listed_layers(weights, _version(weights)).items():
        if name == MODEL_VARIABLES:
            yield from unknown_biases("", "", variables)
        else:
            yield from biases_by_name(name, variables)


def read_legacy_h5(entry: Entry, weights: h5py.File) -> Iterator[Bias]:
    """Yield an entry for each variable of a whole-model `.h5` file. entry: the file's model config.

    Raises ModelFileError for a file that lacks a layer's variables.
    """
    stored, n_layers = required_group(weights, "model_weights"), 0
    version = _version(weights)
    entry = current_config(entry, wrote_keras_1(stored, version))
    listed = listed_layers(stored, version)
    is_known = keras_class(entry) in MODELS
    for top in _named_entries(layer_entries(entry["config"]), stored) if is_known else ():
        name = name_of(top)
        layers = list(config_layers(top, name, None))
        n_layers += len(layers)
        refuse_if(n_layers > limits.MAX_OBJECTS, f"more than {limits.MAX_OBJECTS} layers")
        has_variables = any(expected_weights(layer) for layer in layers)
        if name not in stored:
            if has_variables:
                raise ModelFileError(f"nothing of layer {name} in it: truncated")
            continue
        required_group(stored, name)
        variables = listed.pop(name, [])
        if variables or not has_variables:  # else the layer was not built
            yield from _biases_of_top_layer(name, layers, variables)
    for name, variables in listed.items():  # what the config does not name
        if name == MODEL_VARIABLES:
            yield from unknown_biases("", "", variables)
        else:
            yield from biases_by_name(name, variables)


def _version(weights: h5py.Group) -> str:
    """The version of the Keras that wrote a file; empty where it does not say."""
    return (read_texts(weights.attrs, "keras_version") or [""])[0]


def _named_entries(entries: Sequence[Entry], stored: h5py.Group) -> Iterator[Entry]:
    """Yield the entries, those without a name with the next name in the file's list that no other entry has."""
    taken = {name_of(entry) for entry in entries if has_name(entry)}
    spare = (name for name in read_list(stored, LISTS_LAYERS) if name not in taken)
    for entry in entries:
        if has_name(entry):
            yield entry
        else:
            config = entry["config"] if isinstance(entry["config"], dict) else {}
            yield entry | {"config": config | {"name": next(spare, None)}}


def _biases_of_top_layer(name: str, layers: Sequence[SavedLayer], variables: Sequence[Listed]) -> Iterator[Bias]:
    """Yield the entries of a layer of the model and of its sublayers, whose variables the file lists together."""
    in_order = _assign_in_order(layers, [listed.attribute for listed in variables])
    if in_order is None or _contradict(layers, [index for index, _ in in_order], variables):
        assigned = _assign_by_scope(layers, variables)
    else:
        assigned = {index: [] for index in range(len(layers))}
        for (index, weight), listed in zip(in_order, variables, strict=True):
            assigned[index].append((weight, listed))
    for index, layer in enumerate(layers):
        if index in assigned:
            expected, members = [w for w, _ in assigned[index]], [listed.variable for _, listed in assigned[index]]
            yield from biases_of_layer(layer, members, expected)
    told_apart = {listed.path for pairs in assigned.values() for _, listed in pairs}
    for scope, members in by_scope([listed for listed in variables if listed.path not in told_apart]).items():
        yield from _biases_of_scope(name, scope, layers, members)


def _biases_of_scope(name: str, scope: str, layers: Sequence[SavedLayer], members: Sequence[Listed]) -> Iterator[Bias]:
    """Yield the entries of variables that no layer of Keras was found for."""
    named = [layer for layer in layers if _names(scope, layer)]
    if all(layer.class_name in KNOWN_CLASSES for layer in named or layers):
        yield from unknown_biases(name, layers[0].layer_type, members)  # the layer's config contradicts them
        return
    path = named[0].path if len(named) == 1 else path_of_scope(name, scope, False)
    layer_type = next((layer.layer_type for layer in layers if layer.path == path), "")
    for bias in biases_of_other_layer(name, path, layer_type, members):
        holder = bias.layer_type or layers[0].layer_type
        yield replace(bias, layer_type=holder) if bias.kind == "unknown" else bias


def _assign_in_order(layers: Sequence[SavedLayer], names: Sequence[str]) -> list[tuple[int, Weight]] | None:
    """Tell for each listed variable name to which layer it belongs (an index) and what it is.

    None where the names contradict the config, or a layer is of another library.
    """
    assigned, remaining = [], list(names)
    for index, weight in _listed_order(layers):
        class_name = layers[index].class_name
        if remaining and is_called(class_name, weight.attribute, remaining[0]):
            assigned.append((index, weight))
            remaining.pop(0)
        elif any(w.kind for w in ALL_WEIGHTS[class_name]):
            return None
    has_unknown_layer = any(not layer.class_name for layer in layers)
    return None if remaining or (has_unknown_layer and names) else assigned


def _contradict(layers: Sequence[SavedLayer], order: Sequence[int], variables: Sequence[Listed]) -> bool:
    """Whether the names of variables say that one belongs to another layer than its place in the list says.

    A model within another may be frozen, which puts its variables last and is not in the config of Keras 1 and 2.
    """
    names = {index: layers[index].path.split("/")[-1] for index in order}
    scopes = [listed.scope.split("/")[-1] for listed in variables]
    is_exact = set(scopes) == set(names.values()) and len(set(scopes)) == len(names)
    # Elsewhere TensorFlow may have numbered the names.
    stems = {name: name if is_exact else re.sub(r"_\d+$", "", name) for name in (*names.values(), *scopes)}
    known = {stems[name] for name in names.values()}
    return any(
        stems[scope] in known and stems[scope] != stems[names[index]]
        for index, scope in zip(order, scopes, strict=True)
        if layers[index].class_name != "SpectralNormalization"  # which lists the kernel of the layer it wraps
    )


def _listed_order(layers: Sequence[SavedLayer]) -> list[tuple[int, Weight]]:
    """(index of the layer, weight) for all variables that the configs imply, in the order in which Keras lists them."""
    order = []
    for index, layer in enumerate(layers):
        is_wrapped = index > 0 and layers[index - 1].class_name == "SpectralNormalization"
        for weight in expected_weights(layer) or ():
            # SpectralNormalization holds the kernel of the layer it wraps, which is listed with the wrapper.
            is_shared = weight.attribute == "kernel" and (is_wrapped or layer.class_name == "SpectralNormalization")
            if not (is_shared and is_wrapped):
                holder = layers[index + 1] if is_shared else layer
                order.append((index, weight, not weight.state and holder.config.get("trainable", True)))
    if layers[0].config.get("trainable", True):  # trainable variables come first; in a frozen layer all are in order
        order.sort(key=lambda item: not item[2])
    return [(index, weight) for index, weight, _ in order]


def _assign_by_scope(layers: Sequence[SavedLayer], variables: Sequence[Listed]) -> Mapping[int, list]:
    """The (weight, variable) pairs of each layer within a nested model that a scope names, by the layer's index.

    A layer whose variables are not those that its config implies, or which two scopes could name, is left out.
    """
    by_name: dict[str, list[int]] = {}
    for index, layer in enumerate(layers if len(layers) > 1 else ()):
        by_name.setdefault(layer.path.split("/")[-1], []).append(index)
    found: dict[int, list[list]] = {}
    for scope, members in by_scope(variables).items():
        for index in {i for name in scope.split("/")[-2:] for i in by_name.get(name, ())}:
            if _names(scope, layers[index]) and (pairs := _pairs(layers[index], members)):
                found.setdefault(index, []).append(pairs)
    claimed = Counter(listed.path for claims in found.values() for pairs in claims for _, listed in pairs)
    return {
        index: claims[0]
        for index, claims in found.items()
        if len(claims) == 1 and all(claimed[listed.path] == 1 for _, listed in claims[0])
    }


def _pairs(layer: SavedLayer, members: Sequence[Listed]) -> list[tuple[Weight, Listed]]:
    """Each variable that the layer's config implies with the listed one; empty unless they are the same ones."""
    remaining, pairs = list(members), []
    for weight in expected_weights(layer) or ():
        called = [m for m in remaining if is_called(layer.class_name, weight.attribute, m.attribute)]
        if not called:
            return []
        pairs.append((weight, called[0]))
        remaining.remove(called[0])
    return [] if remaining else pairs


def _names(scope: str, layer: SavedLayer) -> bool:
    """Whether a scope is a layer's: it ends with the layer's path, or with a part of it, and has no other layers."""
    parts = scope.split("/")
    if layer.class_name in CELLS.values() and re.search(r"_cell(_\d+)?$", parts[-1]):
        parts = parts[:-1]
    inner = "/".join(parts)
    return bool(inner) and (f"/{layer.path}".endswith(f"/{inner}") or f"/{inner}".endswith(f"/{layer.path}"))
