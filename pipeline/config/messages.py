"""Explain errors of Hydra and OmegaConf in one line: the key, what was given, what is allowed."""

import re
from typing import Any

from hydra.errors import OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.keras_signatures import constructor_arguments
from pipeline.config.schema import CONF, key_types
from pipeline.errors import ConfigError, closest


def explain_omegaconf(error: OmegaConfBaseException, tree: dict[str, Any], key: str = "") -> str:
    """An OmegaConf error as one line: the key, what was given, what is allowed."""
    message = str(error.msg or error).strip().splitlines()[0]
    key = key or str(error.full_key or error.key or "config")
    unknown = re.match(r"Key '(.+)' not in '(\w+)'", message)
    if unknown:
        known = [f for f in key_types() if f.rpartition(".")[0] == key.rpartition(".")[0]]
        names = [name.rpartition(".")[2] for name in known]
        return f"{key}: no such key; {closest(unknown[1], names)}"
    wrong = re.match(r"(?:Value )?'(.*?)'.*(Integer|Float|Boolean|Bool|bool)", message)
    if wrong:
        allowed = {"Integer": "a whole number", "Float": "a number"}.get(wrong[2], "true or false")
        return f"{key}: {wrong[1]} given; allowed: {allowed}"
    if "not Optional" in message:
        return f"{key}: null given; allowed: a value"
    return f"{key}: {message}"


def explain_refusal(error: Exception, arguments: list[str]) -> str:
    """One line for a request that is refused: the key, what was given, what is allowed. arguments: the command line."""
    message = " ".join(str(error).split())
    if isinstance(error, ConfigError):
        return message
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    null = next((a.split("=")[0] for a in arguments if re.match(rf"({'|'.join(groups)})=(.*,)?null(,|$)", a)), None)
    if null is not None and "Config group override must be" in message:
        is_bias = null == "bias_initializer"
        why = ", since Keras reads it as glorot_uniform" if is_bias else ""
        other = ", or use_bias=false for none" if is_bias else ""
        return f"{null}: null is not a choice{why}; allowed: {', '.join(_choices(null))}{other}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: it cannot be read; allowed: key=value, with lists as [a,b] and no spaces"
    value = re.search(r"Error merging override (\S+?)=", message)
    if value and isinstance(error.__cause__, OmegaConfBaseException):
        return explain_omegaconf(error.__cause__, {}, value[1])
    there = re.search(r"already at '([^']+)'", message)
    if there:
        return f"{there[1]}: it is there already; allowed: {there[1]}=..., without the plus sign"
    unknown = re.search(r"Could not override '([^']+)'", message)
    if unknown and ".config." in unknown[1]:
        return _unknown_argument(unknown[1], arguments)
    if unknown and "No match in the defaults list" in message:
        return f"{unknown[1]}: no such group; {closest(unknown[1], groups)}"
    if unknown:
        return f"{unknown[1]}: no such key; {closest(unknown[1], list(key_types()))}"
    option = re.search(r"Could not find '([^/']+)/([^']+)'", message)
    if option:
        return f"{option[1]}: {option[2]} given; {closest(option[2], _choices(option[1]))}"
    return message[:400]


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _unknown_argument(key: str, arguments: list[str]) -> str:
    """For an argument of a class that its file does not list: the nearest ones, and how to add one."""
    group, name = key.split(".")[0], key.rpartition(".")[2]
    chosen = [a.partition("=")[2] for a in arguments if a.startswith(f"{group}=")]
    default = {"bias_initializer": "zeros", "optimizer": "adam"}.get(group, "")
    path = CONF / group / f"{(chosen or [default])[-1].split(',')[0]}.yaml"
    text = path.read_text() if path.is_file() else ""
    class_name = re.search(r"^class_name: (\w+)", text, re.MULTILINE)
    known = constructor_arguments(f"{group.removeprefix('bias_')}s", class_name[1]) if class_name else {}
    if name in known:
        return f"{key}: its file does not set it; allowed: +{key}=..., which adds it"
    return f"{key}: no such key; {closest(name, sorted(known))}; one that is not in the file is added with +{key}=..."
