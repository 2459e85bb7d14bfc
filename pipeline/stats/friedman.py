"""Arms ranked in each of several datasets: do mean ranks differ, which of them, and how many datasets could show it?

Source: Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
"""

from functools import cache
from math import factorial

import numpy as np

from pipeline.stats.intervals import ALPHA

MOST = 10_000  # datasets, in a search for the fewest


def friedman(table: np.ndarray, higher_is_better: bool = True) -> dict[str, float | np.ndarray]:
    """Arms [k] over datasets [n], table [n, k]: do they differ at all, and by how much must mean ranks differ?

    ranks: mean rank of each arm, 1 the best. chi2; F and p of Iman and Davenport; critical_difference of Nemenyi, 5 %.
    Where all datasets rank alike F is infinite, so p is no smaller than the chance of just that, see `least_p`.
    Source: Demsar 2006. Raises ValueError for fewer than 2 datasets or arms.
    """
    from scipy.stats import f, rankdata

    table = np.asarray(table, np.float64)
    n, k = table.shape
    if n < 2 or k < 2:
        raise ValueError(f"{n} datasets and {k} arms given; allowed: two or more of both")
    ranks = rankdata(-table if higher_is_better else table, axis=1).mean(0)
    chi2 = 12 * n / (k * (k + 1)) * (np.sum(ranks**2) - k * (k + 1) ** 2 / 4)
    rest = n * (k - 1) - chi2
    ratio = (n - 1) * chi2 / rest if rest > 1e-9 else np.inf
    p = max(float(f.sf(ratio, k - 1, (k - 1) * (n - 1))), least_p(n, k))
    return {"ranks": ranks, "chi2": float(chi2), "F": float(ratio), "p": p, "critical_difference": nemenyi(n, k)}


def nemenyi(n: int, k: int) -> float:
    """The difference of two of k arms' mean ranks over n datasets that is beyond chance, at 5 % (Demsar 2006)."""
    return float(_nemenyi_quantile(k) * np.sqrt(k * (k + 1) / (6 * n)))


@cache
def _nemenyi_quantile(k: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2))


def fewest_studies(k: int) -> int:
    """The fewest datasets that could show that two of k arms differ.

    The smallest p must be small enough, and two mean ranks, k - 1 apart at most, as far apart as Nemenyi's difference.
    """

    def enough(n: int) -> bool:
        return least_p(n, k) <= ALPHA and nemenyi(n, k) <= k - 1

    return next(n for n in range(2, MOST) if enough(n))


def least_p(n: int, k: int) -> float:
    """The chance that n datasets rank k arms alike if arms do not matter: no test of ranks can have a smaller p."""
    return float(factorial(k)) ** (1 - n) if k < 100 else 0.0
