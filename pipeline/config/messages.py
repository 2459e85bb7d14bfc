"""Explain errors of Hydra and OmegaConf in one line: the key, what was given, what is allowed.

Most mistakes are found by `pipeline.config.overrides` before Hydra sees them. What is left, such as a wrong value in a
file of conf/, is explained by an error's class and public attributes; an unknown error keeps its own words.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import YAMLError, safe_load

from pipeline.config.familiar import FAMILIAR
from pipeline.config.schema import CONF, describe_type, is_open, key_types
from pipeline.errors import ConfigError, closest
from pipeline.installation import IS_CLONE

# Launchers that are packages of their own, and the command that installs each.
LAUNCHERS = {
    name: f"{'uv ' * IS_CLONE}pip install hydra-{name.partition('_')[0]}-launcher"
    for name in ("submitit_local", "submitit_slurm", "ray", "ray_aws", "rq")
}
_UNSWEPT = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '([^=']+)=(.*?)'(?:\s|$)", re.DOTALL)
NAMES = ("data.target", "data.features", "data.drop", "data.split_by")  # keys of names that a file has, of any letters


def as_refusal(error: Exception) -> Exception:
    """An error that ends a request before its first job, as a ConfigError; one that no one foresaw as it is."""
    for cause in _chain(error):
        if isinstance(cause, ConfigError):
            return cause
        if isinstance(cause, (ConfigKeyError, ConfigAttributeError, ValidationError)) and cause.full_key:
            return explain_omegaconf(cause)
        if isinstance(cause, MissingConfigException) and "/" in (cause.missing_cfg_file or ""):
            group, _, option = str(cause.missing_cfg_file).rpartition("/")
            if group == "hydra/launcher" and option in LAUNCHERS:
                install, reason = LAUNCHERS[option], "whose plugin is not installed"
                return ConfigError(group, option, f"it after {install}; or the command without it", reason=reason)
            options = cause.options or sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            return ConfigError(group, option, [name for name in options if name not in LAUNCHERS])
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            return ConfigError(
                "--config-name", cause.missing_cfg_file, "config, or a file in the folder of --config-dir"
            )
        if isinstance(cause, OverrideParseException):
            return unreadable(cause.override)
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            key = re.sub(r"\[(\d+)\]", r".\1", str(cause.full_key))
            return ConfigError(f"{key}: {str(cause.msg).strip().splitlines()[0]}")
        if isinstance(cause, HydraException) and (unswept := _UNSWEPT.match(str(cause))):
            return without_sweep(*unswept.groups())
    if isinstance(error, (HydraException, OmegaConfBaseException, YAMLError)):
        return ConfigError(str(error) or type(error).__name__)
    return error


def explain_omegaconf(error: OmegaConfBaseException, value: Any = None) -> ConfigError:
    """An error of OmegaConf in the project's words; `value` is what the key holds, where the error does not say."""
    key = re.sub(r"\[(\d+)\]", r".\1", str(error.full_key or error.key))  # an index is typed as model.layers.0
    if isinstance(error, (ConfigKeyError, ConfigAttributeError)):
        return unknown_key(key if key.endswith(str(error.key)) else f"{key}.{error.key}")
    if isinstance(error, ValidationError) and key in key_types():
        return ConfigError(key, error.value, describe_type(key_types()[key]))
    reason = str(error.msg).strip().splitlines()[0]  # of interpolations, and keys of Hydra's, only OmegaConf knows
    if isinstance(error, ValidationError):
        return ConfigError(f"{key}: {reason}")
    return ConfigError(f"{key}: {'null' if value is None else value} given, which cannot be resolved: {reason}")


def unknown_key(key: str, groups: Sequence[str] = ()) -> ConfigError:
    """The error for a key that does not exist, with the nearest keys and groups that do."""
    types = key_types()
    if key.startswith("hydra.launcher."):
        return ConfigError(f"{key}: no such key; {_nearest_of_launchers(key.split('.')[2])}")
    if key.startswith("hydra."):
        return ConfigError(f"{key}: no such key; allowed: the keys that --cfg hydra shows")
    if any(is_open(hint) for known, hint in types.items() if key.startswith(f"{known}.")):
        return ConfigError(f"{key}: no such key; allowed: +{key}=..., which adds it")
    group, _, name = key.rpartition(".")
    if name in FAMILIAR:
        return ConfigError(f"{key}: no such key; allowed: {FAMILIAR[name]}")
    same = [known for known in types if known.rpartition(".")[2] == name and known != name]
    if not group and same:
        return ConfigError(f"{key}: no such key; nearest: {', '.join(same)}")
    siblings = [known for known in types if group and known.startswith(f"{group}.")]
    alike = [known for known in types if get_close_matches(name, [known.rpartition(".")[2]], cutoff=0.8)]
    top = [known for known in types if "." not in known]
    return ConfigError(f"{key}: no such key; {closest(key, siblings or list(dict.fromkeys([*top, *groups, *alike])))}")


def _nearest_of_launchers(name: str) -> str:
    """Which launcher has the key of this name, or one like it."""
    launchers: dict[str, list[str]] = {}
    for path in sorted((CONF / "hydra" / "launcher").glob("*.yaml")):
        for key in safe_load(path.read_text()).keys() - {"_target_"}:
            launchers.setdefault(key, []).append(f"hydra/launcher={path.stem}")
    if name in launchers:
        return f"allowed: with {' or '.join(launchers[name])}"
    for near in get_close_matches(name, launchers, n=1):
        return f"nearest: hydra.launcher.{near}, of {' and '.join(launchers[near])}"
    return "allowed: with a launcher that has it; conf/hydra/launcher has their keys"


def without_sweep(key: str, value: str, command: str = "") -> ConfigError:
    """The error for several values of a key without `-m`. command: the whole command with `-m`, where it is known."""
    if key == "seeds":
        return ConfigError(key, value, "a count, seeds=10 for the seeds 0 to 9, or a list, seeds=[1,2,3]")
    to_type = command or "-m " + shlex.quote(f"{key}={value}")
    if key in NAMES:
        one = shlex.quote(f'{key}="{value}"')
        allowed = f"a list, {key}=[{value}]; one name with commas, {one}; or a sweep,"
        return ConfigError(key, value, allowed, to_type=to_type)
    takes_list = is_open(key_types().get(key)) and key != "kernel_initializer" and "(" not in value
    as_list = f"; a list is {key}=[{value}]" if takes_list else ""
    return ConfigError(f"{key}: {value} given without -m; allowed: one value{as_list}; a sweep is", to_type=to_type)


def unreadable(override: str) -> ConfigError:
    """The error for an override outside of Hydra's grammar."""
    key, _, value = (override or "").partition("=")
    is_text = key.lstrip("+").startswith("hydra.") or key in NAMES or key_types().get(key) in (str, str | None)
    allowed = "key=value, with lists as [a,b] and without spaces"
    if is_text and value and not {'"', "\\"} & set(value):
        allowed = shlex.quote(f'{key}="{value}"') + ", in quotes of both kinds, or a list [a,b]"
    return ConfigError(f"{override or repr(override)}: cannot be parsed; allowed: {allowed}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes. Hydra raises its errors in the place of OmegaConf's, often without `from`."""
    while error is not None:
        yield error
        error = error.__cause__ or (error.__context__ if isinstance(error, HydraException) else None)
