"""Find the biases of a live Keras model.

A bias is what `WEIGHTS` says is one: position 1 of `get_weights()` is something else for a dozen layer classes, and the
name of a variable proves nothing. A variable that the table does not list is reported as `unknown`, never guessed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.biases.introspection import (
    attribute_names,
    direct_sublayers,
    direct_trainable_variables,
    is_keras_layer,
)
from pipeline.biases.variables import (
    ADDED_WEIGHTS,
    GATES,
    ROLES,
    WEIGHTS,
    Bias,
    Weight,
    has_gates,
    initializer_name,
    join_path,
    unique_paths,
)
from pipeline.config.user_classes import is_user_class


def extract_biases(model: Any) -> dict[str, np.ndarray]:
    """Copy all biases of a built Keras model: path -> array, as in `bias_variables`. Raises like `find_biases`."""
    return {path: np.array(variable.value) for path, variable in bias_variables(model).items()}


def bias_variables(model: Any) -> dict[str, Any]:
    """Map the path of each bias of a built Keras model to its variable, in model order. Raises like `find_biases`.

    Paths look like `dense_1/bias`, `lstm/bias`, `norm/beta`. A layer without a bias (`use_bias=False`, Flatten,
    Dropout, ...) has no entry.
    """
    return {bias.path: bias.values for bias in find_biases(model) if bias.kind in ("bias", "beta")}


def variable_paths(model: Any) -> dict[int, str]:
    """Map the `id` of every trainable variable of a built Keras model, biases or not, to its path."""
    entries = unique_paths(_entries_of_layer(model, "", set()))
    return {id(entry.values): entry.path for entry in entries if entry.values is not None}


def find_biases(model: Any) -> list[Bias]:
    """List every bias of a built Keras model, every bias that a layer was built without, and every unknown variable.

    Raises TypeError for an object that is no model of Keras 3, ValueError for a model that has no variables yet.
    """
    if not is_keras_layer(model):
        raise TypeError(f"no model of Keras 3: {type(model).__module__}.{type(model).__qualname__}")
    if not model.built and not model.weights:
        raise ValueError(f"model {model.name} is not built, so it has no biases yet: call it on data, or build(shape)")
    entries = list(_entries_of_layer(model, "", set()))
    # A wrapper that Keras does not ship may hold the variable of a layer that Keras does: the layer's entry counts.
    identified = {id(entry.values) for entry in entries if entry.kind != "unknown"}
    return unique_paths(
        entry for entry in entries if entry.kind and not (entry.kind == "unknown" and id(entry.values) in identified)
    )


def with_arrays(biases: Iterable[Bias]) -> list[Bias]:
    """Replace the Keras variables in `values` by copies of their arrays."""
    return [b if b.values is None else replace(b, values=np.array(b.values.value)) for b in biases]


def _entries_of_layer(layer: Any, path: str, seen: set[int], role: str = "", layer_type: str = "") -> Iterator[Bias]:
    """Yield an entry for each variable of a layer, then for those of its sublayers; each layer counts once.

    `kind` is empty for a variable that is no bias. The cell of a recurrent layer is reported under the path and type of
    that layer (`layer_type`): `lstm` and `LSTM`, not `lstm/lstm_cell` and `LSTMCell`.
    """
    if id(layer) in seen:
        return
    seen.add(id(layer))
    attributes = attribute_names(layer)
    yield from _direct_entries(layer, path, role, layer_type or type(layer).__name__, attributes)
    for sublayer in direct_sublayers(layer):
        attribute = attributes.get(id(sublayer), "")
        if attribute == "cell":
            yield from _entries_of_layer(sublayer, path, seen, role, type(layer).__name__)
        else:
            yield from _entries_of_layer(sublayer, join_path(path, sublayer.name), seen, ROLES.get(attribute, role))


def _direct_entries(layer: Any, path: str, role: str, layer_type: str, attributes: dict[int, str]) -> Iterator[Bias]:
    """Yield an entry for each variable that the layer holds itself, then for each bias that it was built without."""
    classes = _keras_classes(layer)
    weights = {weight.attribute: weight for name in reversed(classes) for weight in WEIGHTS.get(name, ())}
    weights |= {attribute: Weight(attribute) for attribute in ADDED_WEIGHTS if weights}
    gates = GATES.get(next((name for name in classes if name in GATES), ""), "")
    common: dict[str, Any] = {"layer": path, "layer_type": layer_type, "role": role, "owner": layer}
    for variable in direct_trainable_variables(layer):
        attribute = attributes.get(id(variable), "")  # empty where a list or a dictionary holds the variable
        own = attribute == "bias" and is_user_class(type(layer)) and hasattr(layer, "bias_initializer")
        weight = weights.pop(attribute, Weight(attribute or variable.name, "bias" if own else "unknown"))
        yield Bias(join_path(path, weight.attribute), **common, kind=weight.kind, values=variable,
                   gates=gates if has_gates(gates, variable.shape) and weight.kind == "bias" else "",
                   trainable=variable.trainable, initializer=_initializer_of(layer, attribute))  # fmt: skip
    for weight in weights.values():
        if weight.kind and layer.built:
            yield Bias(join_path(path, weight.attribute), **common, kind="absent", gates=gates, trainable=False)


def _keras_classes(layer: Any) -> list[str]:
    """The names of the Keras classes that a layer is an instance of, the most special first."""
    return [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.split(".")[0] == "keras"]


def _initializer_of(layer: Any, attribute: str) -> str:
    initializer = getattr(layer, f"{attribute}_initializer", None)
    if initializer is None or not hasattr(initializer, "get_config"):
        return ""
    return initializer_name(type(initializer).__name__, initializer.get_config())
