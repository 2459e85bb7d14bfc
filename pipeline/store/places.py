"""Check, before anything is trained, that nothing is in the way of what will be written."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.store.aside import SWEEP
from pipeline.store.failures import failure_file
from pipeline.store.files import check_writable, describe_file
from pipeline.store.meta import DAMAGED
from pipeline.store.replaced import REPLACED
from pipeline.store.runs import RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS


def reports_beside(results: Path) -> Path:
    """The folder of reports that belongs to a results folder: `reports` beside `results`, `kills-reports` beside
    `kills`, so that no comparison of other results overwrites the project's own reports, which git has.
    """
    if results.name == "..":
        results = results.resolve()
    return results.parent / ("reports" if results.name == "results" else f"{results.name}-reports")


def check_places(store: RunStore, arm: str, seeds: Sequence[int]) -> None:
    """Raise ConfigError, naming the path, where something is in the way of an arm's runs and locks, or of the study's
    tables.

    seeds: those that may be stored. Damaged runs are not in the way: they make room. Nothing is written.
    """
    aside, replaced = store.results / ".aside", store.results / REPLACED
    damaged = replaced / DAMAGED
    folders = [aside, aside / "failed", replaced, damaged, damaged / store.study, damaged / store.study / arm]
    folders += [store.folder, store.folder / arm]
    for folder in (store.results, *folders):
        check_writable(folder, "results")
    if seeds:
        _check_one_file_system(folders)
    for path in (store.lock_file(arm), store.lock_file(), aside / SWEEP):
        check_file(path, "results", may_be_link=False)
    for path in (failure_file(store, arm), store.folder / ABLATION, store.folder / DEAD_UNITS):
        check_replaced(path, "results")
    arm_folder = store.folder / arm
    present = {path.name for path in arm_folder.iterdir()} if arm_folder.is_dir() else set[str]()
    for path in (store.run_folder(arm, seed) for seed in (seeds if present else ())):
        if path.name in present and not path.is_dir():
            what = describe_file(path)
            raise ConfigError(f"results: {path} is {what}; allowed: the folder of a run, or nothing; move it away")


def _check_one_file_system(folders: Sequence[Path]) -> None:
    """Refuse folders of the results, such as links to another disk, into which nothing written aside can be renamed."""
    aside, *others = [next(path for path in (folder, *folder.parents) if path.exists()) for folder in folders]
    for folder in others:
        if folder.stat().st_dev != aside.stat().st_dev:
            there = f"{folder} is on another file system than {aside}"
            raise ConfigError(f"results: {there}; allowed: one file system for all results")


def check_replaced(path: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key`, where a file cannot be renamed to: whatever is no folder goes."""
    if path.is_dir() and not path.is_symlink():
        raise ConfigError(f"{key}: {path} is a folder; allowed: a file, or nothing; move it away")


def check_file(path: Path, key: str, may_be_link: bool = True) -> None:
    """Raise ConfigError, naming the setting `key`, where something other than a file that can be written is in the way.

    Nothing is there: it is for `check_writable` to say whether the folder takes a file. may_be_link: whether whoever
    opens the file follows links, as locks do not.
    """
    if not os.path.lexists(path):
        return
    try:
        is_link, mode = path.is_symlink(), path.stat().st_mode
    except OSError:
        what = "a link to nothing"
    else:
        if is_link and not may_be_link:
            what = "a link"
        elif stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and may_be_link):  # such as /dev/stderr
            what = "" if os.access(path, os.W_OK) else "a file that cannot be written"
        else:
            what = "a folder" if stat.S_ISDIR(mode) else "no file"
    if what:
        raise ConfigError(f"{key}: {path} is {what}; allowed: a file, or nothing; move it away")
