"""The rows of a dataset."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.runtime.hashing import digest


@dataclass(frozen=True)
class Dataset:
    """All rows of a dataset, as shipped: not cut, not standardised.

    `x` [rows, ...] float32; `y` [rows], int32 class codes or float32 targets; `classes` are the labels behind the
    codes (empty for a regression); `n_test` counts the last rows, which a set ships as its own test split (else 0).
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    classes: tuple[str, ...]
    n_test: int = 0

    def digest(self) -> str:
        """SHA-256 of the rows, so that two results can be shown to be about the same data."""
        return digest(np.ascontiguousarray(self.x).tobytes() + np.ascontiguousarray(self.y).tobytes())


def classification_task(classes: Any) -> str:
    """`binary` for two classes, else `multiclass`."""
    return "binary" if len(classes) == 2 else "multiclass"
