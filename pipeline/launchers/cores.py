"""Share the cores of a machine among its workers: each keeps to cores that no other worker has.

TensorFlow takes as many threads as its process may use cores, and NumPy's and oneDNN's threads keep to them too. The
number of threads decides last bits of some layers, so it has to be the same for all jobs, however many run at once.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.runtime.device import n_cores

_held: list[FileLock] = []  # a core each, for as long as this process lives


def keep_to_cores(n: int, folder: Path | None = None) -> None:
    """Keep this thread, and the processes that it starts, to n cores that no other worker of this machine keeps to.

    Where there are not so many free ones, it shares some. Does nothing where the process may use no more than n, or on
    systems without core affinity. folder: of the locks.
    """
    if _held or not hasattr(os, "sched_setaffinity") or n_cores() <= n:
        return
    folder = folder or Path(tempfile.gettempdir()) / f"bias-initializers-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    allowed = sorted(os.sched_getaffinity(0))
    for core in allowed:
        if len(_held) == n:
            break
        lock = FileLock(folder / f"{core}.lock", timeout=0)
        with suppress(Timeout, OSError):
            lock.acquire()
            _held.append(lock)
    mine = [int(Path(lock.lock_file).stem) for lock in _held]
    os.sched_setaffinity(0, {*mine, *[core for core in allowed if core not in mine][: n - len(mine)]})
