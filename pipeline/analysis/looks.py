"""Judge the arms of a study by its declared design: what each look decides, from the stored runs alone.

An arm takes part in a look with the seeds that the look was declared with, whatever is stored besides. Arms of one
block are corrected together by Holm's procedure, over p that hold at every look (`stats.sequential`). What a look has
decided stays, and the arm is judged by its seeds of that look for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.analysis.arms import ComparedArm
from pipeline.analysis.pairing import have_same_curves
from pipeline.analysis.study import Study
from pipeline.analysis.verdict import verdict_of
from pipeline.stats.paired import holm, paired_differences
from pipeline.stats.sequential import LookResult, judge_look, repeated_interval, unbiased_mean
from pipeline.store.designs import DeclaredDesign

UNDECIDED = "undecided"


@dataclass
class LookedArm:
    """An arm as the looks so far judge it.

    family: how many arms are corrected together. look: index of the last look that it took part in. seeds, differences:
    of that look; counts: how many of them each look had; resolution: rounding error of a difference. result: what the
    design says of them; p and p_equivalent after Holm's correction: p_holm, p_equivalent_holm. low, high: the repeated
    interval of the mean difference. unbiased: that mean without what ending early adds, see
    `stats.sequential.unbiased_mean`; nan where no difference has ended it before the last look.
    """

    arm: str
    family: int
    verdict: str = UNDECIDED
    look: int = -1
    seeds: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    differences: np.ndarray = field(default_factory=lambda: np.zeros(0))
    resolution: float = 0.0
    result: LookResult | None = None
    p_holm: float = np.nan
    p_equivalent_holm: float = np.nan
    low: float = np.nan
    high: float = np.nan
    unbiased: float = np.nan

    @property
    def is_open(self) -> bool:
        """Whether it takes part in the next look."""
        return self.verdict == UNDECIDED


def judge_looks(study: Study, design: DeclaredDesign, n_looks: int) -> dict[str, LookedArm]:
    """Judge every arm that has a baseline over the first looks that judge: folder of the arm -> `LookedArm`.

    Raises nothing where seeds diverged or are missing: those that there are count.
    """
    judged: dict[str, LookedArm] = {}
    families: dict[str, list[ComparedArm]] = {}
    for arm in study.judged_arms:
        if study.baseline_of(arm) is not None:
            families.setdefault(arm.family, []).append(arm)
    for family in families.values():
        judged |= {one.arm: one for one in _judge_family(study, design, n_looks, family)}
    return judged


def _judge_family(
    study: Study, design: DeclaredDesign, n_looks: int, family: Sequence[ComparedArm]
) -> list[LookedArm]:  # fmt: skip
    arms = [LookedArm(arm.parts[0].folder, len(family)) for arm in family]
    for k in range(n_looks):
        for looked, arm in zip(arms, family, strict=True):
            if looked.is_open:
                _take_part(looked, arm, study, design, k)
        p_holm = holm([_p(looked, "p") for looked in arms])
        p_equivalent = holm([_p(looked, "p_equivalent") for looked in arms])
        for looked, arm, p, p_equal in zip(arms, family, p_holm, p_equivalent, strict=True):
            if looked.is_open:
                looked.p_holm, looked.p_equivalent_holm = float(p), float(p_equal)
                looked.verdict = _verdict(looked, arm, study, design.alpha)
    for looked in arms:
        if looked.seeds:
            ends = repeated_interval(looked.differences, looked.counts, design.tests, looked.resolution)
            looked.low, looked.high = ends
        if looked.verdict in ("better", "worse") and looked.look < len(design.judging) - 1:
            looked.unbiased = unbiased_mean(looked.differences, design.tests, design.alpha / len(arms))
    return arms


def _take_part(looked: LookedArm, arm: ComparedArm, study: Study, design: DeclaredDesign, k: int) -> None:
    """Judge an open arm at look k by the seeds of that look that are complete in both arms."""
    base = study.baseline_of(arm)
    assert base is not None
    values, base_values = arm.values(design.metric), base.values(design.metric)
    looks = design.judging[: k + 1]
    seeds = [seed for seed in study.paired_seeds(arm, design.metric) if seed < looks[k]]
    looked.look, looked.seeds = k, tuple(seeds)
    looked.counts = tuple(sum(seed < n for seed in seeds) for n in looks)
    looked.differences, looked.resolution = paired_differences(
        np.array([values[seed] for seed in seeds]), np.array([base_values[seed] for seed in seeds])
    )
    if seeds:
        looked.result = judge_look(looked.differences, looked.counts, design.tests, design.margin, looked.resolution)


def _p(looked: LookedArm, name: str) -> float:
    return np.nan if looked.result is None else getattr(looked.result, name)


def _verdict(looked: LookedArm, arm: ComparedArm, study: Study, alpha: float) -> str:
    """What the look decides of an arm; undecided where it goes on."""
    if not looked.seeds:
        return UNDECIDED
    base = study.baseline_of(arm)
    assert base is not None
    same_curves = have_same_curves(arm, base, list(looked.seeds))
    return verdict_of(
        looked.differences, looked.p_holm, looked.p_equivalent_holm, study.higher_is_better, study.margin, same_curves,
        bool(study.construction(arm, looked.seeds)), alpha,
    )  # fmt: skip
