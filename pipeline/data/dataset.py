"""The rows of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.precision import compact
from pipeline.runtime.hashing import digest

REST, VALIDATION, TEST = range(3)  # parts that the data assign a row to; REST: to train on, or to be split by seed
NUMBER, INDICATOR = 0, -1  # kinds of a table's columns; from 1 on, the columns of one text feature share a number


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
