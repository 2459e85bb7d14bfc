"""Tell by its values whether a feature counts rows, or alone gives the target."""

from collections.abc import Callable

import numpy as np

from pipeline.data.columns import MOST_CATEGORIES

FEWEST_ROWS = 20  # with fewer, what is found below happens by chance
FEWEST_IN_ORDER = 40  # with fewer rows, an honest predictor may be in the order of the target by chance
MOST_REPEATS = 5  # rows that share a value which counts rows or groups of them
MOST_RESTARTS = 3  # of a counter within its column
ODD_SHARE = 0.01  # of the values of a counter that repeats may do so more or less often, where a row was left out
DENSE = 10  # an id has one in so many whole numbers between its least and its largest, if it is in no order
LONG, LONGEST_MEASURED = 10**7, 10**15  # ids of 8 digits and more are all as long, measured numbers are not
SAMPLE = 2**16  # rows that are looked at before all are
EXACT, ROUNDED = 1e-10, 1e-5  # 1 - |r| of two columns of which one is made of the other; where it was rounded
MOST_DECIMALS = 9


def counts_rows(values: np.ndarray, parts: np.ndarray | None) -> str | None:
    """What a column of numbers does if it counts rows or is like an id, else None. values: [rows], NaN where missing.

    parts: [rows], the file or part that a row is of: a counter may start anew in each.
    """
    sample = values[:SAMPLE]
    if not _whole(sample[~np.isnan(sample)]).all():
        return None
    known = ~np.isnan(values)
    values, parts = values[known], None if parts is None else parts[known]
    if len(values) < FEWEST_ROWS or not _whole(values).all():
        return None
    different, counts = np.unique(values, return_counts=True)
    first, last = int(different[0]), int(different[-1])
    span = f"({first} to {last})"
    if len(different) == len(values):
        counts_all = last - first == len(values) - 1
        if counts_all:
            return f"counts the rows {span}"
        is_id = _in_order_of_rows(values) or last - first < DENSE * len(values) or _very_long(different)
        return "is another whole number in each row, like an id" if is_id else None
    if len(different) < FEWEST_ROWS:
        return None
    steps = np.diff(values)
    if (steps != 1).sum() <= MOST_RESTARTS and len(steps) > MOST_RESTARTS * FEWEST_ROWS:
        return f"counts rows and starts anew {span}"
    in_parts = [] if parts is None else [values[parts == part] for part in np.unique(parts)]
    dense = last - first < DENSE * len(different)
    if len(in_parts) > 1 and all(len(np.unique(part)) == len(part) for part in in_parts) and (
        dense or _very_long(different) or all(map(_in_order_of_rows, in_parts))
    ):  # fmt: skip
        return f"is another whole number in each row of a part {span}, like an id"
    usual = int(np.median(counts))
    in_groups = 2 <= usual <= MOST_REPEATS and last - first < 1.5 * len(different)  # doses and clocks are farther apart
    if in_groups and (counts != usual).sum() <= max(1, ODD_SHARE * len(counts)):
        return f"has each whole number in {usual} rows {span}, like an id of them"
    return None


def _in_order_of_rows(values: np.ndarray) -> bool:
    steps = np.diff(values)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _very_long(different: np.ndarray) -> bool:
    """Whether numbers are longer than measured ones are, or all as long as the longest of many digits."""
    low, high = float(np.abs(different).min()), float(np.abs(different).max())
    same_length = len(str(int(low))) == len(str(int(high)))
    return high >= LONGEST_MEASURED or (high >= LONG and same_length and bool((different > 0).all()))


def gives_target(values: np.ndarray, y: np.ndarray, task: str, is_text: bool) -> bool:
    """Whether each value, or each interval of values, belongs to one class; or a number is made of the target.

    values: [rows], codes of categories if is_text, NaN where missing. y: [rows].
    """
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < FEWEST_ROWS:
        return False
    tells = _gives_number if task == "regression" and not is_text else _gives_class
    if len(known) > SAMPLE:  # what holds for all rows holds for some
        some = np.sort(np.random.default_rng(0).choice(known, SAMPLE, replace=False))
        if not tells(values[some], y[some], is_text):
            return False
    return tells(values[known], y[known], is_text)


def _whole(values: np.ndarray) -> np.ndarray:
    return values == np.round(values)


def _gives_class(values: np.ndarray, y: np.ndarray, is_text: bool) -> bool:
    if np.ptp(values) == 0 or np.ptp(y) == 0:
        return False
    order = np.lexsort((y, values))
    ordered, classes = values[order], y[order]
    changes = classes[1:] != classes[:-1]
    if bool((changes & (ordered[1:] == ordered[:-1])).any()):
        return False
    n_different = 1 + int((ordered[1:] != ordered[:-1]).sum())
    by_interval = not is_text and int(changes.sum()) == len(np.unique(y)) - 1
    return by_interval or n_different <= min(MOST_CATEGORIES if is_text else 20, len(values) // 5)


def _gives_number(values: np.ndarray, y: np.ndarray, _: bool) -> bool:
    """Whether the one is a function of the other, but for rounding: a line, a usual curve, or any that only rises.

    The last is told by the order of the rows: noise in an honest predictor puts some of many in another one. Where both
    run with the rows of the file, as time and what grows in it do, the order says nothing.
    """
    values, y = values.astype(np.float64), y.astype(np.float64)
    if np.ptp(values) == 0 or np.ptp(y) == 0:
        return False
    loss = _distance(values, y)
    if loss < EXACT or (loss < ROUNDED and _is_rounded_line(values, y)):
        return True
    if any(_distance(curve(one), other) < EXACT for one, other in ((values, y), (y, values))
           for curve, allowed in CURVES if allowed(one)):  # fmt: skip
        return True
    steps = np.diff(values)
    if len(values) < FEWEST_IN_ORDER or bool((steps >= 0).all()) or bool((steps <= 0).all()):
        return False
    coarse = 2 * min(len(np.unique(values)), len(np.unique(y))) < len(values)  # which hides noise
    return not coarse and any(_in_order(values, sign * y) for sign in (1, -1))


def _positive(values: np.ndarray) -> bool:
    return bool(values.min() > 0)


CURVES: tuple[tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], bool]], ...] = (
    (np.log, _positive),
    (np.log1p, lambda values: bool(values.min() > -1)),
    (np.square, lambda values: bool(np.abs(values).max() < 1e100)),
    (np.sqrt, lambda values: bool(values.min() >= 0)),
    (np.reciprocal, lambda values: bool(np.abs(values).min() > 1e-100)),
)


def _distance(values: np.ndarray, y: np.ndarray) -> float:
    """1 - |r|."""
    with np.errstate(all="ignore"):
        r = np.corrcoef(values, y)[0, 1]
    return 1 - abs(float(r)) if np.isfinite(r) else 1.0


def _is_rounded_line(values: np.ndarray, y: np.ndarray) -> bool:
    """Whether no row is farther from the line than the last decimals of both columns explain."""
    slope = float(np.cov(values, y)[0, 1] / np.var(y, ddof=1))
    errors = values - values.mean() - slope * (y - y.mean())
    last = _last_decimal(values) + abs(slope) * _last_decimal(y)
    return bool(np.abs(errors).max() <= 0.55 * last)


def _last_decimal(values: np.ndarray) -> float:
    """The unit that all values are rounded to, a power of ten; 0 where there is none that float32 could show."""
    size = np.abs(values).max()
    for decimals in range(-6, MOST_DECIMALS):
        unit = 10.0**-decimals
        if unit < 1e-5 * size:
            return 0.0
        if np.allclose(values / unit, np.round(values / unit), rtol=0, atol=max(1e-6, 2e-7 * size / unit)):
            return unit
    return 0.0


def _in_order(values: np.ndarray, y: np.ndarray) -> bool:
    """Whether no row has a larger value than another one and a smaller y."""
    order = np.lexsort((y, values))
    ordered, y = values[order], y[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lowest, highest = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    return bool((lowest[1:] >= highest[:-1]).all())
