"""The verdict on an arm: the word, and every number it rests on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.paired import excludes_failures
from pipeline.stats.power import seeds_to_decide

COMPARED = ("better", "worse", "equivalent", "identical", "undecided")
NOT_COMPARED = ("baseline", "diverged", "not compared")  # the verdicts on arms that have no baseline to be held against


@dataclass(frozen=True)
class Verdict:
    """What the runs show about one arm of one block, by the study's metric. None: not known, or does not apply.

    verdict: one of `COMPARED`: identical (same metric and learning curves on every seed), equivalent (within the
    margin, whether or not there is a difference, and rare failures excluded), better, worse, undecided; or of
    `NOT_COMPARED`: baseline, diverged (on every seed), not compared (its block has no baseline, or no run has the
    metric).
    baseline: the arm it is compared with. block: the overrides besides the bias setting, or the blocks it is pooled
    over. pooled: whether it stands for several blocks. tuned: whether it is an arm at the best of several values, see
    `tuning`; it is pooled, too.
    seeds: complete runs that have the metric. diverged: seeds that diverged. censored: see `curves`.
    mean, std, ci_low, ci_high: over these seeds, with Student's 95 % interval. pairs: seeds paired with the baseline; 0
    where the arms are compared unpaired. difference: mean difference from the baseline, with its 95 % interval.
    largest_difference: of a pair, without its sign.
    p: two-sided, that there is no difference. p_equivalent: of two one-sided tests against the margin, after Holm.
    p_holm: p after Holm's correction for the `family` arms that were compared together. seeds_needed: how many seeds
    would decide an undecided arm with 80 % power if differences stay as they are. same_curves: whether the learning
    curves equal the baseline's on every pair, bit for bit. construction: why the two are the same by construction,
    which is identical too, see `pairing.construction`. alpha: the level of p: that of the design, or `ALPHA`.
    looks: the numbers of pairs that answers rested on, this one last, where p and the interval account for them;
    p_uncorrected: as if this were the only arm and look. Of a declared design: look: the last that the arm took part
    in, from 1; p, p_holm and p_equivalent hold at every look, the interval is the repeated one; p_stagewise: how
    often chance ends a study at an earlier look or shows as much at this one; difference_unbiased: without what ending
    early adds, of arms that a difference has ended before the last look.
    sentence: all of this in words.
    """

    arm: str
    setting: str
    block: str
    pooled: bool
    tuned: bool
    metric: str
    verdict: str
    baseline: str | None
    seeds: int
    diverged: int
    censored: int | None
    mean: float | None
    std: float | None
    ci_low: float | None
    ci_high: float | None
    pairs: int | None
    difference: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None
    largest_difference: float | None
    p: float | None
    p_holm: float | None
    p_equivalent: float | None
    margin: float
    family: int | None
    seeds_needed: int | None
    same_curves: bool | None
    construction: str | None = None
    alpha: float = ALPHA
    looks: str | None = None
    look: int | None = None
    seeds_needed_low: int | None = None
    seeds_needed_high: int | None = None
    p_stagewise: float | None = None
    p_uncorrected: float | None = None
    difference_unbiased: float | None = None
    sentence: str = ""

    @property
    def may_fail(self) -> bool:
        """Whether the arm is undecided only since rare failures are not excluded: its mean is within the margin."""
        if self.verdict != "undecided" or self.p_equivalent is None or self.difference is None:
            return False
        return self.p_equivalent <= self.alpha and abs(self.difference) < self.margin

    @property
    def compared(self) -> bool:
        """Whether the arm was compared with a baseline."""
        return self.baseline is not None

    @property
    def short_baseline(self) -> str | None:
        """The baseline's name without the blocks it is pooled over, which the arm's name ends in as well."""
        if not self.pooled or not self.baseline:
            return self.baseline
        return self.baseline.partition(" at ")[0] if self.tuned else self.baseline.removesuffix(f" over {self.block}")

    @property
    def short_name(self) -> str:
        """The arm's name without the blocks it is pooled over."""
        return self.setting if self.pooled else self.arm


def numbers_of(row: dict[str, Any]) -> dict[str, Any]:
    """Those entries of a row of the summary that a `Verdict` holds under the same name; None for what the row lacks."""
    names = (
        "seeds", "diverged", "censored", "mean", "std", "ci_low", "ci_high", "baseline", "pairs", "difference",
        "difference_ci_low", "difference_ci_high", "largest_difference", "p", "p_holm", "p_equivalent", "family",
        "seeds_needed", "seeds_needed_low", "seeds_needed_high", "same_curves", "construction", "looks", "look",
        "p_stagewise", "p_uncorrected",
        "difference_unbiased",
    )  # fmt: skip
    return {name: row.get(name) for name in names}


def verdict_word(row: dict[str, Any], is_baseline: bool) -> str:
    """The word for a row of the summary: the verdict, or why there is none."""
    if row.get("verdict"):
        return row["verdict"]
    return "baseline" if is_baseline else "not compared" if row["seeds"] else "diverged"


def judge(
    differences: np.ndarray, p_holm: float, p_equivalent: float, higher_is_better: bool, margin: float, family: int,
    same_curves: bool, by_construction: bool = False,
) -> tuple[str, int | None]:  # fmt: skip
    """Judge an arm by its paired differences [n] from the baseline: the verdict, and how many seeds an undecided needs.

    p_holm, p_equivalent: corrected for the `family`, the number of arms compared with the baseline. The number of seeds
    is the one that decides with 80 % power if differences stay as they are; None where that is too many or unknown.
    """
    n = len(differences)
    verdict = verdict_of(differences, p_holm, p_equivalent, higher_is_better, margin, same_curves, by_construction)
    needed = seeds_to_decide(differences, margin, ALPHA / family) if n and verdict == "undecided" else None
    return verdict, needed


def verdict_of(
    differences: np.ndarray, p_holm: float, p_equivalent: float, higher_is_better: bool, margin: float,
    same_curves: bool, by_construction: bool = False, alpha: float = ALPHA,
) -> str:  # fmt: skip
    """The verdict of `judge`, and of each look at a declared design.

    identical takes the same learning curves too: equal metrics alone, such as counts of right answers, can be chance.
    by_construction: whether the arms are the same but for rounding, whatever the differences.
    An arm whose mean is within the margin beyond chance is equivalent if rare failures are excluded as well, and
    undecided otherwise: that its mean differs by so little, better or worse, is no answer. alpha: the level of p.
    """
    mean = float(np.mean(differences)) if len(differences) else np.nan
    if len(differences) and (by_construction or (same_curves and not np.any(differences))):
        return "identical"
    if p_equivalent <= alpha and abs(mean) < margin:  # p of a design is the smallest of all looks so far
        return "equivalent" if excludes_failures(differences, margin) else "undecided"
    return direction(mean, p_holm, higher_is_better, alpha)


def direction(difference: float, p: float, higher_is_better: bool, alpha: float = ALPHA) -> str:
    """Name the direction of a difference: better or worse, or undecided where p is above the level."""
    if not p <= alpha:
        return "undecided"
    return "better" if (difference > 0) == higher_is_better else "worse"
