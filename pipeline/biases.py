"""Where the biases of a Keras model are: the project's one definition of a bias.

`WEIGHTS` says what each variable of each Keras layer is. Position 1 of `get_weights()` is something else for a dozen
layer types, and a variable's name says nothing: what the table does not know is reported as `unknown`, never guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np


class Weight(NamedTuple):
    """A variable of a layer: its attribute, its kind ("" for no bias), the setting without which it is not there.

    state: whether it is kept and not trained.
    """

    attribute: str
    kind: str = ""
    needs: str = ""
    state: bool = False


def _weights(*names: str) -> tuple[Weight, ...]:
    return tuple(Weight(name) for name in names)


def _state(*names: str, needs: str = "") -> tuple[Weight, ...]:
    return tuple(Weight(name, "", needs, state=True) for name in names)


_BIAS = Weight("bias", "bias", "use_bias")
_KERNEL = (*_weights("kernel"), _BIAS)
_CELL = (*_weights("kernel", "recurrent_kernel"), _BIAS)
_SCALE_AND_CENTER = (Weight("gamma", "", "scale"), Weight("beta", "beta", "center"))
# By Keras class, in the order in which the layer makes them; those of LoRA and of quantization come after.
WEIGHTS: dict[str, tuple[Weight, ...]] = {
    "Dense": _KERNEL,
    "EinsumDense": (*_weights("kernel"), Weight("bias", "bias", "bias_axes")),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _KERNEL),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), (*_weights("depthwise_kernel", "pointwise_kernel"), _BIAS)),
    **dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell", "ConvLSTMCell"), _CELL),
    "BatchNormalization": (
        *_SCALE_AND_CENTER,
        *_state("moving_mean", "moving_variance"),
        *_state("moving_stddev", "renorm_mean", "renorm_stddev", needs="renorm"),
    ),
    "LayerNormalization": _SCALE_AND_CENTER,
    "GroupNormalization": _SCALE_AND_CENTER,
    "RMSNormalization": _weights("scale"),
    "SpectralNormalization": (*_weights("kernel"), *_state("vector_u")),  # the kernel is the wrapped layer's
    "PReLU": _weights("alpha"),
    "Embedding": _weights("embeddings"),
    "ReversibleEmbedding": _weights("embeddings", "reverse_embeddings"),
    "Attention": _weights("scale", "concat_score_weight"),
    "AdditiveAttention": _weights("scale"),
    "Normalization": _state("mean", "variance", "count"),
    "STFTSpectrogram": _weights("real_kernel", "imag_kernel"),
}
ADDED = (
    "lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b", "kernel_scale", "embeddings_scale",
    "inputs_scale", "inputs_amax_history", "kernel_amax_history", "outputs_grad_scale", "outputs_grad_amax_history",
)  # fmt: skip
GATES = {"LSTMCell": "ifco", "ConvLSTMCell": "ifco", "GRUCell": "zrh"}
# What the layers within an attention layer are for, in the order in which it makes them.
ROLES = {f"{role}_dense": role for role in ("query", "key", "gate", "value", "output")}


NUMBERS = ("mean", "std", "min", "max")
COLUMNS = ("layer", "layer_type", "variable", "kind", "gate", "role", "trainable", "initializer", "shape", "dtype",
           *NUMBERS)  # fmt: skip


@dataclass(frozen=True)
class Vector:
    """A bias of a model, or what stands for one: kind is `bias`, `beta`, `absent` or `unknown`.

    path: stable and readable, e.g. `encoder/conv/bias`. gates: one letter per part of the last axis, e.g. `ifco`.
    trainable: None where a file does not say it. values: a Keras variable or an array; None when absent.
    owner: the Keras layer that holds it, if it is a live one.
    """

    path: str
    layer: str
    layer_type: str
    kind: str
    role: str = ""
    gates: str = ""
    trainable: bool | None = None
    initializer: str = ""
    values: Any = None
    owner: Any = field(default=None, repr=False, compare=False)


def bias_variables(model: Any) -> dict[str, Any]:
    """The bias variables of a built Keras model by path (`dense_1/bias`, `lstm/bias`, `norm/beta`), in model order.

    A layer without a bias (`use_bias=False`, Flatten, Dropout, ...) is absent.
    """
    return {found.path: found.values for found in find(model) if found.kind in ("bias", "beta")}


def paths(model: Any) -> dict[int, str]:
    """The path of every trainable variable of a built Keras model, biases or not, by the id of the variable."""
    return {
        id(found.values): found.path for found in unique_paths(_of_layer(model, "", set())) if found.values is not None
    }


def extract_biases(model: Any) -> dict[str, np.ndarray]:
    """Copies of all biases of a built Keras model, keyed as in `bias_variables`."""
    return {path: np.array(variable.value) for path, variable in bias_variables(model).items()}


def describe_biases(model: Any) -> Any:
    """A DataFrame with a row per vector or gate of a built Keras model; see `table`."""
    return table(with_arrays(find(model)))


def find(model: Any) -> list[Vector]:
    """Every bias of a built Keras model, every one it could have and has not, and every variable of unknown kind.

    Raises TypeError for what is no model of Keras 3, ValueError for a model that has no variables yet.
    """
    if not hasattr(model, "_trainable_variables"):
        raise TypeError(f"no model of Keras 3: {type(model).__module__}.{type(model).__qualname__}")
    if not model.built and not model.weights:
        raise ValueError(f"model {model.name} is not built, so it has no biases yet: call it on data, or build(shape)")
    every = list(_of_layer(model, "", set()))
    known = {id(vector.values) for vector in every if vector.kind != "unknown"}  # a wrapper may hold it as well
    return unique_paths(v for v in every if v.kind and not (v.kind == "unknown" and id(v.values) in known))


def table(vectors: Iterable[Vector]) -> Any:
    """A DataFrame with a row per vector, or per gate of one: what it is, its shape, its mean, std, min and max."""
    import pandas as pd

    return pd.DataFrame(rows(vectors), columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))


def rows(vectors: Iterable[Vector]) -> list[dict[str, Any]]:
    """The rows of `table`; a number that does not exist is None."""
    found = []
    for vector in vectors:
        for role, gate, values in parts(vector):
            described = {"shape": "", "dtype": ""} | dict.fromkeys(NUMBERS)
            if values is not None:
                exact = np.asarray(values, np.float64)
                described = {"shape": str(tuple(values.shape)), "dtype": str(values.dtype)}
                with np.errstate(all="ignore"):  # infinities have no standard deviation
                    described |= {name: float(getattr(exact, name)()) for name in NUMBERS}
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
    attributes = {id(value): name.removeprefix("_") for name, value in vars(layer).items()}
    for variable in layer._trainable_variables:
        attribute = attributes.get(id(variable), "")  # none where a list holds it
        weight = known.pop(attribute, Weight(attribute or variable.name, "unknown"))
        yield Vector(f"{prefix}{weight.attribute}", **common, kind=weight.kind, values=variable,
                     gates=gates if has_gates(gates, variable.shape) and weight.kind == "bias" else "",
                     trainable=variable.trainable, initializer=_initializer_of(layer, attribute))  # fmt: skip
    for weight in known.values():
        if weight.kind and layer.built:
            yield Vector(f"{prefix}{weight.attribute}", **common, kind="absent", gates=gates, trainable=False)
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        attribute = attributes.get(id(inner), "")
        if attribute == "cell":
            yield from _of_layer(inner, path, seen, role, type(layer).__name__)
        else:
            yield from _of_layer(inner, f"{prefix}{inner.name}", seen, ROLES.get(attribute, role))


def has_gates(gates: str, shape: Sequence[int]) -> bool:
    """Whether a bias of this shape has a part for each gate, in one row, or in two (input and recurrent)."""
    return bool(gates) and len(shape) > 0 and shape[-1] % len(gates) == 0 and tuple(shape[:-1]) in ((), (2,))


def _keras_classes(layer: Any) -> list[str]:
    return [cls.__name__ for cls in type(layer).__mro__ if cls.__module__.split(".")[0] == "keras"]


def _initializer_of(layer: Any, attribute: str) -> str:
    initializer = getattr(layer, f"{attribute}_initializer", None)
    if initializer is None or not hasattr(initializer, "get_config"):
        return ""
    return initializer_name(type(initializer).__name__, initializer.get_config())


def with_arrays(vectors: Iterable[Vector]) -> list[Vector]:
    """The vectors of a live model with copies of their values."""
    return [v if v.values is None else replace(v, values=np.array(v.values.value)) for v in vectors]


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
