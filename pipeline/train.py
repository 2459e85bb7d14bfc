"""Train one arm, or sweep over arms with `-m`; with `--plan`, only say what that would do: `--help` tells more.

Exit code 0: all done; 1: some run failed, and is named; 2: the request was refused before anything started.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.config.load import load_config, register_schema
from pipeline.config.messages import explain_refusal
from pipeline.config.schema import CONF
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.run import Outcome, run_arm
from pipeline.experiment.summary import print_outcomes
from pipeline.report.console import short_path
from pipeline.runtime.logs import redirect_stderr
from pipeline.tracking.background import finish_uploads, queue_arm, stop_uploads
from pipeline.tracking.client import EMBEDDED, store_uri

log = logging.getLogger(__name__)

PLAN_ONLY = "hydra.callbacks.before_the_first_job.plan_only=true"


def main() -> int:
    """Run Hydra over the command line; the exit code."""
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors arrive here, to be said in one line
    if "--plan" in sys.argv:
        sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--plan"] + [PLAN_ONLY]
    outcomes: list[Outcome] = []
    failed: list[str] = []
    logs: list[Path] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def job(composed: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        overrides = list(hydra_config.overrides.task)
        config = load_config(composed, overrides)
        output = Path(hydra_config.runtime.output_dir) / f"{hydra_config.job.name}.log"
        logs.append(output)
        try:
            outcomes.append(_train(config, output))
        except Exception as error:
            log.debug("job failed", exc_info=True)
            failed.append(
                f"{' '.join(overrides) or 'the default arm'}: {_first_line(error)} (log: {short_path(output)})"
            )

    try:
        try:
            job()
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # a ConfigError is a ValueError
            print(explain_refusal(error, sys.argv[1:]), file=sys.stderr)
            stop_uploads()
            return 2
        if outcomes:
            print_outcomes(outcomes)
            with redirect_stderr(logs[-1]):
                incomplete = ablate_studies(outcomes)
            for line in incomplete:
                print(line, file=sys.stderr)
        not_mirrored = finish_uploads(logs[-1] if logs else None)
        if outcomes:
            _what_next(outcomes, not_mirrored)
    except KeyboardInterrupt:
        print(
            "interrupted: finished runs are kept and sent to MLflow; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def _train(config: Any, output: Path) -> Outcome:
    """Train one arm, with a progress bar on a terminal and TensorFlow's noise in the job's log."""
    with redirect_stderr(output), _progress_bar() as bar:
        task = bar.add_task("", total=None, visible=False)

        def progress(arm: str, done: int, total: int) -> None:
            bar.update(task, description=arm, completed=done, total=total, visible=True)

        return run_arm(config, progress, queue_arm)


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("epoch {task.completed}/{task.total}"))
    screen = Console()  # standard output: standard error goes to the log meanwhile
    return Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal)


def _what_next(outcomes: list[Outcome], not_mirrored: list[str]) -> None:
    """What MLflow did not take, where to see the runs, and how to come to the answer."""
    config = outcomes[0].plan.config
    for reason in not_mirrored:
        print(f"{reason}\nThe results are safe. Send them later: python -m pipeline.sync", file=sys.stderr)
    if config.tracking.enabled and not not_mirrored:
        uri = store_uri(config.tracking)
        option = "" if uri == EMBEDDED else f" --backend-store-uri {uri}"
        print(f"In MLflow: {uri}" if uri.startswith("http") else f"In MLflow: uv run mlflow ui{option}")
    studies = ",".join(sorted({o.plan.config.study for o in outcomes}))
    print(f"The answer: uv run python -m pipeline.compare study={studies}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    sys.exit(main())
