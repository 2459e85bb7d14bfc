"""Load a dataset by the name of its source.

scikit-learn ships its datasets; `keras.datasets` downloads once and keeps a cache; `trial` is generated here; `file`
reads the user's own csv, parquet or npz (`files.py`).

To add a dataset: a function below with `@source("<name>")` that returns `classification(...)` or `regression(...)`, a
file conf/data/<name>.yaml with `name` and `source`, and a row in DATASETS of tests/data/test_sources.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cachetools
import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import REST, TEST, Dataset, classification, regression
from pipeline.data.files import data_file, load_file
from pipeline.errors import ConfigError, DataError
from pipeline.runtime.hashing import derive_seed, digest

Loader = Callable[[Data], Dataset]

SOURCES: dict[str, Loader] = {"file": load_file}
READERS = {"file": 2, "diabetes": 2}  # raised where a source's rows, or what is measured on them, give other numbers
PATHS = {"path": "file", "validation_path": "validation_file", "test_path": "test_file"}


def source(*names: str) -> Callable[[Loader], Loader]:
    """Register a loader as the source of these names; it reads from `data.source` which one is asked for."""

    def register(loader: Loader) -> Loader:
        SOURCES.update(dict.fromkeys(names, loader))
        return loader

    return register


@cachetools.cached(cachetools.LRUCache(maxsize=2), key=repr)
def load_dataset(data: Data) -> Dataset:
    """Load the dataset. Raises ConfigError for settings that fit no dataset, DataError for rows that cannot be used."""
    dataset = _loader(data)(data)
    n_rows = len(dataset.x)
    if data.test_fraction == 0 and dataset.parts is not None and (dataset.parts == TEST).any():
        raise DataError("data.test_fraction", 0, "null", reason=f"but {data.name} has test rows of its own")
    n_rest = n_rows if dataset.parts is None else int((dataset.parts == REST).sum())
    train_fraction = (1 - (data.test_fraction or 0)) * (1 - data.validation_fraction)
    if dataset.task != "regression" and len(dataset.classes) < 2:
        raise DataError(f"data: the target of {data.name} has one class only; allowed: two or more")
    if n_rows < 5 or n_rest * train_fraction < 2:
        raise DataError(
            "data.test_fraction, data.validation_fraction",
            f"{data.test_fraction}, {data.validation_fraction} of the {n_rows} rows of {data.name}",
            "at least 5 rows, with 2 left to train on",
        )
    return dataset


def data_identity(data: Data) -> dict[str, Any]:
    """The settings that determine rows and splits, and the digests of the files; no path. Loads no other data."""
    _loader(data)  # refuses settings that the source does not have
    identity = {k: v for k, v in vars(data).items() if k not in ("name", *PATHS)}
    return identity | {"reader": READERS.get(data.source, 1)} | file_digests(data)


def file_digests(data: Data) -> dict[str, str]:
    """The digest of each file that the rows come from, by its name in run.json: `file`, `test_file` and so on."""
    if data.source != "file":
        return {}
    files = {name: replace(data, path=getattr(data, key)) for key, name in PATHS.items() if getattr(data, key)}
    return {name: digest(data_file(one).read_bytes()) for name, one in (files or {"file": data}).items()}


def _loader(data: Data) -> Loader:
    if data.source not in SOURCES:
        raise ConfigError("data.source", data.source, sorted(SOURCES))
    for key in ("path", "target", "task"):
        if data.source != "file" and getattr(data, key) is not None:
            raise ConfigError(f"data.{key}", getattr(data, key), "data=file", reason=f"but {data.name} has its own")
    return SOURCES[data.source]


@source("digits", "iris", "wine", "breast_cancer", "diabetes")
def _sklearn(data: Data) -> Dataset:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{data.source}")()
    if data.source == "diabetes":
        return regression(bunch.data, bunch.target)
    x = bunch.images[..., None] if data.source == "digits" else bunch.data
    return classification(x, bunch.target, bunch.target_names)


@source("mnist", "fashion_mnist", "cifar10")
def _keras(data: Data) -> Dataset:
    import keras

    try:
        (x, y), (x_test, y_test) = getattr(keras.datasets, data.source).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise DataError(
            f"data: {data.source} could be read neither from Keras' cache nor from its download: {error}"
        ) from error
    x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test]).ravel()
    x = x[..., None] if x.ndim == 3 else x
    parts = np.repeat(np.array([REST, TEST], np.int8), [len(x) - len(x_test), len(x_test)])
    return classification(x, y, np.unique(y), parts=parts)


@source("trial")
def _trial(data: Data) -> Dataset:
    """The made-up drug trial of deeplizard's Keras lessons: 2,100 people of 13 to 100 years, half of them 65 or older.

    95 % of the older people had side effects (class 1), and 5 % of the younger ones. The numbers are drawn here.
    """
    rng = np.random.default_rng(derive_seed("trial"))
    older = np.arange(2100) % 2
    age = np.where(older, rng.integers(65, 101, 2100), rng.integers(13, 65, 2100))
    effects = np.where(rng.random(2100) < 0.95, older, 1 - older)
    return classification(age[:, None], effects, ("none", "side effects"))
