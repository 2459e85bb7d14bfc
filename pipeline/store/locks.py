"""The one lock of the project: a file that one process at a time holds, and a note beside it that says which.

The note cannot be in the lock file itself, which a waiting process may truncate when it opens it.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from pipeline.runtime.deadline import SILENT_WAIT
from pipeline.runtime.logs import tell_user

_request = [""]  # the identity of the request that this process works for


def work_for_request(identity: str) -> None:
    """From now on the locks of this process are held for a request: its other processes wait for them in silence."""
    _request[0] = identity


@contextmanager
def hold_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; another process waits here, and after 2 s tells its user for whom; of one of its
    own request, such as a launcher's other worker with the same arm, the user need not hear.

    what: what is going on meanwhile, for that line: "zeros is being trained".
    """
    lock = FileLock(path)
    is_told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=SILENT_WAIT)
        except Timeout:
            if not is_told and not _is_of_own_request(path):
                tell_user(f"{describe_holder(path) or f'{path} is held by another process'}; waiting for it")
                is_told = True
    note = _note(path)
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(), "what": what,
              "request": _request[0]}  # fmt: skip
    try:
        with suppress(OSError):  # of a full disk; the note is for people, and the lock holds without it
            note.write_text(json.dumps(holder))
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        lock.release()


def forget_dead_holder(path: Path) -> None:
    """Remove the note of a process that was killed with the lock file `path`: nobody holds it."""
    if _note(path).is_file():
        with suppress(OSError, Timeout), FileLock(path, timeout=0):
            _note(path).unlink()


def is_held(path: Path) -> bool:
    """Whether a process holds a lock now. One whose file cannot be written is held as long as its note is believed."""
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return _read_note(path) is not None


def describe_holder(path: Path) -> str:
    """Say who holds a lock, "zeros is being trained by process 1234 since 14:03:12"; "" where no holder is known."""
    holder = _read_note(path)
    if holder is None:
        return ""
    since = datetime.fromisoformat(holder["since"])
    today = since.date() == datetime.now().date()
    host = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
    return f"{holder['what']} by process {holder['pid']}{host} since {since:{'' if today else '%Y-%m-%d '}%H:%M:%S}"


def _is_of_own_request(path: Path) -> bool:
    holder = _read_note(path)
    return holder is not None and bool(_request[0]) and holder.get("request") == _request[0]


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _read_note(path: Path) -> dict[str, Any] | None:
    """The note of a process that may hold the lock; None for that of a process that was killed on this machine."""
    try:
        holder = json.loads(_note(path).read_text())
        datetime.fromisoformat(holder["since"])
        is_gone = holder["host"] == socket.gethostname() and not psutil.pid_exists(holder["pid"])
        return None if is_gone or not holder["what"] else holder
    except (OSError, ValueError, TypeError, KeyError):
        return None
