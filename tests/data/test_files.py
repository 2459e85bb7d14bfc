"""A file that memory cannot hold is refused by its declared size, before it is read."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.lib.format import write_array_header_1_0

from pipeline.config.schema import Data
from pipeline.data.files import load_file
from pipeline.data.sources import data_identity
from pipeline.errors import DataError


def refusal(path: Path) -> str:
    """The line that refuses a file, which is the same when it is identified and when it is loaded."""
    data = Data(name="d", source="file", path=str(path), target="y")
    lines = []
    for read in (data_identity, load_file):
        with pytest.raises(DataError) as error:
            read(data)
        lines.append(str(error.value))
    assert lines[0] == lines[1]
    return lines[0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_sparse_file_is_refused_by_its_size(suffix: str, tmp_path: Path) -> None:
    """A file of a terabyte that holds nothing takes no terabyte of memory."""
    path = tmp_path / f"sparse{suffix}"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert refusal(path).startswith(f"data.path: sparse{suffix} takes 1,024.0 GiB of memory, but ")


def test_an_array_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """NumPy allocates an array of the size that its header names, whatever follows."""
    header = io.BytesIO()
    write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**37, 1)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    assert refusal(tmp_path / "bomb.npz").startswith("data.path: bomb.npz takes 1,024.0 GiB of memory, but ")


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_compressed_files_count_unpacked(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small on disk only for its compression is measured as it will lie in memory."""
    path, zeros = tmp_path / f"zeros.{kind}", np.zeros((10**6, 1), np.float32)
    if kind == "npz":
        np.savez_compressed(path, x=zeros, y=zeros[:, 0])
    else:
        pd.DataFrame({"x": zeros[:, 0], "y": zeros[:, 0]}).to_parquet(path, compression="gzip")
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("pipeline.data.files.free_memory", lambda: 10**6)
    assert refusal(path).startswith(f"data.path: zeros.{kind} takes 7.6 MiB of memory, but 976.6 KiB are free")
