"""Where the biases of a Keras model are: the project's one definition of a bias.

`WEIGHTS` says what each variable of each Keras layer is. Position 1 of `get_weights()` is something else for a dozen
layer types, and a variable's name says nothing: what the table does not know is reported as `unknown`, never guessed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.biases.introspection import attribute_names, direct_sublayers, direct_trainable_variables, is_keras_layer
from pipeline.biases.variables import (
    ADDED,
    GATES,
    ROLES,
    WEIGHTS,
    Bias,
    Weight,
    has_gates,
    initializer_name,
    unique_paths,
)


def bias_variables(model: Any) -> dict[str, Any]:
    """The bias variables of a built Keras model by path (`dense_1/bias`, `lstm/bias`, `norm/beta`), in model order.

    A layer without a bias (`use_bias=False`, Flatten, Dropout, ...) is absent.
    """
    return {found.path: found.values for found in find_biases(model) if found.kind in ("bias", "beta")}


def variable_paths(model: Any) -> dict[int, str]:
    """The path of every trainable variable of a built Keras model, biases or not, by the id of the variable."""
    return {
        id(found.values): found.path for found in unique_paths(_of_layer(model, "", set())) if found.values is not None
    }


def extract_biases(model: Any) -> dict[str, np.ndarray]:
    """Copies of all biases of a built Keras model, keyed as in `bias_variables`."""
    return {path: np.array(variable.value) for path, variable in bias_variables(model).items()}


def find_biases(model: Any) -> list[Bias]:
    """Every bias of a built Keras model, every one it could have and has not, and every variable of unknown kind.

    Raises TypeError for what is no model of Keras 3, ValueError for a model that has no variables yet.
    """
    if not is_keras_layer(model):
        raise TypeError(f"no model of Keras 3: {type(model).__module__}.{type(model).__qualname__}")
    if not model.built and not model.weights:
        raise ValueError(f"model {model.name} is not built, so it has no biases yet: call it on data, or build(shape)")
    every = list(_of_layer(model, "", set()))
    known = {id(vector.values) for vector in every if vector.kind != "unknown"}  # a wrapper may hold it as well
    return unique_paths(v for v in every if v.kind and not (v.kind == "unknown" and id(v.values) in known))


def _of_layer(layer: Any, path: str, seen: set[int], role: str = "", outer: str = "") -> Iterator[Bias]:
    """The vectors of a layer, then those of the layers within it; kind is "" for what is known to be no bias.

    A layer that is used twice counts once. A cell is reported as the layer `outer` that holds it: `LSTM`, `GRU`.
    """
    if id(layer) in seen:
        return
    seen.add(id(layer))
    prefix = f"{path}/" if path else ""
    known = {w.attribute: w for cls in reversed(_keras_classes(layer)) for w in WEIGHTS.get(cls, ())}
    known |= {name: Weight(name) for name in ADDED if known}
    gates = GATES.get(next((cls for cls in _keras_classes(layer) if cls in GATES), ""), "")
    common = {"layer": path, "layer_type": outer or type(layer).__name__, "role": role}
    common["owner"] = layer
    attributes = attribute_names(layer)
    for variable in direct_trainable_variables(layer):
        attribute = attributes.get(id(variable), "")  # none where a list holds it
        weight = known.pop(attribute, Weight(attribute or variable.name, "unknown"))
        yield Bias(f"{prefix}{weight.attribute}", **common, kind=weight.kind, values=variable,
                     gates=gates if has_gates(gates, variable.shape) and weight.kind == "bias" else "",
                     trainable=variable.trainable, initializer=_initializer_of(layer, attribute))  # fmt: skip
    for weight in known.values():
        if weight.kind and layer.built:
            yield Bias(f"{prefix}{weight.attribute}", **common, kind="absent", gates=gates, trainable=False)
    for inner in direct_sublayers(layer):
        attribute = attributes.get(id(inner), "")
        if attribute == "cell":
            yield from _of_layer(inner, path, seen, role, type(layer).__name__)
        else:
            yield from _of_layer(inner, f"{prefix}{inner.name}", seen, ROLES.get(attribute, role))


def _keras_classes(layer: Any) -> list[str]:
    return [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.split(".")[0] == "keras"]


def _initializer_of(layer: Any, attribute: str) -> str:
    initializer = getattr(layer, f"{attribute}_initializer", None)
    if initializer is None or not hasattr(initializer, "get_config"):
        return ""
    return initializer_name(type(initializer).__name__, initializer.get_config())


def with_arrays(vectors: Iterable[Bias]) -> list[Bias]:
    """The vectors of a live model with copies of their values."""
    return [v if v.values is None else replace(v, values=np.array(v.values.value)) for v in vectors]
