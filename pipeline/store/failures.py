"""Records of failed jobs: how the process that launched a sweep learns why an arm was not trained.

A job may run in another process or on another machine, so its failure is a small file in the results folder:
`<results>/.aside/failed/<digest of study and arm>.json`. Several sweeps may run at once, so no sweep removes a record
because it starts: a job does that has trained the seeds which the failed one left out.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.runtime.hashing import digest
from pipeline.store.files import json_bytes, read_small, replace_file
from pipeline.store.runs import RunStore


@dataclass(frozen=True)
class Failure:
    """Why a job failed. overrides: its command line; error: one line; log: the file that has the traceback.

    request: identifies the command that the job was part of. missing: the seeds that it was to train.
    """

    overrides: str
    error: str
    log: str
    request: str = ""
    missing: tuple[int, ...] = ()


def record_failure(store: RunStore, arm: str, failure: Failure) -> None:
    """Store why the job of an arm failed."""
    path = failure_file(store, arm)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(store.results, path, json_bytes(asdict(failure)))


def record_beside_logs(logs: Path, store: RunStore, arm: str, failure: Failure) -> None:
    """Store why the job failed in a folder of logs, where the results folder takes no record."""
    (logs / failure_file(store, arm).name).write_bytes(json_bytes(asdict(failure)))


def read_beside_logs(logs: Path, store: RunStore, arm: str) -> Failure | None:
    """What `record_beside_logs` stored; None where there is none."""
    return _read(logs / failure_file(store, arm).name)


def clear_failure(store: RunStore, arm: str) -> None:
    """Forget the recorded failure of an arm."""
    failure_file(store, arm).unlink(missing_ok=True)


def read_failure(store: RunStore, arm: str) -> Failure | None:
    """The recorded failure of an arm; None where there is none."""
    return _read(failure_file(store, arm))


def _read(path: Path) -> Failure | None:
    try:
        failure = Failure(**json.loads(read_small(path)))
        return replace(failure, missing=tuple(failure.missing))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def failure_file(store: RunStore, arm: str) -> Path:
    """Where the failure of an arm is recorded; the folder need not exist yet."""
    return store.results / ".aside" / "failed" / f"{digest([store.study, arm])}.json"
