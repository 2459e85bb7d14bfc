"""Paired and unpaired comparisons of an arm with its baseline."""

import warnings
from collections.abc import Sequence

import numpy as np

from pipeline.stats.intervals import ALPHA, RESAMPLES, RESOLUTION, bootstrap_interval, improvement_interval
from pipeline.stats.permutation import sign_flip, wilcoxon


def compare_paired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """An arm against the baseline, [n] each, the same seeds in the same order.

    pairs; difference with its interval low, high; p (sign flips) and p_wilcoxon, two-sided; effect (mean over standard
    deviation of the differences); improvement, the probability that the arm beats the baseline, with its interval;
    won, the share of seeds that it wins, ties counting half. What n pairs cannot tell is nan.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    differences, resolution = paired_differences(values, baseline)
    n = len(differences)
    low, high = bootstrap_interval(differences)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    wins = np.sign(differences) * (1 if higher_is_better else -1)
    improved = improvement_interval(better, worse, paired=True)
    return {
        "pairs": n,
        "difference": float(differences.mean()) if n else np.nan,
        "low": low,
        "high": high,
        "p": sign_flip(differences, resolution),
        "p_wilcoxon": wilcoxon(differences),
        "effect": effect_size(differences),
        "improvement": improved[0],
        "improvement_low": improved[1],
        "improvement_high": improved[2],
        "won": float(wins.mean() / 2 + 0.5) if n else np.nan,
    }


def paired_differences(values: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, float]:
    """values - baseline, [n] each, where differences that only rounding tells apart are equal; and that rounding.

    One picture more of 360 is 0.0027778 in one seed and 0.0027777 in another: ranks, ties and zeros must not see that.
    Each pair has its own rounding, none where it is equal; the mean is given. So a seed that has a loss of a million in
    both arms blurs no other seed.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    differences = values - baseline
    if not len(differences):
        return differences, 0.0
    rounding, sizes = RESOLUTION * np.abs([values, baseline]).max(axis=0), np.abs(differences)
    apart = np.flatnonzero(sizes > rounding)
    apart = apart[np.argsort(sizes[apart])]
    steps = np.diff(sizes[apart]) > (rounding[apart][1:] + rounding[apart][:-1]) / 2
    group = np.cumsum([0, *steps])[: len(apart)]
    means = np.bincount(group, sizes[apart]) / np.bincount(group)
    rounded = np.zeros_like(differences)
    rounded[apart] = means[group] * np.sign(differences[apart])
    return rounded, float(rounding[apart].sum() / len(differences))


def effect_size(differences: np.ndarray) -> float:
    """Mean over standard deviation of differences [n], Cohen's d_z: 0 for no difference, nan without a spread."""
    differences = np.asarray(differences, np.float64)
    if len(differences) < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return np.nan if differences[0] else 0.0
    return float(differences.mean() / differences.std(ddof=1))


def compare_unpaired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """As `paired`, for two arms [n] and [m] whose seeds are not pairs: Welch's t interval and permutations of the runs.

    Wilcoxon's p is that of Mann and Whitney's test; effect is Cohen's d; won is nan, and pairs 0.
    """
    from scipy import stats

    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    improved = improvement_interval(better, worse, paired=False)
    found = dict.fromkeys(("low", "high", "p", "p_wilcoxon", "effect", "won"), np.nan)
    if min(len(values), len(baseline)) > 1:
        spread = np.sqrt((values.var(ddof=1) + baseline.var(ddof=1)) / 2)
        if np.ptp(values) or np.ptp(baseline):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of one arm without a spread, which the other one makes up for
                welch = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval(1 - ALPHA)
            found |= {"low": float(welch.low), "high": float(welch.high)}
            found["effect"] = float((values.mean() - baseline.mean()) / spread)
        drawn = stats.permutation_test(
            (values, baseline), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True,
            n_resamples=RESAMPLES, rng=np.random.default_rng(0),
        )  # fmt: skip
        found |= {"p": float(drawn.pvalue), "p_wilcoxon": float(stats.mannwhitneyu(values, baseline).pvalue)}
    found |= dict(zip(("improvement", "improvement_low", "improvement_high"), improved, strict=True))
    return found | {"pairs": 0, "difference": float(values.mean() - baseline.mean())}


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p values of a family; nan stays out of the family.

    As statsmodels' `multipletests`, which collects garbage at every call: a fifth of a second beside TensorFlow.
    """
    p = np.asarray(p, np.float64)
    adjusted, order = np.full(len(p), np.nan), np.argsort(p)[: np.sum(~np.isnan(p))]  # nan sorts last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def equivalence(differences: np.ndarray, margin: float) -> float:
    """p of two one-sided t tests that the mean of paired differences [n] lies within +-margin; nan for fewer than 2.

    Differences that are all the same have no spread for a t test: then the signs alone count, 1 / 2^n.
    """
    from scipy.special import stdtr

    differences = np.asarray(differences, np.float64)
    n = len(differences)
    if n < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return 0.5**n if abs(differences[0]) < margin else 1.0
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(n)
    return float(max(stdtr(n - 1, -(mean + margin) / error), stdtr(n - 1, (mean - margin) / error)))
