"""Where the answer depends on the block, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.blocks import block_factors, spell_block
from pipeline.analysis.formatting import p_value
from pipeline.analysis.interactions import BlockInteraction
from pipeline.analysis.verdict import Verdict
from pipeline.analysis.wording import Number
from pipeline.stats.intervals import ALPHA

SAME_CLASS = {"identical": "equal", "equivalent": "equal"}  # verdicts that do not contradict each other


@dataclass(frozen=True)
class BlockDependence:
    """A setting whose verdict or difference depends on the block.

    factors: the overrides in which the blocks differ. p: see `interactions.BlockInteraction`; None where it is unknown.
    shown: whether p is small enough to show that the difference depends on the block.
    """

    setting: str
    blocks: tuple[str, ...]
    factors: tuple[str, ...]
    p: float | None
    shown: bool
    sentence: str


def block_dependences(
    interactions: Sequence[BlockInteraction], verdicts: Sequence[Verdict], number: Number
) -> list[BlockDependence]:
    """Say where the answer depends on the block: one entry per setting whose verdict or difference does.

    That a setting is decided in one block and undecided in another does not show that the blocks differ, so each
    sentence says whether the test of the interaction does.
    """
    by_arm = {(v.setting, v.block): v for v in verdicts if v.compared and not v.pooled}
    dependences = []
    for interaction in interactions:
        setting, p, blocks = interaction.setting, interaction.p, interaction.blocks
        texts: dict[str, list[str]] = {}
        for verdict in (by_arm[setting, block] for block in blocks if (setting, block) in by_arm):
            text = f"{spell_block(verdict.block)} ({number(verdict.difference, '+')})"
            texts.setdefault(verdict.verdict, []).append(text)
        shown = p <= ALPHA  # not where p is nan
        if not shown and len({SAME_CLASS.get(word, word) for word in texts}) < 2:
            continue
        by_verdict = "; ".join(f"{word} {', '.join(parts)}" for word, parts in texts.items())
        factors = tuple(block_factors(blocks))
        on = ", ".join(factors) or "the block"
        if shown:
            sentence = f"The answer for {setting} depends on {on} (p {p_value(p, '= ')}): {by_verdict}."
        else:
            why = "no seed is paired in each" if np.isnan(p) else f"p {p_value(p, '= ')}"
            sentence = f"{setting} by block: {by_verdict}; that its difference depends on {on} is not shown ({why})."
        known_p = None if np.isnan(p) else p
        dependences.append(BlockDependence(setting, blocks, factors, known_p, bool(shown), sentence))
    return dependences
