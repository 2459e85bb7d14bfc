"""Mean-field theory of deep tanh networks: how the variance of the biases sets the depth that can be trained."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, holds, prose
from pipeline.analysis.known.measures import load_rows_of, number, over_seeds, setting_of, span
from pipeline.store.runs import Run

TOLERANCE = 0.05  # of q*, as a share
SETTLED = 10  # layers after which the variance is taken to have reached q*
LENGTHS = 6  # correlation lengths that can be trained through
NODES = np.linspace(-9, 9, 201)  # evenly spaced: exact to rounding, for smooth functions that vanish at the ends
MASS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()  # of a standard normal at each node
STEPS, STANDS = 5000, 1e-13  # most iterations, and the change at which a value stands


def fixed_variance(kernels: float, biases: float) -> float:
    """q*: the variance of preactivations deep in a tanh network; kernels N(0, kernels/fan_in), biases N(0, biases).

    A preactivation is a sum over many independent kernels, so it is normal with the variance
    q' = kernels E[tanh(sqrt(q) z)^2] + biases of the layer before's q, z standard normal (Poole et al. 2016). Iterated
    until it stands; the expectation is a sum over nodes.
    """
    q = 1.0
    for _ in range(STEPS):
        before, q = q, kernels * float(MASS @ np.tanh(math.sqrt(q) * NODES) ** 2) + biases
        if abs(q - before) < STANDS:
            break
    return q


def correlation_length(kernels: float, biases: float) -> float:
    """xi_c: layers over which the correlation of two inputs comes nearer to its fixed point by a factor of e.

    Two preactivations with variance q* and correlation c have c' = (kernels E[tanh(u) tanh(v)] + biases)/q* in the next
    layer, u = sqrt(q*) z1, v = sqrt(q*)(c z1 + sqrt(1 - c^2) z2). Near its fixed point c* the distance shrinks by the
    slope kernels E[tanh'(u) tanh'(v)] per layer, so xi_c = -1/log of it (Schoenholz et al. 2017). Where chi_1 =
    kernels E[tanh'(u)^2] < 1, c* = 1 is stable and this is -1/log chi_1; at the edge of chaos it is infinite.
    """
    q = fixed_variance(kernels, biases)
    ordered = kernels * float(MASS @ np.cosh(math.sqrt(q) * NODES) ** -4)
    if ordered < 1:
        return -1 / math.log(ordered)
    u, c = math.sqrt(q) * NODES[:, None], 0.5
    for _ in range(STEPS):
        v = _correlated(q, c)
        before, c = c, (kernels * float(MASS @ (np.tanh(u) * np.tanh(v)) @ MASS) + biases) / q
        if abs(c - before) < STANDS:
            break
    slope = kernels * float(MASS @ (np.cosh(u) ** -2 * np.cosh(_correlated(q, c)) ** -2) @ MASS)
    return -1 / math.log(slope) if slope < 1 else math.inf


def _correlated(q: float, c: float) -> np.ndarray:
    """The second preactivation at every pair of nodes, [nodes of the first, nodes]."""
    return math.sqrt(q) * (c * NODES[:, None] + math.sqrt(max(1 - c * c, 0)) * NODES[None, :])


def measured_variance(run: Run) -> float:
    """The mean square of the preactivations after `SETTLED` layers, over layers, units and training rows, untrained."""
    before = {k: v for k, v in run.weights().items() if k.startswith("before/")}
    weights = {k.removeprefix("before/"): v.astype(np.float64) for k, v in before.items()}
    rows, dataset = run.rows(), load_rows_of(run)
    train = rows["train"][:200]
    outputs = ((dataset.x[train] - rows["mean"]) / rows["scale"]).reshape(len(train), -1)
    squares = []
    for name in [k.removesuffix("/kernel") for k in weights if k.endswith("/kernel")][:-1]:
        preactivations = outputs @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)
        squares.append(float((preactivations**2).mean()))
        outputs = np.tanh(preactivations)
    return float(np.mean(squares[SETTLED:]))


def bias_variance(run: Run) -> float | None:
    """The variance that a run's hidden biases were drawn with; None if they are not normal around 0."""
    initializer = setting_of(run, "bias_initializer")
    if initializer is None or initializer["class_name"] == "Zeros":
        return 0.0
    return initializer["config"].get("variance") if initializer["class_name"].endswith("MeanField") else None


def kernel_variance(run: Run) -> float | None:
    """fan_in times the variance of the hidden kernels, where they are drawn as the theory has it."""
    hidden = [layer["config"] for layer in setting_of(run, "model", "layers") if layer["class_name"] == "Dense"][:-1]
    scales = set()
    for config in hidden:
        kernel = config.get("kernel_initializer")
        arguments = kernel.get("config", {}) if isinstance(kernel, dict) else {}
        is_fit = arguments.get("mode") == "fan_in" and config.get("activation") == "tanh"
        scales.add(arguments.get("scale") if is_fit else None)
    return scales.pop() if len(scales) == 1 else None


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The variance of every arm before training beside q*, and whether it trained beside six correlation lengths."""
    findings = []
    for comparison in comparisons:
        for arm in (arm for arm in comparison.study.arms if arm.complete):
            run = next(iter(arm.complete.values()))
            kernels, biases = kernel_variance(run), bias_variance(run)
            if kernels is None or biases is None or not run.weights():
                why = "it takes tanh layers with normal kernels and biases, and stored weights"
                findings.append(Finding(arm.name, "", "", why, NOT_TESTED))
                continue
            findings += _of_arm(arm, float(kernels), float(biases))
    return Evidence(findings)


def _of_arm(arm: Arm, kernels: float, biases: float) -> list[Finding]:
    runs = list(arm.complete.values())
    q, length = fixed_variance(kernels, biases), correlation_length(kernels, biases)
    found = [measured_variance(run) for run in runs]
    depth = sum(layer["class_name"] == "Dense" for layer in setting_of(runs[0], "model", "layers")) - 1
    is_near = abs(float(np.mean(found)) - q) <= TOLERANCE * q
    accuracy = list(arm.values("test_accuracy").values())
    chance = max(np.bincount(load_rows_of(runs[0]).y)) / len(load_rows_of(runs[0]).y)
    limit = 2 * float(chance)
    trains = length * LENGTHS > depth
    side = "above" if trains else "not above"
    expected = f"6 xi_c = {number(LENGTHS * length)} layers, here {depth}: {side} {number(limit)}"
    agrees = min(accuracy) > limit if trains else max(accuracy) <= limit
    return [
        Finding(f"{arm.name}: variance before training", "converges to q*", f"q* = {number(q)}, within 5 %",
                over_seeds(found), holds(is_near)),
        Finding(f"{arm.name}: accuracy, every seed", "trains to about 6 xi_c", expected, span(accuracy), holds(agrees)),
    ]  # fmt: skip


CLAIM = Claim(
    name="edge-of-chaos",
    statement=prose("""
        The variances of kernels and biases set a correlation length xi_c, and networks can be trained to a depth of
        about 6 xi_c.
    """),
    sources=(
        prose("""
            Poole, Lahiri, Raghu, Sohl-Dickstein and Ganguli 2016, Exponential expressivity in deep neural networks
            through transient chaos, NeurIPS 29.
        """),
        prose("""
            Schoenholz, Gilmer, Ganguli and Sohl-Dickstein 2017, Deep Information Propagation, ICLR: trainable to about
            6 xi_c.
        """),
    ),
    derivation=prose("""
        In wide layers preactivations are normal, with a variance that goes to q* and correlations that go to c*; xi_c
        says over how many layers inputs are told apart. Both follow from one-dimensional and two-dimensional normal
        integrals.
    """),
    falsified_by=prose("""
        a variance before training more than 5 % from q*; an arm that learns at a depth beyond 6 xi_c, or one that does
        not at a depth below.
    """),
    evaluate=evaluate,
)
