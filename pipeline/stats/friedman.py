"""Rank arms over several datasets: Friedman's test, Iman and Davenport's correction, Nemenyi's critical difference.

Each dataset ranks the arms, 1 the best; ties share their mean rank. Friedman's chi square asks whether the mean ranks
differ at all. Iman and Davenport turn it into an F statistic, which is less conservative. Two arms differ if their mean
ranks are further apart than Nemenyi's critical difference.

Source: Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
"""

from functools import cache
from math import factorial

import numpy as np

from pipeline.stats.intervals import ALPHA

MAX_DATASETS = 10_000  # searched for the smallest sufficient number


def friedman(table: np.ndarray, higher_is_better: bool = True) -> dict[str, float | np.ndarray]:
    """Test whether the arms' mean ranks differ, for a table [datasets, arms] of one value each.

    Returns ranks [arms] (mean rank of each arm, 1 the best), chi2 (Friedman), F and p (Iman and Davenport), and
    critical_difference (Nemenyi, 5 %). If all datasets rank the arms alike, F is infinite and p is `smallest_p`, the
    probability of that happening by chance.

    `scipy.stats.friedmanchisquare` is not used because it corrects chi square for ties, which Demsar does not: it gives
    10.23 for his worked example in place of 9.28.

    Raises ValueError for fewer than two datasets or arms.
    """
    from scipy.stats import f, rankdata

    table = np.asarray(table, np.float64)
    n, k = table.shape
    if n < 2 or k < 2:
        raise ValueError(f"{n} datasets and {k} arms given; allowed: two or more of both")
    ranks = rankdata(-table if higher_is_better else table, axis=1).mean(0)
    chi2 = 12 * n / (k * (k + 1)) * (np.sum(ranks**2) - k * (k + 1) ** 2 / 4)
    remainder = n * (k - 1) - chi2
    F = (n - 1) * chi2 / remainder if remainder > 1e-9 else np.inf
    p = max(float(f.sf(F, k - 1, (k - 1) * (n - 1))), smallest_p(n, k))
    return {"ranks": ranks, "chi2": float(chi2), "F": float(F), "p": p, "critical_difference": nemenyi(n, k)}


def nemenyi(n: int, k: int) -> float:
    """Return Nemenyi's critical difference at 5 %: how far apart two of k arms' mean ranks over n datasets must be."""
    return float(_nemenyi_quantile(k) * np.sqrt(k * (k + 1) / (6 * n)))


@cache
def _nemenyi_quantile(k: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2))


def fewest_studies(k: int) -> int:
    """Return the smallest number of datasets that can show that two of k arms differ.

    With fewer, the smallest possible p exceeds 5 %, or the largest possible distance of two mean ranks, k - 1, is below
    Nemenyi's critical difference.
    """

    def sufficient(n: int) -> bool:
        return smallest_p(n, k) <= ALPHA and nemenyi(n, k) <= k - 1

    return next(n for n in range(2, MAX_DATASETS) if sufficient(n))


def smallest_p(n: int, k: int) -> float:
    """Return the probability that n datasets rank k equal arms alike; no test of ranks can have a smaller p."""
    return float(factorial(k)) ** (1 - n) if k < 100 else 0.0
