"""`hydra/launcher=slurm`: an array of jobs on a cluster under Slurm, submitted by submitit.

What became of a job is asked of `squeue`, which every cluster answers, and not of `sacct`, for which a cluster needs
accounting: without it, submitit waits for ever for a job that died.
"""

import math
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import ConfigError, is_number
from pipeline.installation import install_text
from pipeline.launchers.base import EngineLauncher
from pipeline.launchers.jobs import WorkerJob, work
from pipeline.launchers.slurm_queue import USUAL, describe_end, last_line, waiting_jobs
from pipeline.runtime.logs import tell_once

POLL = 2.0  # seconds between looks, and a twentieth of the time that the jobs take, up to LONGEST_POLL
LONGEST_POLL = 30.0
# Options of sbatch that have a key here, or that submitit sets.
OWN = {
    "array", "chdir", "cpus_per_task", "dependency", "error", "job_name", "mem", "nodes", "ntasks", "ntasks_per_node",
    "open_mode", "output", "partition", "signal", "time", "wrap",
}  # fmt: skip
GRACE = 30.0  # seconds that a job's result may need to appear on a shared disk after the job has left the queue


class SlurmLauncher(EngineLauncher):
    """Submits one array task per job, waits for all of them, and names those that ended without a result.

    time: minutes for a job. cpus, memory (GB), gpus: of each job. partition, account, constraint: null for the
    cluster's default. at_once: most jobs at once. setup: shell lines before a job. sbatch: further options by name.
    """

    def __init__(
        self, time: int = 60, cpus: int = 1, memory: float | None = None, gpus: int = 0, partition: str | None = None,
        account: str | None = None, constraint: str | None = None, at_once: int = 256, setup: Any = None,
        sbatch: Any = None,
    ) -> None:  # fmt: skip
        for name, number, fewest in (("time", time, 1), ("cpus", cpus, 1), ("gpus", gpus, 0), ("at_once", at_once, 1)):
            if not isinstance(number, int) or isinstance(number, bool) or number < fewest:
                raise ConfigError(f"hydra.launcher.{name}", number, f"a whole number from {fewest} up")
        if memory is not None and not (is_number(memory) and memory > 0):
            raise ConfigError("hydra.launcher.memory", memory, "a number of GB above 0, or null")
        lines = [setup] if isinstance(setup, str) else [] if setup is None else setup
        if not isinstance(lines, Sequence) or not all(isinstance(line, str) for line in lines):
            raise ConfigError("hydra.launcher.setup", setup, "shell lines, [module load python], or null")
        if not isinstance(sbatch, Mapping | None):
            raise ConfigError("hydra.launcher.sbatch", sbatch, "options of sbatch by name, {qos: long}, or null")
        if own := [name for name in sbatch or () if str(name).replace("-", "_") in OWN]:
            raise ConfigError("hydra.launcher.sbatch", own[0], "options that the launcher does not set itself")
        self.cpus, self.most_at_once = cpus, at_once
        given = {
            "time": time, "cpus_per_task": cpus, "mem": None if memory is None else f"{math.ceil(memory * 1024)}M",
            "gres": f"gpu:{gpus}" if gpus else None, "partition": partition, "account": account,
            "constraint": constraint,
        }  # fmt: skip
        self.options = {name: value for name, value in given.items() if value is not None}
        self.setup_lines = [*lines]
        self.more = {str(name): value for name, value in (sbatch or {}).items() if value not in (False, None)}

    def check(self) -> None:
        """Have Slurm look at the options, which submits nothing."""
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise ConfigError("hydra/launcher", "slurm", f"it after {install_text('slurm', 'submitit')}") from error
        if shutil.which("sbatch") is None:
            raise ConfigError("hydra/launcher", "slurm", "where sbatch is, on a cluster under Slurm")
        options = {name.replace("_", "-"): value for name, value in (self.options | self.more).items()}
        words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            ["sbatch", "--test-only", *words, "--wrap=true"], capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            said = [line for line in done.stderr.strip().splitlines() if not line.startswith("Try ")]
            line = (said or ["no answer"])[-1].removeprefix("sbatch: ").removeprefix("error: ")
            given = " ".join(words)
            raise ConfigError("hydra.launcher", given, "what the cluster has, see sinfo", reason=f"but Slurm: {line}")

    def at_once(self) -> int:
        """Most jobs at once, as asked for."""
        return self.most_at_once

    def describe(self) -> str:
        """How many jobs at once, and what each asks for."""
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        return f"hydra/launcher=slurm: up to {self.most_at_once} jobs at once, each with {options}"

    def run(self, jobs: Sequence[WorkerJob]) -> Iterator[tuple[WorkerJob, str]]:
        """Submit the jobs and wait for them; at a signal, cancel what has not ended."""
        if not jobs:
            return
        submitted = self._submit([replace(job, cores=self.cpus) for job in jobs])
        try:
            yield from _lost(dict(zip(submitted, jobs, strict=True)))
        except BaseException:
            subprocess.run(["scancel", *{job.job_id.partition("_")[0] for job in submitted}], check=False)
            raise

    def _submit(self, jobs: Sequence[WorkerJob]) -> list[Any]:
        """Submit an array, or a single job."""
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder=jobs[0].job.sweep / ".submitit" / "%j", max_num_timeout=0)
        executor.update_parameters(
            job_name="train", array_parallelism=self.most_at_once, stderr_to_stdout=True,
            setup=self.setup_lines or None, additional_parameters=self.more, **self.options,
        )  # fmt: skip
        return executor.map_array(work, jobs)


def _lost(jobs: dict[Any, WorkerJob]) -> Iterator[tuple[WorkerJob, str]]:
    """Wait for the jobs. Yields those that could not begin, and those that left the queue without a result.

    A job may wait in the queue for as long as Slurm has it there: what for is told, once for each reason.
    """
    start, left_queue = time.monotonic(), dict[Any, float]()
    while jobs:
        for submitted in [job for job in jobs if job.paths.result_pickle.exists()]:
            error = submitted.exception()
            reason = submitted.result() if error is None else last_line(str(error))
            job = jobs.pop(submitted)
            if reason:
                yield _with_log(job, submitted), reason
        if not jobs:
            return
        waiting = waiting_jobs({job.job_id.partition("_")[0] for job in jobs})
        if waiting is None:
            tell_once("squeue does not answer; waiting for it")
        for reason in sorted({*waiting.values()} - USUAL if waiting else ()):
            tell_once(f"jobs wait in Slurm's queue: {reason}")
        now = time.monotonic()
        for submitted in list(jobs) if waiting is not None else ():
            if submitted.job_id in waiting:
                left_queue.pop(submitted, None)
            elif now - left_queue.setdefault(submitted, now) > GRACE:
                job = jobs.pop(submitted)
                yield _with_log(job, submitted), f"Slurm's job {submitted.job_id} {describe_end(submitted.job_id)}"
        time.sleep(min(LONGEST_POLL, max(POLL, (now - start) / 20)))


def _with_log(job: WorkerJob, submitted: Any) -> WorkerJob:
    """The job, with submitit's log, which has what the shell said, where the job has not begun one."""
    is_better = not job.job.log.exists() and submitted.paths.stdout.exists()
    return replace(job, job=replace(job.job, log=submitted.paths.stdout)) if is_better else job
