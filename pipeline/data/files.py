"""Read the user's own csv, parquet or npz file."""

import contextlib
import math
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset, classification, classification_task, regression
from pipeline.errors import DataError, closest
from pipeline.runtime.device import free_memory

MOST_CLASSES = 20  # an integer target with more distinct values than this is taken for a regression
SUFFIXES = (".csv", ".parquet", ".npz")


def load_file(data: Data) -> Dataset:
    """Read a csv, parquet or npz file (`data.path`). Raises DataError for a file that cannot be trained on.

    Without `data.task`, a target of text or of at most 20 different whole numbers makes a classification, any other a
    regression.
    """
    path = data_file(data)
    x, y = _read_npz(path, data) if path.suffix == ".npz" else _read_table(path, data)
    if not np.isfinite(x).all():
        n_bad = int((~np.isfinite(x)).sum())
        raise DataError(f"data.path: {path.name} holds {n_bad} NaN or infinite values; fill or drop them first")
    numeric = y.dtype.kind in "iuf"
    if numeric and not np.isfinite(y).all():
        raise DataError(f"data.target: {int((~np.isfinite(y)).sum())} targets are NaN or infinite; drop them first")
    labels, codes = np.unique(y if numeric else y.astype(str), return_inverse=True)
    task = data.task or _guess_task(labels)
    if task == "regression":
        if not numeric:
            raise DataError("data.target: it holds text; allowed for a regression: numbers")
        return regression(x, y)
    if task == "binary" and len(labels) != 2:
        raise DataError("data.task", "binary", "multiclass", reason=f"but the target has {len(labels)} classes")
    return replace(classification(x, codes, labels), task=task)


def data_file(data: Data) -> Path:
    """The path of the data file. Raises DataError where it is missing or of another kind."""
    path = Path(data.path or "").expanduser()
    if data.path is None or path.suffix not in SUFFIXES:
        raise DataError("data.path", data.path, f"the path of a {', '.join(SUFFIXES)} file")
    if not path.is_file():
        raise DataError(f"data.path: there is no file {data.path}")
    size, free = _bytes_in_memory(path), free_memory()
    if size > free:
        there = f"{path.name} takes {size / 2**30:,.1f} GiB of memory, but {free / 2**30:,.1f} GiB are free"
        raise DataError(f"data.path: {there}; allowed: a smaller file")
    return path


def _bytes_in_memory(path: Path) -> int:
    """At least how much memory the rows of a file take, by what it declares: compressed or sparse, it may be small."""
    sizes = [path.stat().st_size]
    with contextlib.suppress(Exception):  # a damaged file is named when it is read
        if path.suffix == ".npz":
            with ZipFile(path) as archive:
                sizes.append(sum(max(member.file_size, _npy_bytes(archive, member)) for member in archive.infolist()))
        elif path.suffix == ".parquet":
            from pyarrow import parquet

            file = parquet.read_metadata(path)
            groups = (file.row_group(i).total_byte_size for i in range(file.num_row_groups))
            sizes += [sum(groups), file.num_rows * file.num_columns * 4]
    return max(sizes)


def _npy_bytes(archive: ZipFile, member: ZipInfo) -> int:
    """The size of an array in an npz file, which NumPy allocates before it reads the values."""
    with archive.open(member) as file:
        read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(read_magic(file))
        shape, _, dtype = read_header(file) if read_header else ((), False, np.dtype("u1"))
    return math.prod(shape) * dtype.itemsize


def _guess_task(labels: np.ndarray) -> str:
    """The task that fits the different values of a target: text or few whole numbers are classes."""
    whole = labels.dtype.kind not in "iuf" or bool((labels == np.round(labels)).all())
    return classification_task(len(labels)) if whole and len(labels) <= MOST_CLASSES else "regression"


def _read_npz(path: Path, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """(x [rows, ...] float32, target [rows]) from the arrays `x` and `data.target`, `y` unless set."""
    try:
        # np.load would leave the file of a truncated archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (ValueError, TypeError, AttributeError, OSError, EOFError, MemoryError, BadZipFile) as error:
        raise DataError(f"data.path: {path.name} cannot be read: {error}") from error
    target = data.target or "y"
    for key, name in (("data.path", "x"), ("data.target", target)):
        if name not in arrays:
            raise DataError(f"{key}: {path.name} holds no array {name}; {closest(name, sorted(arrays))}")
    x, y = arrays["x"], arrays[target]
    if x.dtype.kind not in "biuf" or x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise DataError(
            f"data.path: {path.name} holds x {x.dtype}{list(x.shape)} and {target} {y.dtype}{list(y.shape)}; "
            "allowed: x numeric [rows, ...], the target [rows]"
        )
    return x, y


def _read_table(path: Path, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """(x [rows, columns] float32, target [rows]) from the column `data.target` and all others."""
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError, MemoryError) as error:
        raise DataError(f"data.path: {path.name} cannot be read: {error}") from error
    columns = [str(column) for column in frame.columns]
    frame.columns = columns
    if data.target not in columns:
        near = closest(str(data.target), columns)
        raise DataError(f"data.target: {path.name} has no column {data.target}; {near}")
    features = frame.drop(columns=data.target)
    text = [column for column in features if not pd.api.types.is_numeric_dtype(features[column])]
    if text:
        raise DataError(
            f"data.path: {path.name} has columns that are not numbers: {', '.join(text)}; encode or drop them"
        )
    if features.empty:
        raise DataError(f"data.path: {path.name} has no column besides the target")
    missing = [column for column in columns if frame[column].isna().to_numpy().any()]
    if missing:
        raise DataError(f"data.path: {path.name} has missing values (NaN) in {', '.join(missing)}; fill or drop them")
    return features.to_numpy(np.float64), frame[data.target].to_numpy()
