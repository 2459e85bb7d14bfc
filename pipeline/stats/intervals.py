"""Statistics over seeds: pure functions on arrays, SciPy's special functions underneath.

`scipy.stats` takes longer to import than a study takes to compare: only rare comparisons wait for it.

Sources: Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks"; Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice"; Hesterberg 2015, "What Teachers Should Know
About the Bootstrap".
"""

from functools import lru_cache

import numpy as np

ALPHA = 0.05
RESAMPLES = 4000  # of a bootstrap
RESOLUTION = 2.0**-22  # of a metric: it was computed in single precision


def mean_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float, float, float]:
    """Mean, sample standard deviation, and Student's t interval of the mean (low, high) of `values` [n].

    With one value there is no spread to estimate: standard deviation and interval are nan. With none all are nan.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else np.nan, np.nan, np.nan, np.nan)
    mean, std = float(values.mean()), float(values.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * std / np.sqrt(n)
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


def describe_sample(values: np.ndarray) -> dict[str, float]:
    """mean, median, iqm, std, low, high (95 % t interval of the mean) of `values` [n]; nan where there are too few."""
    values = np.asarray(values, np.float64)
    mean, std, low, high = mean_interval(values)
    median = float(np.median(values)) if len(values) else np.nan
    return {"mean": mean, "median": median, "iqm": interquartile_mean(values), "std": std, "low": low, "high": high}


def bootstrap_interval(values: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """BCa bootstrap interval of the mean of `values` [n], widened for few values; nan for fewer than 2.

    A bootstrap of n values is narrow by sqrt((n - 1) / n), and by the normal in place of Student's t, so its level is
    raised by as much (Hesterberg 2015, the expanded interval). It still cannot reach beyond the values themselves, and
    its skewness is a guess from few: alone it holds the mean of four normal values in 88 %, of ten Laplace ones in
    91 %. So neither end is nearer to the mean than Student's t puts it: 95 to 97 % there, and more than t where the
    values are skewed. Of equal values it is the value.
    """
    from scipy.special import ndtr, ndtri

    values = np.asarray(values, np.float64)
    n = len(values)
    if n < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    drawn, mean = values[_resamples(n)].mean(axis=1), values.mean()
    bias = ndtri(np.mean((drawn < mean) / 2 + (drawn <= mean) / 2))
    acceleration = np.sum((values - mean) ** 3) / np.sum((values - mean) ** 2) ** 1.5 / 6
    tail = ndtri(_expanded_tail(n, confidence))
    ends = bias + np.array([tail, -tail])
    levels = ndtr(bias + ends / (1 - acceleration * ends))
    low, high = mean_interval(values, confidence)[2:]
    if np.isfinite(levels).all():  # not where no mean drawn was on one side
        low, high = np.fmin(low, np.quantile(drawn, levels[0])), np.fmax(high, np.quantile(drawn, levels[1]))
    return float(low), float(high)


@lru_cache(maxsize=2)
def _resamples(n: int) -> np.ndarray:
    """Which of n values each bootstrap draws: [RESAMPLES, n]."""
    return np.random.default_rng(0).integers(0, n, (RESAMPLES, n))


def _expanded_tail(n: int, confidence: float = 1 - ALPHA) -> float:
    """The share of a bootstrap of n values that lies beyond each end of its expanded interval (Hesterberg 2015)."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + confidence) / 2)))


def improvement_interval(better: np.ndarray, worse: np.ndarray, paired: bool) -> tuple[float, float, float]:
    """P(a run of one arm beats a run of another), ties counting half, [n] and [m] values; with its 95 % interval.

    Percentile bootstrap over seeds (Agarwal et al. 2021), expanded for few of them; paired: a seed is drawn for both
    arms at once. Where every run of one arm beats every run of the other there is nothing to resample: the far end is
    then the least probability by which n seeds are all won in 2.5 % of studies, 0.025^(1/n). Values that only rounding
    tells apart are ties.
    """
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    n, m = len(better), len(worse)
    if n == 0 or m == 0:
        return np.nan, np.nan, np.nan
    order, rounding = np.argsort(worse), RESOLUTION * np.abs(better)
    less = np.searchsorted(worse[order], better - rounding, "left")
    least = np.searchsorted(worse[order], better + rounding, "right")
    share = float(np.sum(less + least) / (2 * n * m))
    if min(n, m) < 2:
        return share, np.nan, np.nan
    mine, theirs = _counts(n) * 2 if paired else _counts(n, m)
    below = np.zeros((m + 1, RESAMPLES), np.int64)  # how many of the drawn ones are beaten
    np.cumsum(theirs[order], axis=0, out=below[1:])
    drawn = sum(np.einsum("ij,ij->j", mine, below[places]) for places in (less, least)) / (2 * n * m)
    tail, sure = _expanded_tail(min(n, m)), (ALPHA / 2) ** (1 / min(n, m))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    low, high = (sure if share == 1 else low), (1 - sure if share == 0 else high)
    return share, float(low), float(high)


@lru_cache(maxsize=2)
def _counts(*sizes: int) -> tuple[np.ndarray, ...]:
    """How often each bootstrap draws each seed of arms of these sizes: [size, RESAMPLES] each."""
    rng = np.random.default_rng(0)
    return tuple(rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).T.copy() for size in sizes)
