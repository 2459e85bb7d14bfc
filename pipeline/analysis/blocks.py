"""Arms over the blocks of a study: where other settings were swept too, each bias setting over all of them.

A seed is the independent unit, and its runs in several blocks are not: an overall value of a seed is its mean over the
blocks. Source: Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.analysis.study import Arm, baseline_arms, paired_seeds
from pipeline.stats.paired import holm, paired_differences
from pipeline.stats.permutation import block_interaction_p

OVERALL = "overall"


@dataclass(frozen=True)
class Overall(Arm):
    """One setting in several blocks. A seed counts if it is complete in each, and its value is the mean over them."""

    among: tuple[Arm, ...] = ()
    over: str = ""

    @property
    def parts(self) -> tuple[Arm, ...]:
        """The setting's arms, a block each."""
        return self.among

    @property
    def block(self) -> str:
        """`both blocks`, `all 3 blocks`, or which of them."""
        return self.over

    @property
    def family(self) -> str:
        """All overall comparisons are one family."""
        return OVERALL

    @cached_property
    def complete(self) -> dict[int, Any]:
        """The runs of one block, by seed, of the seeds that are complete in each."""
        seeds = set.intersection(*(set(part.complete) for part in self.parts))
        return {seed: run for seed, run in self.parts[0].complete.items() if seed in seeds}

    @property
    def diverged(self) -> list[int]:
        """The seeds that diverged in any of the blocks."""
        return sorted({seed for part in self.parts for seed in part.diverged})

    def _values(self, metric: str) -> dict[int, float]:
        found = [part.values(metric) for part in self.parts]
        seeds = [seed for seed in found[0] if all(seed in values for values in found)]
        return {seed: float(np.mean([values[seed] for values in found])) for seed in seeds}

    def censored(self, metric: str) -> list[int]:
        """The seeds that did not get there in one of the blocks."""
        return sorted({seed for part in self.parts for seed in part.censored(metric)} & self.values(metric).keys())


def pooled_arms(arms: list[Arm], baseline: str) -> list[Arm]:
    """Each setting that several blocks have beside the baseline, over these blocks, and the baseline over the same.

    Blocks whose baseline, or whose arm, has no complete run are left out; and of blocks with the very same runs, such
    as `optimizer.learning_rate=0.001` where that is the default, all but one.
    """
    bases, seen = {}, set()
    for block, base in baseline_arms(arms, baseline).items():
        runs = frozenset(run.key for run in base.runs)
        if base.complete and runs not in seen:
            bases[block] = base
            seen.add(runs)
    settings: dict[str, list[Arm]] = {}
    for arm in arms:
        if arm.complete and arm.block in bases:
            settings.setdefault(arm.setting, []).append(arm)
    found: dict[tuple[str, str], Arm] = {}
    for setting, parts in settings.items():
        if setting == baseline or len(parts) < 2:
            continue
        blocks = [part.block for part in parts]
        some = " and ".join(block or "no overrides" for block in blocks)
        over = _all(len(bases)) if len(blocks) == len(bases) else some
        beside = [bases[block] for block in blocks]
        for name, among in ((baseline, beside), (setting, parts)):
            found.setdefault((over, name), _overall(name, over, among))
    order = {arm.setting: place for place, arm in enumerate(arms)}
    return sorted(found.values(), key=lambda arm: (arm.block != _all(len(bases)), arm.block, order[arm.setting]))


def _all(n: int) -> str:
    return "both blocks" if n == 2 else f"all {n} blocks"


def _overall(setting: str, over: str, parts: list[Arm]) -> Overall:
    runs = tuple(run for part in parts for run in part.runs)
    return Overall(f"{setting} over {over}", setting, runs, among=tuple(parts), over=over)


def spell_block(block: str) -> str:
    """A block in a sentence."""
    return f"with {block}" if block else "without overrides"


def block_factors(blocks: list[str]) -> list[str]:
    """The settings whose value differs among blocks, as `optimizer.learning_rate`."""
    each = [dict(re.findall(r"(?:^|,)([\w.@/]+)=(.*?)(?=,[\w.@/]+=|$)", block)) for block in blocks]
    names = dict.fromkeys(name for values in each for name in values)
    return [name for name in names if len({values.get(name) for values in each}) > 1]


def block_interactions(arms: list[Arm], baseline: str, metric: str) -> Iterator[dict[str, Any]]:
    """For each setting over several blocks: setting, blocks, p that its difference from the baseline is one in all.

    p is corrected (Holm) for the number of settings; nan where no seed is paired in each of the blocks.
    """
    pooled = pooled_arms(arms, baseline)
    bases = baseline_arms(pooled, baseline)
    found = [_interaction(arm, bases[arm.block], metric) for arm in pooled if arm.setting != baseline]
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        yield row | {"p": float(p)}


def _interaction(arm: Arm, base: Arm, metric: str) -> dict[str, Any]:
    seeds, blocks = paired_seeds(arm, base, metric), [part.block for part in arm.parts]
    columns = []
    for mine, theirs in zip(arm.parts, base.parts, strict=True):
        values, others = mine.values(metric), theirs.values(metric)
        sides = [np.array([side[seed] for seed in seeds]) for side in (values, others)]
        columns.append(paired_differences(*sides)[0])
    p = block_interaction_p(np.stack(columns, axis=1)) if seeds else np.nan
    return {"setting": arm.setting, "blocks": blocks, "p": p}
