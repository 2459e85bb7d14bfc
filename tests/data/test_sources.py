"""Datasets by the name of their source, and files of one's own."""

import gzip
import pickle
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import compose_config
from sklearn import datasets

from pipeline.config.schema import CONF, Data
from pipeline.data.dataset import TEST, Dataset
from pipeline.data.sources import SOURCES, load_dataset
from pipeline.data.splits import split_rows
from pipeline.errors import ConfigError

PARTS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    load_dataset.cache_clear()
    yield
    load_dataset.cache_clear()


def chosen(*overrides: str) -> Data:
    return compose_config(*overrides).data


def in_file(path: Path, **more: str | None) -> Dataset:
    return load_dataset(Data(name="mine", source="file", path=str(path), **more))


def n_test(loaded: Dataset) -> int:
    """How many of the last rows the dataset has as its test rows; no other row is one."""
    test = np.flatnonzero(loaded.parts == TEST)
    assert test.tolist() == list(range(len(loaded.x) - len(test), len(loaded.x)))
    return len(test)


DATASETS = {  # that need no download: shape of x, task, number of classes
    "digits": ((1797, 8, 8, 1), "multiclass", 10),
    "iris": ((150, 4), "multiclass", 3),
    "wine": ((178, 13), "multiclass", 3),
    "breast_cancer": ((569, 30), "binary", 2),
    "diabetes": ((442, 10), "regression", 0),
    "trial": ((2100, 1), "binary", 2),
    "circles": ((400, 2), "binary", 2),
    "parabola": ((200, 1), "regression", 0),
    "rare": ((10_000, 8), "binary", 2),
    "adding": ((5_000, 40, 2), "regression", 0),
    "copying": ((5_000, 31, 10), "multiclass", 8),
}
DOWNLOADED = ("mnist", "fashion_mnist", "cifar10")


@pytest.mark.parametrize(("name", "row"), DATASETS.items(), ids=DATASETS.keys())
def test_each_dataset_has_its_rows_task_and_classes(name: str, row: tuple) -> None:
    """Inputs are float32 [rows, ...]; targets are one int32 code per row, or float32 numbers of a regression."""
    loaded = load_dataset(chosen(f"data={name}"))
    assert (loaded.x.shape, loaded.task, len(loaded.classes)) == row
    assert (loaded.x.dtype, loaded.y.shape) == (np.float32, (len(loaded.x),))
    assert loaded.y.dtype == (np.float32 if loaded.task == "regression" else np.int32)
    if loaded.classes:
        assert np.unique(loaded.y).tolist() == list(range(len(loaded.classes)))


def test_every_source_has_a_row_and_a_file() -> None:
    """A dataset is a function, a file in conf/data, and a row of DATASETS or DOWNLOADED."""
    assert (
        set(SOURCES)
        == {*DATASETS, *DOWNLOADED, "file", "images"}
        == {path.stem for path in (CONF / "data").glob("*.yaml")}
    )


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer", "diabetes"])
def test_sklearn_sets_are_those_of_sklearn(name: str) -> None:
    """The rows, targets, labels and task are the ones that scikit-learn ships."""
    loaded, bunch = load_dataset(chosen(f"data={name}")), getattr(datasets, f"load_{name}")()
    np.testing.assert_array_equal(loaded.x.reshape(len(loaded.x), -1), bunch.data.astype("float32"))
    np.testing.assert_array_equal(loaded.y, bunch.target.astype("float32"))
    assert loaded.x.dtype == np.float32
    assert loaded.parts is None
    if name == "diabetes":
        assert (loaded.task, loaded.classes, loaded.y.dtype) == ("regression", (), np.float32)
    else:
        labels = tuple(str(label) for label in bunch.target_names)
        task = "binary" if name == "breast_cancer" else "multiclass"
        assert (loaded.task, loaded.classes, loaded.y.dtype) == (task, labels, np.int32)


def test_digits_are_images() -> None:
    """Digits come as pictures of 8 by 8 pixels with one channel, which a Conv2D can take."""
    loaded = load_dataset(chosen("data=digits"))
    np.testing.assert_array_equal(loaded.x[..., 0], datasets.load_digits().images.astype("float32"))


def test_trial_has_the_ages_and_shares_of_the_lesson() -> None:
    """2,100 people from 13 to 100, half of them 65 or older; of these about 95 % had side effects, else about 5 %."""
    loaded = load_dataset(chosen("data=trial"))
    age, effects = loaded.x[:, 0], loaded.y
    older = age >= 65
    assert loaded.x.shape == (2100, 1)
    assert (loaded.task, len(loaded.classes)) == ("binary", 2)
    assert age.min() == 13
    assert age.max() == 100
    assert older.sum() == 1050
    four_deviations = 4 * np.sqrt(0.95 * 0.05 / 1050)
    assert effects[older].mean() == pytest.approx(0.95, abs=four_deviations)
    assert effects[~older].mean() == pytest.approx(0.05, abs=four_deviations)


TARGETS = [
    (["b", "a"] * 10, None, "binary", ("a", "b"), [1, 0] * 10),
    (["x", "y", "z", "y"] * 5, None, "multiclass", ("x", "y", "z"), [0, 1, 2, 1] * 5),
    ([5, 3] * 10, None, "binary", ("3", "5"), [1, 0] * 10),
    ([0, 1, 4, 9] * 5, None, "multiclass", ("0", "1", "4", "9"), [0, 1, 2, 3] * 5),
    (list(range(20)), None, "multiclass", tuple(map(str, range(20))), list(range(20))),
    (list(range(21)), None, "regression", (), list(range(21))),
    ([0.5 * i for i in range(20)], None, "regression", (), [0.5 * i for i in range(20)]),
    ([0, 1] * 10, "regression", "regression", (), [0, 1] * 10),
    ([0, 1] * 10, "multiclass", "multiclass", ("0", "1"), [0, 1] * 10),
    ([0.5, 1.5] * 10, "binary", "binary", ("0.5", "1.5"), [0, 1] * 10),
    ([True, False] * 10, None, "binary", ("False", "True"), [1, 0] * 10),
]


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz"])
@pytest.mark.parametrize(
    ("target", "task", "expected", "classes", "codes"), TARGETS,
    ids=["text2", "text3", "ints2", "ints4", "ints20", "ints21", "halves", "asked regression", "asked multiclass",
         "asked binary", "booleans"],
)  # fmt: skip
def test_target_of_a_file_tells_the_task(
    target: list, task: str | None, expected: str, classes: tuple[str, ...], codes: list, kind: str, tmp_path: Path
) -> None:
    """Text and at most 20 whole numbers are classes, other numbers a regression; `data.task` overrides that."""
    path = tmp_path / f"mine.{kind}"
    features = np.column_stack([np.arange(len(target)), np.arange(len(target)) % 7 - 0.25])
    if kind == "npz":
        np.savez(path, x=features, label=np.array(target))
    else:
        frame = pd.DataFrame({"first": features[:, 0], "label": target, "second": features[:, 1]})
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    loaded = in_file(path, target="label", task=task)
    np.testing.assert_array_equal(loaded.x, features.astype("float32"))
    np.testing.assert_array_equal(loaded.y, codes)
    assert (loaded.task, loaded.classes) == (expected, classes)
    assert loaded.y.dtype == (np.float32 if expected == "regression" else np.int32)


def test_npz_without_a_named_target_takes_y(tmp_path: Path) -> None:
    """An npz file with arrays x and y needs no data.target."""
    np.savez(tmp_path / "mine.npz", x=np.zeros((6, 2, 3, 1)), y=[2, 0, 2, 0, 2, 0])
    loaded = in_file(tmp_path / "mine.npz")
    assert loaded.x.shape == (6, 2, 3, 1)
    assert loaded.y.tolist() == [1, 0, 1, 0, 1, 0]


def test_task_that_contradicts_the_target_is_refused(tmp_path: Path) -> None:
    """`data.task=binary` on three classes is refused instead of counting two of them as one."""
    np.savez(tmp_path / "mine.npz", x=np.zeros((6, 2)), y=[0, 1, 2] * 2)
    with pytest.raises(ConfigError, match=r"^data\.task: binary given, but the target has 3 classes; allowed: "):
        in_file(tmp_path / "mine.npz", task="binary")


@pytest.mark.parametrize("override", ["data.task=regression", "data.path=mine.csv", "data.target=sex"])
def test_settings_of_files_are_refused_for_other_sets(override: str) -> None:
    """A setting that a built-in dataset cannot follow is refused, not quietly ignored."""
    with pytest.raises(ConfigError, match=rf"^{override.split('=')[0]}: "):
        load_dataset(chosen("data=iris", override))


def test_digest_tells_data_apart() -> None:
    """Two datasets with one differing target have different digests; the same rows the same."""
    loaded = load_dataset(chosen("data=iris"))
    changed = loaded.y.copy()
    changed[0] += 1
    same = Dataset(loaded.x.copy(), loaded.y.copy(), loaded.task, loaded.classes)
    other = Dataset(loaded.x, changed, loaded.task, loaded.classes)
    assert loaded.digest() == same.digest() != other.digest()


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of Keras' own for this test, without a network. Its small files need not have the published hashes."""
    from keras.src.backend import config
    from keras.src.utils import file_utils

    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))  # KERAS_HOME, which Keras reads when it is imported
    monkeypatch.setattr(file_utils, "validate_file", lambda *_, **__: True)
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the first proxies that it saw
    (tmp_path / "datasets" / "fashion-mnist").mkdir(parents=True)
    return tmp_path / "datasets"


def pictures(rows: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, 256, (rows, *shape), dtype=np.uint8)


X, X_TEST, Y, Y_TEST = pictures(30, 28, 28), pictures(10, 28, 28), np.arange(30) % 10, np.arange(10)[::-1]


def cache_mnist(folder: Path) -> None:
    np.savez(folder / "mnist.npz", x_train=X, y_train=Y, x_test=X_TEST, y_test=Y_TEST)


def cache_fashion_mnist(folder: Path) -> None:
    for part, x, y in (("train", X, Y), ("t10k", X_TEST, Y_TEST)):
        for kind, array, header in (("labels-idx1", y, 8), ("images-idx3", x, 16)):
            with gzip.open(folder / "fashion-mnist" / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(bytes(header) + np.uint8(array).tobytes())


@pytest.mark.parametrize("cache", [cache_mnist, cache_fashion_mnist])
def test_mnist_from_the_cache(cache: object, keras_home: Path) -> None:
    """Keras' loading code gives pictures with one channel; the set's own test rows are the test part of each seed."""
    cache(keras_home)
    config = chosen(f"data={cache.__name__.removeprefix('cache_')}")
    loaded = load_dataset(config)
    np.testing.assert_array_equal(loaded.x, np.concatenate([X, X_TEST])[..., None].astype("float32"))
    np.testing.assert_array_equal(loaded.y, np.concatenate([Y, Y_TEST]))
    assert (loaded.task, loaded.classes, n_test(loaded)) == ("multiclass", tuple("0123456789"), 10)
    cuts = [split_rows(loaded, config, seed) for seed in (0, 1)]
    for cut in cuts:
        assert cut.test.tolist() == list(range(30, 40))
        assert sorted([*cut.train, *cut.validation]) == list(range(30))
    assert set(cuts[0].train) != set(cuts[1].train)


def test_cifar10_from_the_cache(keras_home: Path) -> None:
    """Colour pictures come as [32, 32, 3] with flat targets.

    Keras' loader fills five parts of 10,000 rows, so the one row in each part of this small archive stands for all.
    """
    parts = {f"data_batch_{i}": pictures(1, 3072) // i for i in range(1, 6)} | {"test_batch": pictures(2, 3072)}
    folder = keras_home / "cifar-10-batches-py"
    folder.mkdir()
    for i, (name, rows) in enumerate(parts.items()):
        content = {b"data": rows, b"labels": [i] * len(rows)}
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))
    with tarfile.open(keras_home / "cifar-10-batches-py-target_archive", "w:gz") as archive:
        archive.add(folder, folder.name)
    loaded = load_dataset(chosen("data=cifar10"))
    assert loaded.x.shape == (50_002, 32, 32, 3)
    assert (loaded.y.shape, n_test(loaded), len(loaded.classes)) == ((50_002,), 2, 6)
    for row, (part, i) in {0: ("data_batch_1", 0), 49_999: ("data_batch_5", 0), 50_001: ("test_batch", 1)}.items():
        channels_first = parts[part][i].reshape(3, 32, 32)
        np.testing.assert_array_equal(loaded.x[row], np.moveaxis(channels_first, 0, -1).astype("float32"))
    assert loaded.y[[0, 49_999, 50_001]].tolist() == [0, 4, 5]


@pytest.mark.parametrize("name", DOWNLOADED)
@pytest.mark.usefixtures("keras_home")
def test_neither_cache_nor_network(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a set is not in the cache and cannot be downloaded, one line says so, and what to put where by hand."""
    start = rf"^data: {name} is not in Keras' cache, and cannot be downloaded \([^)]+\); by hand: put https://"
    with pytest.raises(ConfigError, match=start) as refused:
        load_dataset(chosen(f"data={name}"))
    line = str(refused.value)
    assert "\n" not in line and "…" not in line
    place = {"mnist": "mnist.npz", "fashion_mnist": "fashion-mnist/", "cifar10": "cifar-10-batches-py-target_archive"}
    assert line.endswith(f"datasets/{place[name]}")
    assert capsys.readouterr() == ("", "")
