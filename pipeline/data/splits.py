"""Split a dataset by seed, and compute the statistics that standardize it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.runtime.hashing import derive_seed
from pipeline.runtime.logs import tell_once


@dataclass(frozen=True)
class Split:
    """The rows of one seed: int32 row numbers of each part, and the statistics of its training rows.

    Inputs are standardized as (x - mean) / scale, float32 that broadcast over rows; a regression's targets as
    (y - target_mean) / target_scale.
    """

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0


def split_rows(dataset: Dataset, data: Data, seed: int) -> Split:
    """Split the rows for one seed, stratified by class unless a class has too few rows for that.

    A dataset with a test split of its own keeps it for every seed. The statistics are those of the training rows.
    """
    rows = np.arange(len(dataset.x), dtype=np.int32)
    if dataset.n_test:
        rest, test = rows[: -dataset.n_test], rows[-dataset.n_test :]
    else:
        rest, test = _cut(dataset, rows, data.test_fraction or 0.2, derive_seed(seed, "split", "test"))
    train, validation = _cut(dataset, rest, data.validation_fraction, derive_seed(seed, "split", "validation"))
    mean, scale = np.zeros((), np.float32), np.ones((), np.float32)
    if data.standardize:
        mean, scale = _moments(dataset.x[train])
    if dataset.task == "regression" and data.standardize_target:
        target_mean, target_scale = _moments(dataset.y[train])
        return Split(seed, train, validation, test, mean, scale, float(target_mean), float(target_scale))
    return Split(seed, train, validation, test, mean, scale)


def _cut(dataset: Dataset, rows: np.ndarray, fraction: float, random_state: int) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers in two, of which the second holds `fraction` of them."""
    from sklearn.model_selection import train_test_split

    stratify = None
    if dataset.task != "regression":
        rows_per_class = np.bincount(dataset.y[rows])
        smallest = rows_per_class[rows_per_class > 0].min(initial=10**9)
        stratify = dataset.y[rows] if smallest * min(fraction, 1 - fraction) >= 1 else None
        if stratify is None:
            tell_once("splitting rows regardless of classes, since one of them has too few for a share in each part")
    parts: list[Any] = train_test_split(rows, test_size=fraction, random_state=random_state, stratify=stratify)
    return parts[0], parts[1]


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float32: per feature of a vector, per channel of anything with more axes.

    A constant feature gets the scale 1, so that it becomes zero rather than not a number.
    """
    axes = (0,) if x.ndim <= 2 else tuple(range(x.ndim - 1))
    mean, scale = x.mean(axes, dtype=np.float64), x.std(axes, dtype=np.float64)
    return np.asarray(mean, np.float32), np.asarray(np.where(scale < 1e-12, 1.0, scale), np.float32)
