"""Statistics over seeds: pure functions on arrays, SciPy and statsmodels underneath.

Sources: Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks"; Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice"; Demsar 2006, "Statistical Comparisons of Classifiers
over Multiple Data Sets"; Hesterberg 2015, "What Teachers Should Know About the Bootstrap".
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

ALPHA, POWER = 0.05, 0.8
RESAMPLES = 4000  # of a bootstrap
EXACT, FLIPS = 20, 100_000  # pairs up to which all signs are tried; how many are drawn beyond
MOST_SEEDS = 100_000  # more are not advised


def mean_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float, float, float]:
    """Mean, sample standard deviation, and Student's t interval of the mean (low, high) of `values` [n].

    With one value there is no spread to estimate: standard deviation and interval are nan. With none all are nan.
    """
    from scipy.stats import t

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else np.nan, np.nan, np.nan, np.nan)
    mean, std = float(values.mean()), float(values.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * std / np.sqrt(n)
    return mean, std, float(mean - half), float(mean + half)


def band(curves: np.ndarray, confidence: float = 1 - ALPHA) -> np.ndarray:
    """`mean_interval` at every point: curves [n, points] -> [4, points], rows mean, std, low, high."""
    return np.array([mean_interval(column, confidence) for column in np.asarray(curves).T]).T


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half of `values` [n], of which a value may belong in part (Agarwal et al. 2021)."""
    values = np.sort(np.asarray(values, np.float64))
    n = len(values)
    if n == 0:
        return np.nan
    places = np.arange(n)
    shares = np.clip(np.minimum(places + 1, 0.75 * n) - np.maximum(places, 0.25 * n), 0, None)
    return float(shares @ values / shares.sum())


def describe(values: np.ndarray) -> dict[str, float]:
    """mean, median, iqm, std, low, high (95 % t interval of the mean) of `values` [n]; nan where there are too few."""
    values = np.asarray(values, np.float64)
    mean, std, low, high = mean_interval(values)
    median = float(np.median(values)) if len(values) else np.nan
    return {"mean": mean, "median": median, "iqm": interquartile_mean(values), "std": std, "low": low, "high": high}


def paired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """An arm against the baseline, [n] each, the same seeds in the same order.

    pairs; difference with its interval low, high; p (sign flips) and p_wilcoxon, two-sided; effect (mean over standard
    deviation of the differences); improvement, the probability that the arm beats the baseline, with its interval;
    won, the share of seeds that it wins, ties counting half. What n pairs cannot tell is nan.
    """
    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    differences = values - baseline
    low, high = bootstrap_interval(differences)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    std = differences.std(ddof=1) if len(differences) > 1 else np.nan
    constant = std == 0
    effect = (0.0 if differences[0] == 0 else np.copysign(np.inf, differences[0])) if constant else None
    improved = improvement_interval(better, worse)
    return {
        "pairs": len(differences),
        "difference": float(differences.mean()) if len(differences) else np.nan,
        "low": low,
        "high": high,
        "p": sign_flip(differences),
        "p_wilcoxon": wilcoxon(differences),
        "effect": effect if constant else float(differences.mean() / std) if len(differences) > 1 else np.nan,
        "improvement": improved[0],
        "improvement_low": improved[1],
        "improvement_high": improved[2],
        "won": float(np.mean((better > worse) + 0.5 * (better == worse))) if len(differences) else np.nan,
    }


def unpaired(values: np.ndarray, baseline: np.ndarray, higher_is_better: bool) -> dict[str, float]:
    """As `paired`, for two arms [n] and [m] whose seeds are not pairs: Welch's t interval and permutations of the runs.

    Wilcoxon's p is that of Mann and Whitney's test; effect is Cohen's d; won is nan, and pairs 0.
    """
    from scipy import stats

    values, baseline = np.asarray(values, np.float64), np.asarray(baseline, np.float64)
    better, worse = (values, baseline) if higher_is_better else (baseline, values)
    improved = improvement_interval(better, worse)
    found = dict.fromkeys(("low", "high", "p", "p_wilcoxon", "effect", "won"), np.nan)
    if min(len(values), len(baseline)) > 1:
        spread = np.sqrt((values.var(ddof=1) + baseline.var(ddof=1)) / 2)
        if spread > 0:
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


def bootstrap_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """BCa bootstrap interval of the mean of `values` [n], widened for few values; nan for fewer than 2.

    A bootstrap of n values is narrow by sqrt((n - 1) / n), and by the normal in place of Student's t: 90 % instead of
    95 for n = 10. Its level is raised by as much (Hesterberg 2015, the expanded interval). Of equal values it is the
    value.
    """
    from scipy.stats import bootstrap, norm, t

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    if (values == values[0]).all():
        return float(values[0]), float(values[0])
    tail = norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf((1 + confidence) / 2, n - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate samples, for which it gives nan
        found = bootstrap((values,), np.mean, confidence_level=1 - 2 * tail, n_resamples=RESAMPLES, method="BCa",
                          rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
    low, high = float(found.low), float(found.high)
    return (low, high) if np.isfinite(low + high) else mean_interval(values, confidence)[2:]


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the mean of paired differences [n]: the share of sign choices that bring their sum as far from 0.

    All 2^n up to 20 pairs, so the smallest is 2 / 2^n; beyond, drawn from a fixed seed. 1 when all are zero, and for
    one pair; nan for none.
    """
    differences = np.asarray(differences, np.float64)
    n = len(differences)
    if n == 0:
        return np.nan
    observed = abs(differences.sum())
    enough = observed * (1 - 1e-9) - 1e-300  # sums that are equal but for rounding count
    if n > EXACT:
        rng, found, block = np.random.default_rng(0), 0, max(1, 10**6 // n)
        for start in range(0, FLIPS, block):
            kept = rng.integers(0, 2, (min(block, FLIPS - start), n), np.int8).astype(np.float64) @ differences
            found += np.sum(np.abs(2 * kept - differences.sum()) >= enough)
        return float((1 + found) / (1 + FLIPS))
    halves = [_signed_sums(half) for half in np.array_split(differences, 2)]
    return float(np.mean(np.abs(np.add.outer(*halves)) >= enough))


def _signed_sums(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros ranked by Pratt's rule; 1 when all are zero, nan for none."""
    from scipy import stats

    differences = np.asarray(differences, np.float64)
    if not differences.any():
        return 1.0 if len(differences) else np.nan
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def improvement_interval(better: np.ndarray, worse: np.ndarray) -> tuple[float, float, float]:
    """P(a run of one arm beats a run of another), ties counting half, [n] and [m] values; with its 95 % interval.

    Percentile bootstrap over seeds, which keeps pairs together where both have the same seeds (Agarwal et al. 2021).
    """
    if len(better) == 0 or len(worse) == 0:
        return np.nan, np.nan, np.nan
    wins = np.sign(np.subtract.outer(np.asarray(better, np.float64), np.asarray(worse, np.float64))) / 2 + 0.5
    if min(wins.shape) < 2:
        return float(wins.mean()), np.nan, np.nan
    rng = np.random.default_rng(0)
    rows = rng.integers(0, wins.shape[0], (RESAMPLES // 2, wins.shape[0]))
    columns = (
        rows if wins.shape[0] == wins.shape[1] else rng.integers(0, wins.shape[1], (RESAMPLES // 2, wins.shape[1]))
    )
    drawn = [wins[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2])
    return float(wins.mean()), float(low), float(high)


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
    """p of two one-sided t tests that the mean of paired differences [n] lies within +-margin; nan for fewer than 2."""
    from scipy.stats import ttest_1samp

    differences = np.asarray(differences, np.float64)
    if len(differences) < 2:
        return np.nan
    if (differences == differences[0]).all():
        return float(abs(differences[0]) >= margin)
    above = ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))


def seeds_to_differ(effect: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds by which a paired test finds an effect (mean over standard deviation of the differences) with this power.

    By the noncentral t distribution. None when that takes more than `MOST_SEEDS`.
    """
    from statsmodels.stats.power import TTestPower

    if not np.isfinite(effect) or abs(effect) < 1e-6:
        return None
    test = TTestPower()
    return _first(lambda n: test.power(abs(effect), n, alpha) >= power, max(2, fewest_seeds(alpha)))


def seeds_to_equal(mean: float, std: float, margin: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Seeds by which two one-sided tests show, with this power, that differences like these are within +-margin.

    By the t distribution shifted to the true mean. None when they are not, or when it takes more than `MOST_SEEDS`.
    """
    from scipy.stats import nct, t

    if not abs(mean) < margin:
        return None
    if std == 0:
        return 2

    def reached(n: int) -> float:
        critical, scale = t.ppf(1 - alpha, n - 1), np.sqrt(n) / std
        both = nct.sf(critical, n - 1, (mean + margin) * scale) + nct.cdf(-critical, n - 1, (mean - margin) * scale) - 1
        return float(both)

    return _first(lambda n: reached(n) >= power, 2)


def _first(enough: Callable[[int], bool], low: int) -> int | None:
    """The first number from `low` up that is enough, by doubling and halving; None beyond `MOST_SEEDS`."""
    if enough(low):
        return low
    high = 2 * low
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def verdict(
    differences: np.ndarray, p_holm: float, p_equivalent: float, higher_is_better: bool, margin: float, family: int
) -> tuple[str, int | None]:
    """What paired differences [n] from the baseline say of an arm, and how many seeds would say more.

    identical, equivalent (within margin, whether or not there is a difference), better, worse, or undecided: then with
    the number of seeds that would decide with 80 % power if differences stay as they are (None: too many, or unknown).
    family: how many arms are compared with the baseline, which a decision must outdo.
    """
    mean, std = mean_interval(differences)[:2]
    if len(differences) and not np.any(differences):
        return "identical", None
    if p_equivalent <= ALPHA:
        return "equivalent", None
    if p_holm <= ALPHA:
        return ("better" if (mean > 0) == higher_is_better else "worse"), None
    if len(differences) < 2 or std == 0:
        return "undecided", fewest_seeds(ALPHA / family) if std == 0 else None
    needed = seeds_to_differ(mean / std, ALPHA / family), seeds_to_equal(mean, std, margin, ALPHA / family)
    return "undecided", min((n for n in needed if n is not None), default=None)


def fewest_seeds(alpha: float = ALPHA) -> int:
    """The fewest pairs whose sign-flip p can be as small as alpha: 2 / 2^n."""
    return int(np.ceil(np.log2(2 / alpha)))


def friedman(table: np.ndarray, higher_is_better: bool = True) -> dict[str, float | np.ndarray]:
    """Arms [k] over datasets [n], table [n, k]: do they differ at all, and by how much must mean ranks differ?

    ranks: mean rank of each arm, 1 the best. chi2; F and p of Iman and Davenport; critical_difference of Nemenyi, 5 %.
    Source: Demsar 2006. Raises ValueError for fewer than 2 datasets or arms.
    """
    from scipy.stats import f, rankdata, studentized_range

    table = np.asarray(table, np.float64)
    n, k = table.shape
    if n < 2 or k < 2:
        raise ValueError(f"{n} datasets and {k} arms given; allowed: two or more of both")
    ranks = rankdata(-table if higher_is_better else table, axis=1).mean(0)
    chi2 = 12 * n / (k * (k + 1)) * (np.sum(ranks**2) - k * (k + 1) ** 2 / 4)
    rest = n * (k - 1) - chi2
    ratio = (n - 1) * chi2 / rest if rest > 1e-9 else np.inf
    critical = studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    p = float(f.sf(ratio, k - 1, (k - 1) * (n - 1)))
    return {"ranks": ranks, "chi2": float(chi2), "F": float(ratio), "p": p, "critical_difference": float(critical)}
