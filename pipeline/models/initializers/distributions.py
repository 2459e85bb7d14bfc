"""The distribution that a bias initializer should draw from, at a shape, for every bias of a model.

For Keras' initializers the formulas follow Keras' documentation; this project's own bring theirs (`expected` in
`custom.py`). Either way they are written down a second time, apart from the code that draws, so that an initializer
which draws something else is noticed (`audit.py`). Imports no Keras.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from pipeline.biases.extraction import find_biases
from pipeline.biases.tables import gate_parts
from pipeline.biases.variables import Bias
from pipeline.config.user_classes import is_user_class

# (scale, mode, distribution) by which each of these is a case of Keras' VarianceScaling.
SCALINGS = {
    f"{name}{ending.title()}": (scale, mode, drawn)
    for name, scale, mode in (("Glorot", 1.0, "fan_avg"), ("He", 2.0, "fan_in"), ("Lecun", 1.0, "fan_in"))
    for ending, drawn in (("uniform", "uniform"), ("normal", "truncated_normal"))
}
CUT = 2.0  # standard deviations at which Keras truncates a normal distribution
TRUNCATED_STD = 0.87962566103423978  # standard deviation of a standard normal truncated there


class ExpectedDistribution(NamedTuple):
    """A distribution of scipy.stats, or else fixed values: one for all, or an array of the bias's shape.

    A value that is not a number stands for one that is not known beforehand. words: for tables and messages.
    """

    words: str
    distribution: Any = None
    values: Any = None

    def figures(self) -> dict[str, float]:
        """Mean, standard deviation, and the limits `low` and `high`."""
        if self.distribution is None:
            v = np.asarray(self.values, np.float64)
            return {"mean": float(v.mean()), "std": float(v.std()), "low": float(v.min()), "high": float(v.max())}
        low, high = self.distribution.support()
        mean, std = self.distribution.mean(), self.distribution.standard_deviation()
        return {"mean": float(mean), "std": float(std), "low": float(low), "high": float(high)}


class ExpectedBias(NamedTuple):
    """A bias of a model, or one gate of it: what it should be drawn from, and what it is."""

    bias: Bias
    role: str
    gate: str
    expected: ExpectedDistribution
    values: np.ndarray


def expected_biases(model: Any) -> Iterator[ExpectedBias]:
    """Every bias of a built Keras model that its own initializer set, gate by gate where it has gates."""
    for bias in find_biases(model):
        initializer = getattr(bias.owner, f"{bias.kind}_initializer", None)
        if bias.values is None or not hasattr(initializer, "get_config"):
            continue  # absent, or set in the layer's own way
        values = np.array(bias.values.value)
        positions = np.arange(values.size).reshape(values.shape)
        unit_forget_bias = getattr(bias.owner, "unit_forget_bias", False)
        parts = zip(gate_parts(replace(bias, values=values)), gate_parts(replace(bias, values=positions)), strict=True)
        for (role, gate, part), (_, _, part_positions) in parts:
            assert part is not None  # since bias.values is not
            if is_undeclared(initializer):  # `check_repeatable` has tried it
                yield ExpectedBias(bias, role, gate, ExpectedDistribution("what its code draws", values=part), part)
                continue
            expected = _expected_part(initializer, values.shape, role, gate, unit_forget_bias)
            if gate and np.ndim(expected.values):
                expected = expected._replace(values=np.ravel(expected.values)[part_positions])
            yield ExpectedBias(bias, role, gate, expected, part)


def is_undeclared(initializer: Any) -> bool:
    """Whether an initializer of the user's own does not say by `expected` what it draws from, as those here do."""
    declared = any(hasattr(initializer, method) for method in ("expected", "expected_gate"))
    return is_user_class(type(initializer)) and not declared


def _expected_part(
    initializer: Any, shape: tuple[int, ...], role: str, gate: str, unit_forget_bias: bool
) -> ExpectedDistribution:
    """The distribution of one gate, or of a whole bias (no gate)."""
    if not gate or not unit_forget_bias:
        return expected_distribution(initializer, shape, role, gate)
    if gate == "f":  # Keras' LSTM sets ones here, and draws twice: once for i, once for c and o together
        return constant(1.0)
    units = shape[-1] // 4
    return expected_distribution(initializer, (units if gate == "i" else 2 * units,))


def expected_distribution(
    initializer: Any, shape: tuple[int, ...], role: str = "", gate: str = ""
) -> ExpectedDistribution:
    """The distribution of a bias of this shape under an initializer object, or of one of its gates."""
    if hasattr(initializer, "expected_gate"):
        return constant(0.0) if role == "recurrent" else initializer.expected_gate(gate)
    if hasattr(initializer, "expected"):
        return initializer.expected(shape)
    arguments = vars(initializer) | initializer.get_config()  # Keras' Identity leaves its gain out of its config
    return keras_distribution(type(initializer).__name__, arguments, shape)


def keras_distribution(class_name: str, config: dict[str, Any], shape: tuple[int, ...]) -> ExpectedDistribution:
    """The distribution of a bias of this shape under an initializer of Keras. config: all its arguments.

    Raises KeyError for an initializer that is not known here.
    """
    if class_name in ("Zeros", "Ones"):
        return constant(float(class_name == "Ones"))
    if class_name == "Constant":
        value = np.asarray(config["value"], np.float64)  # a layer in a model file may set a value for each unit
        if value.ndim:
            return ExpectedDistribution("constant", values=np.broadcast_to(value, shape))
        return constant(float(value))
    if class_name == "Identity":
        rows, columns = shape
        return ExpectedDistribution("identity", values=config["gain"] * np.eye(rows, columns))
    if class_name == "RandomUniform":
        return uniform(config["minval"], config["maxval"])
    if class_name in ("RandomNormal", "TruncatedNormal"):
        return normal(config["mean"], config["stddev"], truncated=class_name == "TruncatedNormal")
    if class_name in SCALINGS:
        return _scaled(*SCALINGS[class_name], shape)
    if class_name == "VarianceScaling":
        return _scaled(config["scale"], config["mode"], config["distribution"], shape)
    if class_name == "Orthogonal":  # each entry is a coordinate of a random unit vector
        n = max(math.prod(shape[:-1]), shape[-1])
        if n == 1:
            return ExpectedDistribution("orthogonal", values=np.nan)
        coordinate = 2 * _beta_class()(a=(n - 1) / 2, b=(n - 1) / 2) - 1
        return ExpectedDistribution("orthogonal", config["gain"] * coordinate)
    raise KeyError(class_name)


def _scaled(scale: float, mode: str, drawn: str, shape: tuple[int, ...]) -> ExpectedDistribution:
    """Keras' VarianceScaling, which takes the fans from the shape of the bias: both are n for a bias of n units."""
    fan_in, fan_out = (shape[0], shape[0]) if len(shape) == 1 else shape[-2:]
    fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    variance = scale / max(1, fans[mode] * math.prod(shape[:-2]))
    if drawn == "uniform":
        return uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance))
    if drawn == "truncated_normal":  # wider before it is truncated, so that the variance is right after
        return normal(0.0, math.sqrt(variance) / TRUNCATED_STD, truncated=True)
    return normal(0.0, math.sqrt(variance))


def constant(value: float) -> ExpectedDistribution:
    """One value for every unit."""
    return ExpectedDistribution("constant", values=float(value))


def uniform(low: float, high: float) -> ExpectedDistribution:
    """U(low, high), in whichever order the limits come, as Keras takes them."""
    from scipy import stats

    low, high = sorted((low, high))
    return ExpectedDistribution("uniform", stats.Uniform(a=low, b=high)) if low < high else constant(low)


def normal(mean: float, std: float, truncated: bool = False) -> ExpectedDistribution:
    """N(mean, std^2), truncated at two standard deviations if asked for; Keras takes a negative std as positive."""
    from scipy import stats

    if std == 0:
        return constant(mean)
    std = abs(std)
    whole = stats.Normal(mu=mean, sigma=std)
    if not truncated:
        return ExpectedDistribution("normal", whole)
    return ExpectedDistribution("truncated normal", stats.truncate(whole, mean - CUT * std, mean + CUT * std))


def beta(a: float, b: float) -> ExpectedDistribution:
    """Beta(a, b)."""
    return ExpectedDistribution("beta", _beta_class()(a=a, b=b))


def log_uniform(low: float, high: float, negative: bool = False) -> ExpectedDistribution:
    """The logarithm of a U(low, high), or its negative."""
    from scipy import stats

    logarithm = stats.log(stats.Uniform(a=low, b=high))
    if negative:
        return ExpectedDistribution("minus log of uniform", -logarithm)
    return ExpectedDistribution("log of uniform", logarithm)


def mixture(words: str, parts: Sequence[ExpectedDistribution], weights: Sequence[float]) -> ExpectedDistribution:
    """A draw from one of the parts, each with its probability."""
    from scipy import stats

    return ExpectedDistribution(words, stats.Mixture([part.distribution for part in parts], weights=weights))


@cache
def _beta_class() -> Any:
    """SciPy's beta distribution as one that can be scaled and mixed (making it takes a tenth of a second)."""
    from scipy import stats

    return stats.make_distribution(stats.beta)
