"""What Hydra is told before its first job: look at every job of the request, and refuse it whole if one cannot work.

Hydra calls `BeforeTheFirstJob` (conf/config.yaml, hydra.callbacks) after composing and before it writes anything.
Only this module and `train` know Hydra.
"""

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.load import load_config
from pipeline.config.messages import explain_refusal
from pipeline.errors import ConfigError
from pipeline.experiment.check import check_plans
from pipeline.experiment.dry_run import show_plan
from pipeline.experiment.plan import Plan, plan_job
from pipeline.runtime.logs import redirect_stderr
from pipeline.tracking.background import expect_study, start_upload, stop_uploads


class BeforeTheFirstJob(Callback):
    """Plans the request's jobs, ends the process with exit code 2 where one is refused, and names the redundant.

    plan_only: show the plan, and end the process with exit code 0.
    """

    def __init__(self, plan_only: bool = False) -> None:
        self._plan_only, self._noise = plan_only, ""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the one job of a run."""
        self._look_at(lambda: [(config, list(config.hydra.overrides.task))])

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at all jobs of a sweep, and settle whether the default sweep is part of it."""
        given = list(config.hydra.overrides.task)
        default = OmegaConf.to_container(config.hydra.sweeper.params) or {}
        if any(o.is_sweep_override() and o.get_key_element() in default for o in _parsed(given)):
            with open_dict(config):
                config.hydra.sweeper.params = default = {}  # who sweeps biases themselves gets that sweep alone
        self._look_at(
            lambda: [
                (compose(config.hydra.job.config_name, list(job)), list(job))
                for job in BasicSweeper.split_arguments(
                    _parsed([f"{k}={v}" for k, v in default.items()] + given), None
                )[0]
            ]
        )

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Put what TensorFlow said while the request was checked into the log of the first job."""
        if self._noise:
            logging.getLogger(__name__).info("while the request was checked:\n%s", self._noise)
            self._noise = ""

    def _look_at(self, jobs: Callable[[], list[tuple[DictConfig, list[str]]]]) -> None:
        try:
            plans = [plan_job(load_config(composed, overrides)) for composed, overrides in jobs()]
            arms: dict[tuple[str, str, str], Plan] = {}
            for plan in plans:
                twin = arms.setdefault((plan.config.results, plan.config.study, plan.arm), plan)
                if twin.recipe != plan.recipe:
                    raise ConfigError(
                        f"study: two jobs of this sweep would both be {plan.config.study}/{plan.arm}, with different "
                        "settings; allowed: a study=... that tells them apart"
                    )
                if twin is not plan and twin.keys == plan.keys:
                    print(f"{' '.join(_bias_part(plan))}: the same as arm {plan.arm}, trained once")
            with tempfile.TemporaryDirectory() as folder:
                noise = Path(folder) / "noise"
                with redirect_stderr(noise):
                    new = [plan.config for plan in plans if plan.missing and not self._plan_only]
                    for config in new:
                        start_upload(config.tracking, config.results_dir)
                    check_plans(plans)
                    for config in {config.study: config for config in new}.values():
                        expect_study(config.tracking, config.results_dir, config.study)
                    if self._plan_only:
                        show_plan(plans)
                self._noise = noise.read_text(errors="replace")
        except Exception as error:  # Hydra would turn any into a warning, and train all the same
            print(explain_refusal(error, sys.argv[1:]), file=sys.stderr)
            stop_uploads()
            sys.exit(2)
        if self._plan_only:
            sys.exit(0)


def _parsed(overrides: list[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(overrides)


def _bias_part(plan: Plan) -> list[str]:
    return [o for o in plan.config.overrides if o.startswith(("use_bias", "bias_"))]
