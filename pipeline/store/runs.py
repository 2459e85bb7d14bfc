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
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, closest
from pipeline.runtime.hashing import digest

RUN, BIASES, HISTORY, WEIGHTS = "run.json", "biases.npz", "history.csv", "weights.npz"


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


def stored_runs(results: Path, study: str, arm: str | None = None) -> list[Run]:
    """The finished runs of a study, or of one arm of it, by arm and seed. Damaged ones are left out."""
    found = []
    arms = sorted((results / study).iterdir()) if arm is None and (results / study).is_dir() else [
        results / study / (arm or "")
    ]  # fmt: skip
    for folder in arms:
        for path in folder.glob("seed=*"):
            meta = read_meta(path)
            if meta is not None:
                found.append(Run(path, meta))
    return sorted(found, key=lambda run: (run.arm, run.seed))


def stored_studies(results: Path) -> list[str]:
    """Names of the studies that have a run."""
    return sorted({path.parts[-4] for path in results.glob(f"[!.]*/*/seed=*/{RUN}")})


def choose_studies(results: Path, asked: str) -> list[str]:
    """The studies that `asked` names (with commas), or the only one there is. Raises ConfigError for one not there."""
    there = stored_studies(results)
    if not there:
        raise ConfigError(f"results: no study in {results}; train one first: python -m pipeline.train -m")
    if not asked and len(there) > 1:
        raise ConfigError(f"study: there are several; name one, or more with commas: {', '.join(there)}")
    wanted = [asked] if asked in there else asked.split(",") if asked else there  # a name may hold commas
    for study in wanted:
        if study not in there:
            raise ConfigError(f"study: no study {study} in {results}; {closest(study, there)}")
    return wanted


def read_meta(path: Path) -> dict[str, Any] | None:
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
