"""How many digits numbers need: float32 where it is enough, float64 where that would show."""

from collections.abc import Callable

import numpy as np

LARGEST_LOSS = 0.01  # share of a column's different values that float32 may merge
FLOAT32_VALUES = 2**23  # that float32 tells apart between two powers of 2
MOST_SCALES = 32  # the largest value of a float32 feature, in its standard deviations
BLOCK = 2**20  # values that are searched at a time, and of a column the most that are sorted
ROUNDING = 40  # last digits of a float64, of a column's largest value, in which equal values may differ: 15 digits
LONGEST_EXACT = 2**24  # whole numbers up to it are float32's

Cast = Callable[[np.ndarray, slice], np.ndarray]


def compact(values: np.ndarray) -> np.ndarray:
    """Numbers [rows, ...] as float32, or as float64 where that would show in standardized values.

    float32 keeps 24 bits. A feature whose largest value is 32 of its standard deviations or less is off by at most
    2e-6 standard deviations after it is standardized; a feature farther from 0, such as a time in seconds, needs more,
    and so does one of which float32 would merge neighbours.
    """
    if values.dtype.kind == "b" or values.dtype.itemsize == 1:
        return values.astype(np.float32)
    axes = feature_axes(values)
    with np.errstate(all="ignore"):
        largest, scale = np.nanmax(np.abs(values), axes), np.nanstd(values, axes, dtype=np.float64)
        far = (scale > 0) & ((largest > MOST_SCALES * scale) | (largest > 1e30) | (scale < 1e-12))
    keeps_all = values.dtype in (np.float16, np.float32) or (
        # of the most negative integer, the absolute value is itself
        values.dtype.kind in "iu" and np.abs(np.float64(largest)).max() <= LONGEST_EXACT
    )
    if not np.any(far) and not keeps_all:
        before, after = count_apart(by_column(values), lambda block, _: block.astype(np.float32))
        far = np.array([merges(*counts) for counts in zip(before, after, strict=True)])
    return values.astype(np.float64 if np.any(far) else np.float32)


def by_column(values: np.ndarray) -> np.ndarray:
    """[rows, features]: the values of each feature in a column, of pictures those of a channel."""
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)


def count_apart(values: np.ndarray, cast: Cast) -> tuple[np.ndarray, np.ndarray]:
    """(different values, different values after the cast) of each column [rows, columns], the missing ones left out.

    Values that the rounding of arithmetic in float64 sets apart are the same.

    cast: a function of a block and of its columns that gives float32 in the same order. Of a column of more than
    `BLOCK` values, those of a share of the results of the cast are counted, which tells as much about neighbours as all
    would, and those of some rows; the counts that say more of a loss are returned.
    """
    n_rows, n_columns = values.shape
    width = max(1, BLOCK // max(1, n_rows))
    before, after = np.zeros(n_columns, np.int64), np.zeros(n_columns, np.int64)
    for start in range(0, n_columns, width):
        columns = slice(start, min(start + width, n_columns))
        block = values[:, columns]
        if n_rows <= BLOCK:
            before[columns], after[columns] = _different(block, lambda b, at=columns: cast(b, at))
            continue
        one = lambda b, at=columns: cast(b, at)  # noqa: E731
        share, some = -(-n_rows // BLOCK), np.random.default_rng(0).integers(0, n_rows, BLOCK)
        kept = np.concatenate([_sampled(block[i : i + BLOCK], one, share) for i in range(0, n_rows, BLOCK)])
        everywhere = [int(counts[0]) * share for counts in _different(kept, one)]
        by_rows = [int(counts[0]) for counts in _different(block[some], one)]
        before[start], after[start] = by_rows if merges(*by_rows) and not merges(*everywhere) else everywhere
    return before, after


def _different(block: np.ndarray, cast: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    ordered = np.sort(block, axis=0)
    n_known = (~np.isnan(ordered)).sum(0) if ordered.dtype.kind == "f" else np.full(block.shape[1], len(block))
    seen = cast(ordered)
    is_step = np.arange(1, len(block))[:, None] < n_known  # missing values are sorted to the end
    if ordered.dtype.kind == "f" and len(ordered):
        largest = np.nanmax(np.abs(ordered), axis=0, initial=0)
        dust = np.minimum(ROUNDING * np.spacing(np.float64(largest)), 0.5)  # whole numbers are exact
        is_step &= ordered[1:] - ordered[:-1] > dust
    else:
        is_step &= ordered[1:] != ordered[:-1]
    first = np.minimum(n_known, 1)
    return first + is_step.sum(0), first + ((seen[1:] != seen[:-1]) & is_step).sum(0)


def _sampled(column: np.ndarray, cast: Callable[[np.ndarray], np.ndarray], share: int) -> np.ndarray:
    """The values whose cast falls into one of `share` classes by its bits: merged neighbours together."""
    bits = np.ascontiguousarray(cast(column), np.float32).view(np.uint32)
    mixed = (bits * np.uint32(2654435761)) >> np.uint32(8)
    return column[(mixed % np.uint32(share) == 0)[:, 0]]


def merges(before: int, after: int) -> bool:
    """Whether float32 merges more of the `before` different values than does no harm, if `after` are left.

    Of very many values some always lie closer together than float32 can tell.
    """
    return bool(before - after > before * max(LARGEST_LOSS, before / FLOAT32_VALUES))


def whole_numbers_lost(values: np.ndarray) -> bool:
    """Whether a column of whole numbers has neighbours that are one and the same as a float64, from 2^53 on."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not values.size:
        return False
    if max(abs(int(values.min())), abs(int(values.max()))) <= 2**53:
        return False
    return merges(len(np.unique(values)), len(np.unique(values.astype(np.float64))))


def feature_axes(values: np.ndarray) -> tuple[int, ...]:
    """The axes over which a feature varies: the rows of a table; of anything with more axes, all but the channels."""
    return (0,) if values.ndim <= 2 else tuple(range(values.ndim - 1))
