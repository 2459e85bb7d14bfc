"""Numbers in a metric's own precision."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from pipeline.stats.intervals import ALPHA


def number_format(summary: pd.DataFrame) -> Callable[..., str]:
    """How to write the numbers of one metric: two digits of the intervals' half width, in the middle of the arms.

    The function takes a number and a sign (`+` shows it), and never gives `-0` or `nan`.
    """
    half = (summary["ci_high"] - summary["ci_low"]).to_numpy(float) / 2
    size = np.nanmax(np.abs(summary["mean"].to_numpy(float)), initial=0)
    known = half[half > 0]
    place = np.floor(np.log10(np.median(known))) - 1 if len(known) else np.floor(np.log10(size or 1)) - 3
    digits = max(0, -int(place))
    wide = digits > 7 or size >= 10 ** (9 - digits)

    def write(value: float, sign: str = "") -> str:
        if value is None or not np.isfinite(value):
            return "–"
        text = f"{value:{sign}.2e}" if wide and value else f"{value:{sign}.{0 if wide else digits}f}"
        return text if float(text) else text.lstrip("+-")

    return write


def p_value(p: float, equals: str = "") -> str:
    """Two digits that count, never 0, and never the level itself for what is not at it."""
    if p < 0.001:
        return "< 0.001"
    short = f"{p:.2g}"
    return equals + (short if float(short) != ALPHA else f"{p:.4f}")
