"""One Hydra job: train one arm. Any launcher may run it, in this process or on another machine."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipeline.config.load import load_config
from pipeline.config.schema import Config
from pipeline.errors import describe_error
from pipeline.experiment.hydra_callback import (
    UNCHECKED,
    Request,
    current_request,
    task_overrides,
    validated_request,
)
from pipeline.experiment.isolation import JobError, JobStoppedError, train_isolated
from pipeline.experiment.plan import Plan, describe_job
from pipeline.experiment.progress import SweepView
from pipeline.experiment.run import Progress, Train, run_arm, train_and_store
from pipeline.runtime.logs import redirect_stderr
from pipeline.runtime.signals import raise_swallowed
from pipeline.store.failures import Failure, clear_failure, read_failure, record_beside_logs, record_failure
from pipeline.store.locks import work_for_request
from pipeline.tracking.background import queue_arm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job as plain data, which a launcher can hand to any process.

    log: the file for its messages. sweep: the folder with the logs of its request. request: the request's identity.
    part: of the arm's seeds, those that it is to train; None for all.
    """

    config: Config
    log: Path
    sweep: Path
    request: str
    part: tuple[int, ...] | None = None


def train_job(composed: DictConfig) -> None:
    """Do the job of a composed config: Hydra's task function."""
    hydra_config = HydraConfig.get()
    if not validated_request():
        raise UNCHECKED
    log_file = Path(hydra_config.runtime.output_dir) / f"{hydra_config.job.name}.log"
    config = load_config(composed, task_overrides(hydra_config))
    run_job(Job(config, log_file, Path(hydra_config.sweep.dir), validated_request()), current_request())


def run_job(job: Job, request: Request | None, tries: int = 1) -> None:
    """Train an arm. A failure is recorded in the results folder, and told at the end.

    It is raised only where it can be handed over in no way: after an exception, Hydra starts no further batch of jobs
    (`hydra.sweeper.max_batch_size`).

    request: in the process that launched the sweep, where what it does is shown, and uploaded beside the training; None
    in a launcher's worker, which trains and stores; then the launching process uploads at the end. tries: how often to
    train what is missing where the process that trains dies.
    """
    plan = describe_job(job.config)
    work_for_request(job.request)
    if request is None:
        _end_with_launcher()
    try:
        with redirect_stderr(job.log):
            for left in reversed(range(tries)):
                try:
                    _train_arm(job, request)
                    break
                except JobError as error:
                    if not left:
                        raise
                    log.info("%s; %d more tries", error, left)
        _forget_mended_failure(plan, job.request)
    except Exception as error:
        raise_swallowed()
        if isinstance(error, JobStoppedError) and request is None:
            raise  # whoever launched it says so, if it is not itself what was ended, and has cancelled its jobs
        died = isinstance(error, JobError)
        log.info("the job failed", exc_info=not died)  # to the job's log; the terminal gets one line at the end
        line = str(error) if died else describe_error(error)
        words = " ".join(job.config.overrides) or "the default arm"
        failure = Failure(words, line, str(job.log), job.request, _left_out(plan, job.part or tuple(plan.keys)))
        _hand_over(plan, failure, request, job)


def _train_arm(job: Job, request: Request | None) -> None:
    train = partial(train_isolated, job_log=job.log) if is_isolated(job.config.runtime.isolate, request) else None
    if request is None:
        run_arm(job.config, upload=lambda *_: "", train=train, part=job.part)
        return
    with request.view.live():
        train = partial(_train_in_view, request.view, train or train_and_store)
        run_arm(job.config, request.view.advance, queue_arm, train)


def _train_in_view(view: SweepView, train: Train, plan: Plan, seeds: Sequence[int], progress: Progress) -> None:
    """Train, and show the arm meanwhile."""
    view.begin(plan.arm, len(seeds))
    try:
        train(plan, seeds, progress)
    finally:
        view.end()


def _hand_over(plan: Plan, failure: Failure, request: Request | None, job: Job) -> None:
    """Record a failure beside the results; where that fails, as on a full disk, hand it over another way.

    The launching process remembers it; a launcher's worker writes it beside the logs of the sweep. What that raises
    leaves the job, and Hydra tells it.
    """
    try:
        record_failure(plan.store, plan.arm, failure, job.part)
    except OSError:
        if request is not None:
            request.unrecorded[plan.store, plan.arm] = failure
        else:
            record_beside_logs(job.sweep, plan.store, plan.arm, failure, job.part)


def _forget_mended_failure(plan: Plan, request: str) -> None:
    """Clear the record of another command that failed to train the arm, if every seed that it lacked is there now.

    A failure of this command stays: another of its jobs may have asked for more seeds of the arm.
    """
    failure = read_failure(plan.store, plan.arm)
    if failure is None or failure.request == request:
        return
    if not _left_out(plan, failure.missing):
        clear_failure(plan.store, plan.arm)


def _left_out(plan: Plan, seeds: Sequence[int]) -> tuple[int, ...]:
    """Those of the seeds of which the arm has no run."""
    stored = {run.seed for run in plan.store.runs(plan.arm)}
    return tuple(seed for seed in seeds if seed not in stored)


@cache
def _end_with_launcher() -> None:
    """Have a launcher's worker process end when the process that started it is gone: joblib's would stay for ever."""
    launcher = multiprocessing.parent_process()
    if launcher is None:  # a job on a cluster, which the cluster ends
        return

    def watch() -> None:
        while os.getppid() == launcher.pid:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_isolated(setting: bool | str, request: Request | None) -> bool:
    """Whether the job trains in a process of its own: `auto` does in a launcher's worker, or if the request needs it.

    A launcher such as joblib gives up all jobs when a worker dies.
    """
    return bool(setting) if setting != "auto" else request is None or request.isolate
