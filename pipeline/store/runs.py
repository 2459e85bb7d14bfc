"""The stored runs of a study: one folder per arm and seed.

    <results>/<study>/<arm>/seed=<n>/
      biases.npz     before/<path>, after/<path>, trajectory/<path> [T, ...], epoch [T]
      weights.npz    before/<path>, after/<path> of all weights, for small models or with show_weights=true
      rows.npz       train, validation, test [rows of the part], order [epochs, training rows]: row numbers, from 0;
                     mean, scale, fill, target_mean, target_scale: what standardizes them;
                     source_rows [rows]: each row's number in its file, where rows were left out or files joined
      after.keras    the trained model, with keep_model=true
      history.csv    epoch (0 = before training), loss, <metric>, val_loss, val_<metric>
      run.json       key, arm, seed, status (complete | diverged), config, environment, final metrics, digests, seal
      machine.json   where it was trained, in what time and memory, by whom; see `runtime.machine`; free to be missing

A run counts if its files match their digests and its seal (`store.meta`), and its folder is the one that run.json
names; everything else at such a place is a damaged run. Every command reads by this one rule. A run appears whole or
not at all, and nothing in it depends on the clock or on a path. Locks, half-written runs and records of failed jobs
live in `<results>/.aside`, replaced runs in `<results>/.replaced`.
"""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import printable
from pipeline.runtime.hashing import digest
from pipeline.store.aside import aside_folder
from pipeline.store.files import read_npz
from pipeline.store.known import KnownRuns, known_runs
from pipeline.store.locks import hold_lock
from pipeline.store.meta import (
    BIASES,
    COPY,
    HISTORY,
    ROWS,
    RUN,
    SEAL,
    WEIGHTS,
    DamagedRunError,
    block_of,
    read_machine,
    read_meta,
)

# Of machine.json, what differs from run to run on one machine: see `runtime.machine`.
CIRCUMSTANCES = ("overrides", "seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "git_commit", "user")


@dataclass(frozen=True)
class Run:
    """A finished run on disk. meta: the content of its run.json."""

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
        """Digest of everything that decides the run's numbers."""
        return self.meta["key"]

    @property
    def complete(self) -> bool:
        """Whether the run finished with finite numbers, that is, did not diverge."""
        return self.meta["status"] == "complete"

    @property
    def sealed(self) -> bool:
        """Whether run.json has a seal; earlier versions wrote none, and nothing shows whether those were changed."""
        return SEAL in self.meta

    @property
    def portable(self) -> bool:
        """Whether its numbers are the same on other processors, see `runtime.portable`."""
        return self.meta["environment"].get("portable") is True

    @property
    def block(self) -> str:
        """The overrides besides the bias setting, e.g. `optimizer=sgd` of `zeros,optimizer=sgd`."""
        return block_of(self.meta)

    @property
    def best_epoch(self) -> int | None:
        """Of a run that may stop early, the epoch whose weights it ended with; None of one that cannot."""
        best = self.meta["metrics"].get("best_epoch")
        return None if best is None else int(best)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device and machine of the run; earlier versions kept all of them in run.json."""
        return self.meta["environment"] | {k: v for k, v in self.machine.items() if k not in CIRCUMSTANCES}

    @cached_property
    def machine(self) -> dict[str, Any]:
        """Where and how it was trained, its `CIRCUMSTANCES` included; {} where that is not kept. Read once."""
        return read_machine(self.path)

    def biases(self, *moments: str) -> dict[str, np.ndarray]:
        """Load bias arrays by name: `before/<path>`, `after/<path>`, `trajectory/<path>`, `epoch`.

        moments: load only these (`before`, `after`, `trajectory`, `epoch`).
        """
        return self._arrays(BIASES, *moments)

    def weights(self) -> dict[str, np.ndarray]:
        """Load all weights in the model's order, `before/<path>`, then `after/<path>`; {} where they are not kept."""
        return self._arrays(WEIGHTS) if self.has(WEIGHTS) else {}

    def rows(self) -> dict[str, np.ndarray]:
        """Load the row numbers of each part, their order in every epoch, and what standardizes them; {} if not kept."""
        return self._arrays(ROWS) if self.has(ROWS) else {}

    def history(self) -> dict[str, list[float]]:
        """Load the learning curves: column name -> [epochs + 1]."""
        with (self.path / HISTORY).open(newline="") as file:
            columns = list(zip(*csv.reader(file), strict=True))
        return {name: [float(v) for v in values] for name, *values in columns}

    def has(self, *files: str) -> bool:
        """Whether all of these files are part of the run."""
        return set(files) <= set(self.meta["digests"])

    def _arrays(self, file: str, *moments: str) -> dict[str, np.ndarray]:
        return read_npz(self.path / file, lambda name: not moments or name.partition("/")[0] in moments)


class DamagedRun(NamedTuple):
    """A run that does not count. seed: None if its folder's name has none. reason, scope: see `DamagedRunError`."""

    path: Path
    seed: int | None
    reason: str
    scope: str = "run"

    @property
    def arm(self) -> str:
        """Name of the arm's folder; letters that cannot be printed are `?`."""
        return printable(self.path.parent.name)

    @property
    def is_copy(self) -> bool:
        """Whether it is whole, but lies in another folder than its own."""
        return self.reason.startswith(COPY)

    @property
    def name(self) -> str:
        """The run as messages name it, e.g. `zeros/seed=0`."""
        return f"{self.arm}/{printable(self.path.name)}"


def read_run(path: Path, study: str = "") -> Run:
    """Read a run wherever it lies. Raises DamagedRunError.

    A folder that is called like the place of a run, `seed=...`, must be the place that run.json names. study: the one
    that it lies in, if it is to count there; earlier versions did not write a run's study into run.json.
    """
    run = Run(path, read_meta(path))
    if path.name.startswith("seed="):
        if study and (named := run.meta.get("study", study)) != study:
            raise DamagedRunError(f"{COPY}{RUN} says study {printable(named)}", "study")
        if path.name != f"seed={run.seed}":
            raise DamagedRunError(f"{COPY}{RUN} says {printable(run.arm)}/seed={run.seed}")
        if path.absolute().parent.name != run.arm:
            raise DamagedRunError(f"{COPY}{RUN} says arm {printable(run.arm)}", "arm")
    return run


@dataclass(frozen=True)
class RunStore:
    """The stored runs of one study in a results folder."""

    results: Path
    study: str

    @property
    def folder(self) -> Path:
        """The study's folder, which need not exist yet."""
        return self.results / self.study

    def run_folder(self, arm: str, seed: int) -> Path:
        """Where the run of an arm and seed belongs."""
        return self.folder / arm / f"seed={seed}"

    def arm_names(self) -> list[str]:
        """The whole names of the arms that have a folder, sorted."""
        return [path.name for path in _listed(self.folder, "") if path.is_dir()]

    def run_folders(self, arm: str) -> list[Path]:
        """The folders of an arm's runs, sorted by name."""
        return _listed(self.folder / arm, "seed=")

    def runs(self, arm: str | None = None) -> list[Run]:
        """Read the finished runs of the study, or of one arm, sorted by arm and seed; damaged runs are left out."""
        return self.read(arm)[0]

    def damaged(self, arm: str | None = None) -> list[DamagedRun]:
        """Find the damaged runs of the study, or of one arm."""
        return self.read(arm)[1]

    def read(
        self, arm: str | None = None, anew: bool = False, remember: bool = True
    ) -> tuple[list[Run], list[DamagedRun]]:
        """Read the runs of the study, or of one arm: those that count, by arm and seed, and the damaged ones.

        anew: hold all files against their digests, also those that have not changed since that was done, see `known`.
        remember: keep for the next reader what was found whole; without it nothing is written, and all is read anew.
        """
        folders = [self.folder / arm] if arm is not None else _listed(self.folder, "")
        both = [run for folder in folders for run in self._read_arm(folder, anew, remember)]
        runs = [run for run in both if isinstance(run, Run)]
        return sorted(runs, key=lambda run: (run.arm, run.seed)), [run for run in both if isinstance(run, DamagedRun)]

    def _read_arm(self, folder: Path, anew: bool, remember: bool) -> list[Run | DamagedRun | None]:
        paths = _listed(folder, "seed=")
        known = known_runs(self.results, self.study, folder.name, len(paths)) if remember else None
        both = [_run_or_damage(path, self.study, known, anew) for path in paths]
        if known is not None:
            known.save([path.name for path in paths])
        return both

    def lock_file(self, name: str = "", part: str = "") -> Path:
        """The file that `lock` holds."""
        return self.results / ".aside" / f"{digest([self.study, name, *([part] if part else [])])}.lock"

    @contextmanager
    def lock(self, name: str = "", part: str = "") -> Iterator[None]:
        """Hold an arm, a part of it ("seeds 0 to 9"), or without a name the study's tables; others wait for it here."""
        arm = f"{name} ({part})" if part else name
        what = f"{arm} of {self.study} is being trained" if name else f"the ablation of {self.study} is being computed"
        aside_folder(self.results)
        with hold_lock(self.lock_file(name, part), what):
            yield


def _listed(folder: Path, prefix: str) -> list[Path]:
    """The entries of a folder whose names begin with `prefix`, sorted; itself, for whoever reads it to say why, if it
    cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(prefix))
        return [folder / name for name in names]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return [folder]


def _run_or_damage(path: Path, study: str, known: KnownRuns | None, anew: bool) -> Run | DamagedRun | None:
    """Read a run of a study; None where there is none any more."""
    if known is not None and not anew and (meta := known.get(path.name)) is not None:
        return Run(path, meta)
    while True:
        before = _identity(path)
        if before is None:
            return None
        try:
            files = known.look(path.name) if known is not None else {}
            run = read_run(path, study)
            return run if known is None else Run(path, known.add(path.name, run.meta, files))
        except DamagedRunError as error:
            if known is not None:
                known.drop(path.name)
            if _identity(path) == before:  # else another process replaced the run meanwhile
                number = path.name.removeprefix("seed=")
                return DamagedRun(path, int(number) if number.isdecimal() else None, str(error), error.scope)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a folder from the one that takes its place; None where there is nothing."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # may not be looked at; reading it will say why
        return 0, 0
    return status.st_ino, status.st_ctime_ns
