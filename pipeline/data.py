"""Datasets: loading them, cutting them by seed, and the statistics that standardise them.

scikit-learn's sets are shipped with it; `keras.datasets` downloads once and keeps a cache; `file` reads the user's own
csv, parquet or npz; `trial` is made here. To add one: a function below, its name in `SOURCES`, a file in `conf/data`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pipeline import config as config_
from pipeline.errors import ConfigError, closest
from pipeline.runtime import derive_seed, digest

MOST_CLASSES = 20  # an integer target with more distinct values than this is taken for a regression


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


@dataclass(frozen=True)
class Rows:
    """What one seed trains on: row numbers (int32) of each part, and `(x - mean) / scale` for inputs and targets."""

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0


def identity(data: config_.Data) -> dict[str, Any]:
    """What decides the rows and their cut, without reading them (a file's bytes excepted). Holds no path."""
    _source(data)
    kept = {k: v for k, v in vars(data).items() if k not in ("name", "path")}
    return kept | ({"file": digest(_file(data).read_bytes())} if data.source == "file" else {})


@lru_cache(maxsize=2)
def load(data: config_.Data) -> Dataset:
    """Read the dataset and refuse, as ConfigError, what cannot be trained on."""
    dataset = _source(data)(data)
    kept = (1 - (data.test_fraction or 0)) * (1 - data.validation_fraction)
    n_train = (len(dataset.x) - dataset.n_test) * kept
    if dataset.task != "regression" and len(dataset.classes) < 2:
        raise ConfigError(f"data: the target of {data.name} has one class only; allowed: two or more")
    if n_train < 2 or len(dataset.x) < 5:
        raise ConfigError(
            f"data.test_fraction, data.validation_fraction: {data.test_fraction}, {data.validation_fraction} of the "
            f"{len(dataset.x)} rows of {data.name} given; allowed: at least 5 rows, with 2 left to train on"
        )
    return dataset


def split(dataset: Dataset, data: config_.Data, seed: int) -> Rows:
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
        return Rows(seed, train, validation, test, mean, scale, float(target_mean), float(target_scale))
    return Rows(seed, train, validation, test, mean, scale)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation: of each feature of a vector, of each channel of anything with more axes."""
    axes = (0,) if x.ndim <= 2 else tuple(range(x.ndim - 1))
    mean, scale = x.mean(axes, dtype=np.float64), x.std(axes, dtype=np.float64)
    return np.float32(mean), np.float32(np.where(scale < 1e-12, 1.0, scale))  # a constant feature stays at zero


def _source(data: config_.Data) -> Callable[[config_.Data], Dataset]:
    if data.source not in SOURCES:
        raise ConfigError(f"data.source: {data.source} is not one; {closest(data.source, sorted(SOURCES))}")
    for key in ("path", "target", "task"):
        if data.source != "file" and getattr(data, key) is not None:
            raise ConfigError(
                f"data.{key}: {getattr(data, key)} given, but {data.name} has its own; allowed: data=file"
            )
    return SOURCES[data.source]


def _sklearn(name: str) -> Callable[[config_.Data], Dataset]:
    def load_it(_: config_.Data) -> Dataset:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        x = bunch.images[..., None] if name == "digits" else bunch.data
        if name == "diabetes":
            return Dataset(np.float32(x), np.float32(bunch.target), "regression", ())
        classes = tuple(map(str, bunch.target_names))
        return Dataset(np.float32(x), np.int32(bunch.target), _task(classes), classes)

    return load_it


def _keras(name: str) -> Callable[[config_.Data], Dataset]:
    def load_it(_: config_.Data) -> Dataset:
        import keras

        try:
            (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
        except Exception as error:  # Keras raises a bare Exception when a download fails
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"data: {name} could be read neither from Keras' cache nor from its download: {reason}"
            ) from error
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test]).ravel()
        x = x[..., None] if x.ndim == 3 else x
        classes = tuple(map(str, np.unique(y)))
        return Dataset(np.float32(x), np.int32(y), _task(classes), classes, n_test=len(x_test))

    return load_it


def _trial(_: config_.Data) -> Dataset:
    """A drug trial as in deeplizard's lesson: 2,100 people from 13 to 100 years, half of them 65 or older.

    95 % of the older ones had side effects (class 1), and 5 % of the younger ones. The numbers are drawn here.
    """
    rng = np.random.default_rng(derive_seed("trial"))
    older = np.arange(2100) % 2
    age = np.where(older, rng.integers(65, 101, 2100), rng.integers(13, 65, 2100))
    effects = np.where(rng.random(2100) < 0.95, older, 1 - older)
    return Dataset(np.float32(age)[:, None], np.int32(effects), "binary", ("none", "side effects"))


def _from_file(data: config_.Data) -> Dataset:
    path = _file(data)
    x, y = _npz(path, data) if path.suffix == ".npz" else _table(path, data)
    if not np.isfinite(x).all():
        raise ConfigError(f"data.path: {path.name} holds {int((~np.isfinite(x)).sum())} NaN or infinite values; fill "
                          "or drop them first")  # fmt: skip
    numeric = y.dtype.kind in "iuf"
    if numeric and not np.isfinite(y).all():
        raise ConfigError(f"data.target: {int((~np.isfinite(y)).sum())} targets are NaN or infinite; drop them first")
    labels, codes = np.unique(y if numeric else y.astype(str), return_inverse=True)
    whole = not numeric or bool((labels == np.round(labels)).all())
    task = data.task or (_task(labels) if whole and len(labels) <= MOST_CLASSES else "regression")
    if task == "regression":
        if not numeric:
            raise ConfigError("data.target: it holds text; allowed for a regression: numbers")
        return Dataset(x, np.float32(y), task, ())
    if task == "binary" and len(labels) != 2:
        raise ConfigError(f"data.task: binary given, but the target has {len(labels)} classes; allowed: multiclass")
    return Dataset(x, np.int32(codes), task, tuple(map(str, labels)))


def _file(data: config_.Data) -> Path:
    kinds = (".csv", ".parquet", ".npz")
    path = Path(data.path or "").expanduser()
    if data.path is None or path.suffix not in kinds:
        raise ConfigError(f"data.path: {data.path} given; allowed: the path of a {', '.join(kinds)} file")
    if not path.is_file():
        raise ConfigError(f"data.path: there is no file {data.path}")
    return path


def _npz(path: Path, data: config_.Data) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, TypeError, AttributeError, OSError, EOFError, BadZipFile) as error:
        raise ConfigError(f"data.path: {path.name} cannot be read: {error}") from error
    target = data.target or "y"
    for key, name in (("data.path", "x"), ("data.target", target)):
        if name not in arrays:
            raise ConfigError(f"{key}: {path.name} holds no array {name}; {closest(name, sorted(arrays))}")
    x, y = arrays["x"], arrays[target]
    if x.dtype.kind not in "biuf" or x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise ConfigError(
            f"data.path: {path.name} holds x {x.dtype}{list(x.shape)} and {target} {y.dtype}{list(y.shape)}; "
            "allowed: x numeric [rows, ...], the target [rows]"
        )
    return np.float32(x), y


def _table(path: Path, data: config_.Data) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"data.path: {path.name} cannot be read: {reason}") from error
    columns = [str(c) for c in frame.columns]
    frame.columns = columns
    if data.target not in columns:
        known = closest(str(data.target), columns)
        raise ConfigError(f"data.target: {path.name} has no column {data.target}; {known}")
    features = frame.drop(columns=data.target)
    text = [c for c in features if not pd.api.types.is_numeric_dtype(features[c])]
    if text or features.empty:
        raise ConfigError(
            f"data.path: {path.name} has columns that are not numbers: {', '.join(text)}; encode or drop them"
            if text else f"data.path: {path.name} has no column besides the target"
        )  # fmt: skip
    holes = [c for c in frame if frame[c].isna().any()]
    if holes:
        raise ConfigError(f"data.path: {path.name} has missing values (NaN) in {', '.join(holes)}; fill or drop them")
    return features.to_numpy(np.float32), frame[data.target].to_numpy()


def _task(classes: Any) -> str:
    return "binary" if len(classes) == 2 else "multiclass"


SOURCES: dict[str, Callable[[config_.Data], Dataset]] = {
    **{name: _sklearn(name) for name in ("digits", "iris", "wine", "breast_cancer", "diabetes")},
    **{name: _keras(name) for name in ("mnist", "fashion_mnist", "cifar10")},
    "trial": _trial,
    "file": _from_file,
}
