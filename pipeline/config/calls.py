"""Read initializers with arguments, `constant(0.1)`, and named values, `{hidden: zeros, output: ones}`, as text.

An argument without a name is the option's only one, or its `stddev` or `scale`; as many as the option has are taken in
its order: `random_uniform(-0.1,0.1)`. Hydra takes neither for the option of a group, so both are put into quotes of its
grammar, as the name of an option that `made_options` makes.
"""

import re
from collections.abc import Callable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from pipeline.errors import ConfigError

GROUP = "bias_initializer"
SPREADS = ("stddev", "scale")  # of several arguments, the one that an argument without a name sets

_SWEEPS = ("choice", "sort", "shuffle", "range", "glob", "tag", "interval", "str")  # functions of Hydra's
_CALL = re.compile(r"([A-Za-z_][\w.]*(?:>\w+)?)\s*\(([^()]*)\)")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_PLAIN = re.compile(r"[\w.>+-]+( [\w.>+-]+)*")


def quote_calls(value: str) -> str:
    """Put the calls in a value into quotes of Hydra's grammar, which has no others than its own functions."""

    def quote(match: re.Match[str]) -> str:
        name, arguments = match.groups()
        if name is None or name in _SWEEPS:  # in quotes already, or Hydra's
            return match[0]
        spaceless = "".join(arguments.split())
        return QuotedString(f"{name}({spaceless})", Quote.single).with_quotes()

    return re.sub(rf"{_QUOTED}|{_CALL.pattern}", quote, value)


def quote_mappings(value: str) -> str:
    """Put the outermost `{...}` in a value into quotes, without the spaces and quotes in it that are not needed."""
    parts, depth = [""], 0
    for piece in re.split(rf"({_QUOTED}|\$\{{|[{{}}])", value):
        opens, closes = piece in ("{", "${"), piece == "}"
        if opens and depth == 0:
            parts.append("")
        depth += opens - closes
        parts[-1] += piece
        if closes and depth == 0:
            parts.append("")
    return "".join(_quote_mapping(part) if part.startswith("{") and part.endswith("}") else part for part in parts)


def _quote_mapping(text: str) -> str:
    def shorten(match: re.Match[str]) -> str:
        mark, quoted = match[1], match[0]
        return mark or (quoted[1:-1] if _PLAIN.fullmatch(quoted[1:-1]) else quoted)

    return QuotedString(re.sub(rf"{_QUOTED}|\s*([{{}}\[\]():,=])\s*", shorten, text), Quote.double).with_quotes()


def is_call(option: Any) -> bool:
    """Whether an option has arguments."""
    return isinstance(option, str) and _CALL.fullmatch(option) is not None


def is_mapping(option: Any) -> bool:
    """Whether an option is named values, as text."""
    return isinstance(option, str) and option.startswith("{") and option.endswith("}")


def name_of_call(option: str) -> str:
    """The option of conf/ that a call refers to: `constant` of `constant(0.1)`."""
    return option.partition("(")[0].strip()


def read_mapping(option: str) -> dict[str, Any]:
    """The named values that an option is. Raises ConfigError for text that is none."""
    quoted = re.sub(r"[\w.-]+>[\w.+-]+(?![\w(])", lambda match: f"'{match[0]}'", quote_calls(option))
    try:
        value = OverridesParser.create().parse_override(f"x={quoted}").value()
    except HydraException:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(GROUP, option, "{layer:initializer,...}, or {class_name:...,config:{...}}")
    return value


def as_mapping(call: str) -> str:
    """What a call is as named values: `{class_name:'mine>Focal',config:{gamma:3}}` of `mine>Focal(gamma=3)`."""
    name, text = name_of_call(call), call.partition("(")[2].rpartition(")")[0]
    arguments = [part.partition("=") for part in map(str.strip, text.split(",")) if part]
    config = ",".join(f"{key}:{value}" if equals else f"<argument>:{key}" for key, equals, value in arguments)
    return f"{{class_name:'{name}',config:{{{config}}}}}" if config else f"{{class_name:'{name}'}}"


def arguments_of_call(option: str, known: Callable[[str], list[str]]) -> dict[str, Any]:
    """The arguments of a call, by name. known: the arguments that an option has. Raises ConfigError."""
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
    return _with_names(option, given, named, known(name)) if given else named


def _with_names(option: str, given: list[Any], named: dict[str, Any], arguments: list[str]) -> dict[str, Any]:
    """The arguments of a call, those without a name too."""
    name = name_of_call(option)
    if ">" in name:
        raise ConfigError(GROUP, option, f"{name}(name={given[0]}), since the arguments of a class of yours have names")
    spread = [argument for argument in arguments if argument in SPREADS] if len(arguments) > 1 else arguments
    names = spread if len(given) == 1 else arguments
    if len(names) != len(given) or named.keys() & set(names):
        form = f"{name}({','.join(f'{argument}=...' for argument in arguments)})" if arguments else name
        raise ConfigError(GROUP, option, form)
    return dict(zip(names, given, strict=True)) | named
