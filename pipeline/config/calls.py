"""A bias initializer with arguments, `constant(0.1)`: an option like those of conf/, made when it is named.

An argument without a name is the option's only one, or its `stddev` or `scale`; as many as the option has are taken in
its order: `random_uniform(-0.1,0.1)`. The option is stored with Hydra, so that it can be swept over like any other.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pipeline.errors import ConfigError

GROUP = "bias_initializer"
SPREADS = ("stddev", "scale")  # of several arguments, the one that an argument without a name sets

_SWEEPS = ("choice", "sort", "shuffle", "range", "glob", "tag", "interval", "str")  # functions of Hydra's
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\(([^()]*)\)")


def quote_calls(value: str) -> str:
    """Put the calls in a value into quotes of Hydra's grammar, which has no others than its own functions."""

    def quote(match: re.Match[str]) -> str:
        name, arguments = match.groups()
        if name is None or name in _SWEEPS:  # in quotes already, or Hydra's
            return match[0]
        spaceless = "".join(arguments.split())
        return QuotedString(f"{name}({spaceless})", Quote.single).with_quotes()

    return re.sub(rf"""'[^']*'|"[^"]*"|{_CALL.pattern}""", quote, value)


def is_call(option: Any) -> bool:
    """Whether an option has arguments."""
    return isinstance(option, str) and _CALL.fullmatch(option) is not None


def name_of_call(option: str) -> str:
    """The option of conf/ that a call refers to: `constant` of `constant(0.1)`."""
    return option.partition("(")[0].strip()


def define_call(option: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Store an option with arguments, so that Hydra finds it, and return the arguments. Raises ConfigError."""
    name, text = name_of_call(option), option.partition("(")[2].removesuffix(")")
    named, given = {}, []
    for argument in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = argument.rpartition("=")
        try:
            parsed = OverridesParser.create().parse_override(f"x={value}").value()
        except HydraException as error:
            raise ConfigError(GROUP, option, f"numbers and words as arguments of {name}") from error
        if not equals:
            given.append(parsed)
        elif key in named:
            raise ConfigError(f"{GROUP}: {option} given, with {key} twice; allowed: once")
        else:
            named[key] = parsed
    if given:
        named = _with_names(option, given, named, _arguments(name, folders))
    node = OmegaConf.create({"defaults": [name, "_self_"], "config": named})
    ConfigStore.instance().store(group=GROUP, name=option, node=node)
    return named


def _with_names(option: str, given: list[Any], named: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """The arguments of a call, those without a name too."""
    name = name_of_call(option)
    spread = [argument for argument in arguments if argument in SPREADS] if len(arguments) > 1 else arguments
    names = spread if len(given) == 1 else arguments
    if len(names) != len(given) or named.keys() & set(names):
        form = f"{name}({','.join(f'{argument}=...' for argument in arguments)})" if arguments else name
        raise ConfigError(GROUP, option, form)
    return dict(zip(names, given, strict=True)) | named


def _arguments(name: str, folders: Sequence[Path]) -> list[str]:
    """The names of the arguments in an option's file, or in the file that it is another name of."""
    content: Any = {}
    seen: set[str] = set()
    while not content.get("config") and name not in seen:
        seen.add(name)
        files = [folder / GROUP / f"{name.removesuffix('.yaml')}.yaml" for folder in folders]
        loaded = next((OmegaConf.load(file) for file in files if file.is_file()), None)
        content = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else {}
        name = next((entry for entry in content.get("defaults") or () if isinstance(entry, str)), name)
    return [str(argument) for argument in content.get("config") or {}]
