"""Datasets: loading them, cutting them by seed, and the statistics that standardise them.

scikit-learn's sets are shipped with it; `keras.datasets` downloads once and keeps a cache; `file` reads the user's own
csv, parquet or npz; `trial` is made here. To add one: a function below, its name in `SOURCES`, a file in `conf/data`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset, classification_task
from pipeline.data.files import data_file, load_file
from pipeline.errors import ConfigError, closest
from pipeline.runtime.hashing import derive_seed, digest


def data_identity(data: Data) -> dict[str, Any]:
    """What decides the rows and their cut, without reading them (a file's bytes excepted). Holds no path."""
    _source(data)
    kept = {k: v for k, v in vars(data).items() if k not in ("name", "path")}
    return kept | ({"file": digest(data_file(data).read_bytes())} if data.source == "file" else {})


@lru_cache(maxsize=2)
def load_dataset(data: Data) -> Dataset:
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


def _source(data: Data) -> Callable[[Data], Dataset]:
    if data.source not in SOURCES:
        raise ConfigError(f"data.source: {data.source} is not one; {closest(data.source, sorted(SOURCES))}")
    for key in ("path", "target", "task"):
        if data.source != "file" and getattr(data, key) is not None:
            raise ConfigError(
                f"data.{key}: {getattr(data, key)} given, but {data.name} has its own; allowed: data=file"
            )
    return SOURCES[data.source]


def _sklearn(name: str) -> Callable[[Data], Dataset]:
    def load_it(_: Data) -> Dataset:
        from sklearn import datasets

        bunch = getattr(datasets, f"load_{name}")()
        x = bunch.images[..., None] if name == "digits" else bunch.data
        if name == "diabetes":
            return Dataset(np.float32(x), np.float32(bunch.target), "regression", ())
        classes = tuple(map(str, bunch.target_names))
        return Dataset(np.float32(x), np.int32(bunch.target), classification_task(classes), classes)

    return load_it


def _keras(name: str) -> Callable[[Data], Dataset]:
    def load_it(_: Data) -> Dataset:
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
        return Dataset(np.float32(x), np.int32(y), classification_task(classes), classes, n_test=len(x_test))

    return load_it


def _trial(_: Data) -> Dataset:
    """A drug trial as in deeplizard's lesson: 2,100 people from 13 to 100 years, half of them 65 or older.

    95 % of the older ones had side effects (class 1), and 5 % of the younger ones. The numbers are drawn here.
    """
    rng = np.random.default_rng(derive_seed("trial"))
    older = np.arange(2100) % 2
    age = np.where(older, rng.integers(65, 101, 2100), rng.integers(13, 65, 2100))
    effects = np.where(rng.random(2100) < 0.95, older, 1 - older)
    return Dataset(np.float32(age)[:, None], np.int32(effects), "binary", ("none", "side effects"))


SOURCES: dict[str, Callable[[Data], Dataset]] = {
    **{name: _sklearn(name) for name in ("digits", "iris", "wine", "breast_cancer", "diabetes")},
    **{name: _keras(name) for name in ("mnist", "fashion_mnist", "cifar10")},
    "trial": _trial,
    "file": load_file,
}
