"""The stored runs of a study: one folder per arm and seed.

    <results>/<study>/<arm>/seed=<n>/
      biases.npz     before/<path>, after/<path>, trajectory/<path> [T, ...], epoch [T]
      weights.npz    before/<path>, after/<path> of all weights, for small models or with show_weights=true
      history.csv    epoch (0 = before training), loss, <metric>, val_loss, val_<metric>
      run.json       key, arm, seed, status (complete | diverged), config, environment, final metrics, digests

A run appears whole or not at all, and nothing in it depends on the clock or on a path. Locks, half-written runs and
records of failed jobs live in `<results>/.aside`, replaced runs in `<results>/.replaced`.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, closest
from pipeline.runtime.hashing import digest
from pipeline.store.files import aside_folder
from pipeline.store.locks import hold_lock

RUN, BIASES, HISTORY, WEIGHTS = "run.json", "biases.npz", "history.csv", "weights.npz"


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
    def block(self) -> str:
        """The overrides besides the bias setting, e.g. `optimizer=sgd` of `zeros,optimizer=sgd`."""
        block = self.meta["config"].get("block")
        if block is None:  # runs stored before run.json named the block have it only in their arm's name
            return self.arm.removeprefix(self.meta["config"]["bias_setting"]).lstrip(",")
        return block

    def biases(self, *moments: str) -> dict[str, np.ndarray]:
        """Load bias arrays by name: `before/<path>`, `after/<path>`, `trajectory/<path>`, `epoch`.

        moments: load only these (`before`, `after`, `trajectory`, `epoch`).
        """
        return self._arrays(BIASES, *moments)

    def weights(self) -> dict[str, np.ndarray]:
        """Load all weights in the model's order, `before/<path>`, then `after/<path>`; {} where they are not kept."""
        return self._arrays(WEIGHTS) if self.has(WEIGHTS) else {}

    def history(self) -> dict[str, list[float]]:
        """Load the learning curves: column name -> [epochs + 1]."""
        with (self.path / HISTORY).open(newline="") as file:
            columns = list(zip(*csv.reader(file), strict=True))
        return {name: [float(v) for v in values] for name, *values in columns}

    def has(self, *files: str) -> bool:
        """Whether all of these files are part of the run."""
        return set(files) <= set(self.meta["digests"])

    def _arrays(self, file: str, *moments: str) -> dict[str, np.ndarray]:
        with np.load(self.path / file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if not moments or key.partition("/")[0] in moments}


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

    def runs(self, arm: str | None = None) -> list[Run]:
        """Read the finished runs of the study, or of one arm, sorted by arm and seed; damaged runs are left out."""
        folders = [self.folder / arm] if arm is not None else self._arm_folders()
        metas = ((path, read_meta(path)) for folder in folders for path in folder.glob("seed=*"))
        return sorted((Run(path, meta) for path, meta in metas if meta), key=lambda run: (run.arm, run.seed))

    def run_paths(self) -> list[Path]:
        """The folders of all runs, damaged ones included."""
        return sorted(self.folder.glob("*/seed=*"))

    @contextmanager
    def lock(self, name: str = "") -> Iterator[None]:
        """Hold an arm (or, without a name, the study's tables): another process waits here until it is released."""
        what = f"{name} of {self.study} is being trained" if name else f"the ablation of {self.study} is being computed"
        with hold_lock(aside_folder(self.results) / f"{digest([self.study, name])}.lock", what):
            yield

    def _arm_folders(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []


def stored_studies(results: Path) -> list[str]:
    """Names of the studies that have a run."""
    return sorted({path.parts[-4] for path in results.glob(f"[!.]*/*/seed=*/{RUN}")})


def choose_studies(results: Path, requested: str) -> list[RunStore]:
    """The studies that `requested` names, separated by commas; without a name, the only one there is.

    Raises ConfigError for a study that has no stored run, and where a name is needed to choose.
    """
    stored = stored_studies(results)
    if not stored:
        raise ConfigError(f"results: no study in {results}; train one first: python -m pipeline.train -m")
    if not requested and len(stored) > 1:
        raise ConfigError(f"study: there are several; name one, or more with commas: {', '.join(stored)}")
    names = stored if not requested else [requested] if requested in stored else requested.split(",")
    for name in names:  # a name may itself hold commas, hence the check of the whole text before
        if name not in stored:
            raise ConfigError(f"study: no study {name} in {results}; {closest(name, stored)}")
    return [RunStore(results, name) for name in names]


def read_meta(path: Path) -> dict[str, Any] | None:
    """Read a run's run.json; None where the run is incomplete, or a file no longer matches its digest."""
    try:
        meta = json.loads((path / RUN).read_text())
        digests = meta["digests"]
        valid = (
            {"arm", "seed", "key", "recipe", "status"} <= set(meta)
            and isinstance(meta["arm"], str)
            and isinstance(meta["seed"], int)
            and {BIASES, HISTORY} <= set(digests) <= {BIASES, HISTORY, WEIGHTS}
            and all(digest((path / name).read_bytes()) == digests[name] for name in digests)
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return meta if valid else None
