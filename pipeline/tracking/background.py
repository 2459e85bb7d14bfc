"""Upload runs to MLflow from a background process; importing MLflow and uploading take as long as training.

The process is `python -m pipeline.sync follow=true`. Its standard input names the studies to expect and the arms that
are complete, which it reads from the results folder. It ends when its input ends, so also when the sweep is killed.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.config.schema import PROJECT, Tracking
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.client import prepare_store, store_uri
from pipeline.tracking.runs import mirror_arm, up_to_date


@dataclass(frozen=True)
class _Uploader:
    process: subprocess.Popen[str]
    stderr: IO[str]  # MLflow's messages


_uploaders: dict[tuple[Path, str], _Uploader] = {}  # by results folder and MLflow address


def start_upload(tracking: Tracking, results: Path) -> None:
    """Start the process, which imports MLflow and waits; does nothing if it runs already or tracking is off."""
    uri = store_uri(tracking)
    if not tracking.enabled or (results, uri) in _uploaders:
        return
    search_path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by finish_uploads)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.sync", "follow=true", f"results={results}"],
        # The address goes by the environment, since it may hold a password and arguments are visible to all users.
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": search_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,  # Ctrl-C ends the training; complete arms are uploaded all the same
    )
    _uploaders[results, uri] = _Uploader(process, stderr)


def expect_study(tracking: Tracking, store: RunStore) -> None:
    """Have the process create MLflow's store and the study's experiment while the first arm trains."""
    _tell(tracking, store, arm="")


def queue_arm(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
    """Have the process upload an arm; `finish_uploads` reports problems. runs: all stored runs of the arm."""
    if not up_to_date(tracking, store, arm, runs):
        _tell(tracking, store, arm)
    return ""


def finish_uploads(log: Path | None) -> list[str]:
    """Wait for all uploads. Returns one line per problem; MLflow's own messages are appended to `log`."""
    problems = set()
    for (_, uri), uploader in _uploaders.items():
        printed, _ = uploader.process.communicate()
        problems |= set(printed.splitlines())
        if uploader.process.returncode and not printed:
            problems.add(f"Could not upload to MLflow at {uri}: the process ended ({uploader.process.returncode}).")
        uploader.stderr.seek(0)
        messages = uploader.stderr.read()
        if log is not None and messages:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"while uploading to MLflow:\n{messages}")
        uploader.stderr.close()
    _uploaders.clear()
    return sorted(problems)


def stop_uploads() -> None:
    """Kill the processes: the request was refused, and nothing has been queued yet."""
    for uploader in _uploaders.values():
        uploader.process.kill()
        uploader.process.communicate()
        uploader.stderr.close()
    _uploaders.clear()


def _tell(tracking: Tracking, store: RunStore, arm: str) -> None:
    start_upload(tracking, store.results)
    uploader = _uploaders.get((store.results, store_uri(tracking)))
    if uploader is not None and uploader.process.stdin is not None and uploader.process.poll() is None:
        with contextlib.suppress(BrokenPipeError):  # the process has just ended, which finish_uploads reports
            uploader.process.stdin.write(json.dumps([store.study, arm]) + "\n")
            uploader.process.stdin.flush()


def follow_queue(tracking: Tracking, results: Path) -> int:
    """Work as the process: upload each arm that standard input names. Returns the exit code.

    A line is JSON, `[study, arm]`; without an arm, the study is prepared.
    """
    with contextlib.suppress(Exception):  # a broken MLflow is reported when there is something to upload
        prepare_store(tracking, results)
    for line in sys.stdin:
        study, arm = json.loads(line)
        store = RunStore(results, study)
        if not arm:
            with contextlib.suppress(Exception):
                prepare_store(tracking, results, study)
        elif problem := mirror_arm(tracking, store, arm, store.runs(arm)):
            print(problem, flush=True)
            return 1  # most likely the server is away, and each further arm would wait for it again
    return 0
