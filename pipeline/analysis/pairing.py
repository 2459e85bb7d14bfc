"""Pair the runs of two arms by seed, where both started from the same kernels, data and settings."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.analysis.arms import STARTING_CONDITIONS, ComparedArm
from pipeline.store.runs import BIASES, HISTORY, Run

START, SHIFTS = "start", "shifts"  # why arms are the same by construction
SMALL = 2**14  # bytes of a file of biases up to which those of 4,096 runs are remembered, in 64 MB at most
AT_ANY_VALUE = ("kernels", "data", "device")  # `STARTING_CONDITIONS` that runs at different tuned values share


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


def construction(arm: ComparedArm, baseline: ComparedArm, seeds: list[int]) -> str | None:
    """Why two arms are the same by construction on these paired seeds; None where they need not be.

    `START`: the same initial biases and, as must be, the same learning curves. `SHIFTS`: they differ only in biases
    that shift all logits of a softmax, which changes nothing but rounding. Runs of earlier versions do not tell.
    """
    if any(not set(seeds) <= part.complete_seeds for side in (arm, baseline) for part in side.parts):
        return None  # one at its best, of which a value that was not chosen diverged
    couples = list(_couples(arm, baseline, seeds))
    same_curves = have_same_curves(arm, baseline, seeds)
    if not couples or not (same_curves or all(irrelevant_in_both(*runs, "shift") for runs in couples)):
        return None
    different = set()
    for runs in couples:
        shifts, offsets = irrelevant_in_both(*runs, "shift"), start_offsets(*runs)
        if offsets is None or not offsets.keys() <= set(shifts):
            return None
        different |= offsets.keys()
    return SHIFTS if different else START if same_curves else None


def _couples(arm: ComparedArm, baseline: ComparedArm, seeds: list[int]) -> Iterator[tuple[Run, Run]]:
    for part, other in zip(arm.parts, baseline.parts, strict=True):
        yield from ((part.complete[seed], other.complete[seed]) for seed in seeds)


def irrelevant_in_both(run: Run, other: Run, kind: str) -> list[str]:
    """Paths of the biases that are irrelevant in this way in both runs, see `models.irrelevant`."""
    entries = [one.meta.get("irrelevant_biases", {}) for one in (run, other)]
    return [path for path in entries[0] if all(e.get(path, {}).get("kind") == kind for e in entries)]


def start_biases(run: Run) -> dict[str, np.ndarray]:
    """The initial biases of a run; small ones are remembered, since those of a baseline are held against every arm's.

    Nothing may be written into them.
    """
    file = run.path / BIASES
    return _small_biases(run.path, run.meta["digests"][BIASES]) if file.stat().st_size <= SMALL else _before(run.path)


def _before(path: Path, digest: str = "") -> dict[str, np.ndarray]:
    return Run(path, {}).biases("before")


_small_biases = lru_cache(maxsize=2**12)(_before)


def start_offsets(run: Run, other: Run) -> dict[str, float] | None:
    """By how much the initial biases of two runs differ at most, by path, where they do; None if not of one shape."""
    ours, theirs = start_biases(run), start_biases(other)
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return None
    offsets = {k.partition("/")[2]: np.abs(v - theirs[k]).max(initial=0.0) for k, v in ours.items()}
    return {path: float(offset) for path, offset in offsets.items() if offset}
