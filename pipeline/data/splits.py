"""Split a dataset by seed, and compute the statistics that standardize it."""

from dataclasses import dataclass

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.runtime.hashing import derive_seed


@dataclass(frozen=True)
class Split:
    """What one seed trains on: row numbers (int32) of each part, and `(x - mean) / scale` for inputs and targets."""

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0


def split_rows(dataset: Dataset, data: Data, seed: int) -> Split:
    """Cut the rows for one seed; classes keep their proportions where each has rows enough for that."""
    from sklearn.model_selection import train_test_split

    def cut(rows: np.ndarray, fraction: float, role: str) -> list[np.ndarray]:
        counts = np.bincount(dataset.y[rows]) if dataset.task != "regression" else np.zeros(1)
        each_has_enough = counts[counts > 0].min(initial=10**9) * min(fraction, 1 - fraction) >= 1
        stratify = dataset.y[rows] if dataset.task != "regression" and each_has_enough else None
        state = derive_seed(seed, "split", role)
        return train_test_split(rows, test_size=fraction, random_state=state, stratify=stratify)

    rows = np.arange(len(dataset.x), dtype=np.int32)
    if dataset.n_test:
        rest, test = rows[: -dataset.n_test], rows[-dataset.n_test :]
    else:
        rest, test = cut(rows, data.test_fraction or 0.2, "test")
    train, validation = cut(rest, data.validation_fraction, "validation")
    mean, scale = _moments(dataset.x[train]) if data.standardize else (np.float32(0), np.float32(1))
    if dataset.task == "regression" and data.standardize_target:
        target_mean, target_scale = _moments(dataset.y[train])
        return Split(seed, train, validation, test, mean, scale, float(target_mean), float(target_scale))
    return Split(seed, train, validation, test, mean, scale)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation: of each feature of a vector, of each channel of anything with more axes."""
    axes = (0,) if x.ndim <= 2 else tuple(range(x.ndim - 1))
    mean, scale = x.mean(axes, dtype=np.float64), x.std(axes, dtype=np.float64)
    return np.float32(mean), np.float32(np.where(scale < 1e-12, 1.0, scale))  # a constant feature stays at zero
