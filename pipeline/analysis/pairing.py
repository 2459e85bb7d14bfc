"""Pair the runs of two arms by seed, where both started from the same kernels, data and settings."""

from pipeline.analysis.arms import STARTING_CONDITIONS, ComparedArm
from pipeline.store.runs import HISTORY


def mismatches(arm: ComparedArm, baseline: ComparedArm) -> dict[int, list[str]]:
    """Find the seeds that both arms completed from different starts: seed -> the `STARTING_CONDITIONS` that differ."""
    different: dict[int, list[str]] = {}
    for part, baseline_part in zip(arm.parts, baseline.parts, strict=True):
        for seed, start in part.starting_conditions.items():
            other = baseline_part.starting_conditions.get(seed, start)
            if start != other:
                names = [name for name, a, b in zip(STARTING_CONDITIONS, start, other, strict=True) if a != b]
                different.setdefault(seed, []).extend(names)
    return different


def have_same_curves(arm: ComparedArm, baseline: ComparedArm, seeds: list[int]) -> bool:
    """Whether these seeds have the same learning curves in both arms, bit for bit."""
    digests = [
        [part.complete[seed].meta["digests"][HISTORY] for part in side.parts for seed in seeds]
        for side in (arm, baseline)
    ]
    return bool(seeds) and digests[0] == digests[1]
