"""`hydra/launcher=joblib`: several jobs at once on this machine, in processes that joblib's loky keeps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import ConfigError
from pipeline.launchers.base import EngineLauncher
from pipeline.launchers.jobs import WorkerJob, work
from pipeline.runtime.device import free_memory, n_cores, visible_gpus

JOB_MEMORY = 1.5e9  # bytes that a job takes besides its stack: TensorFlow, twice, and a compiled program
TRIES = 3


class JoblibLauncher(EngineLauncher):
    """Runs `n_jobs` jobs at once; each has an equal share of the cores."""

    def __init__(self, n_jobs: Any = "auto") -> None:
        whole = isinstance(n_jobs, int) and not isinstance(n_jobs, bool)
        if n_jobs != "auto" and not (whole and (n_jobs == -1 or n_jobs >= 1)):
            raise ConfigError("hydra.launcher.n_jobs", n_jobs, "auto, -1 for all cores, or a whole number from 1 up")
        self.n_jobs = n_jobs

    def at_once(self) -> int:
        """As many jobs as asked for; by default as memory and cores allow, or one for each of several GPUs."""
        by_memory = max(1, int(free_memory() // JOB_MEMORY))
        auto = min(n_cores(), by_memory, len(visible_gpus()) or n_cores())
        return {"auto": auto, -1: n_cores()}.get(self.n_jobs) or int(self.n_jobs)

    def describe(self) -> str:
        """How many jobs at once, and their share."""
        share = self._share(self.at_once())
        return f"hydra/launcher=joblib: {self.at_once()} jobs at once, each on {share} core{'s' * (share > 1)}"

    def _share(self, at_once: int) -> int:
        return max(1, n_cores() // at_once)

    def run(self, jobs: Sequence[WorkerJob]) -> Iterator[tuple[WorkerJob, str]]:
        """Do the jobs; those that are not done when a worker is killed, which ends loky's pool, are given to others."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        at_once = self.at_once()
        left = {key: replace(job, cores=self._share(at_once)) for key, job in enumerate(jobs)}
        for _ in range(TRIES):
            pool: Any = Parallel(n_jobs=at_once, backend="loky", return_as="generator_unordered", pre_dispatch="n_jobs")
            try:
                for key, reason in pool(delayed(_numbered)(key, job) for key, job in list(left.items())):
                    job = left.pop(key)
                    if reason:
                        yield job, reason
            except TerminatedWorkerError:
                left = {key: job for key, job in left.items() if job.missing}
            if not left:
                return
        yield from ((job, f"a process of hydra/launcher=joblib was killed {TRIES} times") for job in left.values())


def _numbered(key: int, job: WorkerJob) -> tuple[int, str]:
    return key, work(job)
