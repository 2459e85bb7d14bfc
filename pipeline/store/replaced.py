"""Write runs, and keep those that make room for them.

A run that is replaced moves to `<results>/.replaced/<key>`, and comes back from there when its settings are asked for
again. A damaged run that is replaced moves to `<results>/.replaced/damaged/<study>/<arm>/seed=<n>`, for people to see.
"""

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.hashing import digest
from pipeline.store.aside import temporary_folder
from pipeline.store.files import csv_bytes, json_bytes, npz_bytes, write_flushed
from pipeline.store.meta import (
    BIASES,
    DAMAGED,
    HISTORY,
    MACHINE,
    MODEL,
    ROWS,
    RUN,
    SEAL,
    WEIGHTS,
    DamagedRunError,
    Meta,
    check_meta,
    read_machine,
    seal_meta,
)
from pipeline.store.peeked import remembered_runs
from pipeline.store.runs import Run, RunStore, read_run

REPLACED = ".replaced"
WHO_ASKED = ("overrides", "program")  # entries of machine.json: what a run was asked for with


def write_run(
    store: RunStore,
    meta: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    history: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
    rows: Mapping[str, np.ndarray] | None = None,
    machine: Mapping[str, Any] | None = None,
    model: bytes | None = None,
) -> Run:
    """Store one run in place of any earlier one of its arm and seed.

    meta: run.json without its digests. arrays, weights, rows: see the layout in `store.runs`. history: column ->
    [epochs + 1]. machine: machine.json, which is no part of the run. model: after.keras, where it is kept.
    """
    files = {BIASES: npz_bytes(arrays), HISTORY: csv_bytes(history)}
    files |= {name: npz_bytes(more) for name, more in {WEIGHTS: weights, ROWS: rows}.items() if more}
    files |= {MODEL: model} if model else {}
    digests = {name: digest(content) for name, content in files.items()}
    meta = seal_meta(meta | {"study": store.study, "digests": digests})
    check_meta(meta)  # what is written can be read
    return Run(_place(store, meta, files | ({MACHINE: json_bytes(machine)} if machine else {})), meta)


def adoptable_runs(
    store: RunStore, keys: Mapping[int, Sequence[str]], required_files: tuple[str, ...] = ()
) -> dict[int, Run]:
    """Find finished runs that need no training: those of another arm of the study, or replaced ones.

    keys: seed -> the keys that fit. required_files: what a run must have besides the usual files. Returns seed -> run.
    """
    if not keys:
        return {}
    by_key = {run.key: run for run in _runs_of_study(store, keys) if run.has(*required_files)}
    replaced = replaced_keys(store.results)
    seeds = keys if replaced else [run.seed for run in by_key.values() if run.seed in keys]  # of a million, few
    for key in (key for seed in seeds for key in keys[seed] if key in replaced):
        run = _replaced_run(store.results, key)
        if run is not None and run.has(*required_files):
            by_key.setdefault(key, run)
    candidates = {seed: [by_key[key] for key in keys[seed] if key in by_key] for seed in seeds}
    return {seed: runs[0] for seed, runs in candidates.items() if runs}


def _runs_of_study(store: RunStore, keys: Mapping[int, Sequence[str]]) -> Iterator[Run]:
    """The runs of a study that have one of the keys; only these are read whole."""
    wanted: dict[int, Sequence[str]] = {}
    for arm in store.arm_names():
        for seed, peeked in remembered_runs(store, arm).items():
            if seed in keys and seed not in wanted:
                wanted[seed] = keys[seed]  # which takes time: once for all arms
            if peeked.key in wanted.get(seed, ()):
                with suppress(DamagedRunError):
                    yield read_run(store.run_folder(arm, seed), store.study)


def adopt_runs(
    store: RunStore,
    keys: Mapping[int, Sequence[str]],
    arm_meta: dict[str, Any],
    required_files: tuple[str, ...] = (),
    asked: Mapping[str, Any] | None = None,
) -> set[int]:
    """Copy the `adoptable_runs` into an arm. Returns their seeds.

    arm_meta: what run.json says of it (arm, config). asked: what machine.json is to say of `WHO_ASKED`.
    """
    adopted = adoptable_runs(store, keys, required_files)
    for seed, run in adopted.items():
        meta = run.meta | arm_meta | {"seed": seed, "study": store.study}
        files = {name: (run.path / name).read_bytes() for name in run.meta["digests"]}
        machine = read_machine(run.path)
        if asked:
            machine = {name: value for name, value in machine.items() if name not in WHO_ASKED} | dict(asked)
        files |= {MACHINE: json_bytes(machine)} if machine else {}
        _place(store, seal_meta(meta) if run.sealed else meta, files)  # nobody vouches for what had no seal
    return set(adopted)


def replaced_keys(results: Path) -> set[str]:
    """The keys of the runs that others have replaced."""
    folder = results / REPLACED
    return {path.name for path in folder.iterdir()} - {DAMAGED} if folder.is_dir() else set()


def _replaced_run(results: Path, key: str) -> Run | None:
    try:
        run = read_run(results / REPLACED / key)
    except DamagedRunError:
        return None
    return run if run.key == key else None


def retire_run(results: Path, run: Run) -> None:
    """Move a run out of its study into `.replaced`; of two with the same key, the one with more files is kept."""
    target = results / REPLACED / run.key
    target.parent.mkdir(parents=True, exist_ok=True)
    earlier = _replaced_run(results, run.key)
    with temporary_folder(results) as aside:  # a run is deleted here, so that no half of one is seen where runs are
        if earlier is not None and earlier.has(*run.meta["digests"]):
            run.path.rename(aside / "run")
            return
        if earlier is not None:
            target.rename(aside / "earlier")
        _keep_damaged(results, target)
        run.path.rename(target)


def import_run(store: RunStore, path: Path, digests: Mapping[str, str]) -> None:
    """Copy a run of another results folder, byte by byte, to the place in this one that its run.json names.

    digests: those of its files. Raises DamagedRunError where they are others.
    """
    _place(store, *_read_files(path, digests))


def import_to_replaced(results: Path, path: Path, digests: Mapping[str, str]) -> None:
    """Copy a run of another results folder to the replaced runs, see `import_run`."""
    meta, files = _read_files(path, digests)
    with temporary_folder(results) as aside:
        retire_run(results, Run(_write_files(aside / "new", files), meta))


def _read_files(path: Path, digests: Mapping[str, str]) -> tuple[Meta, dict[str, bytes]]:
    """The run.json of a run, and all its files as they are. Raises DamagedRunError where they are not the expected."""
    try:
        files = {name: (path / name).read_bytes() for name in (RUN, *digests)}
        meta = json.loads(files[RUN])
        sealed = seal_meta(meta)[SEAL] == meta.get(SEAL, seal_meta(meta)[SEAL])
        is_expected = sealed and meta["digests"] == digests
    except OSError as error:
        raise DamagedRunError(f"it cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, RecursionError):
        meta, files, is_expected = {}, {}, False
    if not is_expected or any(digest(files[name]) != expected for name, expected in digests.items()):
        raise DamagedRunError("it has changed since it was looked at")
    return meta, files | ({MACHINE: (path / MACHINE).read_bytes()} if read_machine(path) else {})


def _write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a run into a new folder, and flush them to the disk."""
    folder.mkdir()
    for name, content in files.items():
        write_flushed(folder / name, content)
    return folder


def _keep_damaged(results: Path, path: Path) -> None:
    """Move what is in the way of a run to its place in `.replaced/damaged`; there, further ones get a number."""
    if not os.path.lexists(path):
        return
    place = results / REPLACED / DAMAGED / path.relative_to(results)
    place.parent.mkdir(parents=True, exist_ok=True)
    numbered = (place.with_name(f"{place.name}.{number}") for number in itertools.count(2))
    path.rename(next(free for free in itertools.chain([place], numbered) if not os.path.lexists(free)))


def _place(store: RunStore, meta: Meta, files: dict[str, bytes]) -> Path:
    """Put a run where it belongs, all at once, and retire the run that was there.

    files: those besides run.json, which is made of `meta` unless it is among them.
    """
    target = store.run_folder(meta["arm"], meta["seed"])
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(store.results) as aside:
        new = _write_files(aside / "new", {**files, RUN: files.get(RUN) or json_bytes(meta)})
        try:
            retire_run(store.results, read_run(target, store.study))
        except DamagedRunError:
            _keep_damaged(store.results, target)
        new.rename(target)
    return target
