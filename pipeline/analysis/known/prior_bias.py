"""An output bias at the log odds: the first loss is the entropy of the labels."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import (
    NOT_TESTED,
    OURS,
    UNDECIDED,
    Claim,
    Evidence,
    Finding,
    holds,
    prose,
)
from pipeline.analysis.known.measures import (
    difference,
    number,
    one_bias,
    over_seeds,
    setting_of,
    span,
    training_targets,
)

ROUNDING = 1e-5  # of a loss in float32, averaged over thousands of rows


def expected_loss(bias: float, share: float) -> float:
    """The first loss of a sigmoid output with a kernel of zeros and this bias, where `share` of the labels are 1.

    The output is p = 1/(1 + e^-b) for every row, so the mean cross-entropy is -share log p - (1 - share) log(1 - p),
    with -log p = log(1 + e^-b) and -log(1 - p) = log(1 + e^b). At b = 0 it is log 2. Its derivative by b is p - share,
    so the lowest is at p = share, the log odds b = log(share/(1 - share)), and is the entropy
    H = -share log share - (1 - share) log(1 - share).
    """
    return share * np.logaddexp(0, -bias) + (1 - share) * np.logaddexp(0, bias)


def entropy(share: float) -> float:
    """-p log p - (1 - p) log(1 - p), in nats."""
    return -share * math.log(share) - (1 - share) * math.log1p(-share)


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The first loss of every arm, the loss after one epoch, and the verdict on the last metric."""
    findings = []
    for comparison in comparisons:
        arms = [arm for arm in comparison.study.arms if arm.setting != "no_bias"]
        findings += [_first_loss(arm) for arm in arms]
        base = next((arm for arm in arms if arm.setting == comparison.study.baseline), None)
        for arm in arms:
            if base is not None and arm is not base:
                findings += [_early_loss(arm, base), _final(comparison, arm)]
    return Evidence(findings)


def _first_loss(arm: Arm) -> Finding:
    what = f"loss before training, {arm.name}"
    expected, ours = [], []
    for seed, run in sorted(arm.complete.items()):
        layers = setting_of(run, "model", "layers")
        kernel = layers[-1]["config"].get("kernel_initializer", {})
        name = kernel if isinstance(kernel, str) else kernel.get("class_name", "")
        if name.lower() != "zeros":
            return Finding(what, "", "", "the output's kernel does not start at zeros", NOT_TESTED)
        share = float((training_targets(run) == 1).mean())
        expected.append(expected_loss(float(one_bias(run.biases("before"), "before")[0]), share))
        ours.append(arm.histories[seed]["loss"][0])
        least = entropy(share)
    at = {"zeros": "log 2", "class_prior": "the entropy H(p)"}.get(arm.setting, "the cross-entropy of p and pi")
    off = float(np.abs(np.subtract(expected, ours)).max())
    text = f"{at} = {over_seeds(expected)}" + ("" if arm.setting == "class_prior" else f" (H(p) = {number(least)})")
    return Finding(what, at, text, f"{over_seeds(ours)}, off by at most {number(off)}", holds(off <= ROUNDING))


def _early_loss(arm: Arm, base: Arm) -> Finding:
    """The validation loss after one epoch, seed by seed."""
    seeds = sorted(arm.histories.keys() & base.histories.keys())
    gaps = [arm.histories[seed]["val_loss"][1] - base.histories[seed]["val_loss"][1] for seed in seeds]
    lower = sum(gap < 0 for gap in gaps)
    ours = f"lower on {lower} of {len(seeds)} seeds; difference {over_seeds(gaps)}, by seed {span(gaps)}"
    what, expected = f"validation loss after one epoch, {arm.name}", f"below {base.name}, every seed"
    return Finding(what, "learns from the first steps on", expected, ours, holds(lower == len(seeds) > 0))


def _final(comparison: Comparison, arm: Arm) -> Finding:
    verdict = next(one for one in comparison.verdicts if one.arm == arm.name)
    what = f"{verdict.metric} at the end, {arm.name}"
    word = UNDECIDED if verdict.verdict == "undecided" else OURS
    return Finding(what, "nothing is claimed", "decided by seeds", difference(verdict), word)


CLAIM = Claim(
    name="prior-bias",
    statement=prose("""
        With imbalanced classes, an output bias at the log odds of the classes makes the loss start at the entropy of
        the labels, and not spend its first steps on learning how rare a class is.
    """),
    sources=(
        prose("""
            TensorFlow, tutorial "Classification on imbalanced data", section "Set the correct initial bias".
        """),
        prose("""
            Karpathy 2019, "A Recipe for Training Neural Networks", karpathy.github.io: "init well".
        """),
        prose("""
            Lin, Goyal, Girshick, He and Dollar 2017, "Focal Loss for Dense Object Detection", ICCV, section 4.1: a
            prior pi = 0.01, b = -log((1 - pi)/pi).
        """),
    ),
    derivation=prose("""
        With an output kernel of zeros every row has the output p = 1/(1 + e^-b); the mean cross-entropy is then log 2
        at b = 0, and lowest, the entropy H, at the log odds.
    """),
    falsified_by=prose("""
        a first loss that differs from the formula by more than 1e-5, or one seed whose validation loss after an epoch
        is not below that of zeros.
    """),
    evaluate=evaluate,
)
