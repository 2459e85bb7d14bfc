"""What happened to the biases, in words."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from pipeline.analysis.ablation import BEFORE, OWN, ZEROED
from pipeline.analysis.arms import Arm
from pipeline.analysis.formatting import percent

OTHER_BIASES = {ZEROED: "set to zero", BEFORE: "put back to where they began"}


def distance_sentences(distances: pd.DataFrame, baselines: Collection[str]) -> list[str]:
    """Say whether training undid the differences between initial biases: a sentence per arm compared with a baseline.

    distances: see `bias_dynamics.arm_distances`. The layers of an arm are taken together.
    """
    sentences = []
    for (arm, other), rows in distances.groupby(["arm", "other"], sort=False):  # pyright: ignore
        if arm not in baselines and other not in baselines:
            continue
        arm, base = (other, arm) if arm in baselines else (arm, other)
        before, after = (float(np.linalg.norm(rows[moment])) for moment in ("before", "after"))
        if not before:
            end = f"ended {after:.3g} away" if after else "ended there"
            sentences.append(f"{arm}: its biases began where those of {base} did and {end}.")
            continue
        undone = percent(max(0.0, 1 - after / before))
        undone = "none" if undone == "0 %" else undone
        sentences.append(
            f"{arm}: its biases began {before:.3g} away from those of {base} and ended {after:.3g} away: "
            f"training undid {undone} of the difference."
        )
    return sentences


def ablation_sentences(table: pd.DataFrame, arms: Sequence[Arm]) -> list[str]:
    """Say how the trained models do with other biases: a sentence per arm. table: see `ablation.ablation_over_seeds`.

    Arms are left out whose models were not tested with their own biases, or with no others.
    """
    sentences = []
    for arm in arms:
        rows = {row["biases"]: row for row in table.loc[table["arm"] == arm.name].to_dict("records")}
        own = rows.pop(OWN, None)
        rows = {biases: row for biases, row in rows.items() if np.isfinite(row["change"])}
        if own is None or not rows:
            continue
        largest = max(abs(row["change"]) for row in rows.values())
        digits = int(np.clip(2 - np.floor(np.log10(largest)), 0, 7)) if largest else 4
        changes = ", ".join(
            f"{OTHER_BIASES.get(biases) or f'from {biases}'} {_signed(row['change'], digits)}"
            for biases, row in rows.items()
        )
        sentences.append(f"{arm.name}: {own['metric']} {own['mean']:.{digits}f} with its own biases; {changes}.")
    return sentences


def _signed(value: float, digits: int) -> str:
    """`+0.01`, and 0 without a sign."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else "0"
