"""Kernels of zeros: what the biases must be for units to become different."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, holds, prose
from pipeline.analysis.known.measures import load_rows_of, number, over_seeds, span
from pipeline.store.runs import Run

SAME = 1e-6  # units whose kernels differ by less are one unit
METRIC = "test_accuracy"


def largest_class(run: Run) -> float:
    """The share of the test rows that the best constant answer gets right.

    With all kernels and biases at 0, a ReLU unit's output is 0 and so is its slope there. So the gradient of every
    kernel is 0 at every step: that of the output's kernel, since its inputs are zeros; of the others, since the kernel
    above is. Only the output's bias learns: the answer is one class for all rows, and its accuracy that class's share.
    """
    y = load_rows_of(run).y[run.rows()["test"]]
    return float(np.bincount(y).max() / len(y))


def unit_spread(run: Run) -> float:
    """The largest difference between the trained kernels of two units of the first hidden layer; 0: all are one.

    Units with equal kernels and equal biases get equal gradients, and stay equal for ever: a constant bias keeps the
    symmetry of kernels of zeros, and biases that differ break it.
    """
    kernel = next(value for name, value in run.weights().items() if name.startswith("after/") and "kernel" in name)
    flat = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    return float(np.ptp(flat, axis=1).max())


def _is_zero(run: Run) -> bool:
    kernels = {k: v for k, v in run.weights().items() if k.startswith("before/") and "kernel" in k}
    return bool(kernels) and not any(np.any(kernel) for kernel in kernels.values())


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """Each arm with kernels of zeros against chance, and against zeros with ordinary kernels."""
    findings = []
    for comparison in comparisons:
        arms = [arm for arm in comparison.study.arms if arm.complete and arm.setting != "no_bias"]
        zero = [arm for arm in arms if all(_is_zero(run) for run in arm.complete.values())]
        ordinary = next((arm for arm in arms if arm not in zero and arm.setting == comparison.study.baseline), None)
        if not zero:
            findings.append(Finding(comparison.study.name, "", "", "no arm whose kernels are zeros", NOT_TESTED))
        for arm in zero:
            findings += _of_arm(arm) + ([_behind(arm, ordinary)] if ordinary else [])
    return Evidence(findings)


def _of_arm(arm: Arm) -> list[Finding]:
    values = [arm.values(METRIC)[seed] for seed in sorted(arm.complete)]
    chance = [largest_class(run) for _, run in sorted(arm.complete.items())]
    spreads = [unit_spread(run) for run in arm.complete.values()]
    starts = [run.biases("before") for run in arm.complete.values()]
    first = [next(v for k, v in start.items() if "output" not in k) for start in starts]
    differ = all(np.ptp(bias) > 0 for bias in first)
    nothing = not any(np.any(bias) for bias in first)
    units = Finding(
        f"{arm.name}: units of the first layer", "random biases break the symmetry",
        "differ, every seed" if differ else "stay equal, every seed", f"largest difference {span(spreads)}",
        holds(min(spreads) > SAME if differ else max(spreads) <= SAME),
    )  # fmt: skip
    limit = f"the best constant answer's {number(max(chance))}"
    right = [value <= most + SAME for value, most in zip(values, chance, strict=True)]
    accuracy = Finding(
        f"{arm.name}: accuracy", "learns" if differ else "does not learn" if nothing else "not mentioned",
        f"at most {limit}, every seed" if nothing else f"above {limit}, every seed", over_seeds(values),
        holds(all(right) if nothing else not any(right)),
    )  # fmt: skip
    return [units, accuracy]


def _behind(arm: Arm, ordinary: Arm) -> Finding:
    """How far an arm is behind zeros with ordinary kernels, on the same splits."""
    ours, theirs = arm.values(METRIC), ordinary.values(METRIC)
    gaps = [theirs[seed] - ours[seed] for seed in sorted(ours.keys() & theirs.keys())]
    what, published = f"{arm.name}: behind {ordinary.name}", "behind on some tasks, level on others"
    return Finding(what, published, "behind, every seed", over_seeds(gaps), holds(min(gaps) > 0))


CLAIM = Claim(
    name="zero-kernels",
    statement=prose("""
        With kernels of zeros a network can learn, if its biases are random: they break the symmetry between units that
        equal biases keep.
    """),
    sources=(
        prose("""
            Seo et al. 2025, Reevaluating Zero Initialization in Deep Learning, Research Square, preprint rs-4890533
            (v2), doi 10.21203/rs.3.rs-4890533/v2. No version in a journal was found.
        """),
    ),
    derivation=prose("""
        Without any bias all gradients of kernels are 0 for ever. With equal biases all units of a layer get equal
        gradients, so they stay one unit. With different ones the output's kernel learns at the first step, the layer
        below at the second, and so on.
    """),
    falsified_by=prose("""
        a seed of zeros that beats the best constant answer, equal biases whose units come to differ, or random ones
        whose units stay equal or whose accuracy is not above the best constant answer's.
    """),
    evaluate=evaluate,
)
