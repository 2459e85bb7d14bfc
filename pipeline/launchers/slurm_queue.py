"""Ask Slurm about its jobs, by commands that need no accounting: `squeue` and `scontrol`."""

import re
import subprocess
from collections.abc import Iterable

SECONDS = 60  # that Slurm's controller may take to answer
NO_JOB = "Invalid job id"  # the controller has forgotten it: the job ended some minutes ago


def waiting_jobs(arrays: Iterable[str]) -> set[str] | None:
    """The ids of those jobs that wait, run or end, `12` or `12_3` of an array; None where the controller is silent.

    arrays: their ids without the task's number.
    """
    found = set[str]()
    for array in arrays:
        # -r: a line per task of an array. Ended jobs are not shown.
        done = _run("squeue", "--noheader", "-r", "--format=%i", f"--jobs={array}")
        if done is None:
            return None
        found |= set(done.split())
    return found


def describe_end(job: str) -> str:
    """How a job ended, as far as Slurm still knows: "CANCELLED (exit 0:15)"."""
    shown = _run("scontrol", "show", "job", job) or ""
    state, code = (re.search(rf"\b{name}=(\S+)", shown) for name in ("JobState", "ExitCode"))
    if state is None:
        return "left the queue without a result"
    return f"ended without a result: {state[1]}{f' (exit code:signal {code[1]})' if code else ''}"


def _run(*words: str) -> str | None:
    """What a command prints; "" where it knows no such job, None where it fails otherwise."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if NO_JOB in done.stderr else None
