"""Forget gates that start open: how soon an LSTM does better than a model without memory."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.known.claim import NO, NOT_TESTED, UNDECIDED, YES, Claim, Evidence, Finding, Table, prose
from pipeline.analysis.known.measures import number, setting_of
from pipeline.data.generated import SYMBOLS
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import Run

# What a model without memory reaches at best. The sum of two independent numbers that are uniform in [0, 1) has mean 1
# and variance 2/12, the squared error of always saying 1. Of `SYMBOLS` symbols that are equally likely, saying
# 1/SYMBOLS for each has the cross-entropy log SYMBOLS.
MEMORYLESS: Mapping[str, float] = {"adding": 2 / 12, "copying": math.log(SYMBOLS)}
BEATEN = 0.9  # of that loss: validation rows alone move it by some percent
ORDER = ("chrono", "forget_gate", "zeros")  # the soonest first
EXPECTED = "fewer steps, the interval below 0"
PUBLISHED = {
    "chrono": "learns long dependencies sooner than a bias of 1",
    "forget_gate": "a forget bias of 1 is better than 0",
}


def steps_to_beat(run: Run) -> float:
    """Optimizer steps until the validation loss first is below `BEATEN` times the memoryless one; infinite if never.

    Known to an epoch: the steps of the first epoch that ends so low are counted in full.
    """
    baseline = MEMORYLESS[setting_of(run, "data", "source")]
    low = np.flatnonzero(np.asarray(run.history()["val_loss"]) < BEATEN * baseline)
    return float(low[0]) * _steps_per_epoch(run) if len(low) else math.inf


def _steps_per_epoch(run: Run) -> int:
    return -(-len(run.rows()["train"]) // setting_of(run, "training", "batch_size"))


def evaluate(comparisons: Sequence[Comparison]) -> Evidence:
    """Which of two neighbours in `ORDER` beats the memoryless loss sooner, on each task, and each arm's steps."""
    findings: list[Finding] = []
    rows: list[list[str]] = []
    for comparison in comparisons:
        arms = {arm.setting: arm for arm in comparison.study.arms if arm.complete}
        task = comparison.study.name
        for sooner, later in itertools.pairwise(ORDER):
            what = f"{task}: {sooner} against {later}"
            if sooner in arms and later in arms:
                findings.append(_order(what, arms[sooner], arms[later]))
            else:
                findings.append(Finding(what, PUBLISHED[sooner], EXPECTED, "an arm is missing", NOT_TESTED))
        rows += [_row(task, arm) for arm in arms.values()]
    headings = ["task", "arm", "seeds that beat it", "median steps", "fewest", "most"]
    return Evidence(findings, [Table("Steps until the memoryless loss is beaten", headings, rows)])


def _order(what: str, sooner: Arm, later: Arm) -> Finding:
    """The difference in steps over paired seeds. A run that never beats the loss counts with an epoch more than it had,
    so that the difference to it is rather too small.
    """
    seeds = sorted(set(sooner.complete) & set(later.complete))
    differences = np.array([_counted(sooner.complete[s]) - _counted(later.complete[s]) for s in seeds], np.float64)
    published = PUBLISHED[sooner.setting]
    if not len(seeds):
        return Finding(what, published, EXPECTED, "no seed in both arms", NOT_TESTED)
    mean, _, low, high = mean_interval(differences)
    ours = f"{mean:+.0f} steps [{low:+.0f}, {high:+.0f}], fewer in {(differences < 0).sum()} of {len(seeds)} seeds"
    return Finding(what, published, EXPECTED, ours, YES if high < 0 else NO if low > 0 else UNDECIDED)


def _counted(run: Run) -> float:
    return min(steps_to_beat(run), len(run.history()["val_loss"]) * float(_steps_per_epoch(run)))


def _row(task: str, arm: Arm) -> list[str]:
    steps = np.array([steps_to_beat(run) for run in arm.complete.values()])
    beaten = np.isfinite(steps)
    shown = [
        number(value) if math.isfinite(value) else "never" for value in (np.median(steps), steps.min(), steps.max())
    ]
    return [task, arm.name, f"{int(beaten.sum())} of {len(steps)}", *shown]


CLAIM = Claim(
    name="gates",
    statement=prose("""
        An LSTM whose forget gates start open learns to remember sooner: with biases of 1 sooner than with 0, and with
        chrono biases, spread over the lengths that may have to be remembered, soonest.
    """),
    sources=(
        prose("""
            Jozefowicz, Zaremba and Sutskever 2015, An Empirical Exploration of Recurrent Network Architectures, ICML,
            2342-2350: a forget bias of 1 closes the gap between LSTM and GRU.
        """),
        prose("""
            Tallec and Ollivier 2018, Can recurrent neural networks warp time?, ICLR: chrono initialization, the forget
            bias log U(1, T - 1) and the input bias its negative, on copy and adding tasks of hundreds of steps.
        """),
        prose("""
            The adding problem is Hochreiter and Schmidhuber's, 1997, Long Short-Term Memory, Neural Computation 9,
            1735-1780, experiment 4; here 40 steps long. Of the copy task only the first symbol is asked for.
        """),
    ),
    derivation=prose("""
        A gate with bias b keeps sigmoid(b) of its cell at every step, so what is left after k steps is sigmoid(b)^k:
        0.5^20 = 1e-6 for 0, 0.73^20 = 0.002 for 1, and 1/e for the chrono bias log(k - 1) at large k. Gradients through
        time shrink alike. Without memory the least loss is 1/6 (adding) and log 8 (copying).
    """),
    falsified_by=prose("""
        an interval of the difference in steps, over paired seeds, that lies above 0; or lies around 0 with both tasks
        learnt by all arms.
    """),
    evaluate=evaluate,
)
