"""Refuse a command line that gives a setting more than once: Hydra would take the last one without a word."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from pipeline.errors import ConfigError

_SWEEP = "; a sweep is a,b with -m"


def refuse_repeated(parsed: Sequence[Override], in_calls: Mapping[str, str]) -> None:
    """Raise ConfigError for the first key that two overrides set, be it within named values, `training={epochs:3}`.

    in_calls: key -> value of the arguments that initializers have in brackets.
    """
    first = dict(in_calls)
    for override in parsed:
        if override.is_delete():
            _refuse_deleted(override, first)
            continue
        for key, value in _leaves(override):
            if key not in first:
                first[key] = value
                continue
            what = f", {first[key]} and {value}, of which only the last would count" if value != first[key] else ""
            as_list = f", a list seeds=[{first[key]},{value}]" if key == "seeds" else ""
            sweep = f"; a sweep is {key}={first[key]},{value} with -m" if not key.startswith(("hydra", "~")) else ""
            raise ConfigError(f"{key}: given twice{what}; allowed: once{sweep if what else sweep and _SWEEP}{as_list}")


def _refuse_deleted(override: Override, given: Mapping[str, str]) -> None:
    """Raise ConfigError where a key is removed that an override before sets."""
    key = override.key_or_group
    setters = [name for name in given if name == key or name.startswith(f"{key}.")]
    if setters:
        raise ConfigError(f"~{key}: given together with {setters[0]}={given[setters[0]]}; allowed: one of the two")


def refuse_overlapping(experiments: Sequence[Any], files: Sequence[Path]) -> None:
    """Raise ConfigError where two files of a list of experiments set the same group or key."""
    owner: dict[str, Any] = {}
    for experiment, file in zip(experiments, files, strict=True):
        for key in _keys_set(file):
            if key in owner:
                raise ConfigError(
                    f"experiment: {owner[key]} and {experiment} given, which both set {key}; "
                    f"allowed: one of them; a sweep is experiment={owner[key]},{experiment} with -m"
                )
        owner |= dict.fromkeys(_keys_set(file), experiment)


def overridden_options(path: Path) -> Iterator[tuple[str, Any]]:
    """(group, option) for each `override /group: option` of a file's defaults list; nothing without such a file."""
    loaded = OmegaConf.load(path) if path.is_file() else None
    content = OmegaConf.to_container(loaded, resolve=False) if isinstance(loaded, DictConfig) else {}
    defaults = content.get("defaults") if isinstance(content, dict) else None
    for entry in (entry for entry in defaults or () if isinstance(entry, dict)):
        for key, option in entry.items():
            match = re.fullmatch(r"override +/([\w/]+)", str(key))
            if match:
                yield match[1], option


def listed_options(places: Sequence[Path]) -> Iterator[tuple[str, list[Any]]]:
    """(group, options) for each list of options in the defaults of the first file that exists."""
    path = next((place for place in places if place.is_file()), None)
    loaded = OmegaConf.load(path) if path is not None else None
    content = OmegaConf.to_container(loaded, resolve=False) if isinstance(loaded, DictConfig) else {}
    defaults = content.get("defaults") if isinstance(content, dict) else None
    for entry in (entry for entry in defaults or () if isinstance(entry, dict)):
        for key, option in entry.items():
            if isinstance(option, list):
                yield re.sub(r"^(override +|optional +)*/?", "", str(key)).partition("@")[0], option


def _leaves(override: Override) -> Iterator[tuple[str, str]]:
    """Each dotted key that an override sets, and its value as typed."""
    key = override.key_or_group + (f"@{override.package}" if override.package else "")
    value = None if override.is_sweep_override() else override.value()
    text = (override.input_line or "").partition("=")[2]
    yield from _flatten(key, value) if isinstance(value, dict) and value else [(key, text)]


def _flatten(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flatten(f"{key}.{name}", inner)
    else:
        yield key, str(value)


def _keys_set(file: Path) -> set[str]:
    """The groups and the dotted keys that an experiment's file sets."""
    loaded = OmegaConf.load(file) if file.is_file() else None
    content: Any = OmegaConf.to_container(loaded, resolve=False) if isinstance(loaded, DictConfig) else {}
    keys = {key for name, value in content.items() if name != "defaults" for key, _ in _flatten(str(name), value)}
    return keys | {group for group, _ in overridden_options(file)}
