"""Check a request without the command line: every check that the command makes before its first job."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config.load import load_config, register_schema
from pipeline.config.messages import as_refusal
from pipeline.config.overrides import expand_sweep, parse_overrides, validate_overrides
from pipeline.config.schema import CONF, Config
from pipeline.config.spelling import spell_overrides
from pipeline.errors import ConfigError
from pipeline.experiment.check import check_plans
from pipeline.experiment.code import check_code
from pipeline.experiment.plan import Plan, plan_job


def validate(overrides: Sequence[str]) -> list[Plan]:
    """Plan each job of a request and check that it can be trained; a sweep over `a,b` has several jobs.

    The default sweep of conf/config.yaml is not added. Trains and writes nothing; imports TensorFlow only if all
    checks without it pass and runs are missing. Raises ConfigError.
    """
    plans = [plan_job(config) for config in compose_jobs(overrides)]
    refuse_conflicting(plans)
    check_code([(plan.config, plan.settings) for plan in plans])
    check_plans(plans)
    return plans


def compose_jobs(overrides: Sequence[str]) -> list[Config]:
    """Compose and check the config of each job of a request. Raises ConfigError."""
    register_schema()
    overrides = spell_overrides(overrides, is_sweep=True)
    try:
        validate_overrides(overrides)
        is_sweep = any(override.is_sweep_override() for override in parse_overrides(overrides))
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            jobs = expand_sweep(overrides) if is_sweep else [list(overrides)]
            return [load_config(compose("config", job), job) for job in jobs]
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise as_refusal(error) from error


def refuse_conflicting(plans: Sequence[Plan]) -> None:
    """Raise ConfigError if two jobs have different settings but would store their runs in the same folder."""
    first: dict[tuple[Path, str], Plan] = {}
    for plan in plans:
        if first.setdefault((plan.store.folder, plan.arm), plan).recipe != plan.recipe:
            raise ConfigError(
                f"study: two jobs of this sweep would both be {plan.config.study}/{plan.arm}, with different settings; "
                "allowed: a study=... that tells them apart"
            )
