"""Upload runs to MLflow from a background process; importing MLflow and uploading take as long as training.

The process is `python -m pipeline.sync follow=true` (`tracking.follow`). After the last training the sweep waits for it
at most `tracking.wait` seconds and then kills it, since a server may answer a byte at a time, another process may hold
the store, and this one may be suspended.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.config.schema import PROJECT, Tracking
from pipeline.installation import command_words, module_command, module_environment
from pipeline.runtime.deadline import SILENT_WAIT
from pipeline.runtime.hashing import digest
from pipeline.store.locks import describe_holder
from pipeline.store.meta import MODEL
from pipeline.store.places import reports_beside
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.client import hide_passwords, lock_file, password_hint, store_uri
from pipeline.tracking.follow import OUT_OF_TIME, Arm
from pipeline.tracking.names import qualified_names
from pipeline.tracking.runs import up_to_date

SHOWN_ARMS = 5


@dataclass
class _Uploader:
    process: subprocess.Popen[bytes]
    wait: float
    stdout: IO[str]  # what became of each arm; a file, like the next, since a full pipe would block the process
    stderr: IO[str]  # MLflow's messages
    queued: dict[Arm, str] = field(default_factory=dict)  # digest of the runs that MLflow is to hold of an arm
    unread: bytearray = field(default_factory=bytearray)  # lines that the pipe to the process had no room for
    killed: str = ""  # why it was, as the end of "Could not upload to MLflow at ..."

    def tell(self, *line: str) -> None:
        """Send a line to the process; never blocks, since a process that is busy or suspended does not read."""
        self.unread += json.dumps(line).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Write as many of the unread lines as there is room for."""
        assert self.process.stdin is not None
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # one that has ended is reported by finish_uploads
            while self.unread and not self.process.stdin.closed:
                del self.unread[: os.write(self.process.stdin.fileno(), self.unread)]

    def has_ended(self, waited: float) -> bool:
        """Whether the process has ended. Tells it that nothing more comes, and kills it when its time has passed."""
        assert self.process.stdin is not None
        if self.process.poll() is None and waited >= self.wait:
            self.kill(f" within {self.wait:g} s (tracking.wait)")
        if self.process.returncode is None and not self.process.stdin.closed:
            self.push()
            if not self.unread:
                self.process.stdin.close()
        return self.process.returncode is not None

    def kill(self, why: str) -> None:
        """End the process, whatever it does; nothing to do if it has ended."""
        if self.process.poll() is None:
            self.killed = why
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Close the files of a process that has ended."""
        assert self.process.stdin is not None
        for file in (self.process.stdin, self.stdout, self.stderr):
            file.close()


_uploaders: dict[tuple[Path, str, str], _Uploader] = {}  # by results folder, MLflow address and detail


def start_upload(tracking: Tracking, results: Path) -> None:
    """Start the process, which imports MLflow and waits; does nothing if it runs already or tracking is off."""
    key, uri = _key(tracking, results), store_uri(tracking)
    if not tracking.enabled or key in _uploaders:
        return
    stdout, stderr = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in the end)
    options = [f"results={results}", f"wait={tracking.wait}", f"detail={tracking.detail}"]
    process = subprocess.Popen(
        [*module_command("pipeline.sync"), "follow=true", *options],
        # The address goes by the environment, since it may hold a password and arguments are visible to all users.
        env=module_environment() | {"MLFLOW_TRACKING_URI": uri},
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C ends the training; complete arms are uploaded all the same
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    _uploaders[key] = _Uploader(process, tracking.wait, stdout, stderr)


def _key(tracking: Tracking, results: Path) -> tuple[Path, str, str]:
    return results, store_uri(tracking), tracking.detail


def expect_study(tracking: Tracking, store: RunStore) -> None:
    """Have the process create MLflow's store and the study's experiment while the first arm trains."""
    start_upload(tracking, store.results)
    if tracking.enabled:
        _uploaders[_key(tracking, store.results)].tell(store.study, "", "")


def queue_arm(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
    """Have the process upload an arm; `finish_uploads` reports problems. runs: all stored runs of the arm."""
    if up_to_date(tracking, store, arm, runs):
        return ""
    start_upload(tracking, store.results)
    uploader, wanted = _uploaders[_key(tracking, store.results)], digest(sorted(run.key for run in runs))
    if uploader.queued.get((store.study, arm)) != wanted:
        uploader.queued[store.study, arm] = wanted
        uploader.tell(store.study, arm, wanted)
    return ""


def finish_uploads(log: Path | None) -> list[str]:
    """Wait for all uploads, at most `tracking.wait` seconds.

    Returns lines for the user: the arms that MLflow lacks, and the command that sends them. MLflow's own messages are
    appended to `log`.
    """
    start, is_announced = time.monotonic(), not sys.stderr.isatty()
    try:
        while running := {k: up for k, up in _uploaders.items() if not up.has_ended(time.monotonic() - start)}:
            time.sleep(0.05)
            if not is_announced and time.monotonic() - start > SILENT_WAIT:
                places = ", ".join(hide_passwords(uri) for _, uri, _ in running)
                longest = max(up.wait for up in running.values()) - SILENT_WAIT
                print(f"uploading to MLflow at {places}, for at most {longest:.0f} s more", file=sys.stderr)
                is_announced = True
    except KeyboardInterrupt:  # at this point, all that Ctrl-C can mean; the next call reports
        for uploader in _uploaders.values():
            uploader.kill(": interrupted")
        raise
    lines = []
    for (results, uri, detail), uploader in _uploaders.items():
        lines += _report(uploader, uri, results, detail)
        uploader.stderr.seek(0)
        messages = uploader.stderr.read()
        if log is not None and messages:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"while uploading to MLflow:\n{hide_passwords(messages)}")
        uploader.close()
    _uploaders.clear()
    return lines


def uploads_go_on() -> bool:
    """Whether `finish_uploads` has anything to wait for."""
    return any(uploader.process.poll() is None for uploader in _uploaders.values())


def stop_uploads() -> None:
    """Kill the processes: the request was refused, and nothing has been queued yet."""
    for uploader in _uploaders.values():
        uploader.kill("")
        uploader.close()
    _uploaders.clear()


def sync_command(uri: str, results: Path, reports: Path | None = None, detail: str = "runs") -> str:
    """The command that uploads these folders, as a shell reads it; a password in the address is not shown."""
    options = []
    beside = reports_beside(results)
    for name, folder, default in (("results", results, PROJECT / "results"), ("reports", reports or beside, beside)):
        if folder != default:
            options.append(f"{name}={folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder}")
    if uri != store_uri(Tracking()):
        options.append(f"uri={hide_passwords(uri)}")
    if detail != "runs":
        options.append(f"detail={detail}")
    return shlex.join([*command_words("sync"), *options])


def count_unsent(arms: Sequence[str]) -> str:
    """Count arms that MLflow lacks, and name the first of them: "2 arms are unsent: s/zeros, s/ones"."""
    more = f" and {len(arms) - SHOWN_ARMS} more" if len(arms) > SHOWN_ARMS else ""
    return f"{len(arms)} {'arm is' if len(arms) == 1 else 'arms are'} unsent: {', '.join(arms[:SHOWN_ARMS])}{more}"


def describe_unlogged(reasons: Mapping[str, str]) -> list[str]:
    """Say that MLflow has runs without the models that they keep: a line per reason. reasons: name of an arm -> why."""
    lines = []
    for reason in dict.fromkeys(reasons.values()):
        arms = [arm for arm, one in reasons.items() if one == reason]
        more = f" and {len(arms) - SHOWN_ARMS} more" if len(arms) > SHOWN_ARMS else ""
        named = f"{', '.join(arms[:SHOWN_ARMS])}{more}"
        lines.append(f"MLflow has the runs of {named} without a model ({reason}); it is {MODEL} in the results folder.")
    return lines


def _report(uploader: _Uploader, uri: str, results: Path, detail: str) -> list[str]:
    """What the user has to know of a process that has ended."""
    sent, problem, unlogged = _read_outcomes(uploader.stdout)
    unsent = [arm for arm, wanted in uploader.queued.items() if sent.get(arm) != wanted]
    notes = describe_unlogged(dict(zip(_shown(results, unlogged), unlogged.values(), strict=True)))
    code = uploader.process.returncode
    late = f" within {uploader.wait:g} s (tracking.wait)" if code == OUT_OF_TIME else ""
    if why := uploader.killed or late:
        problem = f"Could not upload to MLflow at {hide_passwords(uri)}{why}"
        if holder := describe_holder(lock_file(uri, results)):
            problem += f"; {holder}"
    elif code not in (0, 1) or not problem:
        problem = f"Could not upload to MLflow at {hide_passwords(uri)}: the process ended ({code})"
    if not unsent:
        return [*([f"{problem}."] if code and not why else []), *notes]
    command = sync_command(uri, results, detail=detail)
    return [
        *notes,
        f"{problem.rstrip('.')}.",
        f"The results are safe. {count_unsent(_shown(results, unsent))}.",
        f"To send what is missing{password_hint(command)}: {command}",
    ]


def _shown(results: Path, arms: Iterable[Arm]) -> list[str]:
    return qualified_names((RunStore(results, study), arm) for study, arm in arms)


def _read_outcomes(stdout: IO[str]) -> tuple[dict[Arm, str], str, dict[Arm, str]]:
    """What the process printed: the runs sent of each arm (see `_Uploader.queued`), the last problem, and why models
    were not logged.
    """
    sent, unlogged = dict[Arm, str](), dict[Arm, str]()
    last_problem = ""
    stdout.seek(0)
    for line in stdout:
        with contextlib.suppress(ValueError, TypeError):  # cut off with the process, or printed by a library
            study, arm, wanted, problem, reason = json.loads(line)
            sent[study, arm] = "" if problem else wanted
            last_problem = problem or last_problem
            if reason:
                unlogged[study, arm] = reason
    return sent, last_problem, unlogged
