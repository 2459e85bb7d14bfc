"""The user's own files: where they are, whether memory holds them, their digests, and what reads them."""

import contextlib
import gzip
import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from pipeline.config.schema import Data, expand_home
from pipeline.data.arrays import read_arrays
from pipeline.data.dataset import REST, TEST, VALIDATION, Dataset
from pipeline.data.folders import image_files
from pipeline.data.images import image_folder
from pipeline.data.settings import SUFFIXES, check_settings, kind_of_file
from pipeline.data.tables import read_tables
from pipeline.errors import DataError, describe_size
from pipeline.runtime.device import free_memory
from pipeline.runtime.hashing import digest

PATHS = {"path": "file", "validation_path": "validation_file", "test_path": "test_file"}
PARTS = {"path": REST, "validation_path": VALIDATION, "test_path": TEST}


def load_file(data: Data) -> Dataset:
    """Read a table or arrays (`data.path` and the like). Raises DataError for files that cannot be trained on."""
    check_settings(data)
    files = [(f"data.{key}", data_file(data, key), PARTS[key]) for key in _given(data)]
    _check_memory(files)
    _check_different(data)
    return read_arrays(files, data) if kind_of_file(data.path) == "npz" else read_tables(files, data)


def _check_different(data: Data) -> None:
    """Refuse rows that are to be tested on and are those to train on."""
    digests, seen = file_digests(data), {}
    for key, name in PATHS.items():
        content = digests.get(name)
        if content in seen:
            allowed = "other rows; data.test_fraction=0 tests on the training rows"
            reason = f"which holds the same as data.{seen[content]}"
            raise DataError(f"data.{key}", getattr(data, key), allowed, reason=reason)
        if content is not None:
            seen[content] = key


def data_file(data: Data, key: str = "path") -> Path:
    """The path of a data file. Raises DataError where it is missing, of another kind, or larger than memory."""
    given = getattr(data, key)
    path = expand_home(given or "")
    if key == "path" and path.is_dir() and given:
        raise DataError("data.path", given, f"a {', '.join(SUFFIXES)} file, or data=images",
                        reason="which is a folder")  # fmt: skip
    if given is None or kind_of_file(given) is None:
        raise DataError(f"data.{key}", given, f"the path of a {', '.join(SUFFIXES)} file")
    if not path.is_file():
        raise DataError(f"data.{key}: there is no file {given}")
    _check_memory([(f"data.{key}", path, REST)])
    return path


def file_digests(data: Data) -> dict[str, str]:
    """The digest of each file that the rows come from, by its name in run.json; of a folder, of all its pictures."""
    if data.source == "images":
        root = image_folder(data)
        files = [(str(path.relative_to(root)), _digest(path)) for path in image_files(root)]
        return {PATHS["path"]: digest(files)}
    if data.source != "file":
        return {}
    return {PATHS[key]: _digest(data_file(data, key)) for key in _given(data)}


def _given(data: Data) -> Iterator[str]:
    """The keys of the files that there are; `path` always, since it is named where it is missing."""
    return (key for key in PATHS if key == "path" or getattr(data, key) is not None)


def _digest(path: Path) -> str:
    """The digest of a file's content, which is read again only where the file has changed."""
    status = path.stat()
    return _remembered(
        os.fspath(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    )


@lru_cache(maxsize=200_000)
def _remembered(path: str, *_: int) -> str:
    return digest(Path(path).read_bytes())


def _check_memory(files: list[tuple[str, Path, int]]) -> None:
    size, free = sum(_bytes_in_memory(path) for _, path, _ in files), free_memory()
    if size > free:
        key, path, _ = files[0]
        there = f"{path.name} takes {describe_size(size)} of memory, but {describe_size(free)} are free"
        raise DataError(f"{key}: {there}; allowed: a smaller file")


def _bytes_in_memory(path: Path) -> int:
    """At least how much memory the rows of a file take, by what it declares: compressed or sparse, it may be small."""
    sizes = [path.stat().st_size]
    with contextlib.suppress(Exception):  # a damaged file is named when it is read
        suffix = path.suffix.lower()
        if suffix == ".npz":
            with ZipFile(path) as archive:
                sizes.append(sum(max(member.file_size, _npy_bytes(archive, member)) for member in archive.infolist()))
        elif suffix == ".gz":
            sizes.append(_unpacked(path, path.stat().st_mtime_ns))
        elif suffix == ".parquet":
            from pyarrow import parquet

            file = parquet.read_metadata(path)
            groups = (file.row_group(i).total_byte_size for i in range(file.num_row_groups))
            sizes += [sum(groups), file.num_rows * file.num_columns * 4]
    return max(sizes)


@lru_cache(maxsize=64)
def _unpacked(path: Path, _: int) -> int:
    """The size of a gzip file's content, counted up to what memory holds: what it declares is modulo 4 GiB."""
    total, free = 0, free_memory()
    with gzip.open(path, "rb") as file:
        while total <= free and (block := file.read(2**24)):
            total += len(block)
    return total


def _npy_bytes(archive: ZipFile, member: ZipInfo) -> int:
    """The size of an array in an npz file, which NumPy allocates before it reads the values."""
    with archive.open(member) as file:
        read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(read_magic(file))
        shape, _, dtype = read_header(file) if read_header else ((), False, np.dtype("u1"))
    return math.prod(shape) * dtype.itemsize
