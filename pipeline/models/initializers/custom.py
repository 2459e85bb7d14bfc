"""Bias initializers that Keras does not ship, as Keras classes that saved models load (imports Keras).

To add one: a class below, a file conf/bias_initializer/<name>.yaml, and a row in CUSTOM of
tests/models/test_custom_initializers.py. The base class says for which layers it is meant: `CustomInitializer` for any,
`GateInitializer` for LSTM and GRU, `OutputInitializer` for the model's output. Arguments with numeric defaults are
checked (`registry.py`); `seed` gets its own value for each model seed and layer. This file is parsed before Keras is
imported, so a class must be defined at its top level and have an `__init__` with literal defaults.

Shapes of biases: `(units,)` in dense and convolutional layers, `(4 * units,)` in an LSTM (gates i, f, c, o),
`(3 * units,)` or `(2, 3 * units)` in a GRU (gates z, r, h; the rows, input and recurrent, add up).
"""

import math
from typing import Any

import keras
import numpy as np

from pipeline.biases.introspection import sequence_shape
from pipeline.models.initializers.base import (
    MEMORY_GATES,
    CustomInitializer,
    GateInitializer,
    OutputInitializer,
    Targets,
)
from pipeline.models.initializers.distributions import (
    ExpectedDistribution,
    beta,
    constant,
    log_uniform,
    mixture,
    normal,
    uniform,
)

FEWEST_STEPS = 3  # by which gates can tell memories apart


@keras.saving.register_keras_serializable("pipeline")
class FanInUniform(CustomInitializer):
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in that of the kernel: PyTorch's default for linear and conv layers.

    For a recurrent layer fan_in is its units, as in PyTorch, but Keras' ones stay on an LSTM's forget gate.
    Source: `torch.nn.Linear.reset_parameters`.
    """

    def __init__(self, fan_in: int | None = None, seed: int | None = None) -> None:
        self.fan_in, self.seed = fan_in, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self.fill_fans()
        limit = 1 / math.sqrt(self.require("fan_in"))
        return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """U(-fan_in^-1/2, fan_in^-1/2)."""
        return uniform(-(self.require("fan_in") ** -0.5), self.require("fan_in") ** -0.5)


@keras.saving.register_keras_serializable("pipeline")
class SklearnUniform(CustomInitializer):
    """U(-a, a), a = sqrt(factor / (fan_in + fan_out)) of the kernel: what scikit-learn's MLP draws its biases from.

    factor is 6, and 2 for logistic units. Source: `sklearn.neural_network`, `_init_coef`, after Glorot and Bengio 2010.
    """

    def __init__(
        self, factor: float = 6.0, fan_in: int | None = None, fan_out: int | None = None, seed: int | None = None
    ) -> None:
        self.factor, self.fan_in, self.fan_out, self.seed = factor, fan_in, fan_out, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self.fill_fans()
        limit = math.sqrt(self.factor / (self.require("fan_in") + self.require("fan_out")))
        return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """U(-a, a) with variance a^2 / 3 = factor / 3 / (fan_in + fan_out)."""
        variance = self.factor / 3 / (self.require("fan_in") + self.require("fan_out"))
        return uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance))


@keras.saving.register_keras_serializable("pipeline")
class RandomAsymmetric(CustomInitializer):
    """The biases of randomized asymmetric initialization, by which more ReLU units start alive.

    Of a unit's fan_in weights and its bias, one at random is drawn from Beta(2, 1), the others from N(0, stddev^2 /
    fan_in) with stddev 0.6007. So a bias is Beta(2, 1) with probability 1 / (fan_in + 1). Kernels stay the study's.
    Source: Lu, Shin, Su and Karniadakis 2019, "Dying ReLU and Initialization".
    """

    def __init__(self, stddev: float = 0.6007, fan_in: int | None = None, seed: int | None = None) -> None:
        self.stddev, self.fan_in, self.seed = stddev, fan_in, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        self.fill_fans()
        rng, fan_in = np.random.default_rng(self.seed), self.require("fan_in")
        normal = rng.normal(0, self.stddev / math.sqrt(fan_in), shape)
        drawn = np.where(rng.random(shape) < 1 / (fan_in + 1), rng.beta(2, 1, shape), normal)
        return keras.ops.convert_to_tensor(drawn, dtype or keras.config.floatx())

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """The mixture of Beta(2, 1) and the normal distribution."""
        fan_in = self.require("fan_in")
        parts = [beta(2.0, 1.0), normal(0.0, self.stddev * fan_in**-0.5)]
        return mixture("normal, some Beta(2, 1)", parts, [1 / (fan_in + 1), 1 - 1 / (fan_in + 1)])


@keras.saving.register_keras_serializable("pipeline")
class MeanField(CustomInitializer):
    """N(0, variance): the biases of mean-field theory, beside kernels with variance sigma_w^2 / fan_in.

    The model file sets the kernels' variance (VarianceScaling, mode fan_in, scale sigma_w^2), equal in all arms.
    Source: Poole et al. 2016, "Exponential expressivity in deep neural networks"; Schoenholz et al. 2017.
    """

    def __init__(self, variance: float = 0.05, seed: int | None = None) -> None:
        self.variance, self.seed = variance, seed

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        return keras.random.normal(shape, 0.0, math.sqrt(self.variance), dtype=dtype, seed=self.seed)

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """N(0, variance)."""
        return normal(0.0, self.variance**0.5)


@keras.saving.register_keras_serializable("pipeline")
class ReluSmall(CustomInitializer):
    """A small positive constant, so that ReLU units start alive: 0.01, or 0.1 as in older TensorFlow tutorials."""

    def __init__(self, value: float = 0.01) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        return keras.ops.full(shape, self.value, dtype or keras.config.floatx())

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """The constant."""
        return constant(self.value)


@keras.saving.register_keras_serializable("pipeline")
class ForgetGate(GateInitializer):
    """`value` on the gate that keeps the old state, zeros elsewhere: LSTM's f, or GRU's z.

    In Keras a GRU's z is the share of the old state. Source: Gers et al. 2000; Jozefowicz et al. 2015 (value 1).
    """

    def __init__(self, value: float = 1.0, gates: str | None = None) -> None:
        self.value, self.gates = value, gates

    def gate_values(self, units: int) -> dict[str, Any]:
        """The value for the gate that keeps the old state."""
        return {MEMORY_GATES[self.require("gates")]: self.value}

    def expected_gate(self, gate: str) -> ExpectedDistribution:
        """The value on f or z."""
        return constant(self.value if gate in ("f", "z") else 0.0)


@keras.saving.register_keras_serializable("pipeline")
class Chrono(GateInitializer):
    """Gates that start with memories of 1 to t_max steps.

    LSTM: b_f = log u, b_i = -b_f, others zero; u ~ U(1, t_max - 1). GRU: b_z = log u, since Keras' z is the share of
    the old state that is kept (the paper's update gate is 1 - z). t_max is the number of steps of the layer's input
    unless it is set. Source: Tallec and Ollivier 2018, "Can recurrent neural networks warp time?".
    """

    def __init__(self, t_max: int | None = None, gates: str | None = None, seed: int | None = None) -> None:
        self.t_max, self.gates, self.seed = t_max, gates, seed

    def gate_values(self, units: int) -> dict[str, Any]:
        """The memories, log u, for f or z, and their negatives for an LSTM's i."""
        open_yet = self.t_max is None and self._layer is not None  # `settle` will know the steps
        t_max = FEWEST_STEPS if open_yet else self.require("t_max")
        memory = np.log(np.random.default_rng(self.seed).uniform(1, t_max - 1, units))
        return {"f": memory, "i": -memory} if self.gates == "ifco" else {"z": memory}

    def settle(self, layer: Any, cell: Any) -> None:
        """Draw the bias again with the steps of the layer's input as t_max, unless t_max is set.

        Raises ValueError for an input of fewer than 3 steps, or of no fixed number of them.
        """
        if self.t_max is None and cell.bias is not None:
            steps = sequence_shape(layer)[1]
            if steps is None or steps < FEWEST_STEPS:
                raise ValueError(f"Chrono: {layer.name} sees {steps} steps; allowed: 3 or more, or a t_max")
            self.t_max = steps
            cell.bias.assign(self(cell.bias.shape))

    def expected_gate(self, gate: str) -> ExpectedDistribution:
        """The logarithm of a uniform distribution on f and z, its negative on i."""
        if gate in ("f", "z", "i"):
            return log_uniform(1.0, float(self.require("t_max") - 1), negative=gate == "i")
        return constant(0.0)


@keras.saving.register_keras_serializable("pipeline")
class ClassPrior(OutputInitializer):
    """The output that fits the training labels best before anything is learnt.

    One sigmoid unit: the logit of the share of class 1. Softmax: the log of each class's share, [classes]. Regression:
    the mean target. Source: Karpathy 2019, "A Recipe for Training Neural Networks"; Lin et al. 2017 (focal loss).
    """

    def __init__(self, values: list[float] | None = None) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of shape `(outputs,)`."""
        values = keras.ops.convert_to_tensor(self.require("values"), dtype or keras.config.floatx())
        return keras.ops.reshape(values, shape)

    def bind(self, layer: Any, targets: Targets | None) -> None:
        """Compute the values from the training targets."""
        super().bind(layer, targets)
        if self.values is None and targets is not None:
            self.values = class_prior_values(targets, getattr(layer, "units", 1))

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """The values."""
        return ExpectedDistribution("from the labels", values=np.asarray(self.require("values"), np.float64))


def class_prior_values(targets: Targets, outputs: int) -> list[float]:
    """The biases, one per output, with which a constant model fits the training targets best.

    A class without a row counts half a row, so that its logarithm is finite; so do outputs beyond the classes.
    """
    labels, task, n_targets = targets
    if task == "regression":
        return [float(mean) for mean in labels.reshape(len(labels), -1).mean(0)]
    shares = np.maximum(np.bincount(labels, minlength=n_targets), 0.5) / len(labels)
    if outputs == 1:
        return [float(np.log(shares[1] / shares[0]))]
    unused = [float(np.log(0.5 / len(labels)))] * (outputs - n_targets)
    return [float(v) for v in np.log(shares)] + unused
