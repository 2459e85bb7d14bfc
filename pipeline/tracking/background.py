"""MLflow is sent to by a process beside the training: importing it and sending take as long as training does.

The process is `python -m pipeline.sync follow=true`. Over its standard input it is told which studies to expect and
which arms are complete; it reads them from the results, and ends when its input does, so also when this process dies.
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
from pipeline.store.runs import Run
from pipeline.tracking.client import store_uri
from pipeline.tracking.runs import up_to_date


@dataclass(frozen=True)
class _Sender:
    process: subprocess.Popen[str]
    noise: IO[str]  # what MLflow says while it works


_senders: dict[tuple[Path, str], _Sender] = {}  # by results folder and MLflow's address


def start_upload(target: Tracking, results: Path) -> None:
    """Let the process import MLflow, if it does not run yet. It writes nothing before it is told more."""
    uri = store_uri(target)
    if target.enabled and (results, uri) not in _senders:
        where = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": uri,
            "PYTHONPATH": where,
        }  # an address may hold a secret
        noise = tempfile.TemporaryFile("w+")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.sync", "follow=true", f"results={results}"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, text=True,
            start_new_session=True,  # Ctrl-C ends the training; what is complete is sent all the same
        )  # fmt: skip
        _senders[results, uri] = _Sender(process, noise)


def expect_study(target: Tracking, results: Path, study: str) -> None:
    """Make sure, meanwhile, that MLflow's store and the study's experiment are there."""
    _tell(target, results, study, "")


def queue_arm(target: Tracking, results: Path, study: str, arm: str, runs: Sequence[Run]) -> str:
    """As `tracking.mirror`, but later and beside: what goes wrong is what `finish` says."""
    if not up_to_date(target, study, arm, runs):
        _tell(target, results, study, arm)
    return ""


def finish_uploads(log: Path | None) -> list[str]:
    """Wait until all is sent. What MLflow did not take, a line each; what else it said goes to the end of `log`."""
    problems = set()
    for (_, uri), sender in _senders.items():
        said, _ = sender.process.communicate()
        problems |= set(said.splitlines())
        if sender.process.returncode and not said:
            problems.add(f"MLflow at {uri} did not take it: the sending process ended ({sender.process.returncode})")
        sender.noise.seek(0)
        if log is not None:
            with log.open("a") as file:
                file.write(f"while sending to MLflow:\n{sender.noise.read()}")
        sender.noise.close()
    _senders.clear()
    return sorted(problems)


def stop_uploads() -> None:
    """End the processes at once: the request was refused, and they have been told nothing yet."""
    for sender in _senders.values():
        sender.process.kill()
        sender.process.communicate()
        sender.noise.close()
    _senders.clear()


def _tell(target: Tracking, results: Path, study: str, arm: str) -> None:
    start_upload(target, results)
    sender = _senders.get((results, store_uri(target)))
    if sender is not None and sender.process.stdin is not None and sender.process.poll() is None:
        with contextlib.suppress(BrokenPipeError):  # it has ended just now, and `finish` will say so
            sender.process.stdin.write(json.dumps([study, arm]) + "\n")
            sender.process.stdin.flush()
