"""The rows of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.runtime.hashing import digest


@dataclass(frozen=True)
class Dataset:
    """All rows of a dataset as shipped: neither split nor standardized.

    x: [rows, ...] float32. y: [rows], int32 class codes, or float32 targets of a regression. task: binary, multiclass
    or regression. classes: the label behind each code, empty for a regression. n_test: how many of the last rows the
    dataset ships as its own test split, else 0.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    classes: tuple[str, ...]
    n_test: int = 0

    def digest(self) -> str:
        """SHA-256 of the rows (16 hex digits), which proves that two runs used the same data."""
        return digest(np.ascontiguousarray(self.x).tobytes() + np.ascontiguousarray(self.y).tobytes())


def classification_task(n_classes: int) -> str:
    """`binary` for two classes, else `multiclass`."""
    return "binary" if n_classes == 2 else "multiclass"


def classification(x: np.ndarray, codes: np.ndarray, labels: Iterable[object], n_test: int = 0) -> Dataset:
    """A dataset of classes. codes: [rows], the index of each row's label in `labels`."""
    classes = tuple(map(str, labels))
    task = classification_task(len(classes))
    return Dataset(x.astype(np.float32), codes.astype(np.int32), task, classes, n_test)


def regression(x: np.ndarray, y: np.ndarray) -> Dataset:
    """A dataset of numeric targets [rows]."""
    return Dataset(x.astype(np.float32), y.astype(np.float32), "regression", ())
