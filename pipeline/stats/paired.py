"""Compare an arm with its baseline: difference, interval, p values, effect size, equivalence.

`compare_paired` is for arms whose runs of one seed share kernels, split and data order: it looks at the differences
seed by seed. `compare_unpaired` is for arms whose runs do not. Both return the same columns. `holm` corrects p values
for the number of arms, and `equivalence` tests whether a difference is too small to matter.

Sources: Cohen 1988, "Statistical Power Analysis for the Behavioral Sciences" (effect sizes); Holm 1979, "A Simple
Sequentially Rejective Multiple Test Procedure"; Lakens 2017, "Equivalence Tests" (two one-sided tests); Welch 1947,
"The Generalization of Student's Problem".
"""

import warnings
from collections.abc import Sequence

import numpy as np

from pipeline.stats.improvement import improvement_interval
from pipeline.stats.intervals import ALPHA, RESOLUTION, bootstrap_interval
from pipeline.stats.permutation import exchange, sign_flip, wilcoxon

FEWEST_EQUIVALENT = 29  # seeds
FAILURE = 10  # margins by which one seed may differ


def compare_paired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """Compare an arm's values [n] with the baseline's [n], the same seeds in the same order.

    Returns
        pairs: n
        difference, low, high: mean of values - baseline, with its bootstrap interval
        p, p_wilcoxon: two-sided p of the sign-flip test and of Wilcoxon's signed-rank test
        effect: mean of the differences over their standard deviation
        improvement, improvement_low, improvement_high: probability that a run of the arm beats one of the baseline
        won: share of seeds on which the arm beats the baseline, ties counting half
    A number that n pairs cannot give is nan.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    differences, resolution = paired_differences(values, baseline)
    n = len(differences)
    low, high = bootstrap_interval(differences)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    wins = np.sign(differences) * (1 if higher_is_better else -1)
    improvement, improvement_low, improvement_high = improvement_interval(better, worse, paired=True)
    return {
        "pairs": n,
        "difference": float(differences.mean()) if n else np.nan,
        "low": low,
        "high": high,
        "p": sign_flip(differences, resolution),
        "p_wilcoxon": wilcoxon(differences),
        "effect": effect_size(differences),
        "improvement": improvement,
        "improvement_low": improvement_low,
        "improvement_high": improvement_high,
        "won": float(wins.mean() / 2 + 0.5) if n else np.nan,
    }


def paired_differences(values: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, float]:
    """Return values - baseline [n] with rounding noise removed, and the mean rounding error of a difference.

    Metrics are computed in single precision: one more correct row of 360 is 0.0027778 in one seed and 0.0027777 in
    another, which ranks, ties and zeros must not see. So differences below their pair's rounding error become 0, and
    absolute differences that lie within rounding of each other are replaced by their mean. Each pair has a rounding
    error of its own, so that a seed with a loss of a million in both arms does not blur the other seeds.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    differences = values - baseline
    if not len(differences):
        return differences, 0.0
    rounding, sizes = RESOLUTION * np.abs([values, baseline]).max(axis=0), np.abs(differences)
    nonzero = np.flatnonzero(sizes > rounding)
    nonzero = nonzero[np.argsort(sizes[nonzero])]
    starts_group = np.diff(sizes[nonzero]) > (rounding[nonzero][1:] + rounding[nonzero][:-1]) / 2
    group = np.cumsum([0, *starts_group])[: len(nonzero)]
    means = np.bincount(group, sizes[nonzero]) / np.bincount(group)
    cleaned = np.zeros_like(differences)
    cleaned[nonzero] = means[group] * np.sign(differences[nonzero])
    return cleaned, float(rounding[nonzero].sum() / len(differences))


def effect_size(differences: np.ndarray) -> float:
    """Return Cohen's d_z of differences [n]: mean over standard deviation.

    0 if all differences are 0; nan if they are equal otherwise, or fewer than two.
    """
    differences = np.asarray(differences, np.float64)
    if len(differences) < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return np.nan if differences[0] else 0.0
    return float(differences.mean() / differences.std(ddof=1))


def compare_unpaired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """Compare an arm's values [n] with the baseline's [m] where runs of one seed are not pairs.

    Returns the keys of `compare_paired` with other methods behind them: low and high are Welch's t interval, p comes
    from exchanging runs between the two arms, p_wilcoxon is that of Mann and Whitney's test, effect is Cohen's d. won
    is nan and pairs is 0. With fewer than two runs of either arm only the difference and improvement are numbers.
    """
    from scipy import stats

    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    improvement = improvement_interval(better, worse, paired=False)
    result = dict.fromkeys(("low", "high", "p", "p_wilcoxon", "effect", "won"), np.nan)
    if min(len(values), len(baseline)) > 1:
        if np.ptp(values) or np.ptp(baseline):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SciPy warns if one arm's values are equal; Welch's test allows that
                welch = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval(1 - ALPHA)
            result |= {"low": float(welch.low), "high": float(welch.high)}
            std = np.sqrt((values.var(ddof=1) + baseline.var(ddof=1)) / 2)
            result["effect"] = float((values.mean() - baseline.mean()) / std)
        resolution = RESOLUTION * float(np.abs([*values, *baseline]).mean())
        result |= {
            "p": exchange(values, baseline, resolution),
            "p_wilcoxon": float(stats.mannwhitneyu(values, baseline).pvalue),
        }
    result |= dict(zip(("improvement", "improvement_low", "improvement_high"), improvement, strict=True))
    return result | {"pairs": 0, "difference": float(values.mean() - baseline.mean())}


def holm(p: Sequence[float]) -> np.ndarray:
    """Return Holm's adjusted p values of a family of tests; a nan stays nan and does not count as a test.

    SciPy has no Holm correction. statsmodels' `multipletests` gives the same numbers, but takes seconds to import.
    """
    values = np.asarray(p, np.float64)
    adjusted, order = np.full(len(values), np.nan), np.argsort(values)[: np.sum(~np.isnan(values))]  # nan sorts last
    stepwise = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepwise), 1)
    return adjusted


def equivalence(differences: np.ndarray, margin: float) -> float:
    """Return p of two one-sided t tests that the mean of differences [n] lies within +-margin; nan for fewer than two.

    Equal differences leave a t test no spread. Their p is 1 / 2^n, as if only their signs were known.
    """
    return float(np.max([equivalence_above(side, -margin) for side in (differences, np.negative(differences))]))


def equivalence_above(differences: np.ndarray, bound: float) -> float:
    """Return p of the one-sided t test that the mean of differences [n] lies above a bound, see `equivalence`."""
    from scipy.special import stdtr

    differences = np.asarray(differences, np.float64)
    n = len(differences)
    if n < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return 0.5**n if differences[0] > bound else 1.0
    error = differences.std(ddof=1) / np.sqrt(n)
    return float(stdtr(n - 1, (bound - differences.mean()) / error))


def excludes_failures(differences: np.ndarray, margin: float) -> bool:
    """Whether differences [n] within +-margin on average also exclude that an arm fails on some seeds.

    A mean over few seeds is blind to failures that none of them shows: an arm that loses 0.5 on one seed in ten looks
    equivalent in 35 % of studies of 10 seeds. With `FEWEST_EQUIVALENT` seeds such a failure shows in 95 % of studies
    (1 - 0.9^29), and then it counts: no seed may differ by more than `FAILURE` margins.
    """
    return len(differences) >= FEWEST_EQUIVALENT and not shows_failure(differences, margin)


def shows_failure(differences: np.ndarray, margin: float) -> bool:
    """Whether a single one of differences [n] is beyond `FAILURE` margins, which no mean over more seeds excuses."""
    bound = FAILURE * margin * (1 + 1e-4)  # 18 rows of 360 are 10 margins of 0.005, but for rounding
    return bool(np.abs(differences).max(initial=0.0) > bound)
