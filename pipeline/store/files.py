"""Files of the results folder, written whole or not at all."""

import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Mapping
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


def csv_bytes(history: Mapping[str, np.ndarray]) -> bytes:
    """Encode learning curves [epochs + 1] as CSV with an `epoch` column, every digit kept."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["epoch", *history])
    columns = [[repr(float(v)) for v in values] for values in history.values()]
    table.writerows([epoch, *row] for epoch, row in enumerate(zip(*columns, strict=True)))
    return buffer.getvalue().encode()
