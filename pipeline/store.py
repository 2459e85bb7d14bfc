"""Results on disk: the truth that everything else is made from.

    <results>/<study>/<arm>/seed=<n>/
      biases.npz     before/<path>, after/<path>, trajectory/<path> [T, ...], epoch [T]
      weights.npz    before/<path>, after/<path> of all weights, where the model is small or `show_weights` asks
      history.csv    epoch (0 = before training), loss, <metric>, val_loss, val_<metric>
      run.json       key, arm, seed, status (complete | diverged), config, environment, final metrics, digests
    <results>/<study>/ablation.csv, dead_units.csv      tables made from the runs: see `ablation`

A run is written aside, flushed, and renamed, so it appears whole or not at all. Nothing in it depends on the clock or
on a path. Locks and half-written runs live in `<results>/.aside`. A run that makes place for another is kept in
`<results>/.replaced/<key>`, and comes back from there when its settings are asked for again.
"""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, closest
from pipeline.runtime import digest

RUN, BIASES, HISTORY, WEIGHTS = "run.json", "biases.npz", "history.csv", "weights.npz"
ABLATION, DEAD_UNITS = "ablation.csv", "dead_units.csv"
REPLACED = ".replaced"


@dataclass(frozen=True)
class Run:
    """A finished run on disk; `meta` is its run.json."""

    path: Path
    meta: dict[str, Any]

    @property
    def arm(self) -> str:
        """Name of the arm that the run belongs to."""
        return self.meta["arm"]

    @property
    def seed(self) -> int:
        """The repetition within the arm."""
        return self.meta["seed"]

    @property
    def key(self) -> str:
        """Digest of all that decides the run's numbers."""
        return self.meta["key"]

    @property
    def block(self) -> str:
        """The overrides besides the bias setting, as `optimizer=sgd` of `zeros,optimizer=sgd`."""
        said = self.meta["config"].get("block")  # runs of before it was kept have it only in their arm's name
        return self.arm.removeprefix(self.meta["config"]["bias_setting"]).lstrip(",") if said is None else said

    def biases(self, *moments: str) -> dict[str, np.ndarray]:
        """Arrays by name: `before/<path>`, `after/<path>`, `trajectory/<path>`, `epoch`; or those of some moments."""
        return self._arrays(BIASES, *moments)

    def weights(self) -> dict[str, np.ndarray]:
        """All weights, in the model's order: `before/<path>`, then `after/<path>`; {} where they are not kept."""
        return self._arrays(WEIGHTS) if self.has(WEIGHTS) else {}

    def has(self, *files: str) -> bool:
        """Whether all of these files are part of the run."""
        return set(files) <= set(self.meta["digests"])

    def _arrays(self, name: str, *moments: str) -> dict[str, np.ndarray]:
        with np.load(self.path / name, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if not moments or key.partition("/")[0] in moments}

    def history(self) -> dict[str, list[float]]:
        """Columns of history.csv."""
        with (self.path / HISTORY).open(newline="") as file:
            columns = list(zip(*csv.reader(file), strict=True))
        return {name: [float(v) for v in values] for name, *values in columns}


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


def runs(results: Path, study: str, arm: str | None = None) -> list[Run]:
    """The finished runs of a study, or of one arm of it, by arm and seed. Damaged ones are left out."""
    found = []
    arms = sorted((results / study).iterdir()) if arm is None and (results / study).is_dir() else [
        results / study / (arm or "")
    ]  # fmt: skip
    for folder in arms:
        for path in folder.glob("seed=*"):
            meta = _read_meta(path)
            if meta is not None:
                found.append(Run(path, meta))
    return sorted(found, key=lambda run: (run.arm, run.seed))


def studies(results: Path) -> list[str]:
    """Names of the studies that have a run."""
    return sorted({path.parts[-4] for path in results.glob(f"[!.]*/*/seed=*/{RUN}")})


def chosen(results: Path, asked: str) -> list[str]:
    """The studies that `asked` names (with commas), or the only one there is. Raises ConfigError for one not there."""
    there = studies(results)
    if not there:
        raise ConfigError(f"results: no study in {results}; train one first: python -m pipeline.train -m")
    if not asked and len(there) > 1:
        raise ConfigError(f"study: there are several; name one, or more with commas: {', '.join(there)}")
    wanted = [asked] if asked in there else asked.split(",") if asked else there  # a name may hold commas
    for study in wanted:
        if study not in there:
            raise ConfigError(f"study: no study {study} in {results}; {closest(study, there)}")
    return wanted


@contextmanager
def lock(results: Path, study: str, arm: str) -> Iterator[None]:
    """Hold an arm: another process that wants it waits here, and then finds it done."""
    from filelock import FileLock

    with FileLock(_aside(results) / f"{digest([study, arm])}.lock"):
        yield


def write(
    results: Path, study: str, meta: dict[str, Any], arrays: Mapping[str, np.ndarray],
    history: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray] | None = None,
) -> Run:  # fmt: skip
    """Store one run, in place of any earlier one of that arm and seed."""
    files = {BIASES: _npz(arrays), HISTORY: _csv(history)} | ({WEIGHTS: _npz(weights)} if weights else {})
    meta = meta | {"digests": {name: digest(content) for name, content in files.items()}}
    files[RUN] = _json(meta)
    return Run(_place(results, study, meta["arm"], meta["seed"], files), meta)


def adoptable(
    results: Path, study: str, keys: Mapping[int, Sequence[str]], needed: tuple[str, ...] = ()
) -> dict[int, Run]:
    """Finished runs that can be taken over: those of another arm of the study, or those replaced since.

    keys: seed -> the keys of what is wanted. needed: files that a run must have besides the usual ones.
    """
    known = {run.key: run for run in runs(results, study) if run.has(*needed)}
    for key in [key for own in keys.values() for key in own]:
        path = results / REPLACED / key
        meta = _read_meta(path)
        if meta is not None and Run(path, meta).has(*needed):
            known.setdefault(key, Run(path, meta))
    found = {seed: [known[key] for key in own if key in known] for seed, own in keys.items()}
    return {seed: runs[0] for seed, runs in found.items() if runs}


def adopt(
    results: Path, study: str, keys: Mapping[int, Sequence[str]], own: dict[str, Any], needed: tuple[str, ...] = ()
) -> set[int]:
    """Take over what is `adoptable`. own: what run.json says of this arm (arm, config). The seeds that were found."""
    found = adoptable(results, study, keys, needed)
    for seed, run in found.items():
        meta = run.meta | own
        files = {name: (run.path / name).read_bytes() for name in run.meta["digests"]}
        _place(results, study, meta["arm"], seed, files | {RUN: _json(meta)})
    return set(found)


def retire(results: Path, run: Run) -> None:
    """Take a run out of its study; it stays in `.replaced`, of two that differ only in what was kept the fuller one."""
    target = results / REPLACED / run.key
    target.parent.mkdir(parents=True, exist_ok=True)
    there = _read_meta(target)
    if there is not None and set(run.meta["digests"]) <= set(there["digests"]):
        shutil.rmtree(run.path)
    else:
        shutil.rmtree(target, ignore_errors=True)
        run.path.rename(target)


def read_table(results: Path, study: str, name: str) -> list[dict[str, str]]:
    """The rows of a study's table; none where there is no such file, or it cannot be read."""
    try:
        with (results / study / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def write_table(results: Path, study: str, name: str, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Put a study's table, of these columns alone, in place of the one there is; one without rows is no file."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    target = results / study / name
    if not rows:
        target.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=_aside(results)) as aside:
        _write(Path(aside) / name, buffer.getvalue().encode())
        (Path(aside) / name).replace(target)


def _place(results: Path, study: str, arm: str, seed: int, files: dict[str, bytes]) -> Path:
    target = results / study / arm / f"seed={seed}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_aside(results)) as aside:
        new = Path(aside) / "new"
        new.mkdir()
        for name, content in files.items():
            _write(new / name, content)
        meta = _read_meta(target)
        if meta is not None:
            retire(results, Run(target, meta))
        elif target.exists():
            target.rename(Path(aside) / "damaged")
        new.rename(target)
    return target


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _aside(results: Path) -> Path:
    folder = results / ".aside"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _json(meta: dict[str, Any]) -> bytes:
    return (json.dumps(meta, indent=2) + "\n").encode()


def _read_meta(path: Path) -> dict[str, Any] | None:
    """A run's run.json; None where it is missing or half written, or another file is not what it was."""
    try:
        meta = json.loads((path / RUN).read_text())
        whole = {"arm", "seed", "key", "recipe", "status"} <= set(meta)
        whole = whole and isinstance(meta["arm"], str) and isinstance(meta["seed"], int)
        digests = meta["digests"]
        whole = whole and {BIASES, HISTORY} <= set(digests) <= {BIASES, HISTORY, WEIGHTS}
        intact = whole and all(digest((path / name).read_bytes()) == digests[name] for name in digests)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return meta if whole and intact else None


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _csv(history: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["epoch", *history])
    columns = [[repr(float(v)) for v in values] for values in history.values()]
    table.writerows([epoch, *row] for epoch, row in enumerate(zip(*columns, strict=True)))
    return buffer.getvalue().encode()
