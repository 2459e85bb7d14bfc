"""Files of the results folder, written whole or not at all."""

import csv
import errno
import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.store.aside import temporary_folder


def check_writable(folder: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key`, for a folder that cannot be made or written."""
    try:
        existing = next(path for path in (folder, *folder.parents) if _is_there(path))
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is {describe_file(existing)}")
        for name in folder.relative_to(existing).parts:  # of a folder in one that is missing, the system judges no name
            _is_there(existing / name)
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(f"{key}: {folder} cannot be written: {error.strerror or error}") from error


def describe_file(path: Path) -> str:
    """What is there instead of a folder, in words."""
    return "a link to nothing" if not path.exists() else "not a folder"


def _is_there(path: Path) -> bool:
    """Whether there is something of this name, be it a link to nothing. Raises OSError for an impossible name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):  # the latter: a parent is a file, which is looked at next
        return False
    return True


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_small(path: Path, most: int = 2**26) -> bytes:
    """Read a plain file (a pipe would wait) of at most so many bytes. Raises OSError for any other."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "not a file", str(path))
    if path.stat().st_size > most:
        raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))
    return path.read_bytes()


def replace_file(results: Path, path: Path, content: bytes) -> None:
    """Put a file in place of the one there is: written aside, flushed, renamed."""
    with temporary_folder(results) as aside:
        write_flushed(aside / path.name, content)
        (aside / path.name).replace(path)


def json_bytes(content: Any) -> bytes:
    """Encode as indented JSON."""
    return (json.dumps(content, indent=2) + "\n").encode()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Encode arrays as an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def read_npz(path: Path, is_wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """The arrays of an npz file whose names are wanted, as `np.load` gives them.

    That parses the head of each array as Python code: of 40,000 runs, which all have the same ones, for six seconds.
    """
    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        return {key: _read_npy(archive.read(name)) for key, name in names.items() if is_wanted(key)}


def _read_npy(content: bytes) -> np.ndarray:
    begin = 10 + int.from_bytes(content[8:10], "little")
    if content[:8] == b"\x93NUMPY\x01\x00":
        shape, is_fortran, dtype = _npy_head(content[8:begin])
        size = math.prod(shape)
        if size and not dtype.hasobject:
            flat = np.frombuffer(content, dtype, size, begin)
            return flat.reshape(shape, order="F" if is_fortran else "C").copy("K")  # one that can be written to
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


@lru_cache(maxsize=1024)
def _npy_head(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    return np.lib.format.read_array_header_1_0(io.BytesIO(head))


def csv_bytes(history: Mapping[str, np.ndarray]) -> bytes:
    """Encode learning curves [epochs + 1] as CSV with an `epoch` column, every digit kept."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["epoch", *history])
    columns = [[repr(float(v)) for v in values] for values in history.values()]
    table.writerows([epoch, *row] for epoch, row in enumerate(zip(*columns, strict=True)))
    return buffer.getvalue().encode()
