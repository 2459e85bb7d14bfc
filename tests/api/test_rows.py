"""What a user holds in Python becomes arrays or a table, and whatever cannot is refused in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.api import rows
from pipeline.api.data import stage_data
from pipeline.api.rows import Arrays, Table, read_rows
from pipeline.config.schema import Data
from pipeline.data.sources import data_identity, load_dataset
from pipeline.errors import DataError

X = np.arange(40, dtype=np.float32).reshape(20, 2)
Y = np.array(["no", "yes"] * 10)
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})


def staged(tmp_path: Path, data: Any, target: Any = None, **more: Any) -> Data:
    given = {"data": data} | more
    return Data(source="file", **stage_data(given, target, None, tmp_path).settings)


@pytest.mark.parametrize(("y", "task", "classes"), [
    (Y, "binary", ("no", "yes")),
    (Y.astype(object), "binary", ("no", "yes")),
    (Y == "yes", "binary", ("False", "True")),
    (list(Y), "binary", ("no", "yes")),
    (np.arange(20) % 3, "multiclass", ("0", "1", "2")),
    (np.eye(3)[np.arange(20) % 3], "multiclass", ("0", "1", "2")),
    (pd.Series(Y, dtype="category"), "binary", ("no", "yes")),
    (np.arange(20)[:, None] % 2, "binary", ("0", "1")),
    (np.linspace(0, 1, 20), "regression", ()),
], ids=["text", "objects", "booleans", "a list", "codes", "one-hot", "a Series", "a column", "numbers"])  # fmt: skip
def test_targets_of_any_kind(tmp_path: Path, y: Any, task: str, classes: tuple[str, ...]) -> None:
    """Labels may be text, truth values or one-hot rows."""
    dataset = load_dataset(staged(tmp_path, (X, y)))
    assert (dataset.task, dataset.classes) == (task, classes)
    np.testing.assert_array_equal(dataset.x, X)


@pytest.mark.parametrize("data", [(FRAME[["a", "b"]], FRAME["label"]), (FRAME[["a", "b"]], Y)], ids=["Series", "array"])
def test_a_frame_and_its_target_are_a_table(tmp_path: Path, data: Any) -> None:
    """Whether the target is a column of the frame or stands beside."""
    dataset, other = load_dataset(staged(tmp_path, FRAME, "label")), load_dataset(staged(tmp_path, data))
    assert dataset.features == ("a", "b") == other.features
    assert dataset.digest() == other.digest()


def test_the_same_rows_are_the_same_data(tmp_path: Path) -> None:
    """Whenever they are written: the bytes of the file, by which a run is known, are equal."""
    places = [tmp_path / name for name in "ab"]
    for place in places:
        place.mkdir()
    for data, target in (((X, Y), None), (FRAME, "label")):
        identities = [data_identity(staged(place, data, target)) for place in places]
        assert identities[0] == identities[1]
    changed = data_identity(staged(places[0], (X + 1, Y)))
    assert changed != data_identity(staged(places[1], (X, Y)))


def test_rows_of_parts_are_parts(tmp_path: Path) -> None:
    """validation_data and test_data become files of their own."""
    data = staged(tmp_path, (X, Y), validation_data=(X[:6] + 0.5, Y[:6]), test_data=(X[:8] - 0.5, Y[:8]))
    dataset = load_dataset(data)
    assert np.bincount(dataset.parts).tolist() == [20, 6, 8]


@pytest.mark.parametrize("batched", [True, False])
def test_a_dataset_of_rows_or_batches(batched: bool) -> None:
    """Both give the same rows; the last batch may be smaller."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    read = read_rows(dataset.batch(8) if batched else dataset, "data", None, None)
    assert isinstance(read, Arrays)
    np.testing.assert_array_equal(read.x, X)
    np.testing.assert_array_equal(read.y, Y)


@pytest.mark.parametrize(("shape", "target", "row", "batch"), [
    ((3,), (3,), None, 0), ((3,), (3,), (3,), 0), ((3,), (3,), None, 4), ((4, 3), (), None, 4),
    ((4, 3), (4,), (4, 3), 0),
    ((8, 8), (), (8, 8, 1), 5), ((8, 8), (), (8, 8, 1), 0), ((8, 8, 1), (), (8, 8, 1), 5), ((), (), None, 4),
    ((2,), (), (2,), 5), ((2,), (), (None,), 5),
])  # fmt: skip
@pytest.mark.parametrize("whole", [False, True])
def test_rows_are_told_from_batches(shape: Any, target: Any, row: Any, batch: int, whole: bool) -> None:
    """As wide as their one-hot targets, without a channel, of batches that may or must be whole."""
    import tensorflow as tf

    if (shape, target, row, batch, whole) == ((), (), None, 4, True):
        return  # 4 numbers with 4 targets: one row of 4 as much as a batch
    dataset = tf.data.Dataset.from_tensor_slices((np.zeros((20, *shape), np.float32), np.zeros((20, *target))))
    if batch:
        dataset = dataset.batch(batch, drop_remainder=whole)
    read = read_rows(dataset, "data", None, row)
    assert isinstance(read, Arrays)
    assert len(read.x) == len(read.y) == 20


def endless() -> Iterator[tuple[np.ndarray, int]]:
    while True:
        yield np.zeros(2, np.float32), 1


def test_a_dataset_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once where it says so; else after so many rows."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).repeat()
    with pytest.raises(DataError, match=r"^data: a Dataset that never ends; allowed: a finite one"):
        read_rows(dataset, "data", None, None)
    monkeypatch.setattr(rows, "MOST_ROWS", 100)
    signature = (tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(endless, output_signature=signature)
    with pytest.raises(
        DataError, match=r"^data: a Dataset that has not ended after 100 rows, and does not say how many"
    ):
        read_rows(dataset, "data", None, None)


@pytest.mark.parametrize(("data", "target", "line"), [
    (X, None, "data: ndarray given; allowed: (x, y), a DataFrame with target=, a finite tf.data.Dataset"),
    ((X, Y[:9]), None, "data: x has 20 rows and y 9; allowed: as many of both"),
    ((X[:0], Y[:0]), None, "data: x and y have no rows; allowed: at least 5"),
    ((Y, Y), None, "data: x holds text; allowed: numbers, or a DataFrame"),
    ((X[:1], Y[:1]), None, "data: x and y have one row; allowed: at least 5"),
    (({"a": X}, Y), None, "data: x is a dict; allowed: one array, for a model with one input and one output"),
    ((X, None), None, "data: y holds None; allowed: numbers, truth values or text, without gaps"),
    ((X, Y, X), None, "data: tuple of 3 given; allowed: (x, y)"),
    ((X, Y), "label", "target: label given; allowed: with a DataFrame or a file"),
    (FRAME, None, "target: null given; allowed: the column of the data to predict, one of a, b, label"),
    (FRAME, "c", "target: data has no column c; allowed: a, b, label"),
    (FRAME[:0], "label", "data: the DataFrame has no rows; allowed: at least 5"),
    (endless(), None, "data: generator given; allowed: (x, y)"),
    (None, None, "data: null given; allowed: (x, y)"),
    ("gone.csv", None, None),
    ("iriss", None, "data: iriss is no file, no folder and no name of conf/data; nearest: iris"),
])  # fmt: skip
def test_what_are_no_rows_is_refused(tmp_path: Path, data: Any, target: Any, line: str | None) -> None:
    """In one line that names the argument, what was given, and what is allowed; a missing file by the engine."""
    if line is None:
        data = Data(source="file", **stage_data({"data": data}, target, None, tmp_path).settings)
        with pytest.raises(DataError, match="there is no file"):
            load_dataset(data)
        return
    with pytest.raises(DataError) as refusal:
        stage_data({"data": data}, target, None, tmp_path)
    assert str(refusal.value).startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_kinds_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    """Parts come as the data do; a dataset of conf/ has its own."""
    with pytest.raises(DataError, match=r"^test_data: arrays given, but data is a DataFrame; allowed: the same kind$"):
        stage_data({"data": FRAME, "test_data": (X, Y)}, "label", None, tmp_path)
    with pytest.raises(DataError, match=r"^test_data: tuple given, but data is a path or a name; allowed: a path$"):
        stage_data({"data": "iris", "test_data": (X, Y)}, None, None, tmp_path)
    with pytest.raises(DataError, match=r"^validation_data: given with data=iris, which has rows of its own"):
        stage_data({"data": "iris", "validation_data": "rows.csv"}, None, None, tmp_path)


def test_pictures_without_a_channel_get_one() -> None:
    """As Keras does it, where the model takes one."""
    read = read_rows((np.zeros((20, 8, 8)), Y), "data", None, (8, 8, 1))
    assert isinstance(read, Arrays) and read.x.shape == (20, 8, 8, 1)


def test_several_targets(tmp_path: Path) -> None:
    """Columns of a frame by their names."""
    frame = FRAME.assign(c=np.arange(20.0) ** 2)
    read = read_rows(frame, "data", ["b", "c"], None)
    assert isinstance(read, Table) and read.targets == ("b", "c")
