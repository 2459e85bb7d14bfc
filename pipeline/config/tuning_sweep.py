"""Make an ordinary sweep of `tune=`, before Hydra sees the command line.

So everything else about jobs, arms and stored runs is as for any sweep. Each job keeps the whole `tune` among its
overrides, the shared value first: the one that is configured where the key is not tuned, if it is among the values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from pipeline.config.arguments import Arguments
from pipeline.config.load import register_schema
from pipeline.config.overrides import expand_sweep, parse_overrides, validate_overrides
from pipeline.config.schema import CONF, key_types
from pipeline.config.tuning import Values, around, is_number, read_tune
from pipeline.errors import ConfigError
from pipeline.installation import command_text


def expand_tuning(arguments: Arguments) -> Arguments:
    """The command line with `tune=` as a sweep over its keys. Raises ConfigError; composes the settings with `tune`."""
    given = [word for word in arguments.overrides if word.lstrip("+").startswith("tune=")]
    if not given or arguments.only_shows or given[0].partition("=")[2] in ("", "null"):
        return arguments
    validate_overrides(arguments.overrides, arguments.folders)
    tuned = read_tune(given[0].partition("=")[2])
    others = [word for word in arguments.overrides if word not in given]
    parsed = parse_overrides(others)
    if not arguments.may_sweep:
        raise ConfigError(f"tune: given without -m; allowed: {command_text('train')} -m {' '.join(arguments.given)}")
    for override in parsed:
        if override.key_or_group in tuned and override.is_sweep_override():
            key = override.key_or_group
            raise ConfigError(f"tune: {key} is swept besides; allowed: tune={{{key}:[{override.get_value_string()}]}}")
    configured = _configured(tuned, parsed, others, arguments.folders)
    grid = {key: ordered(key, values, configured[key]) for key, values in tuned.items()}
    kept = [word for word, override in zip(others, parsed, strict=True) if override.key_or_group not in tuned]
    listed = ",".join(f"{key}:[{','.join(map(str, values))}]" for key, values in grid.items())
    sweeps = [f"{_prefix(key)}{key}={','.join(map(str, values))}" for key, values in grid.items()]
    return replace(arguments, overrides=[*kept, *sweeps, f"tune={{{listed}}}"])


def _prefix(key: str) -> str:
    """`++` for an argument that the file of the group may not list."""
    return "" if key in key_types() else "++"


def ordered(key: str, values: Values, configured: Sequence[Any]) -> Values:
    """The values, the shared one first. configured: what the jobs have without `tune`."""
    if not values and len(configured) > 1:
        listed = ", ".join(map(str, configured))
        raise ConfigError(f"tune: the jobs have different {key}, {listed}; allowed: a list, tune={{{key}:[{listed}]}}")
    values = values or around(key, configured[0])
    shared = configured[0] if len(configured) == 1 and configured[0] in values else values[0]
    return (shared, *(value for value in values if value != shared))


def _configured(
    tuned: Mapping[str, Values], parsed: Sequence[Override], words: Sequence[str], folders: Sequence[Path]
) -> dict[str, list[Any]]:
    """What each tuned key is without `tune` in the jobs, different values once.

    Of sweeps over what cannot change it, only the first value is composed.
    """
    groups = {"experiment", *(key.partition(".")[0] for key in tuned)}
    chosen = []
    for word, override in zip(words, parsed, strict=True):
        may_change = override.key_or_group.partition(".")[0] in groups
        chosen.append(word if may_change or not override.is_sweep_override() else expand_sweep([word])[0][0])
    register_schema()
    places = [str(folder.absolute()) for folder in folders if folder != CONF]
    search = [f"hydra.searchpath=[{','.join(f'file://{place}' for place in places)}]"] if places else []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        jobs = expand_sweep(chosen)
        composed = [compose("config", [*search, *job]) for job in jobs]
    return {key: list(dict.fromkeys(_value(config, key) for config in composed)) for key in tuned}


def _value(config: DictConfig, key: str) -> Any:
    value = OmegaConf.select(config, key)
    return value if value is None or is_number(value) else str(value)
