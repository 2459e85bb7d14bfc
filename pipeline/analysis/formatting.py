"""Write numbers in a metric's own precision."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.metrics import RUN_LENGTHS
from pipeline.stats.intervals import ALPHA

Row = dict[str, Any]
MORE_DIGITS = 2
DUST = 1e-10  # of the largest number: what rounding leaves
EPOCHS_TO = "epochs_to_"  # prefix of the metrics that can be censored: a run may never reach the level


def plain_rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame as JSON can hold them: Python's own types, None for what is missing or not finite."""
    return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value


def number_format(rows: Iterable[Mapping[str, Any]]) -> Callable[..., str]:
    """Choose how to write the numbers of one metric: two digits of the intervals' half width, at the median of arms, or
    more where the narrowest would be shown as none.

    rows: entries mean, ci_low, ci_high, None where unknown. Returns a function of a number and a sign (`+` shows the
    sign of positive numbers too); it writes None as a dash, and never `-0`.
    """
    rows = list(rows)
    mean, low, high = (np.array([row[name] for row in rows], np.float64) for name in ("mean", "ci_low", "ci_high"))
    half = (high - low) / 2
    size = np.nanmax(np.abs(mean), initial=0)
    widths = half[half > 0]
    place = np.floor(np.log10(np.median(widths))) - 1 if len(widths) else np.floor(np.log10(size or 1)) - 3
    digits = max(0, -int(place))
    if len(widths) and 0.5 * 10.0**-digits > widths.min() > DUST * size:
        digits = min(digits + MORE_DIGITS, -int(np.floor(np.log10(widths.min()))))
    if not len(widths) and _are_epochs(rows, mean):
        digits = 0
    scientific = digits > 7 or size >= 10 ** (9 - digits)

    def write(value: float | None, sign: str = "") -> str:
        if value is None or not np.isfinite(value):
            return "–"
        if scientific and value:
            return f"{value:{sign}.2e}"
        return (
            signed(value, 0 if scientific else digits)
            if sign
            else unsigned_zero(f"{value:.{0 if scientific else digits}f}")
        )

    return write


def _are_epochs(rows: Iterable[Mapping[str, Any]], means: np.ndarray) -> bool:
    """Whether the numbers are whole epochs, without an interval."""
    names = {str(row.get("metric", "")) for row in rows}
    counted = all(name in RUN_LENGTHS or name.startswith(EPOCHS_TO) for name in names)
    return counted and bool((means[np.isfinite(means)] % 1 == 0).all())


def signed(value: float, digits: int) -> str:
    """Write a number with its sign, and with up to `MORE_DIGITS` more where it would be 0: a bound's sign decides."""
    for more in range(MORE_DIGITS + 1):
        if float(text := f"{value:+.{digits + more}f}"):
            return text
    return unsigned_zero(f"{value:+.{digits}f}")


def unsigned_zero(text: str) -> str:
    """The text of a number, of 0 without a sign."""
    return text if float(text) else text.lstrip("+-")


def p_value(p: float, equals: str = "", alpha: float = ALPHA, is_bound: bool = False) -> str:
    """Write p with two significant digits, never as 0, and never as the level alpha unless it is at the level.

    is_bound: whether p is known as an upper bound alone, as that of a design is.
    """
    if p < 0.001:
        return "< 0.001"
    equals = "≤ " if is_bound and p < 1 else equals
    short = f"{p:.2g}"
    return equals + (short if float(short) != alpha else f"{p:.4f}")


def percent(share: float) -> str:
    """Write a share as a whole percentage."""
    return f"{share:.0%}".replace("%", " %")
