"""Parse the `key=value` options of the commands that do not need Hydra."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.encoding import refuse_undecoded
from pipeline.config.schema import DETAILS, LONGEST_WAIT, describe_type
from pipeline.errors import ConfigError, require
from pipeline.installation import command_words

Options = TypeVar("Options")

QUIET = ("--quiet", "-q")  # print only what went wrong


def parse_options(arguments: Sequence[str], options_class: type[Options]) -> Options | None:
    """Fill a dataclass from `key=value` arguments; None if the arguments ask for help (`-h`, `--help`).

    OmegaConf converts each text to its field's type. (`OmegaConf.from_dotlist` is not used because it reads values as
    YAML: a study named 007 would become 7.) An empty value keeps the default; there are no interpolations. Raises
    ConfigError. A word without `=` is a study, where the command takes one; several are one with commas.
    """
    if "-h" in arguments or "--help" in arguments:
        return None
    names = [field.name for field in fields(options_class)]  # type: ignore[arg-type]
    options = OmegaConf.structured(options_class)
    OmegaConf.set_readonly(options, False)  # the dataclasses are frozen
    for argument in arguments:
        refuse_undecoded(argument)
        key, equals, value = argument.partition("=")
        if not equals and "study" in names and not argument.startswith("-"):
            key, equals, value = "study", "=", ",".join(filter(None, [str(options["study"] or ""), argument]))
        if key not in names or not equals:
            last = key.rpartition(".")[2]
            if last != key and last in names:  # under the name that training has for it
                raise ConfigError(f"{key}: no such option; allowed: {last}=...")
            raise ConfigError(f"{argument}: no such option; allowed: {', '.join(f'{name}=...' for name in names)}")
        if not value:
            continue
        require("${" not in value, key, value, "plain text, without ${...}")
        try:
            options[key] = value
        except OmegaConfBaseException as error:
            raise ConfigError(key, value, describe_type(get_type_hints(options_class)[key])) from error
    return OmegaConf.to_object(options)  # type: ignore[return-value]


def check_wait(name: str, seconds: float | None) -> None:
    """Raise ConfigError for a bound that no clock can count; None is no bound."""
    require(seconds is None or 0 <= seconds <= LONGEST_WAIT, name, seconds, f"seconds from 0 to {LONGEST_WAIT}")


def check_detail(name: str, detail: str) -> None:
    """Raise ConfigError for what is no amount of detail that MLflow can get of a study."""
    require(detail in DETAILS, name, detail, f"one of {', '.join(DETAILS)}")


def command_line(command: str, options: Any, study: str) -> str:
    """What to type to run a command (`compare`) on one study with these options; defaults are left out."""
    changed = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    values = {"study": study} | {name: value for name, value in changed.items() if name != "study"}
    typed = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    return shlex.join([*command_words(command), *typed])
