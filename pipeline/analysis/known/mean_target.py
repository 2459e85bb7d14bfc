"""The bias of a linear output goes to the mean target at a rate that only the learning rate decides."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NOT_TESTED, Claim, Evidence, Finding, Table, holds, prose
from pipeline.analysis.known.measures import number, one_bias, setting_of, span, training_targets
from pipeline.store.runs import Run

TOLERANCE = 1e-4
SHOWN = (0, 1, 2, 5, 10, 20, 50)  # steps in the page's table


def expected_bias(initial: float, mean: float, learning_rate: float, steps: np.ndarray) -> np.ndarray:
    """The bias after each number of steps [T].

    The model is x w + b on the rows (x_i, y_i), i = 1..n, and every feature has a mean of 0 over them. The loss
    L = (1/n) sum (x_i w + b - y_i)^2 has dL/db = 2 (mean(x) w + b - ybar) = 2 (b - ybar): the kernel drops out. A step
    of gradient descent is b <- b - 2 lr (b - ybar), so that the distance to ybar shrinks by 1 - 2 lr, and after t steps
    b_t = ybar + (b_0 - ybar) (1 - 2 lr)^t.
    """
    return mean + (initial - mean) * (1 - 2 * learning_rate) ** np.asarray(steps, np.float64)


def _untested(run: Run) -> str:
    """Why the formula does not apply to a run; "" if it does."""
    optimizer, training = setting_of(run, "optimizer"), setting_of(run, "training")
    if optimizer["class_name"] != "SGD" or optimizer["config"].get("momentum") or optimizer["schedule"]:
        return "the optimizer is not plain gradient descent"
    if len(run.rows()["train"]) > training["batch_size"]:
        return "an epoch is more than one step"
    layers = [layer["class_name"] for layer in setting_of(run, "model", "layers")]
    is_linear = layers in (["Dense"], ["Flatten", "Dense"])
    return "" if is_linear and training["loss"] in ("auto", "mse") else "the model or the loss is another one"


def _errors(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps, bias, expected bias), each [T], of a run."""
    arrays = run.biases("trajectory", "epoch")
    bias, steps = one_bias(arrays, "trajectory").ravel(), arrays["epoch"].astype(int)
    mean = float(training_targets(run).mean())
    return steps, bias, expected_bias(bias[0], mean, setting_of(run, "optimizer", "learning_rate"), steps)


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """Hold every point of every trajectory against the formula."""
    findings, rows = [], []
    for arm in (arm for comparison in comparisons for arm in comparison.study.arms if arm.setting != "no_bias"):
        what = f"b_t of {arm.name}, every seed and step"
        expected = f"ybar + (b_0 - ybar)(1 - 2 lr)^t, within {TOLERANCE:g} of its size"
        reasons = {reason for run in arm.complete.values() if (reason := _untested(run))}
        if reasons:
            findings.append(Finding(what, "", expected, "; ".join(sorted(reasons)), NOT_TESTED))
            continue
        largest = []
        for seed, run in sorted(arm.complete.items()):
            steps, bias, theory = _errors(run)
            largest.append(float((np.abs(bias - theory) / np.maximum(np.abs(theory), 1)).max()))
            if seed == min(arm.complete):
                chosen = np.flatnonzero(np.isin(steps, SHOWN))
                rows += [[arm.name, str(steps[i]), f"{theory[i]:.5f}", f"{bias[i]:.5f}"] for i in chosen]
        ours = f"off by at most {number(max(largest))}; by seed {span(largest)}"
        findings.append(Finding(what, "goes to the mean target", expected, ours, holds(max(largest) <= TOLERANCE)))
    table = Table("The bias of the first seed", ["arm", "step", "expected", "ours"], rows)
    return Evidence(findings, [table])


CLAIM = Claim(
    name="mean-target",
    statement=prose("""
        With a mean squared error, the bias of a linear output goes to the mean of the targets, and its distance to it
        shrinks by 1 - 2 lr per full step, whatever the kernel does.
    """),
    sources=(
        prose("""
            Derived below. The mean as the best constant under a squared error: Goodfellow, Bengio and Courville 2016,
            Deep Learning, MIT Press, section 6.2.1.1.
        """),
    ),
    derivation=prose("""
        Features have a mean of 0 over the training rows, so dL/db = 2 (b - ybar), and gradient descent gives b_t = ybar
        + (b_0 - ybar)(1 - 2 lr)^t.
    """),
    falsified_by="one point of one trajectory that is further than 1e-4 of its size from the formula.",
    evaluate=evaluate,
)
