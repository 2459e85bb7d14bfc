"""Base classes of this project's own initializers, and how they learn what they need to know (imports Keras).

A bias does not tell what feeds it. So before a model is built, `bind` hands each initializer its layer and the training
targets, from which it fills in those of its arguments that the config left open (FROM_LAYER in `registry.py`). They
are part of its config, so a saved model loads without this project's build step.
"""

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from pipeline.biases.introspection import flatten_layers
from pipeline.biases.variables import GATES
from pipeline.models.initializers.distributions import ExpectedDistribution

MEMORY_GATES = {"ifco": "f", "zrh": "z"}  # by order of gates, the one that keeps the old state: LSTM's f, GRU's z


class Targets(NamedTuple):
    """The training targets of a seed, as the model sees them: class codes [rows], or numbers [rows, ...]."""

    values: np.ndarray
    task: str
    n_targets: int


class CustomInitializer(keras.initializers.Initializer):
    """An initializer that Keras does not ship. Each constructor argument is an attribute, and they are its config.

    A subclass defines `__call__` and `expected(shape)`, the ExpectedDistribution of a bias of this shape. That is
    written down independently of `__call__`, since what was drawn is checked against it (`audit.py`).
    """

    _layer: Any = None

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments, with what was filled in."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def bind(self, layer: Any, targets: Targets | None) -> None:
        """Learn which layer, not built yet, the bias belongs to. targets: None where no initializer needs them."""
        self._layer = layer

    def settle(self, layer: Any, cell: Any) -> None:
        """Correct the bias of a recurrent layer's cell, now that the model is built and shapes are known."""

    def require(self, name: str) -> Any:
        """The value of an argument. Raises ValueError when neither config nor layer has set it."""
        if getattr(self, name) is None:
            raise ValueError(
                f"{type(self).__name__}: {name} is not known to it outside of this project's models; give it"
            )
        return getattr(self, name)

    def fill_fans(self) -> None:
        """Set the arguments `fan_in` and `fan_out`, where there are any and they are open, from the layer's kernel."""
        names = [name for name in ("fan_in", "fan_out") if getattr(self, name, 0) is None]
        if self._layer is not None and names:
            fan_in, fan_out = layer_fans(self._layer)
            for name in names:
                setattr(self, name, int(fan_in if name == "fan_in" else fan_out))


class GateInitializer(CustomInitializer, ABC):
    """An initializer of LSTM and GRU biases, gate by gate, refused for other layers.

    A subclass has an argument `gates`, filled in with the order of the gates (`ifco` or `zrh`), and defines
    `gate_values` and, instead of `expected`, `expected_gate`. A GRU's bias of two rows, input and recurrent, gets the
    values in its first, since the two add up.
    """

    gates: str | None

    @abstractmethod
    def gate_values(self, units: int) -> dict[str, Any]:
        """The biases of some gates, by letter: a number or [units]. The others are zero."""

    @abstractmethod
    def expected_gate(self, gate: str) -> ExpectedDistribution:
        """The distribution of one gate's biases (in a GRU's second row they are zero)."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of shape `(4 * units,)`, `(3 * units,)` or `(2, 3 * units)`."""
        gates = self.require("gates")
        values = self.gate_values(shape[-1] // len(gates))
        bias = np.zeros(shape, np.float32)
        first_row = bias if bias.ndim == 1 else bias[0]
        for part, gate in zip(np.split(first_row, len(gates)), gates, strict=True):  # views
            part[:] = values.get(gate, 0.0)
        return keras.ops.convert_to_tensor(bias, dtype or keras.config.floatx())

    def bind(self, layer: Any, targets: Targets | None) -> None:
        """Learn the order of the gates."""
        super().bind(layer, targets)
        self.gates = self.gates or GATES.get(type(layer).__name__)


class OutputInitializer(CustomInitializer):
    """An initializer of the model's output alone; the biases of all other layers are zero."""


def bind_initializers(layers: Sequence[Any], targets: Targets | None) -> None:
    """Bind the custom initializers of a model's layers, in order, not built yet."""
    for layer in itertools.chain.from_iterable(map(flatten_layers, layers)):
        initializer = getattr(layer, "bias_initializer", None)
        if isinstance(initializer, CustomInitializer):
            initializer.bind(layer, targets)


def settle_initializers(model: Any) -> None:
    """Settle the custom initializers of a built model's recurrent layers. Raises ValueError where one cannot work."""
    for layer in flatten_layers(model):
        cell = getattr(layer, "cell", None)
        for inner in getattr(cell, "cells", [cell]):
            initializer = getattr(inner, "bias_initializer", None)
            if isinstance(initializer, CustomInitializer):
                initializer.settle(layer, inner)


def layer_fans(layer: Any) -> tuple[int, int]:
    """(how many inputs feed a unit, how many units an input feeds), from a layer whose kernel exists already.

    In a recurrent layer both are its units, as in PyTorch. Of a transposed convolution, fan_in counts what feeds a
    unit, where PyTorch counts its outputs.
    """
    attributes = {name.removeprefix("_"): value for name, value in vars(layer).items()}  # the layer is not built yet
    if "recurrent_kernel" in attributes:
        units = layer.recurrent_kernel.shape[-2]
        return units, units
    kernel = next(attributes[name] for name in ("pointwise_kernel", "kernel") if attributes.get(name) is not None)
    if isinstance(layer, keras.layers.EinsumDense):  # by the equation's letters: those summed over, and the others
        letters, output = layer.equation.replace(".", "").partition(",")[2].split("->")
        sizes = dict(zip(letters, kernel.shape, strict=True))
        return (math.prod(n for letter, n in sizes.items() if letter not in output),
                math.prod(n for letter, n in sizes.items() if letter in output))  # fmt: skip
    inputs, outputs = kernel.shape[-2:]
    if "Transpose" in type(layer).__name__:
        inputs, outputs = outputs, inputs
    receptive = math.prod(kernel.shape[:-2])
    if "Depthwise" in type(layer).__name__:  # a unit sees one channel
        return receptive, receptive * outputs
    return receptive * inputs, receptive * outputs
