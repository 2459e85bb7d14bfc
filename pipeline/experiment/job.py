"""One Hydra job: train one arm. Any launcher may run it, in this process or on another machine."""

import logging
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.config.load import load_config
from pipeline.experiment.hydra_callback import current_request
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.runtime.logs import redirect_stderr
from pipeline.store.failures import Failure, record_failure
from pipeline.tracking.background import queue_arm

log = logging.getLogger(__name__)


def train_job(composed: DictConfig) -> None:
    """Train the arm of a composed config. A failure is recorded in the results folder, and raised for the launcher.

    In the process that launched the sweep there is a progress bar and an upload beside the training; a launcher's
    worker trains and stores, and the launching process uploads at the end.
    """
    hydra_config = HydraConfig.get()
    overrides = list(hydra_config.overrides.task)
    config = load_config(composed, overrides)
    output = Path(hydra_config.runtime.output_dir) / f"{hydra_config.job.name}.log"
    launching = current_request() is not None
    plan = plan_job(config)
    try:
        with redirect_stderr(output), _progress_bar(launching) as bar:
            task = bar.add_task("", total=None, visible=False)

            def progress(arm: str, done: int, total: int) -> None:
                bar.update(task, description=arm, completed=done, total=total, visible=True)

            run_arm(config, progress, queue_arm if launching else lambda *_: "")
    except Exception as error:
        log.info("the job failed", exc_info=True)  # to the job's log; the terminal gets one line at the end
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        record_failure(plan.store, plan.arm, Failure(" ".join(overrides) or "the default arm", line, str(output)))
        raise


def _progress_bar(visible: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("epoch {task.completed}/{task.total}"))
    screen = Console(file=sys.stdout)  # standard error goes to the job's log meanwhile
    disable = not (visible and screen.is_terminal)
    return Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, disable=disable)
