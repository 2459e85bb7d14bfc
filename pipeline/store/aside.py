"""The folder `<results>/.aside`: locks, records of failed jobs, and files that are half written.

What is half written lies in a temporary folder, with a lock file that the process holds as long as it lives. The
system releases the lock of a process that ends, whatever ended it and in whichever container, so `sweep_aside` removes
exactly the folders that nobody holds. Where a file system keeps the locks of each host apart, the locks of arms do not
work either: such a results folder is for one host.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.store.locks import forget_dead_holder

HELD = "held.lock"  # in each temporary folder
SWEEP = "sweep.lock"  # of whoever removes such folders of dead processes


def aside_folder(results: Path) -> Path:
    """The folder for locks and half-written files; created where it is missing."""
    folder = results / ".aside"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def temporary_folder(results: Path) -> Iterator[Path]:
    """Make a folder on the file system of the results, which is removed at the end with all that is still in it."""
    folder, held = _make_held(aside_folder(results))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what is left is swept later
        held.release()


def sweep_aside(results: Path) -> None:
    """Remove the temporary folders, and the notes beside locks, of processes that are gone.

    Does nothing where another process sweeps already.
    """
    aside = results / ".aside"
    if not aside.is_dir():  # locking would make it
        return
    with suppress(OSError, Timeout), FileLock(aside / SWEEP, timeout=0):
        for folder in aside.glob("tmp*"):
            with suppress(OSError, Timeout), FileLock(folder / HELD, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        for note in aside.glob("*.lock.holder"):
            forget_dead_holder(note.with_suffix(""))


def _make_held(aside: Path) -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=aside))
        held = FileLock(folder / HELD, timeout=0)
        with suppress(FileNotFoundError, Timeout):  # a sweep may come between, and take it for a dead process's
            held.acquire()
            if (folder / HELD).exists():
                return folder, held
            held.release()
