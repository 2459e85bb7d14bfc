"""Statistics over seeds: pure functions on arrays."""

import numpy as np


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float, float, float]:
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


def band(curves: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """`mean_interval` at every point: curves [n, points] -> [4, points], rows mean, std, low, high."""
    return np.array([mean_interval(column, confidence) for column in np.asarray(curves).T]).T
