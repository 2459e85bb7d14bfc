"""The probability that a run of one arm beats a run of another, with its interval.

The interval is a bootstrap over seeds: of all resamples where few runs have no more than `RESAMPLES` different ones, as
ten pairs have, beyond from so many random ones of a fixed seed. Wins are whole numbers, so that none ties by rounding.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.stats.intervals import ALPHA, RESOLUTION, expanded_tail

RESAMPLES = 100_000  # of the bootstrap of an improvement
MOST_COUNTS = 2**23  # runs times resamples that are held, which for 84 runs and more makes the resamples fewer
BLOCK = 2**15  # resamples that are counted at once


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
    counts, chances = _resamples(n) if paired else _resamples(n, m)
    wins = _twice_won(counts[:n], [counts[len(counts) - m + run] for run in order], n_beaten, n_beaten_or_tied)
    tail, bound = expanded_tail(min(n, m)), (ALPHA / 2) ** (1 / min(n, m))
    low, high = _quantiles(wins, chances, [tail, 1 - tail]) / (2 * n * m)
    low, high = (bound if share == 1 else low), (1 - bound if share == 0 else high)
    return share, float(low), float(high)


def _twice_won(
    better_counts: np.ndarray, worse_counts: Sequence[np.ndarray], n_beaten: np.ndarray, n_beaten_or_tied: np.ndarray
) -> np.ndarray:
    """Return twice the number of pairs that each resample wins, a tie being half of one: [resamples].

    better_counts [n, resamples], worse_counts [m, resamples]: how often each run is drawn; the runs of `worse` are in
    ascending order, and each of `better` beats the first n_beaten [n] of them. Row by row in blocks of small whole
    numbers it takes a fifth of the time of whole arrays.
    """
    m, resamples = len(worse_counts), better_counts.shape[1]
    twice = 2 * len(better_counts) * m
    kind = next(kind for kind in (np.int16, np.int32, np.int64) if twice <= np.iinfo(kind).max)
    wins = np.zeros(resamples, kind)
    for start in range(0, resamples, BLOCK):
        block = slice(start, start + BLOCK)
        drawn = np.zeros((m + 1, wins[block].size), kind)  # row i: how many of the i lowest runs of `worse` were drawn
        for i, counts in enumerate(worse_counts):
            np.add(drawn[i], counts[block], out=drawn[i + 1])
        for counts, lower, upper in zip(better_counts, n_beaten, n_beaten_or_tied, strict=True):
            wins[block] += counts[block] * (drawn[lower] + drawn[upper])
    return wins


def _quantiles(values: np.ndarray, chances: np.ndarray | None, levels: list[float]) -> np.ndarray:
    """Return quantiles of whole numbers, with their chances; None: all alike."""
    if chances is None:
        return np.quantile(values, levels)
    cumulated = np.cumsum(np.bincount(values, chances))
    return np.searchsorted(cumulated, np.multiply(levels, 1 - 1e-12) * cumulated[-1]).astype(np.float64)


@lru_cache(maxsize=2)
def _resamples(*sizes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return how often each run is drawn in each resample of arms of these sizes: [sum of sizes, resamples].

    All resamples that differ, with their chances, where there are no more than `RESAMPLES`; else so many random ones,
    or for large arms as many as `MOST_COUNTS` holds, each with the same chance (None).
    """
    n_different = math.prod(math.comb(2 * size - 1, size) for size in sizes)
    if n_different <= RESAMPLES:
        parts = [_all_counts(size) for size in sizes]
        places = np.indices([counts.shape[1] for counts, _ in parts]).reshape(len(parts), -1)
        counts = np.concatenate([counts[:, place] for (counts, _), place in zip(parts, places, strict=True)])
        return counts, np.prod([chances[place] for (_, chances), place in zip(parts, places, strict=True)], axis=0)
    rng, resamples = np.random.default_rng(0), min(RESAMPLES, MOST_COUNTS // sum(sizes))
    drawn = []
    for size in sizes:
        cells = rng.integers(0, size, (size, resamples)) * resamples + np.arange(resamples)
        counts = np.bincount(cells.ravel(), minlength=size * resamples).reshape(size, resamples)
        drawn.append(counts.astype(np.int16))
    return np.concatenate(drawn), None


def _all_counts(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all ways to draw `size` of as many runs, counts [size, ways], and the chance of each [ways]."""
    counts, left = np.zeros((0, 1), np.int16), np.array([size])
    for _ in range(size - 1):
        ways = np.repeat(np.arange(len(left)), left + 1)
        taken = np.arange(len(ways)) - np.repeat(np.cumsum(left + 1) - (left + 1), left + 1)
        counts, left = np.vstack([counts[:, ways], taken.astype(np.int16)]), left[ways] - taken
    counts = np.vstack([counts, left.astype(np.int16)])
    factorials = np.array([math.factorial(i) for i in range(size + 1)], np.float64)
    return counts, factorials[size] / factorials[counts].prod(axis=0) / size**size
