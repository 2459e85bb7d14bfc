"""Runs that made place for others."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.hashing import digest
from pipeline.store.files import aside_folder, csv_bytes, json_bytes, npz_bytes, write_flushed
from pipeline.store.runs import BIASES, HISTORY, RUN, WEIGHTS, Run, read_meta, stored_runs

REPLACED = ".replaced"


def write_run(
    results: Path, study: str, meta: dict[str, Any], arrays: Mapping[str, np.ndarray],
    history: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray] | None = None,
) -> Run:  # fmt: skip
    """Store one run, in place of any earlier one of that arm and seed."""
    files = {BIASES: npz_bytes(arrays), HISTORY: csv_bytes(history)} | (
        {WEIGHTS: npz_bytes(weights)} if weights else {}
    )
    meta = meta | {"digests": {name: digest(content) for name, content in files.items()}}
    files[RUN] = json_bytes(meta)
    return Run(place_run(results, study, meta["arm"], meta["seed"], files), meta)


def adoptable_runs(
    results: Path, study: str, keys: Mapping[int, Sequence[str]], needed: tuple[str, ...] = ()
) -> dict[int, Run]:
    """Finished runs that can be taken over: those of another arm of the study, or those replaced since.

    keys: seed -> the keys of what is wanted. needed: files that a run must have besides the usual ones.
    """
    known = {run.key: run for run in stored_runs(results, study) if run.has(*needed)}
    for key in [key for own in keys.values() for key in own]:
        path = results / REPLACED / key
        meta = read_meta(path)
        if meta is not None and Run(path, meta).has(*needed):
            known.setdefault(key, Run(path, meta))
    found = {seed: [known[key] for key in own if key in known] for seed, own in keys.items()}
    return {seed: runs[0] for seed, runs in found.items() if runs}


def adopt_runs(
    results: Path, study: str, keys: Mapping[int, Sequence[str]], own: dict[str, Any], needed: tuple[str, ...] = ()
) -> set[int]:
    """Take over what is `adoptable`. own: what run.json says of this arm (arm, config). The seeds that were found."""
    found = adoptable_runs(results, study, keys, needed)
    for seed, run in found.items():
        meta = run.meta | own
        files = {name: (run.path / name).read_bytes() for name in run.meta["digests"]}
        place_run(results, study, meta["arm"], seed, files | {RUN: json_bytes(meta)})
    return set(found)


def retire_run(results: Path, run: Run) -> None:
    """Take a run out of its study; it stays in `.replaced`, of two that differ only in what was kept the fuller one."""
    target = results / REPLACED / run.key
    target.parent.mkdir(parents=True, exist_ok=True)
    there = read_meta(target)
    if there is not None and set(run.meta["digests"]) <= set(there["digests"]):
        shutil.rmtree(run.path)
    else:
        shutil.rmtree(target, ignore_errors=True)
        run.path.rename(target)


def place_run(results: Path, study: str, arm: str, seed: int, files: dict[str, bytes]) -> Path:
    """Put the files of a run in its place, the run that was there aside."""
    target = results / study / arm / f"seed={seed}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=aside_folder(results)) as aside:
        new = Path(aside) / "new"
        new.mkdir()
        for name, content in files.items():
            write_flushed(new / name, content)
        meta = read_meta(target)
        if meta is not None:
            retire_run(results, Run(target, meta))
        elif target.exists():
            target.rename(Path(aside) / "damaged")
        new.rename(target)
    return target
