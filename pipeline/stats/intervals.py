"""Summaries of a sample and their 95 % intervals: mean, interquartile mean, probability of improvement.

`mean_interval` is Student's t interval, for the mean of one arm over its seeds. `bootstrap_interval` is for the mean of
paired differences: a BCa bootstrap, expanded for few values and never narrower than Student's t interval.
`improvement_interval` is for the probability that a run of one arm beats a run of another. All bootstraps draw 4000
resamples from a fixed seed, so that the same runs give the same interval.

Sources: Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks"; Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (interquartile mean, probability of improvement);
Hesterberg 2015, "What Teachers Should Know About the Bootstrap" (expanded intervals); Efron 1987, "Better Bootstrap
Confidence Intervals" (BCa).
"""

from functools import lru_cache

import numpy as np

ALPHA = 0.05
RESAMPLES = 4000  # of a bootstrap
RESOLUTION = 2.0**-22  # relative; metrics are computed in single precision, so smaller differences are rounding


def mean_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float, float, float]:
    """Return mean, sample standard deviation, and Student's t interval of the mean (low, high) of values [n].

    Of one value, standard deviation and interval are nan; of none, all four.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else np.nan, np.nan, np.nan, np.nan)
    mean, std = float(values.mean()), float(values.std(ddof=1))
    half_width = float(stdtrit(n - 1, (1 + confidence) / 2)) * std / np.sqrt(n)
    return mean, std, float(mean - half_width), float(mean + half_width)


def band(curves: np.ndarray, confidence: float = 1 - ALPHA) -> np.ndarray:
    """Apply `mean_interval` at every point: curves [n, points] -> [4, points] with rows mean, std, low, high."""
    return np.array([mean_interval(column, confidence) for column in np.asarray(curves).T]).T


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of the middle half of values [n], counting values at its edges in part; nan for no values.

    `scipy.stats.trim_mean`, which Agarwal et al. use, drops whole values only: of ten values it would average the
    middle six, not the middle five. The two agree where n is a multiple of 4.
    """
    values = np.sort(np.asarray(values, np.float64))
    n = len(values)
    if n == 0:
        return np.nan
    positions = np.arange(n)
    weights = np.clip(np.minimum(positions + 1, 0.75 * n) - np.maximum(positions, 0.25 * n), 0, None)
    return float(weights @ values / weights.sum())


def describe_sample(values: np.ndarray) -> dict[str, float]:
    """Return mean, median, iqm, std, low and high (95 % t interval of the mean) of values [n]; nan where undefined."""
    values = np.asarray(values, np.float64)
    mean, std, low, high = mean_interval(values)
    median = float(np.median(values)) if len(values) else np.nan
    return {"mean": mean, "median": median, "iqm": interquartile_mean(values), "std": std, "low": low, "high": high}


def bootstrap_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the expanded BCa bootstrap interval (low, high) of the mean of values [n]; nan for fewer than two.

    A bootstrap of n values is too narrow by sqrt((n - 1) / n), and because it replaces Student's t by the normal
    distribution, so its confidence level is raised to make up for both (Hesterberg 2015). It still cannot reach beyond
    the values themselves, and estimates their skewness from few: alone, it contains the mean of four normal values in
    88 % of samples, of ten Laplace values in 91 %. Therefore each end is moved out to Student's t interval if it lies
    within; that gives 95 to 97 %. Equal values have an interval of no width.

    `scipy.stats.bootstrap` gives the same BCa ends but takes three times as long, without its import.
    """
    from scipy.special import ndtr, ndtri

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    resampled, mean = values[_resamples(n)].mean(axis=1), values.mean()
    bias = ndtri(np.mean((resampled < mean) / 2 + (resampled <= mean) / 2))
    acceleration = np.sum((values - mean) ** 3) / np.sum((values - mean) ** 2) ** 1.5 / 6
    tail = ndtri(_expanded_tail(n, confidence))
    shifted = bias + np.array([tail, -tail])
    levels = ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = mean_interval(values, confidence)[2:]
    if np.isfinite(levels).all():  # they are not if all resampled means lie on one side of the mean
        low, high = np.fmin(low, np.quantile(resampled, levels[0])), np.fmax(high, np.quantile(resampled, levels[1]))
    return float(low), float(high)


@lru_cache(maxsize=2)
def _resamples(n: int) -> np.ndarray:
    """Return the indices of n values that each bootstrap draws: [RESAMPLES, n]. Cached: most arms have n seeds."""
    return np.random.default_rng(0).integers(0, n, (RESAMPLES, n))


def _expanded_tail(n: int, confidence: float = 1 - ALPHA) -> float:
    """Return the share of resamples of n values beyond each end of an expanded interval (Hesterberg 2015)."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + confidence) / 2)))


def improvement_interval(better: np.ndarray, worse: np.ndarray, paired: bool) -> tuple[float, float, float]:
    """Return P(a value of better > a value of worse), ties counting half, and its 95 % interval (low, high).

    better [n] and worse [m] hold one value per run. The interval is a percentile bootstrap over seeds (Agarwal et al.
    2021), expanded for few of them. With paired=True (n = m, the same seeds in the same order) a seed is drawn for both
    arms at once. If every run of one arm beats every run of the other, resampling finds no variation; the far end is
    then 0.025^(1/n), the smallest probability at which n seeds are all won in 2.5 % of studies. Values that differ by
    less than `RESOLUTION` are ties. The interval is nan if an arm has one run, and all is nan if one has none.
    """
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    n, m = len(better), len(worse)
    if n == 0 or m == 0:
        return np.nan, np.nan, np.nan
    order, rounding = np.argsort(worse), RESOLUTION * np.abs(better)
    n_beaten = np.searchsorted(worse[order], better - rounding, "left")
    n_beaten_or_tied = np.searchsorted(worse[order], better + rounding, "right")
    share = float(np.sum(n_beaten + n_beaten_or_tied) / (2 * n * m))
    if min(n, m) < 2:
        return share, np.nan, np.nan
    better_counts, worse_counts = _draw_counts(n) * 2 if paired else _draw_counts(n, m)
    cumulated = np.zeros((m + 1, RESAMPLES), np.int64)  # row i: how many of the i lowest runs of `worse` were drawn
    np.cumsum(worse_counts[order], axis=0, out=cumulated[1:])
    wins = sum(np.einsum("ij,ij->j", better_counts, cumulated[rows]) for rows in (n_beaten, n_beaten_or_tied))
    tail, bound = _expanded_tail(min(n, m)), (ALPHA / 2) ** (1 / min(n, m))
    low, high = np.quantile(wins / (2 * n * m), [tail, 1 - tail])
    low, high = (bound if share == 1 else low), (1 - bound if share == 0 else high)
    return share, float(low), float(high)


@lru_cache(maxsize=2)
def _draw_counts(*sizes: int) -> tuple[np.ndarray, ...]:
    """Return how often each bootstrap draws each seed of arms of these sizes: [size, RESAMPLES] per arm."""
    rng = np.random.default_rng(0)
    return tuple(rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).T.copy() for size in sizes)
