"""Find the biases of a model whose initial value cannot matter, or that training cannot tell apart.

Two kinds are known. `shift`: a constant on all logits of a softmax changes no output and no gradient. `centred`: a bias
right before a BatchNormalization is subtracted again with each batch's mean, so training is the same whatever it is;
evaluation subtracts a moving mean instead, which starts at 0, and after T steps lacks momentum^T of the bias.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.biases.introspection import following_layer, output_layer
from pipeline.models.initializers.distributions import expected_biases

MAX_SHIFT = 10.0  # a larger value costs the outputs of the layer digits: 1e6 leaves float32 one
WEIGHT_DEPENDENT_OPTIMIZERS = ("Ftrl",)  # their steps depend on the weights themselves
SHIFT, CENTRED = "shift", "centred"


@dataclass(frozen=True)
class Irrelevant:
    """Why the initial value of a bias cannot matter: kind; for `centred`, the normalization and its momentum."""

    kind: str
    by: str = ""
    momentum: float = 0.0

    def facts(self, n_steps: int) -> dict[str, Any]:
        """What run.json keeps of it; left: share of a bias that the moving mean lacks after so many steps."""
        if self.kind == SHIFT:
            return {"kind": self.kind}
        return {"kind": self.kind, "by": self.by, "left": self.momentum**n_steps}


def irrelevant_biases(model: Any, optimizer_class: str) -> dict[str, Irrelevant]:
    """Return the biases, by path, of a built Keras model with its initial values."""
    next_layer = _next_layers(model)
    last, has_softmax = _softmax_layer(model)
    found = {}
    for bias, _, _, _, values in expected_biases(model):
        layer, following = bias.owner, next_layer.get(id(bias.owner))
        if getattr(layer, "bias_regularizer", None) or getattr(layer, "bias_constraint", None) or values.ndim != 1:
            continue
        if not np.abs(values).max(initial=0.0) <= MAX_SHIFT or _is_half(layer):
            continue
        if following is not None and _is_centred(layer, following):
            found[bias.path] = Irrelevant(CENTRED, following.name, float(following.momentum))
        by_weight = optimizer_class in WEIGHT_DEPENDENT_OPTIMIZERS
        if layer is last and has_softmax and np.ptp(values) == 0 and not by_weight:
            found[bias.path] = Irrelevant(SHIFT)
    return found


def _is_half(layer: Any) -> bool:
    """Whether a layer computes in half precision, in which a constant of 1 already costs its outputs digits."""
    return "16" in str(layer.compute_dtype)


def _is_centred(layer: Any, following: Any) -> bool:
    """Whether what follows a layer subtracts each batch's mean of just the axis that the layer's bias lies along."""
    import keras

    if not isinstance(following, keras.layers.BatchNormalization) or not following.trainable or _is_half(following):
        return False
    n_axes = len(layer.output.shape)
    bias_axis = 1 if getattr(layer, "data_format", None) == "channels_first" else n_axes - 1
    return following.axis % n_axes == bias_axis and _activation_name(layer) == "linear"


def _next_layers(model: Any) -> dict[int, Any]:
    """The layer that alone takes a layer's output, by the layer's id."""
    if type(model).__name__ == "Sequential":
        return dict(zip(map(id, model.layers), model.layers[1:], strict=False))
    return {id(layer): following_layer(layer) for layer in model.layers}


def _softmax_layer(model: Any) -> tuple[Any, bool]:
    """The layer that makes the model's outputs, and whether it is a Dense layer followed by a softmax."""
    layers, last = list(model.layers) if type(model).__name__ == "Sequential" else [], output_layer(model)
    while layers and type(layers[-1]).__name__ == "Sequential":
        layers = [*layers[:-1], *layers[-1].layers]
    activation = "softmax" if type(last).__name__ == "Softmax" else _activation_name(last)
    separate = type(last).__name__ in ("Softmax", "Activation") and layers[-1:] == [last]
    output = layers[-2] if separate and len(layers) > 1 and _activation_name(layers[-2]) == "linear" else last
    return output, activation == "softmax" and type(output).__name__ == "Dense" and model.output_shape[-1] > 1


def _activation_name(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")
