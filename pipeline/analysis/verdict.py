"""The verdict on an arm."""

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.power import seeds_to_decide


def judge(
    differences: np.ndarray, p_holm: float, p_equivalent: float, higher_is_better: bool, margin: float, family: int,
    same_curves: bool,
) -> tuple[str, int | None]:  # fmt: skip
    """What paired differences [n] from the baseline say of an arm, and how many seeds would say more.

    identical (with the same learning curves too: equal counts of right answers alone can be luck), equivalent (within
    margin, whether or not there is a difference), better, worse, or undecided: then with
    the number of seeds that would decide with 80 % power if differences stay as they are (None: too many, or unknown).
    p_holm, p_equivalent: corrected for the family, the number of arms that are compared with the baseline.
    """
    n = len(differences)
    if n and same_curves and not np.any(differences):
        return "identical", None
    if p_equivalent <= ALPHA:
        return "equivalent", None
    word = direction(np.mean(differences) if n else np.nan, p_holm, higher_is_better)
    needed = seeds_to_decide(differences, margin, ALPHA / family) if n and word == "undecided" else None
    return word, needed


def direction(difference: float, p: float, higher_is_better: bool) -> str:
    """better, worse, or undecided."""
    if not p <= ALPHA:
        return "undecided"
    return "better" if (difference > 0) == higher_is_better else "worse"
