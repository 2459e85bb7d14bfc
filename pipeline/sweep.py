"""What Hydra is told before its first job: look at every job of the request, and refuse it whole if one cannot work.

Hydra calls `BeforeTheFirstJob` (conf/config.yaml, hydra.callbacks) after composing and before it writes anything.
Only this module and `train` know Hydra.
"""

import logging
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pipeline import experiment, preview, sender, signatures
from pipeline.config import CONF, known_keys, load, one_line
from pipeline.errors import ConfigError, closest
from pipeline.runtime import noise_to


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
            plans = [experiment.plan(load(composed, overrides)) for composed, overrides in jobs()]
            arms: dict[tuple[str, str, str], experiment.Plan] = {}
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
                with noise_to(noise):
                    new = [plan.config for plan in plans if plan.missing and not self._plan_only]
                    for config in new:
                        sender.start(config.tracking, config.results_dir)
                    experiment.check(plans)
                    for config in {config.study: config for config in new}.values():
                        sender.expect(config.tracking, config.results_dir, config.study)
                    if self._plan_only:
                        preview.show(plans)
                self._noise = noise.read_text(errors="replace")
        except Exception as error:  # Hydra would turn any into a warning, and train all the same
            print(explain(error, sys.argv[1:]), file=sys.stderr)
            sender.stop()
            sys.exit(2)
        if self._plan_only:
            sys.exit(0)


def _parsed(overrides: list[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(overrides)


def _bias_part(plan: experiment.Plan) -> list[str]:
    return [o for o in plan.config.overrides if o.startswith(("use_bias", "bias_"))]


def explain(error: Exception, arguments: list[str]) -> str:
    """One line for a request that is refused: the key, what was given, what is allowed. arguments: the command line."""
    message = " ".join(str(error).split())
    if isinstance(error, ConfigError):
        return message
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    null = next((a.split("=")[0] for a in arguments if re.match(rf"({'|'.join(groups)})=(.*,)?null(,|$)", a)), None)
    if null is not None and "Config group override must be" in message:
        is_bias = null == "bias_initializer"
        why = ", since Keras reads it as glorot_uniform" if is_bias else ""
        other = ", or use_bias=false for none" if is_bias else ""
        return f"{null}: null is not a choice{why}; allowed: {', '.join(_choices(null))}{other}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: it cannot be read; allowed: key=value, with lists as [a,b] and no spaces"
    value = re.search(r"Error merging override (\S+?)=", message)
    if value and isinstance(error.__cause__, OmegaConfBaseException):
        return one_line(error.__cause__, {}, value[1])
    there = re.search(r"already at '([^']+)'", message)
    if there:
        return f"{there[1]}: it is there already; allowed: {there[1]}=..., without the plus sign"
    unknown = re.search(r"Could not override '([^']+)'", message)
    if unknown and ".config." in unknown[1]:
        return _unknown_argument(unknown[1], arguments)
    if unknown and "No match in the defaults list" in message:
        return f"{unknown[1]}: no such group; {closest(unknown[1], groups)}"
    if unknown:
        return f"{unknown[1]}: no such key; {closest(unknown[1], known_keys())}"
    option = re.search(r"Could not find '([^/']+)/([^']+)'", message)
    if option:
        return f"{option[1]}: {option[2]} given; {closest(option[2], _choices(option[1]))}"
    return message[:400]


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _unknown_argument(key: str, arguments: list[str]) -> str:
    """For an argument of a class that its file does not list: the nearest ones, and how to add one."""
    group, name = key.split(".")[0], key.rpartition(".")[2]
    chosen = [a.partition("=")[2] for a in arguments if a.startswith(f"{group}=")]
    default = {"bias_initializer": "zeros", "optimizer": "adam"}.get(group, "")
    path = CONF / group / f"{(chosen or [default])[-1].split(',')[0]}.yaml"
    text = path.read_text() if path.is_file() else ""
    class_name = re.search(r"^class_name: (\w+)", text, re.MULTILINE)
    known = signatures.arguments(f"{group.removeprefix('bias_')}s", class_name[1]) if class_name else {}
    if name in known:
        return f"{key}: its file does not set it; allowed: +{key}=..., which adds it"
    return f"{key}: no such key; {closest(name, sorted(known))}; one that is not in the file is added with +{key}=..."
