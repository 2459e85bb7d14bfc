"""Simulated studies, judged by the functions of `pipeline.stats.sequential` that judge real ones.

Every study tosses signs of its own, so that rates are exact on average with few paths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.paired import equivalence, excludes_failures, holm
from pipeline.stats.sequential import (
    Design,
    Paths,
    ending_looks,
    repeated_interval,
    toss_signs,
    unbiased_mean,
    undeclared_looks_p,
)

SPENDINGS = ("obrien_fleming", "pocock")
LOOKS = (10, 20, 40, 80, 160)
ARMS = 7
DRIFT = 2.8016  # what a two-sided test of level 0.05 finds with 80 % power
EFFECT = DRIFT / np.sqrt(LOOKS[-1])  # in standard deviations of the differences: found by 160 seeds with 80 % power


def _minus_baseline(draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray]) -> Callable[..., np.ndarray]:
    """Differences of arms from one baseline, all values drawn alike: symmetric, as where an arm does not matter."""

    def differences(rng: np.random.Generator, arms: int, n: int) -> np.ndarray:
        values = draw(rng, (arms + 1, n))
        return values[1:] - values[0]

    return differences


DIFFERENCES: dict[str, Callable[..., np.ndarray]] = {
    "normal": _minus_baseline(lambda rng, shape: rng.normal(size=shape)),
    "discrete": _minus_baseline(lambda rng, shape: rng.binomial(360, 0.97, shape) / 360),  # shares of 360 rows
    "t3": _minus_baseline(lambda rng, shape: rng.standard_t(3, shape)),
    "Cauchy": _minus_baseline(lambda rng, shape: rng.standard_cauchy(shape)),
    "skewed": lambda rng, arms, n: rng.exponential(size=(arms, n)) - 1,
}


def looks_that_end(tossed: Paths, design: Design, levels: Sequence[float]) -> np.ndarray:
    """The look at which a study ends at each of some levels, the highest one first: [levels]; their number for none.

    As for `sequential_p`, a level counts only if the study has ended at the higher ones too.
    """
    evidence, n_looks = np.abs(tossed.sums), tossed.sums.shape[1]
    ends = [ending_looks(evidence, design.spent(level, n_looks), tossed.tolerance)[0][0] for level in levels]
    return np.maximum.accumulate(ends)


@dataclass(frozen=True)
class Errors:
    """Shares of studies without a true difference that find one: in one arm, and in any arm after Holm's correction."""

    one_arm: float
    any_arm: float


def false_positives(
    kind: str, looks: Sequence[int], studies: int, arms: int = ARMS, paths: int = 1000
) -> dict[str, Errors]:
    """Simulate studies of several arms without a true difference: spending -> their false positives.

    `one_arm` is the mean over the arms, each judged as if it were the only one.
    """
    rng = np.random.default_rng(20)
    levels = ALPHA / np.arange(1, arms + 1)
    single, together = dict.fromkeys(SPENDINGS, 0.0), dict.fromkeys(SPENDINGS, 0.0)
    for study in range(studies):
        tossed = [toss_signs(one, looks, paths=paths, seed=study) for one in DIFFERENCES[kind](rng, arms, looks[-1])]
        for name in SPENDINGS:
            ends = np.array([looks_that_end(one, Design(tuple(looks), ALPHA, name), levels) for one in tossed])
            reached = (ends < len(looks)).sum(1)  # how many of the levels
            p = np.where(reached > 0, levels[np.maximum(reached, 1) - 1], 1.0)
            single[name] += np.mean(reached > 0)
            together[name] += bool(np.any(holm(list(p)) <= ALPHA * (1 + 1e-12)))
    return {name: Errors(single[name] / studies, together[name] / studies) for name in SPENDINGS}


def coverage(kind: str, studies: int, paths: int = 1000) -> dict[str, float]:
    """Spending -> share of studies whose repeated intervals hold the true difference at every look."""
    rng, truth = np.random.default_rng(21), 0.01
    held = dict.fromkeys(SPENDINGS, 0)
    for study in range(studies):
        differences = truth + DIFFERENCES[kind](rng, 1, LOOKS[-1])[0]
        for name in SPENDINGS:
            design = Design(LOOKS, ALPHA, name)
            intervals = (
                repeated_interval(differences, LOOKS[:k], design, paths=paths, seed=study)
                for k in range(1, len(LOOKS) + 1)
            )
            held[name] += all(low - 1e-12 <= truth <= high + 1e-12 for low, high in intervals)
    return {name: count / studies for name, count in held.items()}


@dataclass(frozen=True)
class Power:
    """Of studies with a true difference: the share that finds it, the seeds used on average.

    overstated, unbiased: mean estimate over the true difference, as observed at the end and after `unbiased_mean`. Both
    are measured from the mean over all seeds, which has no bias, and so vary less.
    """

    found: float
    seeds: float
    overstated: float
    unbiased: float


def power(effect: float, studies: int, corrected: int = 0, looks: Sequence[int] = LOOKS) -> dict[str, Power]:
    """Simulate one arm with normal differences of mean `effect` and variance 1: design -> power; `fixed` has one look.

    Studies whose test finds nothing use all seeds. corrected: how many of them go into `unbiased`, which takes long.
    """
    rng, names = np.random.default_rng(22), ("fixed", *SPENDINGS)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    unbiased: dict[str, list[float]] = {name: [] for name in names}
    for study in range(studies):
        differences = rng.normal(effect, 1, looks[-1])
        tossed = toss_signs(differences, looks, paths=5000, seed=study)
        last = Paths(tossed.sums[:, -1:], tossed.signs[:, -1:], tossed.tolerance[-1:])
        for name, followed in (("fixed", last), *((name, tossed) for name in SPENDINGS)):
            design = Design(tuple(looks[-1:] if name == "fixed" else looks), ALPHA, name)
            end = looks_that_end(followed, design, [ALPHA])[0]
            used = differences[: design.looks[min(end, len(design.looks) - 1)]]
            more = (used.mean() - differences.mean()) / effect
            found[name].append((end < len(design.looks), len(used), 1 + more))
            if study < corrected:
                unbiased[name].append(1 + (unbiased_mean(used, design, ALPHA) - differences.mean()) / effect)
    return {
        name: Power(*map(float, np.mean(rows, axis=0)), float(np.mean(unbiased[name])) if corrected else np.nan)
        for name, rows in found.items()
    }


@dataclass(frozen=True)
class Naive:
    """Of studies without a true difference that are looked at until p < 0.05: the shares that find one.

    naive: that ever see p < 0.05. corrected: whose last answer, after all looks, has p of `undeclared_looks_p` below
    0.05. until_corrected: that ever see such a p. declared: by a design with the same looks.
    """

    naive: float
    corrected: float
    until_corrected: float
    declared: float


def naive_looks(looks: Sequence[int], studies: int, paths: int = 1000) -> Naive:
    """Add seeds until p < 0.05: normal differences without a true one."""
    rng, counts = np.random.default_rng(23), np.zeros(4)
    for study in range(studies):
        differences = rng.normal(size=looks[-1])
        tossed = toss_signs(differences, looks, paths=paths, seed=study)
        sums = np.abs(tossed.sums)
        seen = np.flatnonzero(np.mean(sums >= sums[0] - tossed.tolerance, axis=0) <= ALPHA)  # the corrected p is larger
        corrected = undeclared_looks_p(differences, looks, paths=paths, seed=study)[0] <= ALPHA
        until = any(undeclared_looks_p(differences, looks[: k + 1], paths=paths, seed=study)[0] <= ALPHA for k in seen)
        declared = looks_that_end(tossed, Design(tuple(looks), ALPHA), [ALPHA])[0] < len(looks)
        counts += [len(seen) > 0, corrected, until, declared]
    return Naive(*map(float, counts / studies))


@dataclass(frozen=True)
class Equivalent:
    """Share of studies that call an arm equivalent: without and with the rule of `excludes_failures`."""

    plain: float
    ruled: float


def equivalent(seeds: int, failures: float, studies: int, noise: float = 0.002, margin: float = 0.005) -> Equivalent:
    """Simulate an arm with normal differences that loses 0.5 besides on a share `failures` of its seeds."""
    rng, counts = np.random.default_rng(24), np.zeros(2)
    for _ in range(studies):
        differences = rng.normal(0, noise, seeds) - 0.5 * (rng.random(seeds) < failures)
        plain = equivalence(differences, margin) <= ALPHA
        counts += [plain, plain and excludes_failures(differences, margin)]
    return Equivalent(*map(float, counts / studies))
