"""Write files whole or not at all."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.runtime.hashing import digest


def check_writable(folder: Path, key: str) -> None:
    """Refuse, as the setting `key`, a folder that cannot be made or written."""
    there = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is not a folder")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(f"{key}: {folder} cannot be written: {error.strerror or error}") from error


@contextmanager
def arm_lock(results: Path, study: str, arm: str) -> Iterator[None]:
    """Hold an arm: another process that wants it waits here, and then finds it done."""
    from filelock import FileLock

    with FileLock(aside_folder(results) / f"{digest([study, arm])}.lock"):
        yield


def write_flushed(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def aside_folder(results: Path) -> Path:
    """The folder for locks and half-written runs; it is made where it is missing."""
    folder = results / ".aside"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def json_bytes(meta: dict[str, Any]) -> bytes:
    """The content of a JSON file."""
    return (json.dumps(meta, indent=2) + "\n").encode()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def csv_bytes(history: Mapping[str, np.ndarray]) -> bytes:
    """The content of history.csv."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["epoch", *history])
    columns = [[repr(float(v)) for v in values] for values in history.values()]
    table.writerows([epoch, *row] for epoch, row in enumerate(zip(*columns, strict=True)))
    return buffer.getvalue().encode()
