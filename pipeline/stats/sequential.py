"""Sign-flip tests of a study that is looked at several times while it grows, exact whatever is seen in between.

If an arm does not matter, the sign of each seed's difference from the baseline is a coin toss, whatever its size. So
the sizes are held fixed, the signs are tossed anew many times, and every toss is followed through all looks: a
**path**. The observed signs are one more path, which nothing tells from the others. At each look, the paths with the
largest sums end the study, as many as the declared spending function allows (`pipeline.stats.spending`). By the last
look a share alpha of all paths has ended the study, and so the observed one does, by chance, with probability alpha at
most: for any distribution that is symmetric around 0, any number of looks, and however few paths are drawn (Dwass).

The p of an arm is the smallest level at which its design would have ended by now, see `sequential_p`. It holds at every
look, so Holm's correction of such p holds for arms that were trained with different numbers of seeds. It is no smaller
than the p of the same seeds without looks, which is larger where an early look showed more than the later ones.

Sources: Lan and DeMets 1983 (spending); Dwass 1957, "Modified Randomization Tests for Nonparametric Hypotheses" (drawn
signs are exact); Jennison and Turnbull 1989, "Interim Analyses: The Repeated Confidence Interval Approach"; Liu and
Anderson 2008, "On Adaptive Extensions of Group Sequential Trials" (sequential p); Fairbanks and Madsen 1982, "P Values
for Tests Using a Repeated Significance Test Design" (stage-wise p); Maurer and Bretz 2013, "Multiple Testing in Group
Sequential Trials Using Graphical Approaches" (Holm over looks).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.permutation import sign_flip
from pipeline.stats.spending import boundaries, spent, unbiased_drift

PATHS = 50_000  # the observed one among them
FAMILY = np.arange(1, 31)  # numbers of arms that Holm's correction may multiply p by


def levels_of(alpha: float) -> np.ndarray:
    """Return the values that the p of a design can have, ascending: among them those that Holm compares with alpha.

    They are 26 % apart at most, and so p is known as an upper bound. More of them would not make it sharper: a level
    counts only if all higher ones do, and with few seeds some between two of them would not.
    """
    parts = alpha / FAMILY
    parts = np.where(parts * FAMILY > alpha, np.nextafter(parts, 0), parts)  # 0.05 / 11 * 11 is above 0.05
    return np.unique([*np.geomspace(1e-5, 1.0, 51), *parts])


LEVELS = levels_of(ALPHA)


@dataclass(frozen=True)
class Design:
    """What is declared before the first look: looks [seeds, ascending], alpha, and how it is spent over them."""

    looks: tuple[int, ...]
    alpha: float = ALPHA
    spending: str = "obrien_fleming"

    def spent(self, alpha: float, n_looks: int, sides: int = 2) -> np.ndarray:
        """Return how much of a level is spent by each of the first looks: [n_looks]."""
        return spent([n / self.looks[-1] for n in self.looks[:n_looks]], alpha, self.spending, sides)


@dataclass(frozen=True)
class Paths:
    """Sums of differences at each look: the observed ones in row 0, then those under tossed signs.

    sums, signs [paths, looks]: of the differences, and of the signs alone. tolerance [looks]: by how much two equal
    sums can differ by rounding.
    """

    sums: np.ndarray
    signs: np.ndarray
    tolerance: np.ndarray

    def shifted(self, difference: float) -> np.ndarray:
        """Return the sums as they are if the arm's true difference is this: what then is left has a tossed sign."""
        return self.sums - difference * self.signs


def toss_signs(
    differences: np.ndarray, looks: Sequence[int], resolution: float = 0.0, paths: int = PATHS, seed: int = 0
) -> Paths:
    """Follow differences [n], in the order of their seeds, over looks: how many of them each look has, ascending.

    resolution: rounding error of a difference. The signs of a seed are the same at every look. All sign patterns are
    followed where there are no more than `paths`, up to 15 seeds; else they are drawn by a fixed generator, so that a
    study gives the same answer again. seed: of that generator; few paths are exact only on average
    over it, so simulations toss anew for each study.
    """
    differences = np.asarray(differences, np.float64)[: looks[-1]]
    if 2 ** len(differences) <= paths:  # all of them, the observed one first
        tosses = 1 - 2 * (np.arange(2 ** len(differences)) >> np.arange(len(differences))[:, None] & 1).astype(np.int8)
    else:
        tosses = np.random.default_rng(seed).integers(0, 2, (len(differences), paths), np.int8) * 2 - 1
        tosses[:, 0] = 1
    parts = np.split(np.arange(len(differences)), np.asarray(looks[:-1], int))
    sums = np.cumsum([differences[part] @ tosses[part] for part in parts], axis=0).T
    signs = np.cumsum([tosses[part].sum(0, dtype=np.float64) for part in parts], axis=0).T
    sizes = np.array([np.abs(differences[:n]).sum() for n in looks])
    return Paths(sums, signs, np.maximum(resolution * np.asarray(looks), 1e-12 * sizes))


def ending_looks(evidence: np.ndarray, spent: np.ndarray, tolerance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the look at which each path ends (their number: none), and the evidence that each look takes to end.

    evidence [paths, looks]: what ends a study where it is large. spent [looks]: the share of all paths that may have
    ended by each look. A path ends if its evidence is above the threshold, so tied paths end together or not at all.
    """
    n_paths, n_looks = evidence.shape
    ends, thresholds = np.full(n_paths, n_looks), np.full(n_looks, np.inf)
    for k in range(n_looks):
        going_on = np.flatnonzero(ends == n_looks)
        allowed = int(spent[k] * n_paths + 1e-9) - (n_paths - len(going_on))
        if allowed <= 0 or not len(going_on):
            continue
        values = evidence[going_on, k]
        if allowed >= len(values):
            thresholds[k] = -np.inf
        else:
            thresholds[k] = np.partition(values, -allowed - 1)[-allowed - 1] + tolerance[k]
        ends[going_on[values > thresholds[k]]] = k
    return ends, thresholds


def sequential_p(
    evidence: np.ndarray, spend: Callable[[float], np.ndarray], tolerance: np.ndarray, levels: np.ndarray = LEVELS
) -> float:
    """Return the smallest of levels [ascending] at which the observed path has ended by the last look; 1 for none.

    evidence [paths, looks]. spend: level -> the share spent by each look. A level counts only if the path ends at all
    higher ones too. Few paths with many ties can end at one level and not at the next higher one; so a share a of all
    paths at most reaches a, whatever a.
    """
    p = 1.0
    for level in levels[::-1]:
        ends, _ = ending_looks(evidence, spend(level), tolerance)
        if ends[0] == evidence.shape[1]:
            break
        p = float(level)
    return p


def stagewise_p(evidence: np.ndarray, spent: np.ndarray, tolerance: np.ndarray) -> float:
    """Return the share of all paths that end before the last look, or have as much evidence there as the observed one.

    The order of results that it rests on has an end at an earlier look above any evidence at a later one (Fairbanks and
    Madsen 1982).
    """
    ends, _ = ending_looks(evidence[:, :-1], spent[:-1], tolerance[:-1])
    earlier = ends < evidence.shape[1] - 1
    return float(np.mean(earlier | (evidence[:, -1] >= evidence[0, -1] - tolerance[-1])))


@dataclass(frozen=True)
class LookResult:
    """What a design says of one arm at a look.

    p, p_equivalent: the smallest of `levels_of` its alpha at which the design would have ended by now, with a
    difference, and with one that is shown to lie within the margin; upper bounds, valid at every look. p_stagewise: of
    a difference, in the order of the looks, see `stagewise_p`; it counts what the level of the design has spent before.
    p and p_stagewise are not below `permutation.sign_flip` of the same differences.
    """

    p: float
    p_equivalent: float
    p_stagewise: float


def judge_look(
    differences: np.ndarray, looks: Sequence[int], design: Design, margin: float = 0.0, resolution: float = 0.0,
) -> LookResult:  # fmt: skip
    """Judge paired differences [n], in the order of their seeds, by a design.

    looks: how many of them each look of the design so far had; fewer than the design's where runs diverged. margin: 0
    for none. resolution: rounding error of a difference.
    """
    tossed, k, levels = toss_signs(differences, looks, resolution), len(looks), levels_of(design.alpha)
    evidence = np.abs(tossed.sums)
    p_equivalent = np.nan
    if margin:
        sides = [side * tossed.shifted(-side * margin) for side in (1, -1)]
        p_equivalent = max(
            sequential_p(side, lambda level: design.spent(level, k, sides=1), tossed.tolerance, levels)
            for side in sides
        )
    p = sequential_p(evidence, lambda level: design.spent(level, k), tossed.tolerance, levels)
    stagewise = stagewise_p(evidence, design.spent(design.alpha, k), tossed.tolerance)
    alone = sign_flip(differences[: looks[-1]], resolution)
    return LookResult(max(p, alone), p_equivalent, max(stagewise, alone))


def repeated_interval(
    differences: np.ndarray, looks: Sequence[int], design: Design, resolution: float = 0.0, paths: int = PATHS,
    seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """Return the mean differences (low, high) that the design does not exclude at the last look.

    An interval at every look, valid together: with probability 1 - alpha, all of them hold the true difference. It is
    infinite where the look may spend too little to exclude anything. For the arguments, see `judge_look`, `toss_signs`.
    """
    tossed = toss_signs(differences, looks, resolution, paths, seed)
    spent = design.spent(design.alpha, len(looks))
    n = tossed.signs[0, -1]
    if not n:
        return -np.inf, np.inf
    mean = tossed.sums[0, -1] / n
    step = np.sqrt(np.mean(tossed.sums[1:, -1] ** 2)) / n  # the standard error of the mean

    def excluded(difference: float) -> bool:
        evidence = np.abs(tossed.shifted(difference))
        _, thresholds = ending_looks(evidence, spent, tossed.tolerance)
        return bool(evidence[0, -1] > thresholds[-1])

    low, high = (_first_excluded(excluded, mean, side * step) for side in (-1, 1))
    return float(low), float(high)


def _first_excluded(excluded: Callable[[float], bool], start: float, step: float) -> float:
    """Return where, from `start` in the direction of `step`, values begin to be excluded; infinite for nowhere."""
    if not step:
        return start
    inside, outside = start, start + 4 * step
    while not excluded(outside):
        inside, outside = outside, start + 4 * (outside - start)
        if abs(outside - start) > 1e4 * abs(step):
            return float(np.copysign(np.inf, step))
    while abs(outside - inside) > 1e-3 * abs(step):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside


def unbiased_mean(differences: np.ndarray, design: Design, alpha: float) -> float:
    """Return the mean of differences [n] at which a study ended, without what ending it there has added to it.

    The difference whose expected mean at the end is the observed one (Whitehead 1986), for normal differences with the
    observed standard deviation and the boundaries of a level alpha. Equal differences have no such bias.
    """
    differences = np.asarray(differences, np.float64)
    most = design.looks[-1]
    std = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    if not std:
        return float(differences.mean())
    fractions = tuple(n / most for n in design.looks)
    z = boundaries(fractions, alpha, design.spending)
    scale = np.sqrt(most) / std
    return unbiased_drift(float(differences.mean()) * scale, fractions, z) / scale


def undeclared_looks_p(
    differences: np.ndarray, looks: Sequence[int], resolution: float = 0.0, paths: int = PATHS, seed: int = 0
) -> tuple[float, float]:
    """Correct for looks that no design declared: the p of the last one, and the level for each that makes alpha of all.

    differences [n], in the order of their seeds. looks: how many of them each answer rested on, ascending; the last one
    is this answer's. p is the chance that any of these looks would have shown a p as small as the last one does, had
    there been no difference; the level is the largest nominal one that any look reaches by chance with probability
    `ALPHA` at most.
    """
    tossed = toss_signs(differences, looks, resolution, paths, seed)
    smallest, last = np.ones(len(tossed.sums)), np.ones(len(tossed.sums))
    for sums, tolerance in zip(np.abs(tossed.sums).T, tossed.tolerance, strict=True):
        ordered = np.sort(sums)
        last = 1 - np.searchsorted(ordered, sums - tolerance) / len(sums)
        smallest = np.minimum(smallest, last)
    reached = np.sort(smallest)  # ties among them, as of differences on a grid, are reached together or not at all
    allowed = np.searchsorted(reached, reached, side="right") <= ALPHA * len(reached) + 1e-9
    level = max(ALPHA / len(looks), reached[allowed][-1] if allowed.any() else 0.0)  # Bonferroni's holds in any case
    return float(np.mean(smallest <= last[0])), float(min(level, ALPHA))
