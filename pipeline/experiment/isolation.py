"""Train in a process beside this one, so that a job that is killed, for memory or by a crash, ends alone.

The process is `python -m pipeline.experiment.isolation`. It does one job after the other, since it costs an import of
TensorFlow and the compiled programs; after a job that failed, whatever the reason, the next one gets a new process. It
reads pickled jobs, each a function and its arguments, from its standard input, and ends as soon as that ends, so also
when this process is killed. To standard output it writes a line of JSON per reply: `[arm, epochs done, in all]`,
`{"line": what to tell the user}`, null for a job that is done, `{"result": ...}` for one that returns something, or the
error of one that is not.
"""

import contextlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from pipeline.errors import describe_error
from pipeline.experiment.plan import Plan
from pipeline.experiment.run import Progress, train_and_store
from pipeline.installation import module_command, module_environment
from pipeline.runtime.logs import forget_told, pass_on, redirect_stderr, tell_once
from pipeline.runtime.signals import run_command

log = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM)
SECONDS_TO_STOP = 10  # for storing a stack that has just ended
SECONDS_BETWEEN_REPLIES = 0.1
LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"  # Hydra's

Work = Callable[..., Any]

_trainers: list[subprocess.Popen[bytes]] = []  # at most one


class JobError(Exception):
    """A job that failed in its process, or died with it. The text is the whole error, its type's name included."""


class JobStoppedError(JobError):
    """The process of a job was asked to end, as by a cluster that cancels the job."""


def _no_progress(arm: str, done: int, total: int) -> None:
    """Show nothing."""


def train_isolated(
    plan: Plan, seeds: Sequence[int], progress: Progress, job_log: Path, work: Work = train_and_store
) -> None:
    """Do what `train_and_store` does, or `work`, in the other process; messages go to `job_log`. Raises JobError."""
    config = replace(plan.config, results=str(plan.config.results_dir))  # a job may change the working directory
    plan = replace(plan, config=config)
    call_isolated(work, plan, tuple(seeds), progress=progress, job_log=job_log)


def call_isolated(work: Work, *arguments: Any, progress: Progress = _no_progress, job_log: Path) -> Any:
    """Call a function in the other process, and return what it returns, which JSON must hold.

    work: a function of this package; its last argument is a `progress`. Its messages go to `job_log`. Raises JobError.
    """
    trainer = _trainers[0] if _trainers else start_trainer()
    try:
        return _call_in(trainer, work, arguments, progress, job_log)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            trainer.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                trainer.wait(SECONDS_TO_STOP)
        stop_trainer()
        raise


def _call_in(
    trainer: subprocess.Popen[bytes], work: Work, arguments: tuple[Any, ...], progress: Progress, job_log: Path
) -> Any:
    assert trainer.stdin is not None and trainer.stdout is not None
    try:
        pickle.dump((work, arguments, job_log), trainer.stdin)
        trainer.stdin.flush()
        while (reply := json.loads(trainer.stdout.readline())) is not None:
            if isinstance(reply, str):
                raise JobError(reply)
            if isinstance(reply, dict) and "result" in reply:
                return reply["result"]
            if isinstance(reply, dict):
                tell_once(reply["line"])
                continue
            progress(*reply)
    except (BrokenPipeError, json.JSONDecodeError):  # half a line, or none
        code = trainer.wait()
        stopped = -code in STOPPING or code - 128 in STOPPING
        raise (JobStoppedError if stopped else JobError)(describe_death(code)) from None


def stop_trainer() -> None:
    """End the process, if there is one."""
    for trainer in _trainers:
        trainer.kill()
        trainer.communicate()
    _trainers.clear()


def start_trainer() -> subprocess.Popen[bytes]:
    """Start the process, in which Keras always computes with TensorFlow."""
    trainer = subprocess.Popen(
        module_command("pipeline.experiment.isolation"),
        env=module_environment() | {"KERAS_BACKEND": "tensorflow"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches it by this process alone, in time for storing what is finished
    )
    _trainers.append(trainer)
    return trainer


def describe_death(code: int) -> str:
    """How a process with this exit code ended, e.g. "killed by SIGSEGV"."""
    names = {number.value: number.name for number in signal.Signals}
    name = names.get(-code) or names.get(code - 128)
    if name is None:
        return f"its process ended with exit code {code}"
    return f"killed by {name}{', perhaps for memory' if name == 'SIGKILL' else ''}"


def main() -> int:
    """Work as the process."""
    replies = os.fdopen(os.dup(1), "w")
    with contextlib.suppress(OSError):  # where memory is short, the system shall kill this process, not its parent
        Path("/proc/self/oom_score_adj").write_text("500")
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    jobs: SimpleQueue[tuple[Work, tuple[Any, ...], Path]] = SimpleQueue()
    threading.Thread(target=_read_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    writing = threading.Lock()

    def reply(content: Any) -> None:
        with writing:
            replies.write(json.dumps(content) + "\n")
            replies.flush()

    pass_on(lambda line: reply({"line": line}))
    while True:
        work, arguments, job_log = jobs.get()
        forget_told()
        with redirect_stderr(job_log):
            os.dup2(2, 1)  # what anything prints goes to the job's log
            try:
                result = work(*arguments, _rarely(reply))
            except Exception as error:
                log.info("the job failed", exc_info=True)
                reply(describe_error(error))
            else:
                reply(None if result is None else {"result": result})


def _rarely(reply: Callable[[Any], None]) -> Progress:
    """A `progress` that replies ten times a second at most: small epochs take less time than a reply."""
    last = [0.0]

    def progress(arm: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] > SECONDS_BETWEEN_REPLIES:
            last[0] = now
            reply([arm, done, total])

    return progress


def _read_jobs(pipe: IO[bytes], jobs: SimpleQueue[Any]) -> None:
    """Queue the jobs that come; end the process with its input, also with one that is cut off or cannot be read."""
    try:
        while True:
            jobs.put(pickle.load(pipe))
    finally:
        os._exit(0)


if __name__ == "__main__":
    run_command(main)
