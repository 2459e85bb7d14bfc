"""What Hydra is told before its first job: look at every job of the request, and refuse it whole if one cannot work.

Hydra calls `BeforeTheFirstJob` (conf/config.yaml, hydra.callbacks) after composing and before it writes anything.
Only this module and `train` know Hydra.
"""

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline import experiment
from pipeline.config import ConfigError, load
from pipeline.runtime import noise_to


class BeforeTheFirstJob(Callback):
    """Plans the request's jobs, ends the process with exit code 2 where one is refused, and names the redundant."""

    _noise = ""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the one job of a run."""
        self._look_at([(config, list(config.hydra.overrides.task))])

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at all jobs of a sweep, and settle whether the default sweep is part of it."""
        given = list(config.hydra.overrides.task)
        default = OmegaConf.to_container(config.hydra.sweeper.params) or {}
        if any(o.is_sweep_override() and o.get_key_element() in default for o in _parsed(given)):
            with open_dict(config):
                config.hydra.sweeper.params = default = {}  # who sweeps biases themselves gets that sweep alone
        jobs = BasicSweeper.split_arguments(_parsed([f"{k}={v}" for k, v in default.items()] + given), None)[0]
        self._look_at([(compose(config.hydra.job.config_name, list(job)), list(job)) for job in jobs])

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Put what TensorFlow said while the request was checked into the log of the first job."""
        if self._noise:
            logging.getLogger(__name__).info("while the request was checked:\n%s", self._noise)
            self._noise = ""

    def _look_at(self, jobs: list[tuple[DictConfig, list[str]]]) -> None:
        try:
            plans = [experiment.plan(load(composed, overrides)) for composed, overrides in jobs]
            arms: dict[tuple[str, str], experiment.Plan] = {}
            for plan in plans:
                twin = arms.setdefault((plan.config.study, plan.arm), plan)
                if twin.recipe != plan.recipe:
                    raise ConfigError(
                        f"study: two jobs of this sweep would both be {plan.config.study}/{plan.arm}, with different "
                        "settings; allowed: a study=... that tells them apart"
                    )
                if twin is not plan:
                    print(f"{' '.join(_bias_part(plan))}: the same as arm {plan.arm}, trained once")
            with tempfile.TemporaryDirectory() as folder:
                noise = Path(folder) / "noise"
                with noise_to(noise):
                    experiment.check(plans)
                self._noise = noise.read_text(errors="replace")
        except ConfigError as error:
            print(error, file=sys.stderr)
            sys.exit(2)


def _parsed(overrides: list[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(overrides)


def _bias_part(plan: experiment.Plan) -> list[str]:
    return [o for o in plan.config.overrides if o.startswith(("use_bias", "bias_"))]
