"""Where the biases of a Keras model are, and what they look like: the project's one definition of a bias.

`extract_biases` asks each layer for its own bias. Position 1 of `get_weights()` is something else for recurrent and
separable layers, and does not exist without a bias.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

# Attributes that hold layers within a layer, with the name that each gets in a path (None: it adds nothing).
_INSIDE = {"cell": None, "layer": None, "forward_layer": "forward", "backward_layer": "backward"}


def bias_variables(model: Any) -> dict[str, Any]:
    """The bias variables of a built Keras model by path (`dense_1/bias`, `encoder/conv/bias`), in model order.

    A layer without a bias (`use_bias=False`, Flatten, Dropout, ...) is absent.
    """
    return dict(_of_layers(model.layers, ""))


def extract_biases(model: Any) -> dict[str, np.ndarray]:
    """Copies of all biases of a built Keras model, keyed as in `bias_variables`."""
    return {path: np.array(variable.value) for path, variable in bias_variables(model).items()}


def describe(before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and Euclidean length of a bias, and its distance from where it started (drift)."""
    now64 = np.asarray(now, np.float64)
    return {
        "mean": float(now64.mean()),
        "std": float(now64.std()),
        "l2": float(np.linalg.norm(now64)),
        "drift": float(np.linalg.norm(now64 - before)),
    }


def _of_layers(layers: list[Any], above: str) -> Iterator[tuple[str, Any]]:
    for layer in layers:
        yield from _of_layer(layer, f"{above}{layer.name}")


def _of_layer(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    bias = getattr(layer, "bias", None)
    if bias is not None and hasattr(bias, "shape"):
        yield f"{path}/bias", bias
    cells = getattr(layer, "cells", None)  # of stacked recurrent cells
    if isinstance(cells, (list, tuple)):
        yield from _of_layers(list(cells), f"{path}/")
    elif hasattr(layer, "layers"):
        yield from _of_layers(layer.layers, f"{path}/")
    else:
        for attribute, name in _INSIDE.items():
            inner = getattr(layer, attribute, None)
            if inner is not None and not isinstance(inner, str):
                yield from _of_layer(inner, f"{path}/{name}" if name else path)
