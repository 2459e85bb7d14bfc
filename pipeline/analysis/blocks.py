"""Pool a bias setting over the blocks of a study, that is, over the other settings that were swept too.

A seed is the independent unit, and its runs in several blocks are not: the pooled value of a seed is its mean over the
blocks. Source: Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.arms import Arm

POOLED_FAMILY = "overall"


@dataclass(frozen=True)
class PooledArm:
    """One bias setting in several blocks. A seed counts if it is complete in each; its value is the mean over them.

    parts: the setting's arms, one per block. block: what it is pooled over: `both blocks`, `all 3 blocks`, or names.
    """

    setting: str
    block: str
    parts: tuple[Arm, ...]

    @property
    def name(self) -> str:
        """The setting and the blocks, e.g. `ones over all 3 blocks`."""
        return f"{self.setting} over {self.block}"

    @property
    def family(self) -> str:
        """All pooled comparisons are corrected together."""
        return POOLED_FAMILY

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds that are complete in each block."""
        return set.intersection(*(part.complete_seeds for part in self.parts))

    @property
    def diverged(self) -> list[int]:
        """The seeds that diverged in any block."""
        return sorted({seed for part in self.parts for seed in part.diverged})

    def values(self, metric: str) -> dict[int, float]:
        """The mean of a metric over the blocks by seed, of the seeds that have it in each."""
        by_block = [part.values(metric) for part in self.parts]
        seeds = [seed for seed in by_block[0] if all(seed in values for values in by_block)]
        return {seed: float(np.mean([values[seed] for values in by_block])) for seed in seeds}

    def censored(self, metric: str) -> list[int]:
        """The seeds that did not reach the level of an `epochs_to_` metric in one of the blocks."""
        return sorted({seed for part in self.parts for seed in part.censored(metric)} & self.values(metric).keys())


def pool_arms(arms: list[Arm], baseline: str) -> list[PooledArm]:
    """Pool each setting over the blocks where it stands beside the baseline, if these are two or more.

    The baseline is pooled over the same blocks. Blocks whose baseline, or whose arm, has no complete run are left out;
    of blocks with identical runs, such as `optimizer.learning_rate=0.001` where that is the default, all but one.
    """
    baselines = _distinct_baselines(arms, baseline)
    arms_by_setting: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm.complete and arm.block in baselines:
            arms_by_setting.setdefault(arm.setting, []).append(arm)
    every_block = "both blocks" if len(baselines) == 2 else f"all {len(baselines)} blocks"
    pooled: dict[tuple[str, str], PooledArm] = {}
    for setting, parts in arms_by_setting.items():
        if setting == baseline or len(parts) < 2:
            continue
        blocks = [part.block for part in parts]
        some_blocks = " and ".join(block or "the defaults" for block in blocks)
        block = every_block if len(blocks) == len(baselines) else some_blocks
        baseline_parts = tuple(baselines[part.block] for part in parts)
        pooled.setdefault((block, baseline), PooledArm(baseline, block, baseline_parts))
        pooled[block, setting] = PooledArm(setting, block, tuple(parts))
    order = {arm.setting: i for i, arm in enumerate(arms)}
    return sorted(pooled.values(), key=lambda arm: (arm.block != every_block, arm.block, order[arm.setting]))


def _distinct_baselines(arms: list[Arm], baseline: str) -> dict[str, Arm]:
    """Block -> its baseline arm, of those with a complete run; of blocks with the same runs only the first."""
    baselines, seen = {}, set()
    for arm in arms:
        keys = frozenset(run.key for run in arm.runs)
        if arm.setting == baseline and arm.complete and keys not in seen:
            baselines[arm.block] = arm
            seen.add(keys)
    return baselines


def spell_block(block: str) -> str:
    """Name a block within a sentence."""
    return f"with {block}" if block else "with the defaults"


def block_factors(blocks: Iterable[str]) -> list[str]:
    """Name the settings whose values differ among blocks, e.g. `optimizer.learning_rate`."""
    settings = [dict(re.findall(r"(?:^|,)([\w.@/]+)=(.*?)(?=,[\w.@/]+=|$)", block)) for block in blocks]
    names = dict.fromkeys(name for values in settings for name in values)
    return [name for name in names if len({values.get(name) for values in settings}) > 1]
