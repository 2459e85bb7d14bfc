"""What in a results folder takes space without counting: replaced and damaged runs, and what was left behind."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import ConfigError
from pipeline.runtime.hashing import digest
from pipeline.store.aside import HELD, SWEEP, temporary_folder
from pipeline.store.locks import describe_holder, is_held
from pipeline.store.meta import DAMAGED, RUN
from pipeline.store.replaced import REPLACED

DATA = ".data"  # where the Python API keeps the files that it made of data in memory
LOG_FOLDERS = ("outputs", "multirun")
DAY = re.compile(r"\d{4}-\d\d-\d\d")  # what Hydra calls the folders in them


@dataclass(frozen=True)
class Waste:
    """Files and folders of one kind. what: how the kind is called; lost: what is no longer possible without them."""

    what: str
    lost: str
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(size_of, self.paths))


def find_waste(results: Path) -> list[Waste]:
    """What can be removed from a results folder, by kind; kinds of which there is nothing are left out."""
    replaced = results / REPLACED
    kinds = [
        Waste("replaced runs", "their settings, asked for again, are trained again",
              _entries(replaced, lambda path: path.name != DAMAGED)),
        Waste("damaged runs", "they can no longer be looked at", _entries(replaced / DAMAGED)),
        Waste("left-overs of processes that were killed", "nothing",
              _entries(results / ".aside", lambda path: path.name.startswith("tmp") and not is_held(path / HELD))),
        Waste("data of the Python API that no run names", "nothing", _unnamed_data(results)),
    ]  # fmt: skip
    return [kind for kind in kinds if kind.paths]


def find_logs(folder: Path) -> list[Waste]:
    """Hydra's logs of earlier commands below a folder."""
    days = [path for name in LOG_FOLDERS for path in _entries(folder / name) if DAY.fullmatch(path.name)]
    lost = "why an earlier job failed is known in short only"
    return [Waste("logs of earlier commands", lost, tuple(days))] if days else []


@contextmanager
def hold_results(results: Path) -> Iterator[None]:
    """Hold every lock of a results folder. Raises ConfigError, naming who holds one, where something trains."""
    with ExitStack() as held:
        for path in sorted((results / ".aside").glob("*.lock")):
            if path.name == SWEEP:
                continue
            try:
                held.enter_context(FileLock(path, timeout=0))
            except Timeout as error:
                busy = describe_holder(path) or f"{path} is held by another process"
                raise ConfigError(f"results: {busy}; allowed: when nothing trains or is sent there") from error
        yield


def remove_waste(results: Path, waste: Waste) -> None:
    """Remove files and folders, each whole or not at all where it lies among the results."""
    for path in waste.paths:
        if path.is_relative_to(results):
            with temporary_folder(results) as aside:
                path.rename(aside / "removed")
        else:
            shutil.rmtree(path)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(path) for name in names)


def _entries(folder: Path, chosen: Callable[[Path], bool] = lambda path: True) -> tuple[Path, ...]:
    return tuple(sorted(filter(chosen, folder.iterdir()))) if folder.is_dir() else ()


def _unnamed_data(results: Path) -> tuple[Path, ...]:
    """The files that no run.json names, by their names or by the digests of their bytes; replaced runs count too."""
    files = _entries(results / DATA)
    if not files:
        return ()
    texts = [path.read_text(errors="replace") for path in results.rglob(f"seed=*/{RUN}")]
    texts += [path.read_text(errors="replace") for path in (results / REPLACED).glob(f"*/{RUN}")]
    known = "\n".join(texts)
    return tuple(path for path in files if path.stem not in known and digest(path.read_bytes()) not in known)
