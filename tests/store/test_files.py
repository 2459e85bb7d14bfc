"""Files of the results folder: arrays that are read faster than by NumPy, and are the same."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.store.files import npz_bytes, read_npz

ARRAYS = {
    "before/a": np.arange(6.0).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "empty": np.zeros((0, 3)), "a number": np.float64(3),
    "texts": np.array(["x", "yz"]), "flags": np.array([True, False]),
    "other end first": np.arange(3, dtype=">i4"), "half": np.ones(2, np.float16),
}  # fmt: skip


def test_arrays_are_those_that_numpy_reads(tmp_path: Path) -> None:
    """In values, type, shape and order, and they can be written to."""
    file = tmp_path / "a.npz"
    file.write_bytes(npz_bytes({name: np.asarray(array) for name, array in ARRAYS.items()}))
    read = read_npz(file, lambda name: True)
    with np.load(file) as expected:
        assert list(read) == expected.files
        for name, array in read.items():
            other = expected[name]
            assert (array.dtype, array.shape, array.flags.f_contiguous) == (
                other.dtype, other.shape, other.flags.f_contiguous
            )  # fmt: skip
            assert array.tobytes() == other.tobytes() and array.flags.writeable
    assert list(read_npz(file, lambda name: name == "empty")) == ["empty"]


def test_objects_are_not_read(tmp_path: Path) -> None:
    """Pickled objects could run code."""
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(tmp_path / "a.npz", lambda name: True)
