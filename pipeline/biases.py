"""Where the biases of a Keras model are: the project's one definition of a bias.

`WEIGHTS` says what each variable of each Keras layer is. Position 1 of `get_weights()` is something else for a dozen
layer types, and a variable's name says nothing: what the table does not know is reported as `unknown`, never guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class Weight(NamedTuple):
    """A variable of a layer: its attribute, its kind ("" for no bias), the settings without which it is not there."""

    attribute: str
    kind: str = ""
    needs: tuple[str, ...] = ()


def _weights(*names: str) -> tuple[Weight, ...]:
    return tuple(Weight(name) for name in names)


_BIAS = Weight("bias", "bias", ("use_bias",))
_KERNEL = (*_weights("kernel"), _BIAS)
_CELL = (*_weights("kernel", "recurrent_kernel"), _BIAS)
_SCALE_AND_CENTER = (Weight("gamma", "", ("scale",)), Weight("beta", "beta", ("center",)))
# By Keras class, in the order in which the layer makes them; LoRA's and quantization's come after.
WEIGHTS: dict[str, tuple[Weight, ...]] = {
    "Dense": _KERNEL,
    "EinsumDense": (*_weights("kernel"), Weight("bias", "bias", ("bias_axes",))),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _KERNEL),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), (*_weights("depthwise_kernel", "pointwise_kernel"), _BIAS)),
    **dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell", "ConvLSTMCell"), _CELL),
    "BatchNormalization": (*_SCALE_AND_CENTER, *_weights("moving_mean", "moving_variance")),
    "LayerNormalization": _SCALE_AND_CENTER,
    "GroupNormalization": _SCALE_AND_CENTER,
    "RMSNormalization": _weights("scale"),
    "SpectralNormalization": _weights("kernel", "vector_u"),  # the kernel is the wrapped layer's
    "PReLU": _weights("alpha"),
    "Embedding": _weights("embeddings"),
    "ReversibleEmbedding": _weights("embeddings", "reverse_embeddings"),
    "Attention": _weights("scale", "concat_score_weight"),
    "AdditiveAttention": _weights("scale"),
    "Normalization": _weights("mean", "variance"),
}
ADDED = ("lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b", "kernel_scale", "embeddings_scale")
GATES = {"LSTMCell": "ifco", "ConvLSTMCell": "ifco", "GRUCell": "zrh"}
# What the layers within an attention layer are for.
ROLES = {f"{role}_dense": role for role in ("query", "key", "value", "gate", "output")}


@dataclass(frozen=True)
class Vector:
    """A bias of a model, or what stands for one: kind is `bias`, `beta`, `absent` or `unknown`.

    path: stable and readable, e.g. `encoder/conv/bias`. gates: one letter per part of the last axis, e.g. `ifco`.
    values: a Keras variable or an array; None when absent. owner: the Keras layer that holds it, if it is a live one.
    """

    path: str
    layer: str
    layer_type: str
    kind: str
    role: str = ""
    gates: str = ""
    trainable: bool = True
    initializer: str = ""
    values: Any = None
    owner: Any = None


def bias_variables(model: Any) -> dict[str, Any]:
    """The bias variables of a built Keras model by path (`dense_1/bias`, `lstm/bias`, `norm/beta`), in model order.

    A layer without a bias (`use_bias=False`, Flatten, Dropout, ...) is absent.
    """
    return {found.path: found.values for found in find(model) if found.kind in ("bias", "beta")}


def extract_biases(model: Any) -> dict[str, np.ndarray]:
    """Copies of all biases of a built Keras model, keyed as in `bias_variables`."""
    return {path: np.array(variable.value) for path, variable in bias_variables(model).items()}


def describe_biases(model: Any) -> Any:
    """A DataFrame with a row per vector or gate of a built Keras model; see `table`."""
    return table(replace(found, values=_array(found.values)) for found in find(model))


def find(model: Any) -> list[Vector]:
    """Every bias of a built Keras model, every one it could have and has not, and every variable of unknown kind."""
    return unique_paths(_of_layer(model, "", set()))


def table(vectors: Iterable[Vector]) -> Any:
    """A DataFrame with a row per vector, or per gate of one: what it is, its shape, its mean, std, min and max."""
    import pandas as pd

    return pd.DataFrame(rows(vectors))


def rows(vectors: Iterable[Vector]) -> list[dict[str, Any]]:
    """The rows of `table`; a number that does not exist is nan."""
    found = []
    for vector in vectors:
        for role, gate, values in parts(vector):
            described = {"shape": "", "dtype": "", "mean": np.nan, "std": np.nan, "min": np.nan, "max": np.nan}
            if values is not None:
                exact = np.asarray(values, np.float64)
                described = {"shape": str(tuple(values.shape)), "dtype": str(values.dtype)}
                described |= {name: float(getattr(exact, name)()) for name in ("mean", "std", "min", "max")}
            found.append({
                "layer": vector.layer, "layer_type": vector.layer_type, "variable": vector.path, "kind": vector.kind,
                "gate": gate, "role": role, "trainable": vector.trainable, "initializer": vector.initializer,
                **described,
            })  # fmt: skip
    return found


def describe(before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and Euclidean length of a bias, and its distance from where it started (drift)."""
    now64 = np.asarray(now, np.float64)
    return {
        "mean": float(now64.mean()),
        "std": float(now64.std()),
        "l2": float(np.linalg.norm(now64)),
        "drift": float(np.linalg.norm(now64 - before)),
    }


def unique_paths(vectors: Iterable[Vector]) -> list[Vector]:
    """The same vectors; where layers share a name, later paths are told apart as `dense/bias (2)`."""
    seen: Counter[str] = Counter()
    told_apart = []
    for vector in vectors:
        seen[vector.path] += 1
        count = seen[vector.path]
        told_apart.append(vector if count == 1 else replace(vector, path=f"{vector.path} ({count})"))
    return told_apart


def initializer_name(class_name: str, config: dict[str, Any]) -> str:
    """`Zeros`, `Constant(value=0.1)`: an initializer in words, without its seed."""
    given = ", ".join(f"{k}={v}" for k, v in config.items() if k != "seed" and v is not None)
    return class_name + (f"({given})" if given else "")


def _of_layer(layer: Any, path: str, seen: set[int], role: str = "", outer: str = "") -> Iterator[Vector]:
    """The vectors of a layer, then those of the layers within it. A layer that is used twice counts once.

    A cell is reported as the layer `outer` that holds it: `LSTM`, `GRU`.
    """
    if id(layer) in seen:
        return
    seen.add(id(layer))
    prefix = f"{path}/" if path else ""
    known = {w.attribute: w for cls in reversed(_keras_classes(layer)) for w in WEIGHTS.get(cls, ())}
    cell = next((cls for cls in _keras_classes(layer) if cls in GATES), "")
    common = {"layer": path, "layer_type": outer or type(layer).__name__, "role": role, "gates": GATES.get(cell, "")}
    common |= {"owner": layer}
    own = {id(v) for v in getattr(layer, "_trainable_variables", ())}
    for name, value in vars(layer).items():
        attribute = name.removeprefix("_")
        if id(value) in own:
            own.remove(id(value))
            weight = known.pop(attribute, None)
            if weight is None and attribute not in ADDED:
                yield Vector(f"{prefix}{attribute}", **common | {"gates": ""}, kind="unknown", values=value,
                             trainable=value.trainable)  # fmt: skip
            elif weight is not None and weight.kind:
                drawn = _initializer_of(layer, attribute)
                yield Vector(f"{prefix}{attribute}", **common, kind=weight.kind, values=value,
                             trainable=value.trainable, initializer=drawn)  # fmt: skip
    for weight in known.values():
        if weight.kind and layer.built:
            yield Vector(f"{prefix}{weight.attribute}", **common, kind="absent", trainable=False)
    for value in getattr(layer, "_trainable_variables", ()):
        if id(value) in own:  # held in a list, or under no attribute
            yield Vector(f"{prefix}{value.name}", **common | {"gates": ""}, kind="unknown", values=value,
                         trainable=value.trainable)  # fmt: skip
    attributes = {id(value): name.removeprefix("_") for name, value in vars(layer).items()}
    for inner in getattr(layer, "layers", None) or getattr(layer, "_layers", ()):
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


def _array(values: Any) -> np.ndarray | None:
    return None if values is None else np.array(values.value)


def parts(vector: Vector) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """(role, gate, values) of each gate; a GRU that resets after the product has two rows of them."""
    values = vector.values
    if values is None or not vector.gates or vector.kind != "bias":
        yield vector.role, "", values
        return
    rows = zip(("input", "recurrent"), values, strict=True) if values.ndim == 2 else [(vector.role, values)]
    for role, row in rows:
        for gate, part in zip(vector.gates, np.split(row, len(vector.gates)), strict=True):
            yield role, gate, part
