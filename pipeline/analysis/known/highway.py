"""The biases of transform gates in Highway networks: where they start, and where they go."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NO, NOT_TESTED, OURS, UNDECIDED, YES, Claim, Evidence, Finding, Table, prose
from pipeline.analysis.known.measures import difference, number, over_seeds
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import Run

HALF = 0.5


def gate_biases(run: Run, moment: str) -> dict[str, np.ndarray]:
    """The biases of the transform gates at this moment, by layer, in the order of the layers."""
    biases = run.biases(moment)
    gates = {name.split("/")[1]: value for name, value in biases.items() if name.endswith("/bias")}
    return {layer: value.astype(np.float64) for layer, value in gates.items() if layer.startswith("highway")}


def share_lower(run: Run) -> float:
    """The share of the gates' biases that training has made lower than they started."""
    before, after = gate_biases(run, "before"), gate_biases(run, "after")
    lower = np.concatenate([(after[name] < before[name]).ravel() for name in before])
    return float(lower.mean())


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """The direction of the gates' biases of every arm, and what a negative start is good for."""
    findings: list[Finding] = []
    rows: list[list[str]] = []
    for comparison in comparisons:
        for arm in (arm for arm in comparison.study.arms if arm.complete and arm.setting != "no_bias"):
            runs = [arm.complete[seed] for seed in sorted(arm.complete)]
            if not gate_biases(runs[0], "before"):
                findings.append(Finding(arm.name, "", "", "no Highway layer", NOT_TESTED))
                continue
            findings.append(_direction(arm, runs))
            for layer in gate_biases(runs[0], "before"):
                starts = [float(gate_biases(run, "before")[layer].mean()) for run in runs]
                ends = [float(gate_biases(run, "after")[layer].mean()) for run in runs]
                rows.append([arm.name, layer, number(float(np.mean(starts))), over_seeds(ends)])
        for verdict in comparison.compared:
            word = {"better": YES, "undecided": UNDECIDED}.get(verdict.verdict, NO)
            what, published = f"{verdict.metric} with {verdict.arm}", "negative biases help deep networks to train"
            findings.append(Finding(what, published, f"better than {verdict.baseline}", difference(verdict), word))
    table = Table("Mean of the gates' biases", ["arm", "layer", "before", "after, over seeds"], rows)
    return Evidence(findings, [table])


def _direction(arm: Arm, runs: Sequence[Run]) -> Finding:
    shares = [share_lower(run) for run in runs]
    mean, _, low, high = mean_interval(np.asarray(shares))
    is_negative = all(value.max() < 0 for value in gate_biases(runs[0], "before").values())
    word = YES if low > HALF else NO if high < HALF else UNDECIDED
    published = "most biases decreased further" if is_negative else "not mentioned: does not start negative"
    expected = f"more than {HALF:.0%} are lower than at the start"
    ours = over_seeds(shares) if np.isfinite(low) else number(mean)
    return Finding(
        f"gates of {arm.name}: share that is lower", published, expected, ours, word if is_negative else OURS
    )


CLAIM = Claim(
    name="highway",
    statement=prose("""
        The biases of transform gates, which start negative so that a Highway network first carries its input, mostly
        decrease further in training.
    """),
    sources=(
        prose("""
            Srivastava, Greff and Schmidhuber 2015, Training Very Deep Networks, NeurIPS 28, 2377-2385, section 5:
            contrary to what was expected, most biases decreased further. Their networks have 50 layers, data and
            training are others: only the direction is tested.
        """),
    ),
    derivation=prose("""
        Nothing makes it so: this is an observation, and one of large networks. Here ten Highway layers learn digits.
    """),
    falsified_by=prose("""
        an interval of the share of biases that are lower after training than before that lies below one half.
    """),
    evaluate=evaluate,
)
