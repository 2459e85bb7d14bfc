"""Records of failed jobs: how the process that launched a sweep learns why an arm was not trained.

A job may run in another process or on another machine, so its failure is a small file in the results folder:
`<results>/.aside/failed/<digest of study and arm>.json`. It is removed when the arm is trained again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.runtime.hashing import digest
from pipeline.store.files import json_bytes, read_small, replace_file
from pipeline.store.runs import RunStore


@dataclass(frozen=True)
class Failure:
    """Why a job failed. overrides: its command line; error: one line; log: the file that has the traceback."""

    overrides: str
    error: str
    log: str


def record_failure(store: RunStore, arm: str, failure: Failure) -> None:
    """Store why the job of an arm failed."""
    path = failure_file(store, arm)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(store.results, path, json_bytes(asdict(failure)))


def clear_failure(store: RunStore, arm: str) -> None:
    """Forget an earlier failure of an arm."""
    failure_file(store, arm).unlink(missing_ok=True)


def read_failure(store: RunStore, arm: str) -> Failure | None:
    """The recorded failure of an arm; None where there is none."""
    try:
        return Failure(**json.loads(read_small(failure_file(store, arm))))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def failure_file(store: RunStore, arm: str) -> Path:
    """Where the failure of an arm is recorded; the folder need not exist yet."""
    return store.results / ".aside" / "failed" / f"{digest([store.study, arm])}.json"
