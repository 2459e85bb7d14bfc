"""Narrow deep ReLU networks that are born dead: constant for all inputs before any training."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NO, NOT_TESTED, UNDECIDED, YES, Claim, Evidence, Finding, Table, holds, prose
from pipeline.analysis.known.measures import load_rows_of, number, setting_of
from pipeline.store.runs import Run

LEVEL = 0.05
CONSTANT = 1e-12  # spread of a unit's outputs, as a share of their size, that is rounding


def dead_share(width: int, depth: int) -> float:
    """The probability that a ReLU network without biases is 0 for all x > 0 after `depth` layers of `width` units.

    Its kernels are independent and symmetric around 0. For inputs on one ray, c x with c > 0, every layer's outputs are
    c h for one vector h. If h is not 0, each unit's w h is positive or negative with probability 1/2, independently of
    the others, so all units are off with probability 2^-width. A layer that is off stays off. So a network is alive
    with probability (1 - 2^-width)^depth. For inputs on both rays it has to die on both: this is an upper bound there,
    the one of Lu et al. (2020).
    """
    return 1 - (1 - 2.0**-width) ** depth


def binomial_interval(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a probability (Clopper and Pearson 1934), of `successes` among n."""
    from scipy.special import betaincinv

    low = float(betaincinv(successes, n - successes + 1, level / 2)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - level / 2)) if successes < n else 1.0
    return low, high


def dead_layers(run: Run, only_positive: bool) -> np.ndarray:
    """Whether all units of each hidden layer are constant over the inputs of a run, [layers], before training."""
    weights = run.weights()
    names = [name.split("/")[1] for name in weights if name.startswith("before/") and name.endswith("/kernel")]
    x = load_rows_of(run).x.astype(np.float64)
    outputs = x[x[:, 0] > 0] if only_positive else x
    dead = []
    for name in names[:-1]:
        bias = weights.get(f"before/{name}/bias", np.zeros(()))
        outputs = np.maximum(outputs @ weights[f"before/{name}/kernel"].astype(np.float64) + bias, 0)
        dead.append(bool((np.ptp(outputs, axis=0) <= CONSTANT * np.abs(outputs).max(initial=0.0)).all()))
    return np.asarray(dead)


def _shares(arm: Arm, only_positive: bool) -> np.ndarray:
    """How many seeds of an arm are dead, [layers]."""
    return np.sum([dead_layers(run, only_positive) for run in arm.complete.values()], axis=0)


def _text(dead: int, n: int, level: float = LEVEL) -> str:
    low, high = binomial_interval(dead, n, level)
    return f"{dead} of {n}, {number(dead / n)} [{number(low)}, {number(high)}]"


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The share of dead networks of every width and depth beside the theory, and what the biases change."""
    findings: list[Finding] = []
    rows: list[list[str]] = []
    for comparison in comparisons:
        arms = {arm.setting: arm for arm in comparison.study.arms if arm.complete}
        zeros = arms.get("zeros")
        kept = zeros is not None and all(run.weights() for arm in arms.values() for run in arm.complete.values())
        if zeros is None or not kept or setting_of(zeros.runs[0], "data", "source") != "parabola":
            why = "it takes the arm zeros, the data of the parabola, and stored weights"
            findings.append(Finding(comparison.study.name, "", "", why, NOT_TESTED))
            continue
        width = setting_of(zeros.runs[0], "model", "layers")[0]["config"]["units"]
        findings += _of_zeros(zeros, width, rows)
        for setting, arm in arms.items():
            if setting not in ("zeros", "no_bias"):
                findings.append(_against_zeros(arm, zeros, width))
    headings = ["width", "depth", "theory", "dead for x > 0", "dead for all x"]
    return Evidence(findings, [Table("With biases of zeros", headings, rows)])


def _of_zeros(arm: Arm, width: int, rows: list[list[str]]) -> list[Finding]:
    one_ray, both, n = _shares(arm, True), _shares(arm, False), len(arm.complete)
    depth, level = len(one_ray), LEVEL / len(one_ray)
    theory = [dead_share(width, layers) for layers in range(1, depth + 1)]
    intervals = [binomial_interval(int(dead), n, level) for dead in one_ray]
    is_within = all(low <= p <= high for p, (low, high) in zip(theory, intervals, strict=True))
    is_below = all(binomial_interval(int(d), n, level)[0] <= p for p, d in zip(theory, both, strict=True))
    rows += [
        [str(width), str(i + 1), f"{p:.4f}", _text(int(one_ray[i]), n), _text(int(both[i]), n)]
        for i, p in enumerate(theory)
    ]
    what = f"width {width}, zeros: dead"
    expected = f"1 - (1 - 2^-{width})^depth at each of {depth} depths; at {depth}: {number(theory[-1])}"
    return [
        Finding(f"{what} for x > 0", "dies with depth", expected, _text(int(one_ray[-1]), n, level), holds(is_within)),
        Finding(f"{what} for all x", "at most 1 - (1 - 2^-width)^depth", f"at most that; {number(theory[-1])}",
                _text(int(both[-1]), n, level), holds(is_below)),
    ]  # fmt: skip


def _against_zeros(arm: Arm, zeros: Arm, width: int) -> Finding:
    """Whether fewer networks are born dead than with zeros, at the last layer."""
    ours, theirs = int(_shares(arm, False)[-1]), int(_shares(zeros, False)[-1])
    (low, high) = binomial_interval(ours, len(arm.complete))
    (least, most) = binomial_interval(theirs, len(zeros.complete))
    word = YES if high < least else NO if low > most else UNDECIDED
    published = "asymmetric biases prevent it" if arm.setting.startswith("random_asymmetric") else "not mentioned"
    expected = f"fewer than with zeros, {_text(theirs, len(zeros.complete))}"
    return Finding(
        f"width {width}, {arm.setting}: dead for all x", published, expected, _text(ours, len(arm.complete)), word
    )


CLAIM = Claim(
    name="born-dead",
    statement=prose("""
        A deep ReLU network that is narrow is probably constant before any training, and biases with an asymmetric start
        make that rarer.
    """),
    sources=(
        prose("""
            Lu, Shin, Su and Karniadakis 2020, Dying ReLU and Initialization: Theory and Numerical Examples,
            Communications in Computational Physics 28(5), 1671-1706. Their randomized asymmetric initialization draws
            one of a unit's weights or its bias from Beta(2, 1); here only biases are.
        """),
    ),
    derivation=prose("""
        On one ray of inputs each layer dies with probability 2^-width, so 1 - (1 - 2^-width)^depth are dead after some
        layers; on all inputs, at most as many.
    """),
    falsified_by=prose("""
        a depth at which the theory's share lies outside of the exact binomial interval (5 % over all depths of a
        width), or an interval for all inputs above the bound; or asymmetric biases with more dead networks than zeros.
    """),
    evaluate=evaluate,
)
