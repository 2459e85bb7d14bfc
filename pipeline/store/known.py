"""Runs that were read and found whole, remembered, so that whoever reads them again need not hash their files again.

What is remembered of an arm with many runs is in `<results>/.aside/known`, for the next command too, and may be thrown
away at any time. A run counts from there only as long as run.json and every file that it has a digest of are the ones
that were read: the same inode, size, time of the content and time of the change (ctime), which no program can set, so
that an edit that puts the old time back is seen as well. As in git's index, a file that had just changed when it was
read is not remembered: a second change could bear the same time. What is only here is never held for a run, damaged
runs are not remembered, and a memory that does not match its own digest, or was written under other rules, is none.

The one thing that goes unnoticed is a disk that alters bytes by itself; commands that judge or copy runs, and not only
ask which there are, read all of them (`RunStore.read`).
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pipeline.runtime.hashing import digest
from pipeline.store.files import replace_file
from pipeline.store.meta import FILES, RUN, Meta

MANY = 100  # runs of an arm from which on they are remembered: fewer are read in no time
SETTLED = 2 * 10**9  # nanoseconds after which a further change gets another time, on the coarsest file systems
UNSHARED = ("metrics", "digests")  # entries of run.json that differ from run to run

Stats = list[tuple[int, ...]]


class KnownRuns:
    """What is remembered of the runs of an arm. Runs share the entries of run.json that are the same in several."""

    def __init__(self, folder: Path, file: Path) -> None:
        """folder: of the arm. file: what other processes remember of it."""
        self._folder, self._file = f"{folder}{os.sep}", file
        self._shared: dict[str, Any] = {}
        self._begun: int | None = None
        self._is_new = False
        self._runs = self._load()

    def get(self, name: str, only: Sequence[str] | None = None) -> Meta | None:
        """The run.json of a run, by its folder's name, if the run is as it was when it was read; else None.

        only: the files that have to be; None: all.
        """
        known = self._runs.get(name)
        if known is None:
            return None
        stats, meta = known
        files = (RUN, *meta["digests"])
        folder = f"{self._folder}{name}{os.sep}"
        for file, stat in zip(files, stats, strict=True):
            if (only is None or file in only) and _stat(f"{folder}{file}") != stat:
                return None
        return meta

    def look(self, name: str) -> dict[str, tuple[int, ...]]:
        """The files of a run before it is read, for `add`."""
        if self._begun is None:
            self._begun = _now(self._file.parent.parent)
        folder = f"{self._folder}{name}{os.sep}"
        return {file: stat for file in FILES if (stat := _stat(f"{folder}{file}")) is not None}

    def add(self, name: str, meta: Meta, before: Mapping[str, tuple[int, ...]]) -> Meta:
        """Remember a run that was found whole, if its files have settled before they were read; its run.json."""
        stats = [before.get(file) for file in (RUN, *meta["digests"])]
        if name in self._runs and self._runs[name][0] == stats:
            return self._runs[name][1]
        meta = {entry: self._share(entry, value) for entry, value in meta.items()}
        settled = [stat for stat in stats if stat is not None and max(stat[2:]) < (self._begun or 0) - SETTLED]
        if len(settled) == len(stats):
            self._runs[name] = (settled, meta)
            if self.get(name) is None:  # it has changed while it was read
                del self._runs[name]
            else:
                self._is_new = True
        return meta

    def drop(self, name: str) -> None:
        """Forget a run that is not whole, although nothing says that it has changed."""
        self._is_new |= self._runs.pop(name, None) is not None

    def save(self, names: Sequence[str]) -> None:
        """Keep what is new for the next process; of these runs alone, where others are gone."""
        self._begun = None
        if not self._is_new:
            return
        self._is_new = False
        self._runs = {name: self._runs[name] for name in names if name in self._runs}
        with suppress(OSError, RecursionError):  # such as a folder that may only be read: it is nothing but a memory
            self._file.parent.mkdir(exist_ok=True)
            replace_file(self._file.parent.parent.parent, self._file, _encode(self._runs))

    def _share(self, entry: str, value: Any) -> Any:
        if entry in UNSHARED or not isinstance(value, (dict, list)):
            return value
        try:
            return self._shared.setdefault(json.dumps(value), value)
        except RecursionError:  # nested almost too deep to be read
            return value

    def _load(self) -> dict[str, tuple[Stats, Meta]]:
        try:
            return _decode(self._file.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return {}


_known: dict[tuple[Path, str, str], KnownRuns] = {}  # of this process


def known_runs(results: Path, study: str, arm: str, n: int) -> KnownRuns | None:
    """What is remembered of an arm of which there are n runs; None where nothing is to be."""
    key = (results.absolute(), study, arm)
    if n < MANY or os.name == "nt" or not (results / ".aside").is_dir():  # Windows has no time of the change
        return None
    if key not in _known:
        _known[key] = KnownRuns(results / study / arm, results / ".aside" / "known" / f"{digest([study, arm])}.json")
    return _known[key]


def _stat(path: str) -> tuple[int, ...] | None:
    """What tells a plain file from any other, and from itself after a change; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116, which takes twice as long, a million times
    except (OSError, ValueError):
        return None
    is_file = S_ISREG(status.st_mode)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if is_file else None


def _now(folder: Path) -> int:
    """The time by the clock of the file system; 0 where nothing can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_ctime_ns
    except OSError:
        return 0


@cache
def _rules() -> str:
    """A digest of what decides whether a run is whole."""
    texts = [Path(__file__).with_name(name).read_text() for name in ("known.py", "meta.py", "runs.py")]
    return digest(texts)


def _encode(runs: Mapping[str, tuple[Stats, Meta]]) -> bytes:
    """Runs as JSON below its digest: entries of run.json that runs share are written once."""
    shared, forms = dict[int, int](), dict[tuple[tuple[str, int], ...], int]()
    values, lines = list[Any](), dict[str, Any]()
    for name, (stats, meta) in runs.items():
        form, own = list[tuple[str, int]](), list[Any]()
        for entry, value in meta.items():
            if entry in UNSHARED or not isinstance(value, (dict, list)):
                form.append((entry, -1))
                own.append(value)
                continue
            if id(value) not in shared:
                shared[id(value)] = len(values)
                values.append(value)
            form.append((entry, shared[id(value)]))
        lines[name] = [stats, forms.setdefault(tuple(form), len(forms)), own]
    content = json.dumps({"rules": _rules(), "values": values, "forms": list(forms), "runs": lines}).encode()
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def _decode(content: bytes) -> dict[str, tuple[Stats, Meta]]:
    """What `_encode` wrote. Raises ValueError for anything else."""
    expected, _, content = content.partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != expected:
        raise ValueError("not what was written")
    known = json.loads(content)
    if known["rules"] != _rules():
        raise ValueError("written under other rules")
    runs, values = dict[str, tuple[Stats, Meta]](), known["values"]
    for name, (stats, form, own) in known["runs"].items():
        left = iter(own)
        meta = {entry: next(left) if i < 0 else values[i] for entry, i in known["forms"][form]}
        runs[name] = ([tuple(stat) for stat in stats], meta)
    return runs
