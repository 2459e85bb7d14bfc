"""Share a machine among its workers: each keeps to cores, and to a GPU, that no other worker has.

TensorFlow takes as many threads as its process may use cores, and NumPy's and oneDNN's threads keep to them too. The
number of threads decides last bits of some layers, so it has to be the same for all jobs, however many run at once.

A share is a set of locks in a folder of the machine, which the system releases when the worker ends, whatever ended it.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.runtime.device import n_cores, visible_gpus

_held: list[FileLock] = []  # for as long as this process lives


def keep_to_cores(n: int, folder: Path | None = None) -> None:
    """Keep this thread, and the processes that it starts, to n cores that no other worker of this machine keeps to.

    Where there are not so many free ones, it shares some. Does nothing where the process may use no more than n, or on
    systems without core affinity. folder: of the locks.
    """
    if not hasattr(os, "sched_setaffinity") or n_cores() <= n:
        return
    allowed = [str(core) for core in sorted(os.sched_getaffinity(0))]
    mine = _take("core", allowed, n, folder)
    others = [core for core in allowed if core not in mine]
    os.sched_setaffinity(0, {int(core) for core in [*mine, *others[: n - len(mine)]]})


def keep_to_gpu(folder: Path | None = None) -> None:
    """Have the processes that this one starts see one of several GPUs, one that no other worker has if there is one."""
    gpus = visible_gpus()
    if len(gpus) > 1:
        free = _take("gpu", gpus, 1, folder)
        os.environ["CUDA_VISIBLE_DEVICES"] = (free or gpus)[0]


def _take(kind: str, names: Sequence[str], n: int, folder: Path | None) -> list[str]:
    """Lock up to n of these; returns the names of those that were free."""
    folder = folder or Path(tempfile.gettempdir()) / f"bias-initializers-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = list[str]()
    for name in names:
        if len(taken) == n:
            break
        lock = FileLock(folder / f"{kind}-{name.replace('/', '_')}.lock", timeout=0)
        with suppress(Timeout, OSError):
            lock.acquire()
            _held.append(lock)
            taken.append(name)
    return taken
