"""Resolve the interpolations of a composed config, `${key}` and `${resolver:...}`.

A config may come from elsewhere, and settings end up in folder names, run.json and MLflow. So what lies outside of the
settings, above all the environment with its passwords, is read only for keys that name a place and are stored nowhere.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from pipeline.config.schema import PATHS
from pipeline.errors import ConfigError

OUTSIDE = ("oc.env", "hydra", "now")  # resolvers that read the environment, Hydra's own config, and the clock
COMPUTED = ("hydra.overrides", "hydra.job.override_dirname", "hydra.runtime")  # by Hydra, from what was typed
# data.name of conf/data/file.yaml, model.name of conf/model/file.yaml: the names of files, which must exist
FILE_NAMES = {f"{group}.name": f"${{file_stem:${{{group}.path}}}}" for group in ("data", "model")}


def resolve_settings(raw: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    """The settings with all interpolations resolved. raw: the config as composed. groups: the keys that hold keys.

    Raises ConfigError for what cannot be resolved, and for what would read more than the settings.
    """
    tree = OmegaConf.create(dict(raw))
    given = {name: value for name, value in raw.items() if name not in groups}
    given |= {f"{group}.{name}": value for group in groups for name, value in raw[group].items()}
    values = {key: _resolve(tree, key, given[key]) for key in PATHS if key in given}
    for key, name in FILE_NAMES.items():
        if given.get(key) == name:
            values[key] = _resolve(tree, key, name)
            OmegaConf.update(tree, key, values[key])
    values |= {key: value for key, value in given.items() if key not in values and not _has_interpolation(value)}
    others = [key for key in given if key not in values]
    others.sort(key=lambda key: not any(f"{r}:" in str(given[key]) for r in OUTSIDE))
    with _closed(OUTSIDE):  # those first that hold the reference themselves, to be the ones that are named
        values |= {key: _resolve(tree, key, given[key]) for key in others}
    nested = {group: {name: values.pop(f"{group}.{name}") for name in raw[group]} for group in groups}
    return values | nested


def refuse_environment(config: DictConfig, but: Collection[str] = ()) -> None:
    """Raise ConfigError where a key of Hydra's own, `hydra.*`, reads the environment, itself or by another key.

    config: as composed, Hydra's own included. What else cannot be resolved yet, such as the number of a job, is none of
    this check's business. but: keys that are not looked at.
    """
    with _closed(("oc.env",)):
        for key, node, name in _interpolations(config.hydra, "hydra", {*COMPUTED, *but}):
            try:
                node[name]
            except (OmegaConfBaseException, _OutsideError) as error:
                if (resolver := _outside_resolver(error)) is not None:
                    raise outside_refused(key, OmegaConf.to_container(node)[name], resolver) from error  # type: ignore[index]


def _has_interpolation(value: Any) -> bool:
    """Whether a plain value has an interpolation at any depth, or a text that may be one."""
    if isinstance(value, dict):
        return any(map(_has_interpolation, value.values()))
    return any(map(_has_interpolation, value)) if isinstance(value, list) else "${" in str(value)


def _interpolations(node: Any, key: str, but: Collection[str]) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, the node it is in, its name there) of each value with an interpolation, at any depth."""
    for name in range(len(node)) if OmegaConf.is_list(node) else list(node):
        path = f"{key}.{name}"
        if path in but or OmegaConf.is_missing(node, name):
            continue
        if OmegaConf.is_interpolation(node, name):
            yield path, node, name
        elif OmegaConf.is_config(node[name]) and node[name] is not None:
            yield from _interpolations(node[name], path, but)


def outside_refused(key: str, given: Any, resolver: str) -> ConfigError:
    """The refusal of a value that reads more than the settings, by this resolver."""
    return ConfigError(key, given, f"that only in {', '.join(PATHS)}", reason=f"which reads ${{{resolver}:...}}")


class _OutsideError(Exception):
    """An interpolation that reads more than the settings."""


def _resolve(tree: DictConfig, key: str, given: Any) -> Any:
    """The plain value of a dotted key that is given as `given`. Raises ConfigError."""
    try:
        value = OmegaConf.select(tree, key)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        if (resolver := _outside_resolver(error)) is not None:
            raise outside_refused(key, given, resolver) from error
        reason = (str(error.msg).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{key}: {given} given, which cannot be resolved: {reason}") from error


def _outside_resolver(error: BaseException) -> str | None:
    """The resolver that was refused within `_closed`, if that is the error's cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _OutsideError):
        cause = cause.__cause__ or cause.__context__
    return None if cause is None else str(cause)


@contextmanager
def _closed(resolvers: Sequence[str]) -> Iterator[None]:
    """Within the context, interpolations with these resolvers fail."""

    def refuse(name: str, *_: object) -> NoReturn:
        raise _OutsideError(name)

    for name in resolvers:
        OmegaConf.register_new_resolver(name, partial(refuse, name), replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
        setup_globals()  # registers Hydra's
