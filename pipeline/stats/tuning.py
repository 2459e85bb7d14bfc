"""Compare arms, each at the best of several values of a setting, without letting a seed choose and judge.

The seeds are split in two halves. On one the value is chosen by the mean validation metric, on the other it is judged
by the test metric, and then the halves change places. So each seed is judged at a value that it had no part in
choosing, and the chance that makes a value look best is in no result. The halves are the same for every arm: the
differences from the baseline stay paired by seed.

The question is whether the best that the arm's values can do differs from the best that the baseline's can do. Half of
the seeds may miss the best value, and then all seeds that are judged there suffer together, which a test of the judged
differences alone would take for a difference of the arms: with values that are hard to tell apart it finds one in 14 %
of simulated studies without any. So an arm is `better` only if its judged values beat the baseline at each value of the
grid, and `worse` only if the baseline's judged values beat the arm at each of its values: missing the best value can
then hide a difference, but never make one. That is an intersection-union test, which needs no correction for the number
of values; interval and equivalence follow the same rule. `tests/stats/test_tuning.py` simulates all of it.

Sources: Varma and Simon 2006, "Bias in Error Estimation When Using Cross-Validation for Model Selection"; Cawley and
Talbot 2010, "On Over-fitting in Model Selection and Subsequent Selection Bias in Performance Evaluation"; Berger 1982,
"Multiparameter Hypothesis Testing and Acceptance Sampling" (intersection-union tests).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.stats.intervals import ALPHA, RESOLUTION, bootstrap_interval
from pipeline.stats.paired import compare_paired, equivalence_above, paired_differences
from pipeline.stats.permutation import sign_flip

FEWEST_SEEDS = 4  # two to choose by in each half


@dataclass(frozen=True)
class Tuned:
    """An arm at the values that were chosen for it.

    test: its test metric at every value [seeds, values]. judged: each seed's at the value that the other half chose
    [seeds]. chosen: the value, an index, that is judged on each half. rivals: the values, indices, that the seeds
    cannot tell from the chosen one; known where all of them chose.
    """

    test: np.ndarray
    judged: np.ndarray
    chosen: tuple[int, int]
    rivals: tuple[int, ...] = ()


def halves(n: int) -> np.ndarray:
    """Return the half, 0 or 1, that each of n seeds [n] is judged in: even and odd positions."""
    return np.arange(n) % 2


def choose_and_judge(validation: np.ndarray, test: np.ndarray, higher_is_better: bool) -> Tuned:
    """Choose a value on each half of the seeds, and judge it on the other.

    validation, test: [seeds, values], the same seeds in the same order for every arm that is compared. Of values that
    are equally good the first is chosen, so their order says which is preferred.
    """
    validation, test = np.asarray(validation, np.float64), np.asarray(test, np.float64)
    half = halves(len(test))
    first, second = (_best(validation[half != judged].mean(axis=0), higher_is_better) for judged in (0, 1))
    return Tuned(test, np.where(half == 0, test[:, first], test[:, second]), (first, second))


def choose_once(validation: np.ndarray, test: np.ndarray, higher_is_better: bool) -> Tuned:
    """Choose a value on all of these seeds, to be judged by other ones: `judged` shows what chose, and is no evidence.

    The value is fixed before any seed judges it, so what is then said of it is exact. It need not be the best one:
    where the seeds cannot tell several apart (`rivals`), two arms with the same best may differ at the chosen values.
    For the arguments, see `choose_and_judge`.
    """
    validation, test = np.asarray(validation, np.float64), np.asarray(test, np.float64)
    best = _best(validation.mean(axis=0), higher_is_better)
    pairs = [paired_differences(validation[:, best], column) for column in validation.T]
    rivals = [i for i, (differences, error) in enumerate(pairs) if i != best and sign_flip(differences, error) > ALPHA]
    return Tuned(test, test[:, best], (best, best), tuple(rivals))


def _best(means: np.ndarray, higher_is_better: bool) -> int:
    gains = means if higher_is_better else -means
    return int(np.flatnonzero(gains.max() - gains <= RESOLUTION * np.abs(gains).max())[0])


def compare_tuned(arm: Tuned, base: Tuned, higher_is_better: bool, confidence: float = 1 - ALPHA) -> dict[str, float]:
    """Compare the best of an arm with the best of the baseline: the keys of `stats.paired.compare_paired`.

    difference, effect, improvement and won are those of the judged values. p and the interval also allow for what half
    of the seeds may have missed: low is the lowest end of (judged - baseline at a value) over the values, high the
    highest of (arm at a value - judged baseline).
    """
    result = compare_paired(arm.judged, base.judged, higher_is_better)
    above, below = _bounding_differences(arm, base)
    ends = [bootstrap_interval(differences, confidence) for differences, _ in (*above, *below)]
    result["low"] = min(low for low, _ in ends[: len(above)])
    result["high"] = max(high for _, high in ends[len(above) :])
    p_above = max(_one_direction(*pair, sign=1) for pair in above)
    p_below = max(_one_direction(*pair, sign=-1) for pair in below)
    return result | {"p": min(p_above, p_below)}


def hardest_differences(arm: Tuned, base: Tuned) -> np.ndarray:
    """Return those of the differences [seeds] which have to show the observed direction that show it least.

    How many seeds an undecided arm takes follows from them: the other values are passed by fewer. Where they show the
    other direction, their mean is taken off, since then no number of seeds shows this one, but many may show equality.
    """
    above, below = _bounding_differences(arm, base)
    is_above = float(np.mean(arm.judged - base.judged)) >= 0
    side, sign = (above, 1) if is_above else (below, -1)
    hardest = min((differences for differences, _ in side), key=lambda one: sign * float(one.mean()))
    return hardest if sign * float(hardest.mean()) > 0 else hardest - hardest.mean()


def equivalent_tuned(arm: Tuned, base: Tuned, margin: float) -> float:
    """Return p that the best of an arm lies within +-margin of the best of the baseline, by the same rule."""
    above, below = _bounding_differences(arm, base)
    lower = [equivalence_above(differences, -margin) for differences, _ in above]
    upper = [equivalence_above(-differences, -margin) for differences, _ in below]
    return max(*lower, *upper)


def _bounding_differences(
    arm: Tuned, base: Tuned
) -> tuple[list[tuple[np.ndarray, float]], list[tuple[np.ndarray, float]]]:
    """Differences [seeds], with their rounding error, whose means lie below the true difference of the bests for one
    value at least, and above it.
    """
    above = [paired_differences(arm.judged, column) for column in base.test.T]
    below = [paired_differences(column, base.judged) for column in arm.test.T]
    return above, below


def _one_direction(differences: np.ndarray, resolution: float, sign: int) -> float:
    """The two-sided p of differences [n] whose mean has this sign; 1 for others."""
    return sign_flip(differences, resolution) if sign * differences.sum() > 0 else 1.0
