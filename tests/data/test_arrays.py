"""Arrays as people have them: parts of their own, other names, one-hot and several targets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import REST, TEST, VALIDATION, Dataset
from pipeline.data.sources import data_identity, load_dataset
from pipeline.data.splits import split_rows
from pipeline.errors import ConfigError

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(30, 4)), np.arange(30) % 3


def settings(path: Path, **more: Any) -> Data:
    return Data(name="mine", source="file", path=str(path), **more)


def arrays(folder: Path, more: dict[str, Any] | None = None, **content: np.ndarray) -> Dataset:
    np.savez(folder / "mine.npz", **content)
    return load_dataset(settings(folder / "mine.npz", **more or {}))


PARTS = {
    "x_train": {"x_train": X[:20], "y_train": Y[:20], "x_test": X[20:], "y_test": Y[20:]},
    "X_train": {"X_train": X[:20], "Y_train": Y[:20], "X_test": X[20:], "Y_test": Y[20:]},
    "MedMNIST": {
        "train_images": X[:20],
        "train_labels": Y[:20, None],
        "test_images": X[20:],
        "test_labels": Y[20:, None],
    },
    "targets in columns": {"x_train": X[:20], "y_train": Y[:20, None], "x_test": X[20:], "y_test": Y[20:, None]},
    "plain and test": {"x": X[:20], "y": Y[:20], "x_test": X[20:], "y_test": Y[20:]},
    "whole beside": {"x": X, "x_train": X[:20], "y_train": Y[:20], "x_test": X[20:], "y_test": Y[20:]},
    "without a separator": {"X": X[:20], "Y": Y[:20], "Xtest": X[20:], "Ytest": Y[20:]},
    "one-hot": {"x_train": X[:20], "y_train": np.eye(3)[Y[:20]], "x_test": X[20:], "y_test": np.eye(3)[Y[20:]]},
}


@pytest.mark.parametrize("content", PARTS.values(), ids=PARTS.keys())
def test_parts_of_their_own(content: dict, tmp_path: Path) -> None:
    """The file's test rows are the test rows of every seed."""
    loaded = arrays(tmp_path, **content)
    order = np.r_[np.flatnonzero(loaded.parts == REST), np.flatnonzero(loaded.parts == TEST)]
    np.testing.assert_array_equal(loaded.x[order], X.astype(np.float32))
    np.testing.assert_array_equal(loaded.y[order], Y)
    assert (loaded.task, loaded.classes) == ("multiclass", ("0", "1", "2"))
    for seed in (0, 1):
        cut = split_rows(loaded, settings(tmp_path / "mine.npz"), seed)
        np.testing.assert_array_equal(np.sort(loaded.x[cut.test], 0), np.sort(X[20:].astype(np.float32), 0))


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev"])
def test_validation_rows_of_their_own(word: str, tmp_path: Path) -> None:
    """A part for validation is used as that by every seed, whatever of the usual words it is called."""
    content = {"x_train": X[:15], "y_train": Y[:15], f"x_{word}": X[15:20], f"y_{word}": Y[15:20]}
    loaded = arrays(tmp_path, **content, x_test=X[20:], y_test=Y[20:])
    cut = split_rows(loaded, settings(tmp_path / "mine.npz"), 4)
    assert loaded.parts is not None
    assert np.bincount(loaded.parts).tolist() == [15, 5, 10]
    assert sorted(cut.validation) == np.flatnonzero(loaded.parts == VALIDATION).tolist()
    assert (len(cut.train), len(cut.test)) == (15, 10)


def test_parts_of_arrays_that_are_named(tmp_path: Path) -> None:
    """A name that is asked for stands for its like in the other parts, and what they are for is said."""
    parts = {"feat_test": X[20:], "lab_test": Y[20:], "feat_val": X[15:20], "lab_val": Y[15:20]}
    for word in ("_train", ""):
        content = {f"feat{word}": X[:15], f"lab{word}": Y[:15]} | parts
        for asked in ({"features": f"feat{word}", "target": f"lab{word}"}, {"features": "feat", "target": "lab"}):
            loaded = arrays(tmp_path, asked, **content)
            assert loaded.parts is not None and np.bincount(loaded.parts).tolist() == [15, 5, 10]
            np.testing.assert_array_equal(loaded.x, X.astype(np.float32))
            assert {"mine.npz: feat_test: 10 rows are the test rows",
                    "mine.npz: feat_val: 5 rows are the validation rows"} <= set(loaded.remarks)  # fmt: skip
    loaded = arrays(tmp_path, x=X[:20], y=Y[:20], x_test=X[20:])
    assert loaded.parts is None and "mine.npz: x_test has no target beside it and is left out" in loaded.remarks


NAMES = {
    "capitals": ({"X": X, "Y": Y}, {}),
    "named": ({"pixels": X, "kind": Y, "x_old": X}, {"features": "pixels", "target": "kind"}),
    "sklearn": ({"data": X, "target": Y}, {}),
    "text": ({"x": X, "y": np.array(["c", "a", "b"])[Y]}, {}),
    "bytes": ({"x": X, "y": np.array([b"c", b"a", b"b"])[Y]}, {}),
    "float codes": ({"x": X, "y": Y.astype(np.float32)}, {}),
    "booleans": ({"x": X > 0, "y": Y == 1}, {}),
    "one-hot booleans": ({"x": X, "y": np.eye(3, dtype=bool)[Y]}, {}),
}


@pytest.mark.parametrize(("content", "more"), NAMES.values(), ids=NAMES.keys())
def test_names_and_types(content: dict, more: dict, tmp_path: Path) -> None:
    """Usual names in any case are found, others are named; codes may be of any type."""
    loaded = arrays(tmp_path, more, **content)
    x, y = [values for name, values in content.items() if name != "x_old"]
    np.testing.assert_array_equal(loaded.x, x.astype(np.float32))
    labels = {"text": [2, 0, 1], "bytes": [2, 0, 1]}.get(str(y.dtype.kind).replace("U", "text").replace("S", "bytes"))
    codes = np.array(labels)[Y] if labels else np.argmax(y, 1) if y.ndim == 2 else y
    np.testing.assert_array_equal(loaded.y, codes)


def test_several_numbers_to_predict(tmp_path: Path) -> None:
    """A target [rows, n] that is not one-hot is a regression of n numbers; 1-D arrays can be named as several."""
    targets = RNG.normal(size=(30, 2))
    for more, content in (({}, {"y": targets}), ({"target": ["a", "b"]}, {"a": targets[:, 0], "b": targets[:, 1]})):
        loaded = arrays(tmp_path, more, x=X, **content)
        assert (loaded.task, loaded.n_targets) == ("regression", 2)
        np.testing.assert_allclose(loaded.y, targets, rtol=1e-6)


def test_missing_values_of_arrays(tmp_path: Path) -> None:
    """As in tables: refused, dropped, or filled from the training rows with features that say where."""
    holes = X.copy()
    holes[[2, 5], 1] = np.nan
    assert arrays(tmp_path, {"missing": "drop"}, x=holes, y=Y).x.shape == (28, 4)
    filled = arrays(tmp_path, {"missing": "impute"}, x=holes, y=Y)
    assert filled.x.shape == (30, 5)
    np.testing.assert_array_equal(np.flatnonzero(filled.x[:, 4]), [2, 5])
    data = settings(tmp_path / "mine.npz", missing="impute")
    cut = split_rows(filled, data, 0)
    assert cut.fill is not None
    assert cut.fill[1] == pytest.approx(np.nanmedian(holes[cut.train, 1]), rel=1e-6)


REFUSED = {
    "no x": ({"a": X, "y": Y}, {}, ("data.path", "no array x", "data.features")),
    "no y": ({"x": X, "lbl": Y}, {}, ("data.target", "no array y", "lbl")),
    "objects": ({"x": X, "y": np.array([{}] * 30)}, {}, ("data.path", "Python objects")),
    "lengths": ({"x": X, "y": Y[:-1]}, {}, ("data.path", "x float64[30, 4]", "y int64[29]")),
    "shapes": ({"x_train": X[:20], "y_train": Y[:20], "x_test": X[20:, :3], "y_test": Y[20:]}, {}, ("[rows, 3]",)),
    "multi-label": ({"x": X, "y": (X > 0).astype(int)}, {}, ("data.target", "multi-label", "data.task=regression")),
    "several inputs": ({"a": X, "b": X, "y": Y}, {"features": ["a", "b"]}, ("data.features", "one array")),
    "complex": ({"x": X + 1j, "y": Y}, {}, ("data.path", "complex128")),
    "infinite": ({"x": np.where(X > 1, np.inf, X), "y": Y}, {}, ("data.path", "infinite")),
    "pictures with holes": ({"x": np.where(X > 1, np.nan, X)[..., None], "y": Y}, {"missing": "impute"},
                            ("data.missing", "impute given", "drop")),
    "one part twice": ({"x": X, "y": Y, "x_val": X, "x_valid": X}, {}, ("data.path", "x_val and x_valid")),
    "a column and parts": ({"x": X, "y": Y, "x_test": X, "y_test": Y, "by": Y, "by_test": Y},
                           {"split": "column", "split_by": "by"}, ("data.split", "column given", "its own parts")),
    "only a test part": ({"x_test": X, "y_test": Y}, {}, ("data.path", "no array x")),
}  # fmt: skip


@pytest.mark.parametrize(("content", "more", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_what_to_do(content: dict, more: dict, words: tuple[str, ...], tmp_path: Path) -> None:
    """One line with the key and what is allowed."""
    with pytest.raises(ConfigError) as error:
        arrays(tmp_path, more, **content)
    line = str(error.value)
    assert [word for word in words if word not in line] == [] and "allowed" in line + "nearest: allowed", line


def test_files_for_each_part(tmp_path: Path) -> None:
    """`data.validation_path` and `data.test_path` hold their parts, and are part of the identity."""
    rows = {"train": slice(0, 15), "validation": slice(15, 20), "test": slice(20, 30)}
    for name, part in rows.items():
        np.savez(tmp_path / f"{name}.npz", x=X[part], y=Y[part])
    data = settings(tmp_path / "train.npz", validation_path=str(tmp_path / "validation.npz"),
                    test_path=str(tmp_path / "test.npz"))  # fmt: skip
    cut = split_rows(load_dataset(data), data, 2)
    assert [len(cut.train), *cut.validation, *cut.test] == [15, *range(15, 30)]
    identity = data_identity(data)
    assert {"file", "validation_file", "test_file"} <= set(identity)
    np.savez(tmp_path / "test.npz", x=X[20:] + 1, y=Y[20:])
    changed = data_identity(data)
    assert [key for key in identity if identity[key] != changed[key]] == ["test_file"]
    np.testing.assert_array_equal(load_dataset(data).x[20:], (X[20:] + 1).astype(np.float32))
