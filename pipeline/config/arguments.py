"""Read the command line of `python -m pipeline.train`: Hydra's options, `--plan`, `--status`, `-q`, and
overrides, in any order."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra.main import get_args_parser  # pyright: ignore[reportPrivateImportUsage] (there is no public way)

from pipeline.config.encoding import refuse_undecoded
from pipeline.config.familiar import FAMILIAR
from pipeline.config.options import QUIET
from pipeline.config.schema import CONF, key_types
from pipeline.config.spelling import spell_overrides
from pipeline.errors import ConfigError

# Options of Hydra's command line that take the next argument as their value.
OPTIONS_WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir",
                      "-cd", "--experimental-rerun"}  # fmt: skip
SHOWING = ("--plan", "--status")  # ours: they only show something
FLAGS = ("--multirun", "-m", "--run", "-r", *SHOWING, *QUIET, "--resolve", "--help", "-h", "--hydra-help")  # no value
INFO = ("--info", "-i")


@dataclass(frozen=True)
class Arguments:
    """A command line; Hydra refuses options after overrides, so it gets `ordered`.

    options: Hydra's. folders: conf/ and that of `--config-dir`. plan_only: whether `--plan` is given, status_only:
    `--status`. config_name: the file that is composed. only_shows: whether Hydra prints something, `--help` or
    `--cfg job`, and starts no job. may_sweep: whether several values of a key may be a sweep. given: the words as they
    were typed.
    quiet: whether `-q` is given.
    """

    options: list[str]
    overrides: list[str]
    folders: list[Path]
    plan_only: bool
    status_only: bool
    config_name: str
    only_shows: bool
    may_sweep: bool
    given: tuple[str, ...]
    quiet: bool

    @property
    def ordered(self) -> list[str]:
        """The arguments for Hydra: options, then overrides."""
        return [*self.options, *self.overrides]


def read_arguments(given: Sequence[str]) -> Arguments:
    """Split a command line, and check its options. Raises ConfigError for an option that does not exist or fit."""
    options, overrides, rest = [], [], list(given)
    while rest:
        argument = rest.pop(0)
        refuse_undecoded(argument)
        _refuse_disguised(argument, rest[0] if rest else "...")
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in OPTIONS_WITH_VALUE and rest:
            options.append(rest.pop(0))
        elif argument in INFO:  # takes the next argument if that is a single word
            options[-1] = f"--info={rest.pop(0) if rest and re.fullmatch('[a-z-]+', rest[0]) else 'all'}"
    showing = [option for option in SHOWING if option in options]
    if len(showing) > 1:
        raise ConfigError(f"{' and '.join(showing)}: given together; allowed: one of them")
    quiet = next((option for option in options if option in QUIET), "")
    options = [option for option in options if option not in (*SHOWING, *QUIET)]
    parsed = _parse_options(options)
    may_sweep = _may_sweep(parsed, overrides)
    overrides = spell_overrides(overrides, may_sweep)
    folders = [CONF] if parsed.config_dir is None else [CONF, Path(parsed.config_dir)]
    shown = any((parsed.help, parsed.hydra_help, parsed.cfg, parsed.info))
    if quiet and (shown or showing):
        raise ConfigError(f"{quiet}: given for a command that only shows something; allowed: the command without it")
    name = parsed.config_name or "config"
    return Arguments(
        options,
        overrides,
        folders,
        "--plan" in showing,
        "--status" in showing,
        name,
        shown,
        may_sweep,
        tuple(given),
        bool(quiet),
    )


def _may_sweep(parsed: argparse.Namespace, overrides: Sequence[str]) -> bool:
    """Whether the command may be a sweep: `-m` is given, or what is chosen can set `hydra.mode`."""
    setting = any(override.lstrip("+").startswith(("hydra.mode=", "experiment=")) for override in overrides)
    return bool(parsed.multirun) or setting or parsed.config_name is not None


def _refuse_disguised(argument: str, following: str) -> None:
    """Raise ConfigError for a value of an option that has none, and for a setting written like an option."""
    option, equals, value = argument.partition("=")
    if option in FLAGS and equals:
        rest = f" {shlex.quote(value)}" if "=" in value else " alone"
        raise ConfigError(f"{argument}: {option} takes no value; allowed: {option}{rest}")
    name = option.lstrip("-").replace("-", "_")
    ends = [known for known in key_types() if known.endswith(f".{name}")]
    key = name if name in key_types() else ends[0] if len(ends) == 1 else None
    if option.startswith("--") and key is None and name in FAMILIAR:
        raise ConfigError(f"{argument}: settings have no dashes; allowed: {FAMILIAR[name]}")
    if option.startswith("--") and key is not None:
        word = shlex.quote(f"{key}={value if equals else following}")
        raise ConfigError(f"{argument}: settings have no dashes; allowed: {word}")


def _parse_options(options: list[str]) -> argparse.Namespace:
    """Parse Hydra's options, and refuse what Hydra would answer with its usage text or with a traceback."""
    parser: argparse.ArgumentParser = get_args_parser()
    parser.allow_abbrev = False
    parser.error = _refuse  # type: ignore[method-assign]
    parsed = parser.parse_args(options)
    if parsed.overrides or "--" in options:  # -5 is no option for argparse
        _refuse(f"unrecognized arguments: {' '.join(parsed.overrides) or '--'}")
    if parsed.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: not supported; allowed: the same command again, which goes on")
    if parsed.config_path is not None:
        raise ConfigError("--config-path", parsed.config_path, "--config-dir, which adds to the settings of conf/")
    if parsed.shell_completion:  # Hydra's takes `-m` of `python -m` for a file
        raise ConfigError('--shell-completion: not supported; allowed: eval "$(python -m pipeline.complete bash)"')
    commands = {"--run": parsed.run, "--multirun": parsed.multirun, "--cfg": parsed.cfg, "--info": parsed.info}
    chosen = [name for name, value in commands.items() if value]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)}: given together; allowed: one of them")
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        raise ConfigError("--config-dir", parsed.config_dir, "a folder that exists")
    if parsed.package is not None and not parsed.cfg:  # -plan is -p lan to argparse
        raise ConfigError("--package", parsed.package, "--plan, or --package with --cfg job")
    if parsed.resolve and not (parsed.cfg or parsed.help):
        raise ConfigError("--resolve: given alone; allowed: with --cfg job")
    return parsed


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; allowed: --plan, --status, -q, and the options that --hydra-help shows")
