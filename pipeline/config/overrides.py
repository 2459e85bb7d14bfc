"""Check the overrides of a command line before Hydra composes a config from them.

The known groups and options are the folders and files of conf/; the known keys and their types are the dataclasses of
`pipeline.config.schema`. What cannot be known here (interpolations, Hydra's own keys) is left to Hydra.
"""

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.arguments import Arguments
from pipeline.config.calls import GROUP
from pipeline.config.hints import no_such_option
from pipeline.config.interpolation import outside_refused
from pipeline.config.load import null_initializer, structured_schema
from pipeline.config.made_options import make_optimizer, make_option, options_of
from pipeline.config.messages import as_refusal, explain_omegaconf, unknown_key, unreadable, without_sweep
from pipeline.config.repeated import listed_options, overridden_options, refuse_overlapping, refuse_repeated
from pipeline.config.schema import CONF, Settings, is_nullable, is_open, key_types
from pipeline.config.spelling import spell_overrides
from pipeline.errors import ConfigError, closest, require
from pipeline.installation import command_text

HYDRA_GROUPS = ("hydra.launcher", "hydra.sweeper", "hydra.job_logging", "hydra.hydra_logging")
MOST_JOBS = 10_000  # of a sweep: each is composed and checked before the first one starts


def validate_overrides(overrides: Sequence[str], folders: Sequence[Path] = (CONF,)) -> None:
    """Raise ConfigError for the first override that Hydra would refuse, or that names or sets something unknown.

    folders: conf/ and that of `--config-dir`, which adds groups and options. Hydra's own keys (`hydra.*`) are checked
    when they are composed, except the callback that checks all others. Composes nothing, imports no TensorFlow.
    """
    parsed = parse_overrides(overrides)
    refuse_repeated(parsed, define_calls(parsed, folders))
    _refuse_lists(parsed, folders)
    for override in parsed:
        if re.match(r"hydra\.callbacks(\.validate_jobs|$)|hydra$", override.key_or_group):
            raise ConfigError(f"{override.input_line}: {override.key_or_group} cannot be set; allowed: other keys")
        if override.key_or_group in HYDRA_GROUPS and isinstance(value := next(_values(override), None), str):
            group = override.key_or_group.replace(".", "/")
            raise ConfigError(override.key_or_group, value, f"{group}={value}, with a slash")
        given = (override.input_line or "").partition("=")[2]
        if re.match(r"hydra[./]", override.key_or_group) and "oc.env" in given:
            raise outside_refused(override.key_or_group, given, "oc.env")  # here, since Hydra shows a group's value
        if override.key_or_group == "hydra.verbose":
            for value in _values(override):
                check_verbose(value)
    schema = structured_schema(Settings)
    searched = any(override.key_or_group == "hydra.searchpath" for override in parsed)
    for override in [] if searched else parsed:  # any package may hold further options
        if override.is_hydra_override() or override.key_or_group == "hydra":
            continue
        if override.key_or_group in _groups(folders) and not any(isinstance(v, dict) for v in _values(override)):
            _check_group(override, folders)
        else:
            _check_key(override, schema, folders)


def refuse_unswept(arguments: Arguments) -> None:
    """Raise ConfigError for several values of a key without `-m`, with the whole command to type."""
    for override in [] if arguments.may_sweep else parse_overrides(arguments.overrides):
        if override.is_sweep_override() and not override.is_hydra_override():
            key = override.get_key_element()
            typed = next((word for word in arguments.given if word.startswith(f"{key}=")), f"{key}=")
            command = f"{command_text('train')} -m {shlex.join(arguments.given)}"
            raise without_sweep(key, typed.partition("=")[2], command)


def refuse_listed_defaults(arguments: Arguments) -> None:
    """Raise ConfigError where the file of `--config-name` lists several options of a group: the last would count."""
    name = arguments.config_name.removesuffix(".yaml")
    for group, option in listed_options([folder / f"{name}.yaml" for folder in reversed(arguments.folders)]):
        if group in _groups(arguments.folders) and group != "experiment":
            error = no_such_option(group, option, options_of(group, arguments.folders))
            raise ConfigError(f"defaults of {name}.yaml: {error}")


def define_calls(parsed: Sequence[Override], folders: Sequence[Path] = (CONF,)) -> dict[str, str]:
    """Make the options that are no files, such as `constant(0.1)`, that overrides name. Raises ConfigError.

    Returns the key and the value of each argument.
    """
    keys: dict[str, str] = {}
    for override in parsed:
        for option in _initializers(override):
            keys |= {key: str(value) for key, value in (make_option(option, folders) or {}).items()}
    return keys


def spell_sweep(params: Mapping[str, Any]) -> dict[str, Any]:
    """The default sweep of a file of settings, `hydra.sweeper.params`, as Hydra has to get it. Raises ConfigError."""
    spelled = [word.partition("=") for word in spell_overrides([f"{k}={v}" for k, v in params.items()], is_sweep=True)]
    parsed = parse_overrides(["".join(word) for word in spelled])
    _refuse_lists(parsed, (CONF,))
    define_calls(parsed)
    return {key: params[key] if value == str(params[key]) else value for key, _, value in spelled}


def _refuse_lists(parsed: Sequence[Override], folders: Sequence[Path]) -> None:
    """Refuse a list of options for a group, of which Hydra would take the last; several experiments are meant to be."""
    for override in parsed:
        group = override.key_or_group
        if group != "experiment" and (group in _groups(folders) or group.startswith("hydra/")):
            for value in _values(override):
                if isinstance(value, list):
                    raise no_such_option(group, value, options_of(group, folders))


def check_verbose(value: Any) -> None:
    """Raise ConfigError for a value of `hydra.verbose` that Hydra takes for granted not to come."""
    named = all(isinstance(name, str) for name in (value if isinstance(value, list) else [value]))
    require(isinstance(value, bool) or named, "hydra.verbose", value, "true, false, or names of loggers")


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse each override by Hydra's grammar. Raises ConfigError."""
    hydra = GlobalHydra.instance()
    parser = OverridesParser.create(hydra.config_loader() if hydra.is_initialized() else None)  # which knows glob(*)
    try:
        return parser.parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise unreadable(error.override) from error


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a sweep, in the order and the form of Hydra's basic sweeper.

    Raises ConfigError for a sweep that has no job, or more than `MOST_JOBS`.
    """
    choices: dict[str, list[str]] = {}
    for override in parse_overrides(overrides):
        key = override.get_key_element()
        if override.is_discrete_sweep():
            values = list(itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1))
        elif override.is_delete():
            raise ConfigError(f"{override.input_line}: given for a sweep; allowed: for a single job, without -m")
        elif override.is_sweep_override():
            raise ConfigError(key, override.get_value_string(), "values to sweep over: a,b or range(1,5)")
        else:
            values = [override.get_value_element_as_str()]
        choices[key] = [f"{key}={value}" for value in values]
        _require_jobs(math.prod(map(len, choices.values())), override)
    return [list(job) for job in itertools.product(*choices.values())]


def as_named_refusal(error: Exception, overrides: Sequence[str]) -> Exception:
    """`as_refusal`, and where that does not help, the first override that Hydra cannot even compose alone."""
    refusal = as_refusal(error)
    if isinstance(refusal, ConfigError):
        return refusal
    initialized = GlobalHydra.instance().is_initialized()
    with nullcontext() if initialized else initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        for override in overrides:
            try:
                compose("config", expand_sweep([override])[0], return_hydra_config=True)
            except Exception as cause:
                named = as_refusal(cause)
                return named if isinstance(named, ConfigError) else ConfigError(f"{override}: {cause}")
    return error


def _require_jobs(jobs: int, override: Override) -> None:
    """Refuse a sweep that has no job, or more than can be checked."""
    allowed = f"a sweep of 1 to {MOST_JOBS:,} jobs"
    require(0 < jobs <= MOST_JOBS, override.key_or_group, override.get_value_string(), allowed)


def _groups(folders: Sequence[Path]) -> list[str]:
    return sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()})


def _values(override: Override) -> Iterator[Any]:
    """The value of an override, or each value of a sweep; nothing for what only Hydra can enumerate."""
    if not override.is_sweep_override():
        yield override.value()
    elif override.is_discrete_sweep() and override.value_type != ValueType.GLOB_CHOICE_SWEEP:
        values = list(itertools.islice(override.sweep_string_iterator(), MOST_JOBS + 1))
        _require_jobs(len(values), override)
        texts = [f"{override.key_or_group}={value}" for value in values]
        yield from (single.value() for single in parse_overrides(texts))  # parsed again, for values in quotes


def _initializers(override: Override) -> Iterator[str]:
    if override.key_or_group == GROUP and not override.is_delete():
        yield from (value for value in _values(override) if isinstance(value, str))


def _check_group(override: Override, folders: Sequence[Path]) -> None:
    group = override.key_or_group
    is_default = override.package is None and (CONF / group).is_dir()
    if override.is_delete() and group in key_types():
        instead = "use_bias=false for none, or " if group == GROUP else ""
        raise ConfigError(f"~{group}: a run needs one; allowed: {instead}{group}=...")
    if is_default and override.type in (OverrideType.ADD, OverrideType.FORCE_ADD):
        raise ConfigError(f"+{group}: the group has its option already; allowed: {group}=..., without the plus sign")
    if override.package is not None and override.package.split(".")[0] not in (*key_types(), "_global_", "_group_"):
        raise unknown_key(override.package)
    for value in _values(override):
        if value is None and override.is_delete():
            continue
        require(isinstance(value, str) or not override.is_delete(), f"~{group}", value, "the name of its option")
        several = group == "experiment" and isinstance(value, list) and value
        for option in several or [value]:
            _check_option(group, option, folders)
            if group == "experiment":
                _check_experiment(option, folders)
        if several:
            refuse_overlapping(several, [_experiment_file(option, folders) for option in several])


def _check_option(key: str, option: Any, folders: Sequence[Path], where: str = "") -> None:
    """Raise ConfigError unless the option's file is in one of the folders."""
    options = options_of(key, folders)
    if isinstance(option, str) and option.removesuffix(".yaml") in options:
        return
    if key == GROUP and isinstance(option, str) and make_option(option, folders) is not None:
        return
    if key == "optimizer" and isinstance(option, str) and make_optimizer(option, options):
        return
    if key == GROUP and option is None:
        raise null_initializer()
    if where or option is None:
        raise ConfigError(f"{where}{key}", option, ", ".join(options) if option is None else options)
    raise no_such_option(key, option, options)


def _check_experiment(experiment: Any, folders: Sequence[Path]) -> None:
    """Check the `override /group: option` lines of an experiment's file."""
    path = _experiment_file(experiment, folders)
    seen: dict[str, Any] = {}
    for group, option in overridden_options(path):
        where = f"override / in {path.name}: "
        if group in seen:
            raise ConfigError(f"{where}{group}: given twice, {seen[group]} and {option}; allowed: once")
        seen[group] = option
        if "${" in str(option):
            raise ConfigError(f"{where}{group}", option, "the name of an option, without ${...}")
        if group.startswith("hydra/"):  # Hydra's own
            continue
        if group not in _groups(folders):
            raise ConfigError(f"{where}{group}: no such group; {closest(group, _groups(folders))}")
        _check_option(group, option, folders, where)


def _experiment_file(experiment: Any, folders: Sequence[Path]) -> Path:
    """The file of an experiment: of several, the one that Hydra takes."""
    files = [folder / "experiment" / f"{str(experiment).removesuffix('.yaml')}.yaml" for folder in folders]
    return next((file for file in files if file.is_file()), files[0])


def _check_key(override: Override, schema: DictConfig, folders: Sequence[Path]) -> None:
    """Check a setting's key, and its values against the type that the schema gives the key."""
    key, types = override.key_or_group, key_types()
    if key not in types:
        if not any(is_open(hint) for known, hint in types.items() if key.startswith(f"{known}.")):
            raise unknown_key(key, _groups(folders))
        return
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise ConfigError(key, override.get_value_string(), "values: glob chooses among the options of a group")
    if override.is_delete():
        raise ConfigError(f"~{key}: it cannot be removed; allowed: {key}=...")
    for value in _values(override):
        if override.is_add() and not isinstance(value, (dict, list)) and not is_nullable(types[key]):
            raise ConfigError(f"+{key}: the key exists already; allowed: {key}=..., without the plus sign")
        if "${" not in str(value):
            try:
                OmegaConf.update(schema, key, value)
            except OmegaConfBaseException as error:
                raise explain_omegaconf(error) from error
