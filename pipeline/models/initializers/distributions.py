"""What a bias initializer promises to draw at a shape, and whether what was drawn keeps the promise.

The formulas are those of Keras' documentation and of the docstrings in `custom.py`, written down a second
time on purpose: an initializer that draws something else than its name says must be found out. Imports no Keras.
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

# scale, mode and distribution of Keras' VarianceScaling that each of these is.
SCALINGS = {
    f"{name}{ending.title()}": (scale, mode, drawn)
    for name, scale, mode in (("Glorot", 1.0, "fan_avg"), ("He", 2.0, "fan_in"), ("Lecun", 1.0, "fan_in"))
    for ending, drawn in (("uniform", "uniform"), ("normal", "truncated_normal"))
}
CUT = 2.0  # standard deviations at which Keras cuts a normal distribution
NARROWED = 0.87962566103423978  # what that leaves of its standard deviation
CHANCE = 1e-9  # how improbable a draw must be to be called a mistake


class ExpectedDistribution(NamedTuple):
    """What will be drawn: a distribution of scipy.stats, or else fixed values, one for all or one for each.

    Not a number stands for a value that is not known beforehand.
    """

    words: str
    distribution: Any = None
    values: Any = None

    def figures(self) -> dict[str, float]:
        """Mean, standard deviation and limits."""
        if self.distribution is None:
            v = np.asarray(self.values, np.float64)
            return {"mean": float(v.mean()), "std": float(v.std()), "low": float(v.min()), "high": float(v.max())}
        low, high = self.distribution.support()
        mean, std = self.distribution.mean(), self.distribution.standard_deviation()
        return {"mean": float(mean), "std": float(std), "low": float(low), "high": float(high)}


def expected_biases(model: Any) -> Iterator[tuple[Bias, str, str, ExpectedDistribution, np.ndarray]]:
    """(bias, role, gate, promise, values) for every bias of a built Keras model, gate by gate where it has gates."""
    for vector in find_biases(model):
        initializer = getattr(vector.owner, f"{vector.kind}_initializer", None)
        if vector.values is None or not hasattr(initializer, "get_config"):
            continue  # absent, or another layer's own way
        values = np.array(vector.values.value)
        class_name, config = type(initializer).__name__, initializer_arguments(initializer)
        forget = getattr(vector.owner, "unit_forget_bias", False)
        places = np.arange(values.size).reshape(values.shape)  # of a gate's values in the whole bias
        named = zip(gate_parts(replace(vector, values=values)), gate_parts(replace(vector, values=places)), strict=True)
        for (role, gate, part), (_, _, place) in named:
            promised = _of_part(class_name, config, values.shape, role, gate, forget)
            if gate and np.ndim(promised.values):
                promised = promised._replace(values=np.ravel(promised.values)[place])
            yield vector, role, gate, promised, part


def initializer_arguments(initializer: Any) -> dict[str, Any]:
    """What an initializer was made with; Keras' Identity leaves its gain out of its config."""
    return vars(initializer) | initializer.get_config()


def _of_part(
    class_name: str, config: dict[str, Any], shape: tuple[int, ...], role: str, gate: str, forget: bool
) -> ExpectedDistribution:
    """What an initializer promises for one gate, or for a whole bias (no gate)."""
    if gate and forget:  # Keras' LSTM: ones for the forget gate, and two draws, one for i and one for c and o
        units = shape[-1] // 4
        return (
            _fixed(1.0)
            if gate == "f"
            else expected_distribution(class_name, config, (units if gate == "i" else 2 * units,))
        )
    if class_name in ("Chrono", "ForgetGate"):
        return _gate(class_name, config, gate) if role != "recurrent" else _fixed(0.0)
    return expected_distribution(class_name, config, shape)


def expected_distribution(class_name: str, config: dict[str, Any], shape: tuple[int, ...]) -> ExpectedDistribution:
    """What an initializer draws for a bias of a shape. config: all its arguments, also those that a layer filled in."""
    from scipy import stats

    def uniform(low: float, high: float) -> ExpectedDistribution:
        low, high = sorted((low, high))  # a layer's own initializer may have them the other way round
        return ExpectedDistribution("uniform", stats.Uniform(a=low, b=high)) if low < high else _fixed(low)

    def normal(mean: float, std: float, cut: bool = False) -> ExpectedDistribution:
        if std == 0:
            return _fixed(mean)
        std = abs(std)
        whole = stats.Normal(mu=mean, sigma=std)
        if not cut:
            return ExpectedDistribution("normal", whole)
        return ExpectedDistribution("truncated normal", stats.truncate(whole, mean - CUT * std, mean + CUT * std))

    if class_name in ("Zeros", "Ones"):
        return _fixed(float(class_name == "Ones"))
    if class_name in ("Constant", "ReluSmall"):
        value = np.asarray(config["value"], np.float64)  # a layer's own may be a value for each
        return ExpectedDistribution("constant", values=np.broadcast_to(value, shape)) if value.ndim else _fixed(value)
    if class_name == "ClassPrior":
        return ExpectedDistribution("from the labels", values=np.float64(config["values"]))
    if class_name == "Identity":
        return ExpectedDistribution("identity", values=config["gain"] * np.eye(*shape))
    if class_name == "RandomUniform":
        return uniform(config["minval"], config["maxval"])
    if class_name in ("RandomNormal", "TruncatedNormal"):
        return normal(config["mean"], config["stddev"], class_name == "TruncatedNormal")
    if class_name in ("VarianceScaling", *SCALINGS):
        scale, mode, drawn = SCALINGS.get(class_name) or (config["scale"], config["mode"], config["distribution"])
        fan_in, fan_out = (shape[0], shape[0]) if len(shape) == 1 else shape[-2:]
        receptive = math.prod(shape[:-2])
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = scale / max(1, fans[mode] * receptive)
        if drawn == "uniform":
            return uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance))
        cut = drawn == "truncated_normal"
        return normal(0.0, math.sqrt(variance) / (NARROWED if cut else 1.0), cut)
    if class_name == "Orthogonal":  # each entry is a coordinate of a random unit vector
        n = max(math.prod(shape[:-1]), shape[-1])
        coordinate = 2 * _beta()(a=(n - 1) / 2, b=(n - 1) / 2) - 1
        return (
            ExpectedDistribution("orthogonal", config["gain"] * coordinate)
            if n > 1
            else ExpectedDistribution("orthogonal", values=np.nan)
        )
    if class_name in ("FanInUniform", "SklearnUniform"):
        fans = config["fan_in"] + config.get("fan_out", 0)
        limit = math.sqrt(config.get("factor", 1.0) / fans)
        return uniform(-limit, limit)
    if class_name == "MeanField":
        return normal(0.0, math.sqrt(config["variance"]))
    if class_name == "RandomAsymmetric":
        share, std = 1 / (config["fan_in"] + 1), config["stddev"] / math.sqrt(config["fan_in"])
        parts = [_beta()(a=2.0, b=1.0), stats.Normal(mu=0.0, sigma=std)]
        return ExpectedDistribution("normal, some Beta(2, 1)", stats.Mixture(parts, weights=[share, 1 - share]))
    raise KeyError(class_name)


@cache
def _beta() -> Any:
    """SciPy's Beta distribution as one that can be added and mixed (which takes a tenth of a second)."""
    from scipy import stats

    return stats.make_distribution(stats.beta)


def _fixed(value: float) -> ExpectedDistribution:
    return ExpectedDistribution("constant", values=float(value))


def _gate(class_name: str, config: dict[str, Any], gate: str) -> ExpectedDistribution:
    from scipy import stats

    keeps = gate == {"ifco": "f", "zrh": "z"}[config["gates"]]
    if class_name == "ForgetGate":
        return _fixed(config["value"] if keeps else 0.0)
    if not keeps and gate != "i":
        return _fixed(0.0)
    memory = stats.log(stats.Uniform(a=1.0, b=float(config["t_max"] - 1)))
    return ExpectedDistribution("log of uniform" if keeps else "minus log of uniform", memory if keeps else -memory)


def audit_biases(models: Sequence[Any]) -> None:
    """Hold the biases that models (one per seed, all of one structure) start with against what was promised.

    Raises ArithmeticError where a value is beyond the limits, or where mean, variance or the whole distribution, of a
    seed or of all seeds together, would come by chance less than once in 1e9 draws.
    """
    for same in zip(*map(expected_biases, models), strict=True):
        vector, role, gate, _, _ = same[0]
        name = vector.path + f", gate {f'{role} {gate}'.strip()}" * bool(gate)
        for _, _, _, promised, values in same:
            check_drawn_values(name, promised, values)
        if same[0][3].distribution is not None:  # seeds that draw the same, by a seed of the initializer, count once
            check_drawn_values(
                name, same[0][3], np.concatenate(list({v.tobytes(): v.ravel() for *_, v in same}.values()))
            )


def check_drawn_values(name: str, promised: ExpectedDistribution, values: np.ndarray) -> None:
    """Raise ArithmeticError, with both in words, where values [any shape] are not what was promised."""
    drawn = np.asarray(values, np.float64)
    step = 2.0**-7 if values.dtype.itemsize == 2 else 1e-6  # of half precision, whichever half
    if promised.distribution is None:
        kept = np.isnan(promised.values).all() or np.allclose(drawn, promised.values, rtol=step, atol=step / 10)
    else:
        kept = _plausible(promised.distribution, drawn.ravel(), step)
    if not kept:
        f = promised.figures()
        raise ArithmeticError(
            f"{name}: promised {promised.words} with mean {f['mean']:.4g}, std {f['std']:.4g}, from {f['low']:.4g} to "
            f"{f['high']:.4g}; drawn mean {drawn.mean():.4g}, std {drawn.std():.4g}, from {drawn.min():.4g} to "
            f"{drawn.max():.4g}"
        )


def _plausible(distribution: Any, drawn: np.ndarray, step: float) -> bool:
    """Whether values [n] can be draws of a distribution: limits, mean, variance, and Kolmogorov and Smirnov's test.

    Their variance is taken for a chi square with as many degrees of freedom as their kurtosis leaves (Box 1953). step:
    relative distance of two neighbouring numbers of their type.
    """
    from scipy import stats

    low, high = distribution.support()
    mean, std, n = distribution.mean(), distribution.standard_deviation(), drawn.size
    size = max(abs(x) for x in (low, high, mean) if np.isfinite(x)) + std
    if not np.all((drawn >= low - step * size) & (drawn <= high + step * size)):
        return False
    if std <= 100 * step * size:  # rounded to a few different numbers
        return bool(np.all(np.abs(drawn - mean) <= 10 * std + step * size))
    chances = [stats.kstest(drawn, distribution.cdf).pvalue, 2 * stats.norm.sf(abs(drawn.mean() - mean) / std * n**0.5)]
    if n > 2:
        freedom = 2 * n / (float(distribution.kurtosis()) - 1)
        ratio = np.mean((drawn - mean) ** 2) / std**2
        chances.append(2 * min(stats.chi2.cdf(freedom * ratio, freedom), stats.chi2.sf(freedom * ratio, freedom)))
    return min(chances) > CHANCE
