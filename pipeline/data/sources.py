"""Load a dataset by the name of its source.

scikit-learn ships its datasets; `keras.datasets` downloads once and keeps a cache; `trial` is generated here; `file`
reads the user's own tables and arrays (`files.py`), `images` a folder of pictures (`images.py`).

To add a dataset: a function below with `@source("<name>")` that returns `classification(...)` or `regression(...)`, a
file conf/data/<name>.yaml with `name` and `source`, and a row in DATASETS of tests/data/test_sources.py.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cachetools
import numpy as np

from pipeline.config.schema import Data
from pipeline.data.assignment import check_parts
from pipeline.data.dataset import REST, TEST, Dataset, classification, regression
from pipeline.data.files import PATHS, file_digests, load_file
from pipeline.data.generated import SYMBOLS, adding, circles, copying, parabola, rare
from pipeline.data.images import load_images
from pipeline.data.settings import check_settings
from pipeline.data.suspicions import suspicions
from pipeline.data.untrained import check_trained_classes
from pipeline.errors import ConfigError, DataError
from pipeline.runtime.hashing import derive_seed
from pipeline.runtime.logs import tell_once

Loader = Callable[[Data], Dataset]

SOURCES: dict[str, Loader] = {"file": load_file, "images": load_images}
# raised where a source's rows, or what is measured on them, give other numbers
READERS = {"file": 5, "images": 2, "diabetes": 2}
KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
KERAS_CACHE = {  # what Keras downloads, and where it looks for it below its folder, KERAS_HOME or ~/.keras
    "mnist": (f"{KERAS_FILES}/mnist.npz", "datasets/mnist.npz"),
    "fashion_mnist": (f"{KERAS_FILES}/{{train,t10k}}-*-ubyte.gz, four files,", "datasets/fashion-mnist/"),
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "datasets/cifar-10-batches-py-target_archive",
    ),
}  # fmt: skip
SILENT_DOWNLOAD = 3  # seconds after which a download is announced: one that cannot begin fails earlier


def source(*names: str) -> Callable[[Loader], Loader]:
    """Register a loader as the source of these names; it reads from `data.source` which one is asked for."""

    def register(loader: Loader) -> Loader:
        SOURCES.update(dict.fromkeys(names, loader))
        return loader

    return register


@cachetools.cached(cachetools.LRUCache(maxsize=2), key=lambda data: (repr(data), repr(file_digests(data))))
def load_dataset(data: Data) -> Dataset:
    """Load the dataset. Raises ConfigError for settings that fit no dataset, DataError for rows that cannot be used."""
    dataset = _loader(data)(data)
    n_rows = len(dataset.x)
    n_rest = n_rows if dataset.parts is None else int((dataset.parts == REST).sum())
    train_fraction = (1 - (data.test_fraction or 0)) * (1 - data.validation_fraction)
    if dataset.task != "regression" and len(dataset.classes) < 2:
        raise DataError(f"data: the target of {data.name} has one class only; allowed: two or more")
    check_parts(dataset, data)
    if n_rows < 5 or n_rest * train_fraction < 2:
        raise DataError(
            "data.test_fraction, data.validation_fraction",
            f"{data.test_fraction}, {data.validation_fraction} of the {n_rows} rows of {data.name}",
            "at least 5 rows, with 2 left to train on",
        )
    remarks = [*dataset.remarks, *check_trained_classes(dataset, data), *suspicions(dataset, data)]
    if data.test_fraction is None and (dataset.parts is None or not (dataset.parts == TEST).any()):
        remarks.append(f"{data.name}: it has no test rows of its own, and 20 % of its rows are tested on")
    if data.test_fraction == 0:
        remarks.append(f"{data.name}: all rows are trained on, and the same rows are tested on (data.test_fraction=0)")
    return replace(dataset, remarks=tuple(remarks))


def data_identity(data: Data) -> dict[str, Any]:
    """The settings that determine rows and splits, and the digests of the files; no path. Loads no other data."""
    _loader(data)  # refuses settings that the source does not have
    identity = {k: v for k, v in vars(data).items() if k not in ("name", *PATHS)}
    decoder = {"pillow": version("pillow")} if data.source == "images" else {}  # versions resize differently
    return identity | {"reader": READERS.get(data.source, 1)} | decoder | file_digests(data)


def _loader(data: Data) -> Loader:
    if data.source not in SOURCES:
        raise ConfigError("data.source", data.source, sorted(SOURCES))
    check_settings(data)
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
    (x, y), (x_test, y_test) = _load_of_keras(data.source)
    x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test]).ravel()
    x = x[..., None] if x.ndim == 3 else x
    parts = np.repeat(np.array([REST, TEST], np.int8), [len(x) - len(x_test), len(x_test)])
    return classification(x, y, np.unique(y), parts=parts)


def _load_of_keras(name: str) -> Any:
    """What `keras.datasets` loads, from its cache or a download, without what it prints. Raises DataError."""
    import keras

    line = f"data: {name} is being downloaded by Keras, which is done once"
    announcement = threading.Timer(SILENT_DOWNLOAD, tell_once, [line])
    announcement.start()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # "Downloading data from ...", also where there is no network
            return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails: "URL fetch failure on ... -- why"
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        why = str(error).rpartition(" -- ")[2] or type(error).__name__
        address, place = KERAS_CACHE[name]
        raise DataError(
            f"data: {name} is not in Keras' cache, and cannot be downloaded ({why[:80]}); "
            f"by hand: put {address} at {home}/{place}"
        ) from error
    finally:
        announcement.cancel()


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


@source("circles")
def _circles(data: Data) -> Dataset:
    x, codes = circles()
    return classification(x, codes, ("outer", "inner"))


@source("parabola")
def _parabola(data: Data) -> Dataset:
    return regression(*parabola())


@source("rare")
def _rare(data: Data) -> Dataset:
    x, codes = rare()
    return classification(x, codes, ("common", "rare"))


@source("adding")
def _adding(data: Data) -> Dataset:
    return regression(*adding())


@source("copying")
def _copying(data: Data) -> Dataset:
    x, codes = copying()
    return classification(x, codes, [f"symbol {i}" for i in range(SYMBOLS)])
