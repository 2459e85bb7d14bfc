"""What the launchers have in common: jobs in, what the engine lost out."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pipeline.experiment.hydra_callback import UNCHECKED, current_request
from pipeline.launchers.jobs import WorkerJob, make_jobs, shared_token
from pipeline.store.failures import Failure, record_failure


class EngineLauncher(Launcher):
    """A launcher over an engine: `run` starts the jobs there, and yields those that it has lost."""

    config: DictConfig
    context: HydraContext

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over."""
        self.context, self.config = hydra_context, config

    def check(self) -> None:
        """Look at what the jobs need, before any is planned. Raises ConfigError."""

    @abstractmethod
    def describe(self) -> str:
        """Where and how many jobs at once would run, for `--plan`."""

    @abstractmethod
    def run(self, jobs: Sequence[WorkerJob]) -> Iterator[tuple[WorkerJob, str]]:
        """Do the jobs. Yields each one that did not end, with the reason; a job that failed has recorded it itself."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do all jobs; what became of them is read from the store."""
        request = current_request()
        if request is None:
            raise UNCHECKED
        jobs = make_jobs(self.context.config_loader, self.config, job_overrides, initial_job_idx, self.at_once())
        with shared_token([job.job.config for job in jobs], request.identity) as token:
            for job, reason in self.run([replace(job, token=token) for job in jobs]):
                if failure := record_lost(job, reason, request.identity):
                    request.unrecorded[job.store, job.arm] = failure
        return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED) for overrides in job_overrides]

    def at_once(self) -> int:
        """How many jobs can run at once, as far as it is known; 1 where it is not."""
        return 1


def record_lost(job: WorkerJob, reason: str, request: str) -> Failure | None:
    """Have `--status` know why a job was lost, and its log, which a job that was not begun has not written.

    None where its runs are stored: another command has trained them, or the job itself before it died.
    """
    missing = job.missing
    if not missing:
        return None
    words = " ".join(job.job.config.overrides) or "the default arm"
    failure = Failure(words, reason, str(job.job.log), request, missing)
    with suppress(OSError):  # the command names it anyway
        record_failure(job.store, job.arm, failure, job.job.part)
        if not job.job.log.exists():
            job.job.log.write_text(f"{reason}\n")
    return failure
