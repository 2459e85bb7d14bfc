"""One Hydra job: train one arm. Any launcher may run it, in this process or on another machine."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipeline.config.load import load_config
from pipeline.errors import ConfigError, describe_error
from pipeline.experiment.hydra_callback import Request, current_request, task_overrides, validated_request
from pipeline.experiment.isolation import JobError, train_isolated
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.progress import SweepView
from pipeline.experiment.run import Progress, Train, run_arm, train_and_store
from pipeline.runtime.logs import redirect_stderr
from pipeline.runtime.signals import raise_swallowed
from pipeline.store.failures import Failure, clear_failure, read_failure, record_beside_logs, record_failure
from pipeline.store.locks import work_for_request
from pipeline.tracking.background import queue_arm

log = logging.getLogger(__name__)


def train_job(composed: DictConfig) -> None:
    """Train the arm of a composed config. A failure is recorded in the results folder, and told at the end.

    It is raised only where it can be handed over in no way: after an exception, Hydra starts no further batch of jobs
    (`hydra.sweeper.max_batch_size`).

    In the process that launched the sweep, what it does is shown, and uploaded beside the training; a launcher's worker
    trains and stores, and the launching process uploads at the end.
    """
    hydra_config = HydraConfig.get()
    if not validated_request():
        raise ConfigError("hydra.callbacks: the request was not checked; allowed: those of conf/commandline.yaml")
    overrides = task_overrides(hydra_config)
    config = load_config(composed, overrides)
    output = Path(hydra_config.runtime.output_dir) / f"{hydra_config.job.name}.log"
    request = current_request()
    launching = request is not None
    plan = plan_job(config)
    work_for_request(validated_request())
    if not launching:
        _end_with_launcher()
    try:
        train = partial(train_isolated, job_log=output) if is_isolated(config.runtime.isolate, request) else None
        if request is None:
            with redirect_stderr(output):
                run_arm(config, upload=lambda *_: "", train=train)
        else:
            with redirect_stderr(output), request.view.live():
                train = partial(_train_in_view, request.view, train or train_and_store)
                run_arm(config, request.view.advance, queue_arm, train)
        _forget_mended_failure(plan)
    except Exception as error:
        raise_swallowed()
        died = isinstance(error, JobError)
        log.info("the job failed", exc_info=not died)  # to the job's log; the terminal gets one line at the end
        line = str(error) if died else describe_error(error)
        job = " ".join(overrides) or "the default arm"
        failure = Failure(job, line, str(output), validated_request(), _left_out(plan, plan.missing))
        _hand_over(plan, failure, request, Path(hydra_config.sweep.dir))


def _train_in_view(view: SweepView, train: Train, plan: Plan, seeds: Sequence[int], progress: Progress) -> None:
    """Train, and show the arm meanwhile."""
    view.begin(plan.arm, len(seeds))
    try:
        train(plan, seeds, progress)
    finally:
        view.end()


def _hand_over(plan: Plan, failure: Failure, request: Request | None, sweep: Path) -> None:
    """Record a failure beside the results; where that fails, as on a full disk, hand it over another way.

    The launching process remembers it; a launcher's worker writes it beside the logs of the sweep. What that raises
    leaves the job, and Hydra tells it.
    """
    try:
        record_failure(plan.store, plan.arm, failure)
    except OSError:
        if request is not None:
            request.unrecorded[plan.store, plan.arm] = failure
        else:
            record_beside_logs(sweep, plan.store, plan.arm, failure)


def _forget_mended_failure(plan: Plan) -> None:
    """Clear the record of another command that failed to train the arm, if every seed that it lacked is there now.

    A failure of this command stays: another of its jobs may have asked for more seeds of the arm.
    """
    failure = read_failure(plan.store, plan.arm)
    if failure is None or failure.request == validated_request():
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
