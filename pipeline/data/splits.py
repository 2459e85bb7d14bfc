"""Split a dataset by seed, and compute the statistics that standardize it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.cuts import cut_groups, cut_times
from pipeline.data.dataset import NUMBER, REST, TEST, VALIDATION, Dataset
from pipeline.data.precision import feature_axes
from pipeline.runtime.hashing import derive_seed
from pipeline.runtime.logs import tell_once


@dataclass(frozen=True)
class Split:
    """The rows of one seed: int32 row numbers of each part, and the statistics of its training rows.

    Inputs are standardized as (x - mean) / scale, in the precision of the dataset's x; both broadcast over rows. The
    scale of a category that no training row has, or of the indicator of a gap that none has, is infinite, so that it is
    0 everywhere. A regression's targets are standardized as (y - target_mean) / target_scale, [] or [outputs]. fill:
    [columns], what stands for a missing value; None where none is missing.
    """

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    fill: np.ndarray | None
    target_mean: np.ndarray
    target_scale: np.ndarray


def split_rows(dataset: Dataset, data: Data, seed: int) -> Split:
    """Split the rows for one seed, and compute the statistics of the training rows.

    With a fraction of 0 the training rows stand in for the validation rows, or for all.
    """
    train, validation, test = cut_rows(dataset, data, seed)
    for label in untrained_classes(dataset, train, test)[:3]:
        tell_once(f"some seeds have no training row of class {label}, which is tested")
    mean, scale, fill = _statistics(dataset, train, data.standardize)
    target_mean, target_scale = np.zeros((), dataset.y.dtype), np.ones((), dataset.y.dtype)
    if dataset.task == "regression" and data.standardize_target:
        target_mean, target_scale = _moments(dataset.y[train])
    return Split(seed, train, validation, test, mean, scale, fill, target_mean, target_scale)


def cut_rows(dataset: Dataset, data: Data, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(training, validation, test) rows: stratified by class unless a class has too few, by groups, or by time.

    Parts that the data assign rows to are the same for every seed. With a fraction of 0 there are no rows of that part
    of their own, and the training rows stand in for them: with `test_fraction=0` all rows are trained on and tested.
    """
    rest = np.arange(len(dataset.x), dtype=np.int32)
    parts = np.zeros(len(rest), np.int8) if dataset.parts is None else dataset.parts
    validation, test, rest = (rest[parts == part] for part in (VALIDATION, TEST, REST))
    tests_on_training = not len(test) and data.test_fraction == 0
    if not len(test) and not tests_on_training:
        n_left = 1 if len(validation) or not data.validation_fraction else 2  # groups or times, some to validate on
        rest, test = _cut(dataset, rest, data.test_fraction or 0.2, derive_seed(seed, "split", "test"), n_left)
    train = rest
    if not len(validation):
        if tests_on_training or not data.validation_fraction:
            validation = rest
        else:
            train, validation = _cut(dataset, rest, data.validation_fraction, derive_seed(seed, "split", "validation"))
    return train, validation, train if tests_on_training else test


def untrained_classes(dataset: Dataset, train: np.ndarray, held_out: np.ndarray) -> list[str]:
    """The classes of held-out rows that no training row has; of a regression none."""
    if dataset.task == "regression":
        return []
    codes = np.setdiff1d(dataset.y[held_out], dataset.y[train])
    return [dataset.classes[code] for code in codes.tolist()]


def standardized_inputs(dataset: Dataset, split: Split, rows: np.ndarray) -> np.ndarray:
    """The inputs of these rows as a seed's model sees them, [rows, ...] float32."""
    x = dataset.x[rows]
    if split.fill is not None:
        x = np.where(np.isnan(x), split.fill, x)
    return np.asarray((x - split.mean) / split.scale, np.float32)


def standardized_targets(dataset: Dataset, split: Split, rows: np.ndarray) -> np.ndarray:
    """The targets of these rows as a seed's model sees them: class codes; float32 [rows] or [rows, outputs]."""
    y = dataset.y[rows]
    return np.asarray((y - split.target_mean) / split.target_scale, np.float32) if dataset.task == "regression" else y


def _cut(
    dataset: Dataset, rows: np.ndarray, fraction: float, random_state: int, n_left: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Split row numbers in two, of which the second holds `fraction` of them; see `cuts` for groups and times."""
    from sklearn.model_selection import train_test_split

    if dataset.ranks is not None:
        in_time = rows[np.argsort(dataset.ranks[rows], kind="stable")]
        held_out = cut_times(dataset.ranks[in_time], fraction, n_left)
        return in_time[~held_out], in_time[held_out]
    if dataset.groups is not None:
        held_out = cut_groups(dataset.groups[rows], fraction, random_state, n_left)
        return rows[~held_out], rows[held_out]
    stratify = None
    if dataset.task != "regression":
        rows_per_class = np.bincount(dataset.y[rows])
        smallest = rows_per_class[rows_per_class > 0].min(initial=10**9)
        stratify = dataset.y[rows] if smallest * min(fraction, 1 - fraction) >= 1 else None
        if stratify is None:
            tell_once("splitting rows regardless of classes, since one of them has too few for a share in each part")
    parts: list[Any] = train_test_split(rows, test_size=fraction, random_state=random_state, stratify=stratify)
    return parts[0], parts[1]


def _statistics(
    dataset: Dataset, rows: np.ndarray, standardize: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(mean, scale, fill) of the training rows `rows`, see `Split`."""
    x, kinds = dataset.x[rows], dataset.kinds
    fill = None
    if kinds is not None and np.isnan(dataset.x).any():
        fill = _fill(x, kinds)
        x = np.where(np.isnan(x), fill, x)
    mean, scale = np.zeros((), x.dtype), np.ones((), x.dtype)
    if standardize:
        mean, scale = _moments(x)
    if kinds is not None:
        never = np.where((kinds != NUMBER) & ~(x > 0).any(0), np.inf, 1).astype(x.dtype)
        mean, scale = np.where(kinds == NUMBER, mean, 0).astype(x.dtype), np.where(kinds == NUMBER, scale, never)
    return mean, scale.astype(x.dtype), fill


def _fill(x: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """What stands for a missing value: the median of a number, the most frequent category, both of the rows x.

    0 where no row has a value.
    """
    fill = np.zeros(len(kinds), x.dtype)
    known = ~np.isnan(x).all(0)
    numbers = known & (kinds == NUMBER)
    fill[numbers] = np.nanmedian(x[:, numbers], axis=0)
    for feature in np.unique(kinds[kinds > 0]):
        columns = np.flatnonzero(kinds == feature)
        counts = np.nansum(x[:, columns], 0)
        fill[columns[np.argmax(counts)]] = float(counts.any())
    return fill


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in the precision of x, computed in float64: per feature, or channel of pictures.

    A constant feature gets the scale 1, so that it becomes zero rather than not a number.
    """
    axes = feature_axes(x)
    mean, scale, lowest = x.mean(axes, dtype=np.float64), x.std(axes, dtype=np.float64), x.min(axes)
    constant = lowest == x.max(axes)
    if x.dtype == np.float64 and ((scale == 0) & ~constant).any():  # squares of numbers about 1e-300 are 0
        unit = np.abs(x).max(axes)
        unit = np.where(unit > 0, unit, 1)
        scale = np.where(scale == 0, (x / unit).std(axes) * unit, scale)
    mean, scale = np.where(constant, lowest, mean), np.where(constant, 1, scale)
    return mean.astype(x.dtype), scale.astype(x.dtype)
