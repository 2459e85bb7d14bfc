"""Ask Slurm about its jobs, by commands that need no accounting: `squeue` and `scontrol`."""

import re
import subprocess
from collections.abc import Iterable

USUAL = {"", "None", "Priority", "Resources", "JobArrayTaskLimit"}  # why a job waits where nothing is wrong
SECONDS = 60  # that Slurm's controller may take to answer
NO_JOB = "Invalid job id"  # the controller has forgotten it: the job ended some minutes ago


def waiting_jobs(arrays: Iterable[str]) -> dict[str, str] | None:
    """The ids of those jobs that wait, run or end, `12` or `12_3` of an array, and why one of them waits, "" if it does
    not; None where the controller is silent.

    arrays: their ids without the task's number.
    """
    found = dict[str, str]()
    for array in arrays:
        # -r: a line per task of an array. Ended jobs are not shown.
        done = _run("squeue", "--noheader", "-r", "--format=%i|%t|%r", f"--jobs={array}")
        if done is None:
            return None
        for line in done.splitlines():
            job, state, reason = line.strip().split("|", 2)
            found[job] = reason if state == "PD" else ""
    return found


def describe_end(job: str) -> str:
    """How a job ended, as far as Slurm still knows: "CANCELLED (exit 0:15)"."""
    shown = _run("scontrol", "show", "job", job) or ""
    state, code = (re.search(rf"\b{name}=(\S+)", shown) for name in ("JobState", "ExitCode"))
    if state is None:
        return "left the queue without a result"
    return f"ended without a result: {state[1]}{f' (exit code:signal {code[1]})' if code else ''}"


def last_line(error: str) -> str:
    """The reason in what submitit says of a job: the last line of its traceback, which stands between dashes."""
    parts = re.split(r"^-{5,}$", error, flags=re.MULTILINE)
    return (parts[1] if len(parts) > 2 else error).strip().splitlines()[-1]


def _run(*words: str) -> str | None:
    """What a command prints; "" where it knows no such job, None where it fails otherwise."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if NO_JOB in done.stderr else None
