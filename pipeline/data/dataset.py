"""The rows of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.runtime.hashing import digest

REST, VALIDATION, TEST = range(3)  # parts that the data assign a row to; REST: to train on, or to be split by seed
NUMBER, INDICATOR = 0, -1  # kinds of a table's columns; from 1 on, the columns of one text feature share a number
LARGEST_LOSS = 0.01  # share of a column's different values that float32 may merge
FLOAT32_VALUES = 2**23  # that float32 tells apart between two powers of 2
LARGEST_SEARCH = 4 * 10**6  # values of a table; in larger ones, columns are not searched for what float32 merges
MOST_SCALES = 32  # the largest value of a float32 feature, in its standard deviations


@dataclass(frozen=True)
class Dataset:
    """All rows of a dataset: neither split nor standardized.

    x: [rows, ...] float32, or float64 where float32 would lose precision (`compact`); NaN where a value is missing that
    the seed's training rows fill. y: [rows], int32 class codes; or float [rows] or [rows, outputs], targets of a
    regression. task: binary, multiclass or regression. classes: the label behind each code, empty for a regression.
    parts: [rows] int8, the part that the data assign each row to; None: REST for all. groups: [rows] int32, rows of one
    group share a part; None: every row for itself. ranks: [rows] int32, the place of each row in time, the latest being
    tested on; None: rows have no order. features: the name of each column of a table, else empty. kinds: [columns],
    NUMBER, INDICATOR (1 where a value is missing), or from 1 on a category's feature; the last two are 0 or 1 and are
    not standardized. None: all are numbers, none is missing. source_rows: [rows], the number of each row in its file or
    array, from 0; None: as here. remarks: sentences on how the rows were read, to be shown
    once.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    classes: tuple[str, ...] = ()
    parts: np.ndarray | None = None
    groups: np.ndarray | None = None
    ranks: np.ndarray | None = None
    features: tuple[str, ...] = ()
    kinds: np.ndarray | None = None
    source_rows: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    @property
    def n_targets(self) -> int:
        """Classes of a classification, columns of the target of a regression."""
        return len(self.classes) or int(np.prod(self.y.shape[1:]))

    def digest(self) -> str:
        """SHA-256 of the rows (16 hex digits), which proves that two runs used the same data."""
        return digest(np.ascontiguousarray(self.x).tobytes() + np.ascontiguousarray(self.y).tobytes())


def classification_task(n_classes: int) -> str:
    """`binary` for two classes, else `multiclass`."""
    return "binary" if n_classes == 2 else "multiclass"


def classification(x: np.ndarray, codes: np.ndarray, labels: Iterable[object], **more: Any) -> Dataset:
    """A dataset of classes. codes: [rows], the index of each row's label in `labels`."""
    classes = tuple(map(str, labels))
    task = classification_task(len(classes))
    return Dataset(compact(x), codes.astype(np.int32), task, classes, **more)


def regression(x: np.ndarray, y: np.ndarray, **more: Any) -> Dataset:
    """A dataset of numeric targets [rows] or [rows, outputs]."""
    return Dataset(compact(x), compact(y), "regression", **more)


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
    if not np.any(far) and values.ndim <= 2 and values.size <= LARGEST_SEARCH and values.dtype.itemsize == 8:
        columns = values.T if values.ndim == 2 else [values]
        far = any(merges(len(np.unique(column)), len(np.unique(column.astype(np.float32)))) for column in columns)
    return values.astype(np.float64 if np.any(far) else np.float32)


def merges(before: int, after: int) -> bool:
    """Whether float32 merges more of the `before` different values than does no harm, if `after` are left.

    Of very many values some always lie closer together than float32 can tell.
    """
    return before - after > before * max(LARGEST_LOSS, before / FLOAT32_VALUES)


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
