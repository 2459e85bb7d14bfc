"""Controls in which nothing can differ: if a comparison finds a difference there, it is wrong."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, holds, prose
from pipeline.analysis.known.measures import number
from pipeline.analysis.pairing import SHIFTS, START

ROUNDING = 1e-4  # of a loss of order 1 in float32, over some thousand steps of gradient descent


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The largest difference of any learning curve from the baseline's, and the verdict, of each control."""
    findings = []
    for comparison in comparisons:
        study = comparison.study
        base = next((arm for arm in study.arms if arm.setting == study.baseline), None)
        for arm in study.arms:
            if base is None or arm is base:
                continue
            verdict = next(one for one in comparison.verdicts if one.arm == arm.name)
            kind = verdict.construction
            if kind not in (SHIFTS, START):
                findings.append(Finding(arm.name, "", "", f"no control: {verdict.verdict}", NOT_TESTED))
                continue
            gap = largest_gap(arm, base)
            most = 0.0 if kind == START else ROUNDING
            what = "the same arm under another name" if kind == START else "a constant on all logits"
            expected = "no difference at all" if kind == START else f"losses differ by at most {ROUNDING:g}: rounding"
            said = "identical by construction" if "by construction" in verdict.sentence else verdict.verdict
            findings.append(
                Finding(f"{arm.name}: {what}", "nothing can differ", expected,
                        f"at most {number(gap)} on {verdict.pairs} seeds; verdict: {said}",
                        holds(gap <= most and said == "identical by construction"))
            )  # fmt: skip
    return Evidence(findings)


def largest_gap(arm: Arm, base: Arm) -> float:
    """The largest difference of the two arms' training and validation losses, over all epochs and shared seeds."""
    gaps = [
        np.abs(np.subtract(arm.histories[seed][name], base.histories[seed][name])).max()
        for seed in arm.histories.keys() & base.histories.keys()
        for name in ("loss", "val_loss")
    ]
    return float(max(gaps))


CLAIM = Claim(
    name="null-controls",
    statement=prose("""
        Two arms that are the same function at every step cannot differ, and a comparison has to say so: a constant on
        all logits of a softmax, and an arm under another name.
    """),
    sources=(
        prose("""
            Goodfellow, Bengio and Courville 2016, Deep Learning, MIT Press, section 6.2.2.3: softmax(z) = softmax(z +
            c).
        """),
    ),
    derivation=prose("""
        softmax(z + c)_i = e^c e^(z_i)/(e^c sum e^(z_j)) = softmax(z)_i, so outputs, loss and gradients are equal, and
        gradient descent keeps the constant where it is.
    """),
    falsified_by=prose("""
        a difference of a loss beyond rounding, a verdict that is not "identical by construction", or any difference of
        the arm that is the same.
    """),
    evaluate=evaluate,
)
