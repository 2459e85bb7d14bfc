"""Is it chance? Tests of paired differences by exchanging what is exchangeable if nothing matters: signs, or blocks.

Source: Good 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses". Draws come from a fixed seed.
"""

from functools import lru_cache

import numpy as np

EXACT, FLIPS = 20, 100_000  # pairs up to which all signs are tried; how many are drawn beyond
SHUFFLES = 5000  # of blocks within a seed


def sign_flip(differences: np.ndarray, resolution: float = 0.0) -> float:
    """Two-sided p of the mean of paired differences [n]: the share of sign choices that bring their sum as far from 0.

    All 2^n up to 20 pairs, so the smallest is 2 / 2^n; beyond, drawn from a fixed seed. Sums are as far if they are but
    for `resolution`, the rounding of one difference. 1 when all are zero, and for one pair; nan for none.
    """
    differences = np.asarray(differences, np.float64)
    n = len(differences)
    if n == 0:
        return np.nan
    enough = abs(differences.sum()) - max(n * resolution, 1e-12 * np.abs(differences).sum())
    if n > EXACT:
        words = np.pad(differences, (0, -n % 16)).reshape(-1, 16)
        sums = np.zeros(FLIPS)
        for word, drawn in zip(words, _flips(len(words), FLIPS), strict=True):
            sums += _signed_sums(word)[drawn]
        return float((1 + np.sum(np.abs(sums) >= enough)) / (1 + FLIPS))
    halves = [_signed_sums(half) for half in np.array_split(differences, 2)]
    return float(np.mean(np.abs(np.add.outer(*halves)) >= enough))


@lru_cache(maxsize=2)
def _flips(words: int, flips: int) -> np.ndarray:
    """The signs of 16 differences in one number each: [words, flips]."""
    return np.random.default_rng(0).integers(0, 2**16, (words, flips), np.uint16)


def _signed_sums(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros ranked by Pratt's rule; 1 when all are zero, nan for none.

    That is the sign-flip test of the ranks, exact with ties too, for which SciPy takes half a second.
    """
    _, places, counts = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return sign_flip(np.sign(differences) * ranks[places])


def block_interaction_p(differences: np.ndarray) -> float:
    """p of paired differences [seeds, blocks] that differ between blocks as much as these if blocks did not matter.

    Blocks change places within a seed, at random and from a fixed seed; of two blocks that is `sign_flip`. 1 where no
    seed differs between blocks; nan for no seeds.
    """
    differences = np.asarray(differences, np.float64)
    n, k = differences.shape
    if k == 2 or not n:
        return sign_flip(differences[:, 0] - differences[:, 1])
    enough, rng = differences.mean(0).var() * (1 - 1e-9), np.random.default_rng(0)
    found, block = 0, max(1, 10**6 // (n * k))
    for start in range(0, SHUFFLES, block):
        copies = np.broadcast_to(differences, (min(block, SHUFFLES - start), n, k))
        found += np.sum(rng.permuted(copies, axis=2).mean(1).var(1) >= enough)
    return float((1 + found) / (1 + SHUFFLES))
