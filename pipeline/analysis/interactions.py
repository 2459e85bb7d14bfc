"""Test whether an arm's difference from the baseline depends on the block."""

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.blocks import PooledArm
from pipeline.analysis.study import Study
from pipeline.stats.paired import holm, paired_differences
from pipeline.stats.permutation import block_interaction_p


@dataclass(frozen=True)
class BlockInteraction:
    """One setting over several blocks. p: of differences as unequal as these, if its true difference is one in all.

    p is corrected (Holm) for the number of settings; nan where no seed is paired in each of the blocks.
    """

    setting: str
    blocks: tuple[str, ...]
    p: float


def block_interactions(study: Study) -> list[BlockInteraction]:
    """Test each pooled setting, by the metric of the verdict."""
    arms = [(arm, base) for arm in study.pooled_arms if isinstance(base := study.baseline_of(arm), PooledArm)]
    corrected = holm([_interaction_p(study, arm, base) for arm, base in arms])
    return [
        BlockInteraction(arm.setting, tuple(part.block for part in arm.parts), float(p))
        for (arm, _), p in zip(arms, corrected, strict=True)
    ]


def _interaction_p(study: Study, arm: PooledArm, base: PooledArm) -> float:
    seeds = study.paired_seeds(arm, study.metric)
    columns = []
    for part, base_part in zip(arm.parts, base.parts, strict=True):
        values, base_values = part.values(study.metric), base_part.values(study.metric)
        sides = [np.array([side[seed] for seed in seeds]) for side in (values, base_values)]
        columns.append(paired_differences(*sides)[0])
    return block_interaction_p(np.stack(columns, axis=1)) if seeds else np.nan
