"""What ReLU networks without biases cannot learn: their output only scales with the input."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, holds, prose
from pipeline.analysis.known.measures import load_rows_of, number, over_seeds, setting_of, span
from pipeline.store.runs import Run

PUBLISHED = "f(c x) = c f(x) for c > 0"
FLOOR = 1 / 80
ROUNDING = 1e-6


def parabola_floor(x: np.ndarray, y: np.ndarray) -> float:
    """The least mean squared error on rows x, y [n] of a function with f(c x) = c f(x) for c > 0.

    Of one input, such a function is a x for x > 0 and b x for x < 0. On one side, the mean of (y - a x)^2 is least at
    a = sum(x y)/sum(x^2). For y = x^2 on all of [0, 1] that is a = (1/4)/(1/3) = 3/4, and the error is
    1/5 - (1/4)^2/(1/3) = 1/80; by symmetry 1/80 on [-1, 1] too. On a finite set of points it is the sums' value.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    total = 0.0
    for side in (x > 0, x < 0):
        total += (y[side] ** 2).sum() - (x[side] * y[side]).sum() ** 2 / (x[side] ** 2).sum()
    return float(total + (y[x == 0] ** 2).sum()) / len(x)


def circles_loss_floor(inner: float = 0.5) -> float:
    """The least cross-entropy on two circles, of radii 1 and `inner`, of a function with f(c x) = c f(x) for c > 0.

    An outer point of class 0 with the logit z has an inner one of class 1 with the logit inner z. Their mean loss is
    (log(1 + e^z) + log(1 + e^(-inner z)))/2, which is convex in z, and least where
    1/(1 + e^-z) = inner/(1 + e^(inner z)).
    """
    low, high = -50.0, 50.0
    for _ in range(200):  # bisection of the increasing derivative
        z = (low + high) / 2
        slope = 1 / (1 + np.exp(-z)) - inner / (1 + np.exp(inner * z))
        low, high = (z, high) if slope < 0 else (low, z)
    return float(np.logaddexp(0, z) + np.logaddexp(0, -inner * z)) / 2


def _untested(run: Run) -> str:
    rows = run.rows()
    if setting_of(run, "data", "standardize") or np.any(rows["mean"]) or np.any(rows.get("target_mean", 0)):
        return "inputs or targets are shifted"
    if len(rows["test"]) != len(rows["train"]):
        return "not all rows are tested"
    return ""


def _circles(bare: Arm, biased: Arm | None) -> list[Finding]:
    accuracy, loss = list(bare.values("test_accuracy").values()), list(bare.values("test_loss").values())
    floor = circles_loss_floor()
    findings = [
        Finding(
            "circles: accuracy without biases, every seed", PUBLISHED, "exactly 0.5", span(accuracy),
            holds(all(value == 0.5 for value in accuracy)),
        ),
        Finding(
            "circles: loss without biases, every seed", PUBLISHED, f"at least {number(floor)}", span(loss),
            holds(min(loss) >= floor - ROUNDING),
        ),
    ]  # fmt: skip
    if biased is not None:
        values = list(biased.values("test_accuracy").values())
        findings.append(
            Finding(f"circles: accuracy with biases, {biased.name}", "can be learnt", "above 0.5, every seed",
                    over_seeds(values), holds(min(values) > 0.5))
        )  # fmt: skip
    return findings


def _parabola(bare: Arm, biased: Arm | None) -> list[Finding]:
    """The loss of a regression whose target is not scaled is its mean squared error."""
    dataset = load_rows_of(next(iter(bare.complete.values())))
    floor = parabola_floor(dataset.x[:, 0], dataset.y)
    errors = list(bare.values("test_loss").values())
    findings = [
        Finding(
            "parabola: MSE without biases, every seed", PUBLISHED,
            f"at least 1/80 = {FLOOR:g}; on these points {floor:.6f}", span(errors),
            holds(min(errors) >= floor - ROUNDING),
        )
    ]  # fmt: skip
    if biased is not None:
        values = list(biased.values("test_loss").values())
        findings.append(
            Finding(f"parabola: MSE with biases, {biased.name}", "can be learnt", f"below {floor:.6f}, every seed",
                    over_seeds(values), holds(max(values) < floor))
        )  # fmt: skip
    return findings


BY_DATA: dict[str, Callable[[Arm, Arm | None], list[Finding]]] = {"circles": _circles, "parabola": _parabola}


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The floors of each study's arm without biases, and what the same network with biases reaches."""
    findings: list[Finding] = []
    for comparison in comparisons:
        arms = {arm.setting: arm for arm in comparison.study.arms if arm.complete}
        bare, biased = arms.get("no_bias"), arms.get(comparison.study.baseline)
        source = setting_of(comparison.study.arms[0].runs[0], "data", "source")
        if bare is None or source not in BY_DATA:
            why = "no arm without biases" if bare is None else f"the data are {source}"
            findings.append(Finding(comparison.study.name, PUBLISHED, "", why, NOT_TESTED))
            continue
        reasons = {reason for run in bare.complete.values() if (reason := _untested(run))}
        if reasons:
            findings.append(Finding(comparison.study.name, PUBLISHED, "", "; ".join(sorted(reasons)), NOT_TESTED))
            continue
        findings += BY_DATA[source](bare, None if biased is bare else biased)
    return Evidence(findings)


CLAIM = Claim(
    name="need-a-bias",
    statement=prose("""
        A ReLU network without biases is positively homogeneous, so there are simple functions that no training teaches
        it.
    """),
    sources=(
        prose("""
            Neyshabur, Tomioka and Srebro 2015, "Norm-Based Capacity Control in Neural Networks", COLT (JMLR W&CP 40):
            ReLU networks are positively homogeneous. The floors are derived below.
        """),
    ),
    derivation=prose("""
        f(c x) = c f(x) for c > 0. Each inner point of the circles is half an outer one, so both get one class, and one
        of the two is wrong: accuracy 0.5. On x^2 the network is a x for x > 0 and b x for x < 0; the best of these has
        an error of 1/80 on [-1, 1].
    """),
    falsified_by=prose("""
        one seed without biases whose accuracy on the circles is not 0.5, or whose error on the parabola is below the
        floor; or a seed with biases that does not pass it.
    """),
    evaluate=evaluate,
)
