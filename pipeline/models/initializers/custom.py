"""Bias initializers that Keras does not ship, as Keras classes that saved models load (importing this imports Keras).

A bias alone does not tell what feeds it, so `bind` gives each of them what it needs of its layer (`fan_in`, `fan_out`,
`gates`) or of the training labels (`values`); it is part of their config, so that a saved model loads as it is.
Shapes: `(units,)` for dense and convolutional layers, `(4 * units,)` for an LSTM (gates i, f, c, o), `(3 * units,)` or
`(2, 3 * units)` for a GRU (gates z, r, h; rows input and recurrent, which add up).
"""

import math
import re
from typing import Any

import keras
import numpy as np

from pipeline.biases.introspection import flatten_layers
from pipeline.biases.variables import GATES

SHORTEST = 3  # steps that gates can tell memories apart by


class _Drawn(keras.initializers.Initializer):
    """An initializer whose arguments, the seed among them, are its config."""

    def __init__(self, seed: int | None = None, **arguments: Any) -> None:
        self.seed, self.arguments = seed, tuple(arguments)
        vars(self).update(arguments)

    def get_config(self) -> dict[str, Any]:
        """The arguments by which it can be made again."""
        return {"seed": self.seed, **{name: getattr(self, name) for name in self.arguments}}

    def known(self, name: str) -> Any:
        """An argument that is given, or that the layer has told. Raises ValueError where neither is so."""
        if getattr(self, name) is None:
            raise ValueError(
                f"{type(self).__name__}: {name} is not known to it outside of this project's models; give it"
            )
        return getattr(self, name)

    def ask(self, layer: Any) -> None:
        """Take from a layer, whose kernel is there when its bias is drawn, what was not given."""
        self._layer = layer

    def _fans(self) -> None:
        """Fill in how many inputs feed a unit, and how many units an input feeds, from the layer's kernel.

        In a recurrent layer both are its units, as in PyTorch.
        """
        layer, units = vars(self).get("_layer"), 0
        if layer is None or None not in (getattr(self, "fan_in", 0), getattr(self, "fan_out", 0)):
            return  # given, as in a saved model
        if "recurrent_kernel" in vars(layer):
            units = layer.recurrent_kernel.shape[-2]
        held = vars(layer)  # not the property: the layer is being built
        kernel = next(held[k] for k in ("pointwise_kernel", "_kernel", "kernel") if held.get(k) is not None)
        transposed = "Transpose" in type(layer).__name__
        inputs, outputs = kernel.shape[-2:] if not transposed else kernel.shape[-2:][::-1]
        receptive = math.prod(kernel.shape[:-2])
        fans = units or receptive * inputs, units or receptive * outputs
        if "Depthwise" in type(layer).__name__:  # a unit sees one channel
            fans = receptive, receptive * outputs
        if isinstance(layer, keras.layers.EinsumDense):  # by its letters: what is summed up, and what is not
            letters, after = re.fullmatch(r".*,(.*)->(.*)", layer.equation.replace(".", "")).groups()
            sizes = dict(zip(letters, kernel.shape, strict=True))
            fans = (math.prod(n for letter, n in sizes.items() if letter not in after),
                    math.prod(n for letter, n in sizes.items() if letter in after))  # fmt: skip
        for name, value in zip(("fan_in", "fan_out"), fans, strict=True):
            if getattr(self, name, 0) is None:
                setattr(self, name, int(value))

    def _uniform(self, shape: Any, limit: float, dtype: Any) -> Any:
        return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)


@keras.saving.register_keras_serializable("pipeline")
class FanInUniform(_Drawn):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in that of the kernel: PyTorch's default for linear and conv layers.

    For a recurrent layer fan_in is its units, as in PyTorch; Keras' ones stay on an LSTM's forget gate, though. Of a
    transposed convolution fan_in is what feeds a unit, where PyTorch counts its outputs.
    Source: `torch.nn.Linear.reset_parameters`.
    """

    def __init__(self, fan_in: int | None = None, seed: int | None = None) -> None:
        super().__init__(seed, fan_in=fan_in)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self._fans()
        return self._uniform(shape, 1 / math.sqrt(self.known("fan_in")), dtype)


@keras.saving.register_keras_serializable("pipeline")
class SklearnUniform(_Drawn):
    """U(-a, a), a = sqrt(factor / (fan_in + fan_out)) of the kernel: what scikit-learn's MLP draws its biases from.

    factor is 6, and 2 for logistic units. Source: `sklearn.neural_network`, `_init_coef`, after Glorot and Bengio 2010.
    """

    def __init__(
        self, factor: float = 6.0, fan_in: int | None = None, fan_out: int | None = None, seed: int | None = None
    ) -> None:
        super().__init__(seed, factor=factor, fan_in=fan_in, fan_out=fan_out)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self._fans()
        return self._uniform(shape, math.sqrt(self.factor / (self.known("fan_in") + self.known("fan_out"))), dtype)


@keras.saving.register_keras_serializable("pipeline")
class RandomAsymmetric(_Drawn):
    """The bias's part of Lu, Shin, Su and Karniadakis 2019, "Dying ReLU and Initialization": more units start alive.

    Of a unit's fan_in weights and its bias, one at random is drawn from Beta(2, 1), the others from N(0, stddev^2 /
    fan_in) with stddev 0.6007. So a bias is Beta(2, 1) with probability 1 / (fan_in + 1). Kernels stay the study's.
    """

    def __init__(self, stddev: float = 0.6007, fan_in: int | None = None, seed: int | None = None) -> None:
        super().__init__(seed, stddev=stddev, fan_in=fan_in)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self._fans()
        rng, fan_in = np.random.default_rng(self.seed), self.known("fan_in")
        normal = rng.normal(0, self.stddev / math.sqrt(fan_in), shape)
        drawn = np.where(rng.random(shape) < 1 / (fan_in + 1), rng.beta(2, 1, shape), normal)
        return keras.ops.convert_to_tensor(drawn, dtype or keras.config.floatx())


@keras.saving.register_keras_serializable("pipeline")
class MeanField(_Drawn):
    """N(0, variance): the bias's part of mean-field theory, beside kernels with variance sigma_w^2 / fan_in.

    The model says the kernels' variance (VarianceScaling, mode fan_in, scale sigma_w^2), equal in all arms. Source:
    Poole et al. 2016, "Exponential expressivity in deep neural networks"; Schoenholz et al. 2017.
    """

    def __init__(self, variance: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed, variance=variance)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        return keras.random.normal(shape, 0.0, math.sqrt(self.variance), dtype=dtype, seed=self.seed)


@keras.saving.register_keras_serializable("pipeline")
class ReluSmall(_Drawn):
    """A small positive constant, so that ReLU units start alive: 0.01, or 0.1 as in older TensorFlow tutorials."""

    def __init__(self, value: float = 0.01) -> None:
        super().__init__(None, value=value)

    def get_config(self) -> dict[str, Any]:
        """The value."""
        return {"value": self.value}

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        return keras.ops.full(shape, self.value, dtype or keras.config.floatx())


@keras.saving.register_keras_serializable("pipeline")
class ForgetGate(_Drawn):
    """`value` on the forget gate, zeros elsewhere: LSTM's f, or GRU's z, which in Keras is the share of the old state.

    A GRU's two rows add up, so the value is in the first. Source: Gers et al. 2000; Jozefowicz et al. 2015 (value 1).
    """

    def __init__(self, value: float = 1.0, gates: str | None = None) -> None:
        super().__init__(None, value=value, gates=gates)

    def get_config(self) -> dict[str, Any]:
        """The value and the order of the gates."""
        return {"value": self.value, "gates": self.gates}

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of shape `(4 * units,)`, `(3 * units,)` or `(2, 3 * units)`."""
        gate = {"ifco": "f", "zrh": "z"}[self.known("gates")]
        return keras.ops.convert_to_tensor(_gates(shape, self.gates, {gate: self.value}), dtype or "float32")


@keras.saving.register_keras_serializable("pipeline")
class Chrono(_Drawn):
    """Gates that start with memories of 1 to t_max steps: Tallec and Ollivier 2018, "Can recurrent neural networks warp
    time?". LSTM: b_f = log u, b_i = -b_f, others zero; u ~ U(1, t_max - 1).

    GRU: b_z = log u, since Keras' z is the share of the old state that is kept (the paper's update gate is 1 - z). A
    GRU's two rows add up, so it is in the first. t_max is the number of steps of the input, unless given.
    """

    def __init__(self, t_max: int | None = None, gates: str | None = None, seed: int | None = None) -> None:
        super().__init__(seed, t_max=t_max, gates=gates)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of shape `(4 * units,)`, `(3 * units,)` or `(2, 3 * units)`."""
        units = shape[-1] // len(self.known("gates"))
        most = self.t_max or (
            SHORTEST if "_layer" in vars(self) else self.known("t_max")
        )  # until `settle` knows better
        memory = np.log(np.random.default_rng(self.seed).uniform(1, most - 1, units))
        by_gate = {"f": memory, "i": -memory} if self.gates == "ifco" else {"z": memory}
        return keras.ops.convert_to_tensor(_gates(shape, self.gates, by_gate), dtype or "float32")


@keras.saving.register_keras_serializable("pipeline")
class ClassPrior(_Drawn):
    """The output that fits the training labels best before anything is learnt.

    One sigmoid unit: the logit of the share of class 1. Softmax: the log of each class's share, [classes]. Regression:
    the mean target. Source: Karpathy 2019, "A Recipe for Training Neural Networks"; Lin et al. 2017 (focal loss).
    """

    def __init__(self, values: list[float] | None = None) -> None:
        super().__init__(None, values=values)

    def get_config(self) -> dict[str, Any]:
        """The values, one per output."""
        return {"values": self.values}

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of shape `(outputs,)`."""
        return keras.ops.reshape(
            keras.ops.convert_to_tensor(self.known("values"), dtype or keras.config.floatx()), shape
        )


def _gates(shape: Any, gates: str, values: dict[str, Any]) -> np.ndarray:
    """An array of zeros with the given values for some gates; of two rows, in the first."""
    bias = np.zeros(shape, np.float32)
    first = bias if bias.ndim == 1 else bias[0]
    for part, gate in zip(np.split(first, len(gates)), gates, strict=True):  # views
        part[:] = values.get(gate, 0.0)
    return bias


def bind_initializers(made: list[Any], labels: np.ndarray | None, task: str, n_classes: int) -> None:
    """Let the initializers of this module know what layers they belong to, and which outputs fit the training labels.

    made: the layers of a model, in order, not built yet. labels: as in `prior`, or None where nobody asks for it.
    """
    for own in [own for layer in made for own in flatten_layers(layer)]:
        initializer = getattr(own, "bias_initializer", None)
        if isinstance(initializer, _Drawn):
            initializer.ask(own)
            known = {"gates": GATES.get(type(own).__name__)}
            if isinstance(initializer, ClassPrior) and labels is not None:
                known["values"] = class_prior_values(labels, task, n_classes, getattr(own, "units", 1))
            for name, value in known.items():
                if getattr(initializer, name, 0) is None:
                    setattr(initializer, name, value)


def settle_initializers(model: Any) -> None:
    """Draw the biases of `Chrono` anew whose t_max is the steps of their layer's input, known once the model is built.

    Raises ValueError for an input of fewer than 3 steps, or of no fixed number of them.
    """
    for layer in flatten_layers(model):
        cell = getattr(layer, "cell", None)
        for own in getattr(cell, "cells", [cell]):
            initializer = getattr(own, "bias_initializer", None)
            if isinstance(initializer, Chrono) and initializer.t_max is None and own.bias is not None:
                steps = layer.get_build_config()["input_shape"][1]
                if steps is None or steps < SHORTEST:
                    raise ValueError(f"Chrono: {layer.name} sees {steps} steps; allowed: 3 or more, or a t_max")
                initializer.t_max = steps
                own.bias.assign(initializer(own.bias.shape))


def class_prior_values(labels: np.ndarray, task: str, n_classes: int, outputs: int) -> list[float]:
    """What `ClassPrior` starts from: training labels [rows] as class codes, or a regression's targets.

    A class without a row counts half a row, so that its logarithm is finite.
    """
    if task == "regression":
        return [float(labels.mean())]
    shares = np.maximum(np.bincount(labels, minlength=n_classes), 0.5) / len(labels)
    if outputs == 1:
        return [float(np.log(shares[1] / shares[0]))]
    unused = [float(np.log(0.5 / len(labels)))] * (outputs - n_classes)
    return [float(v) for v in np.log(shares)] + unused
