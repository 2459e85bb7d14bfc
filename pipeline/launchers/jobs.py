"""A job as a launcher hands it to an engine: plain data that pickle holds, and `work`, which does it anywhere.

A worker may be on another machine. Before it trains it looks whether it has the same results folder, by a token that
the launching process has put there, and the same versions, code and data, by which runs are told apart.
"""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf

from pipeline.config.load import load_config
from pipeline.config.schema import Config
from pipeline.errors import ConfigError, describe_error
from pipeline.experiment.hydra_callback import validated_request
from pipeline.experiment.hydra_settings import as_job
from pipeline.experiment.isolation import LOG_FORMAT
from pipeline.experiment.job import Job, run_job
from pipeline.experiment.plan import describe_job, plan_job
from pipeline.experiment.seed_blocks import seed_blocks
from pipeline.launchers.shares import keep_to_cores, keep_to_gpu
from pipeline.runtime.environment import package_versions
from pipeline.runtime.hashing import NUMERICS_VERSION
from pipeline.store.aside import aside_folder
from pipeline.store.runs import RunStore

_one_at_a_time = Lock()  # an engine's worker may have several threads; what a job redirects belongs to its process


@dataclass(frozen=True)
class WorkerJob:
    """A job and what its worker must have in common with the launching process.

    number: of the job in its sweep. folder: the working directory. versions: see `worker_versions`. recipe: the digest
    of all that decides the numbers. cores: how many the job shall use, 0 for those that the worker has. tries: how
    often to train where the process that trains dies.
    """

    number: int
    job: Job
    store: RunStore
    arm: str
    folder: Path
    versions: dict[str, str]
    recipe: str
    token: str = ""
    cores: int = 0
    tries: int = 1

    @property
    def missing(self) -> tuple[int, ...]:
        """The seeds that the job is to train and the store does not have."""
        missing = plan_job(self.job.config).missing
        return tuple(seed for seed in missing if seed in self.job.part) if self.job.part else missing


def make_jobs(
    loader: Any, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int, at_once: int
) -> list[WorkerJob]:
    """The jobs of a sweep that have something to train, in parts where `seeds_per_job` asks for it.

    loader: Hydra's, which composes a job's config. first: the number of the first job. at_once: jobs that can run at
    once. Makes the folders of their logs.
    """
    jobs, request, asked = list[WorkerJob](), validated_request(), set[Any]()
    for number, overrides in enumerate(job_overrides, first):
        composed = loader.load_sweep_config(config, list(overrides))
        with as_job(composed, number) as as_hydra_has_it:
            settings = load_config(as_hydra_has_it, list(filter_overrides(overrides)))
            sweep = Path(str(OmegaConf.select(as_hydra_has_it, "hydra.sweep.dir"))).absolute()
            output = sweep / str(OmegaConf.select(as_hydra_has_it, "hydra.sweep.subdir"))
            name = f"{as_hydra_has_it.hydra.job.name}.log"
        plan = plan_job(settings)
        if not plan.missing or (plan.store, plan.arm, plan.missing) in asked:  # two jobs may ask for the same
            continue
        asked.add((plan.store, plan.arm, plan.missing))
        output.mkdir(parents=True, exist_ok=True)
        settings = replace(settings, results=str(settings.results_dir))
        blocks = seed_blocks(plan.missing, settings.seeds_per_job, at_once)
        for part in blocks:
            log = output / (name if len(blocks) == 1 else f"{Path(name).stem}-seeds={part[0]}-{part[-1]}.log")
            job = Job(settings, log, sweep, request, part if len(blocks) > 1 else None)
            store = RunStore(settings.results_dir, settings.study)
            jobs.append(WorkerJob(number, job, store, plan.arm, Path.cwd(), worker_versions(), plan.recipe.current))
    return jobs


def worker_versions() -> dict[str, str]:
    """What decides numbers in every run of this process: versions of packages, and that of the project's numerics."""
    return package_versions() | {"NUMERICS_VERSION": str(NUMERICS_VERSION)}


@contextmanager
def shared_token(configs: Sequence[Config], request: str) -> Iterator[str]:
    """Within the context, a token lies in the results folders of these configs, for the workers to read."""
    token = secrets.token_hex(8)
    files = {token_file(Path(config.results), request) for config in configs}
    try:
        for file in files:
            aside_folder(file.parent.parent)
            file.write_text(token)
        yield token
    finally:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def token_file(results: Path, request: str) -> Path:
    """Where the token of a request lies."""
    return results / ".aside" / f"{request}.token"


def work(job: WorkerJob) -> str:
    """Do a job in a worker. Returns why it could not be begun or its failure not be recorded, in one line, or ""."""
    with _one_at_a_time:
        try:
            check_worker(job)
            _take_share(job.cores, job.job.config.runtime.device != "cpu")
            logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)  # which goes to the job's log
            run_job(job.job, None, job.tries)
        except Exception as error:
            return describe_error(error)
    return ""


@cache  # once for all jobs of a worker
def _take_share(cores: int, is_on_gpu: bool) -> None:
    if cores:
        keep_to_cores(cores)
    if is_on_gpu:
        keep_to_gpu()


def check_worker(job: WorkerJob) -> None:
    """Go to the job's folder. Raises ConfigError where this process would store other runs than the launching one."""
    host, results = socket.gethostname(), Path(job.job.config.results)
    try:
        found = token_file(results, job.job.request).read_text()
    except OSError:
        found = ""
    if found != job.token:
        allowed = "a folder on a disk that all workers share; others are put together by pipeline.merge"
        raise ConfigError("results", results, allowed, reason=f"which on {host} is not that of the launching process")
    here = worker_versions()
    if here != job.versions:
        names = [name for name in job.versions if here.get(name) != job.versions[name]]
        other = ", ".join(f"{name} {here.get(name, 'missing')}, not {job.versions[name]}" for name in names)
        raise ConfigError(f"the worker on {host} has {other}; allowed: the same packages everywhere")
    os.chdir(job.folder)
    if describe_job(job.job.config).recipe.current != job.recipe:
        allowed = "the same project, files and kind of processor everywhere"
        raise ConfigError(f"the worker on {host} has other code, data or processors; allowed: {allowed}")
