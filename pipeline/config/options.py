"""`key=value` options of the commands that need no Hydra."""

from collections.abc import Mapping, Sequence

from pipeline.errors import ConfigError


def parse_options(arguments: Sequence[str], known: Mapping[str, str]) -> dict[str, str] | None:
    """`key=value` arguments over their defaults, for commands that need no Hydra; None when help is asked for."""
    options = dict(known)
    for argument in arguments:
        if argument in ("-h", "--help"):
            return None
        key, equals, value = argument.partition("=")
        if key not in known or not equals:
            raise ConfigError(f"{argument}: no such option; allowed: {', '.join(f'{k}=...' for k in known)}")
        options[key] = value
    return options
