"""A bias before BatchNormalization: cancelled in training, and in evaluation as far as the moving mean has come."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, Table, holds, prose
from pipeline.analysis.known.measures import load_rows_of, number, over_seeds, setting_of, span
from pipeline.store.runs import Run

PUBLISHED = "its effect will be canceled"
CURVES, SHARES, GONE = 1e-6, 1e-4, 1e-3  # largest that count as none: difference of losses, of shares; a share
ROUNDING = 1e-5  # of a test loss whose formula is summed here in float64, in training in float32
ORDER = ["Flatten", "Dense", "BatchNormalization", "ReLU", "Dense"]


def share_left(momentum: float, steps: int) -> float:
    """The share of a bias that evaluation still sees after this many training steps.

    With x w = u, a layer that adds b hands BatchNormalization u + b. In training it subtracts the batch's mean,
    mean(u) + b: the bias is gone, from the output and so from every gradient, and b stays where it started. Evaluation
    subtracts the moving mean m, which starts at 0 and is updated as m <- momentum m + (1 - momentum)(mean(u) + b). By
    induction the part of m that comes from b is (1 - momentum^T) b after T steps, so u + b - m keeps momentum^T b.
    """
    return momentum**steps


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """Per number of steps: training curves, the share of the bias that is left, and the test loss it costs."""
    findings: list[Finding] = []
    rows: list[list[str]] = []
    for arm, base in (pair for comparison in comparisons for pair in _pairs(comparison)):
        described = [layer["class_name"] for layer in setting_of(base.runs[0], "model", "layers")]
        if described != ORDER:
            findings.append(Finding(arm.name, PUBLISHED, "", "the model has other layers", NOT_TESTED))
            continue
        seeds = sorted(arm.complete.keys() & base.complete.keys())
        found = [_hold_pair(arm.complete[seed], base.complete[seed]) for seed in seeds]
        curves = max(one["curves"] for one in found)
        left, steps = found[0]["expected"], found[0]["steps"]
        shares = [one["share"] for one in found]
        gaps, formula = [one["gap"] for one in found], [one["formula"] for one in found]
        off = float(np.abs(np.subtract(gaps, formula)).max())
        findings += [
            Finding(f"{arm.name}: training loss, every epoch", PUBLISHED, f"equal within {CURVES:g}",
                    f"differs by at most {number(curves)}", holds(curves <= CURVES)),
            Finding(f"{arm.name}: share left after {steps} steps", "not mentioned", f"momentum^T = {number(left)}",
                    f"{span(shares)}", holds(max(abs(share - left) for share in shares) <= SHARES)),
            Finding(f"{arm.name}: test loss less that of {base.setting}", "not mentioned",
                    f"by formula {over_seeds(formula)}", f"{over_seeds(gaps)}, off by at most {number(off)}",
                    holds(off <= ROUNDING)),
        ]  # fmt: skip
        rows.append([arm.setting, str(steps), f"{left:.6f}", f"{np.mean(shares):.6f}", over_seeds(gaps)])
    findings += _gone(rows)
    headings = ["arm", "steps T", "momentum^T", "share left", "difference of the test loss"]
    return Evidence(findings, [Table("The gap over the steps", headings, rows)])


def _gone(rows: Sequence[Sequence[str]]) -> list[Finding]:
    """That the gap goes with the share: whether the arms with the least share left have it."""
    findings = []
    for setting in dict.fromkeys(row[0] for row in rows):
        of_arm = sorted((int(row[1]), float(row[2]), float(row[4].split(" ")[0])) for row in rows if row[0] == setting)
        (_, _, first), (steps, left, last) = of_arm[0], of_arm[-1]
        if len(of_arm) > 1 and left < GONE:
            what = f"{setting}: gap of the test loss after {steps} steps"
            ours, is_gone = f"{number(last)}, after {of_arm[0][0]} steps {number(first)}", abs(last) < abs(first) / 100
            findings.append(Finding(what, PUBLISHED, "gone: below 1 % of the first", ours, holds(is_gone)))
    return findings


def _pairs(comparison: Comparison) -> list[tuple[Arm, Arm]]:
    study = comparison.study
    bases = {arm.block: arm for arm in study.arms if arm.setting == study.baseline}
    arms = [arm for arm in study.arms if arm.setting not in (study.baseline, "no_bias")]
    pairs = [(arm, bases[arm.block]) for arm in arms if arm.block in bases and arm.complete]
    return sorted(pairs, key=lambda pair: (pair[0].setting, pair[0].longest))


def _hold_pair(run: Run, base: Run) -> dict[str, Any]:
    """What one seed shows of an arm and its baseline, which differ in the bias of the layer `dense` alone."""
    momentum = setting_of(run, "model", "layers")[2]["config"].get("momentum", 0.99)
    epochs, batch = setting_of(run, "training", "epochs"), setting_of(run, "training", "batch_size")
    steps = epochs * math.ceil(len(run.rows()["train"]) / batch)
    ours, theirs = run.weights(), base.weights()
    offset = ours["before/dense/bias"].astype(np.float64) - theirs["before/dense/bias"]
    moved = (_moving(ours) - _moving(theirs)) / offset
    curves = np.abs(np.subtract(run.history()["loss"][1:], base.history()["loss"][1:])).max()
    expected = share_left(momentum, steps)
    return {
        "steps": steps,
        "expected": expected,
        "share": float((1 - moved).mean()),
        "curves": float(curves),
        "gap": run.meta["metrics"]["test_loss"] - base.meta["metrics"]["test_loss"],
        "formula": predicted_loss(base, expected * offset) - predicted_loss(base, 0 * offset),
    }


def _moving(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    return next(np.asarray(v, np.float64) for k, v in weights.items() if k.startswith("after/") and "moving_mean" in k)


def predicted_loss(base: Run, offset: np.ndarray) -> float:
    """The test loss of a trained model whose first layer's outputs are moved by `offset` [units] in evaluation.

    Flatten, Dense, BatchNormalization with its moving moments, ReLU, Dense, softmax and cross-entropy, in float64, from
    the stored weights, rows and standardization.
    """
    weights = {k.removeprefix("after/"): np.asarray(v, np.float64) for k, v in base.weights().items() if "after/" in k}
    rows, dataset = base.rows(), load_rows_of(base)
    x = ((dataset.x[rows["test"]] - rows["mean"]) / rows["scale"]).reshape(len(rows["test"]), -1)
    norm = {name.rpartition("/")[2]: value for name, value in weights.items() if "batch_norm" in name}
    hidden = x @ weights["dense/kernel"] + weights["dense/bias"] + offset - norm["moving_mean"]
    epsilon = setting_of(base, "model", "layers")[2]["config"].get("epsilon", 1e-3)
    hidden = np.maximum(hidden / np.sqrt(norm["moving_variance"] + epsilon) * norm["gamma"] + norm["beta"], 0)
    logits = hidden @ weights["output/kernel"] + weights["output/bias"]
    logits -= logits.max(1, keepdims=True)
    right = logits[np.arange(len(logits)), dataset.y[rows["test"]]]
    return float((np.log(np.exp(logits).sum(1)) - right).mean())


CLAIM = Claim(
    name="before-batchnorm",
    statement=prose("""
        A bias right before BatchNormalization is cancelled: true of training, while evaluation lacks momentum^T of it
        after T steps.
    """),
    sources=(
        prose("""
            Ioffe and Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
            Covariate Shift", ICML, section 3.2.
        """),
    ),
    derivation=prose("""
        Training subtracts each batch's mean, the bias included. Evaluation subtracts a moving mean that starts at 0,
        and after T steps has 1 - momentum^T of the bias. The test loss then follows from the trained weights of the
        zeros arm with its first layer moved by momentum^T b.
    """),
    falsified_by=prose("""
        a training loss that differs by more than 1e-6 at any epoch, a share of the bias more than 1e-4 from momentum^T,
        or a test loss that is not the formula's within 1e-5.
    """),
    evaluate=evaluate,
)
