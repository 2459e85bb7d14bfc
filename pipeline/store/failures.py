"""Records of failed jobs: how the process that launched a sweep learns why an arm was not trained.

A job may run in another process or on another machine, so its failure is a small file in the results folder:
`<results>/.aside/failed/<digest of study and arm>.json`, with the first seed in its name where the job had a part of
the arm's seeds. Several sweeps may run at once, so no sweep removes a record because it starts: a job does that has
trained the seeds which the failed one left out.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.runtime.hashing import digest
from pipeline.store.files import json_bytes, read_small, replace_file
from pipeline.store.runs import RunStore

MOST_NAMED = 3  # jobs of an arm whose reasons and logs are named


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


def record_failure(store: RunStore, arm: str, failure: Failure, part: Sequence[int] | None = None) -> None:
    """Store why the job of an arm failed. part: the seeds of the job, where several jobs train the arm.

    What other commands recorded of the arm is forgotten.
    """
    path = _file(failure_file(store, arm), part)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(store.results, path, json_bytes(asdict(failure)))
    for other in _files(failure_file(store, arm)):
        if other != path and (recorded := _read(other)) is not None and recorded.request != failure.request:
            other.unlink(missing_ok=True)


def record_beside_logs(
    logs: Path, store: RunStore, arm: str, failure: Failure, part: Sequence[int] | None = None
) -> None:
    """Store why the job failed in a folder of logs, where the results folder takes no record."""
    _file(logs / failure_file(store, arm).name, part).write_bytes(json_bytes(asdict(failure)))


def read_beside_logs(logs: Path, store: RunStore, arm: str) -> Failure | None:
    """What `record_beside_logs` stored; None where there is none."""
    return _merged(logs / failure_file(store, arm).name)


def clear_failure(store: RunStore, arm: str) -> None:
    """Forget the recorded failure of an arm."""
    for path in _files(failure_file(store, arm)):
        path.unlink(missing_ok=True)


def read_failure(store: RunStore, arm: str) -> Failure | None:
    """The recorded failure of an arm, of its several jobs in one; None where there is none."""
    return _merged(failure_file(store, arm))


def failure_file(store: RunStore, arm: str) -> Path:
    """Where the failure of an arm is recorded; the folder need not exist yet."""
    return store.results / ".aside" / "failed" / f"{digest([store.study, arm])}.json"


def _file(path: Path, part: Sequence[int] | None) -> Path:
    return path if part is None else path.with_name(f"{path.stem}-{part[0]}.json")


def _files(path: Path) -> list[Path]:
    """The records of an arm: that of the job that trains all of it, and those of jobs with a part."""
    return [path, *sorted(path.parent.glob(f"{path.stem}-*.json"))]


def _merged(path: Path) -> Failure | None:
    """The records of an arm's jobs as one, with every reason and log once; those of the command that failed last."""
    records = [(one, _read(one)) for one in _files(path)]
    failures = [(_time(one), failure) for one, failure in records if failure is not None]
    if not failures:
        return None
    last = max(failures, key=lambda pair: pair[0])[1]
    same = [failure for _, failure in failures if failure.request == last.request]
    missing = tuple(sorted({seed for failure in same for seed in failure.missing}))
    return replace(last, error=_listed(f.error for f in same), log=_listed(f.log for f in same), missing=missing)


def _listed(texts: Iterable[str]) -> str:
    """Each text once, the first few of many."""
    unique = list(dict.fromkeys(texts))
    more = [f"and {len(unique) - MOST_NAMED} more"] if len(unique) > MOST_NAMED else []
    return "; ".join([*unique[:MOST_NAMED], *more])


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # it was forgotten meanwhile
        return 0


def _read(path: Path) -> Failure | None:
    try:
        failure = Failure(**json.loads(read_small(path)))
        return replace(failure, missing=tuple(failure.missing))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
