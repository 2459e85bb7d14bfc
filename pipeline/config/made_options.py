"""Options of `bias_initializer` that are no file of conf/: made when they are named, and stored with Hydra.

They have arguments in brackets, `constant(0.1)`; or are a name that other libraries use, `xavier`; or a class of the
user's own, `mine>MyInitializer(value=0.1)`; or named values: `{class_name: ..., config: ...}`, an initializer for each
of some layers, `{hidden: zeros, output: constant(0.1)}`, or both, `{class_name: Ones, layers: {output: zeros}}`. All
can be swept over like the options of conf/.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from pipeline.config.calls import GROUP, arguments_of_call, is_call, is_mapping, name_of_call, read_mapping
from pipeline.config.hints import no_such_option
from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.errors import ConfigError

# What other libraries call these, and PyTorch's default for the biases of Linear and Conv layers.
OTHER_NAMES = {
    "xavier": "glorot_uniform",
    "xavier_uniform": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
    "normal": "random_normal",
    "uniform": "random_uniform",
    "zero": "zeros",
    "one": "ones",
    "pytorch": "fan_in_uniform",
}
KERNEL = "variance_scaling(scale=1/3,mode=fan_in,distribution=uniform)"  # as torch.nn.Linear has it
REST = "zeros"  # what the layers get that a mapping does not name: Keras' default

_MAPPED = "a name, constant(0.1), or {class_name:..., config:...}, as layer:initializer"


def options_of(group: str, folders: Sequence[Path]) -> list[str]:
    """The options of a group that are files in one of the folders."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def make_option(option: str, folders: Sequence[Path]) -> dict[str, Any] | None:
    """Store an option with Hydra if it is one that this module makes; else return None.

    Returns the key of each argument with its value. Raises ConfigError for one that cannot be made.
    """
    if option.removesuffix(".yaml") in options_of(GROUP, folders):
        return None
    if not (is_call(option) or is_mapping(option) or option in OTHER_NAMES or ">" in option):
        return None
    node = initializer_node(read_mapping(option) if is_mapping(option) else option, folders)
    ConfigStore.instance().store(group=GROUP, name=option, node=OmegaConf.create(node))
    if "layers" in node:
        return {f"{GROUP}.layers": node["layers"]}
    given = arguments_of_call(option, lambda name: _arguments(name, folders)) if is_call(option) else node["config"]
    return {f"{GROUP}.config.{name}": value for name, value in given.items()}


def make_optimizer(option: str, options: Sequence[str]) -> bool:
    """Store an optimizer of Keras without a file, `adamw`, as an option with Keras' learning rate, if there is one."""
    plain = option.replace("_", "").lower()
    name = next((name for name in class_names("optimizers") if name.lower() == plain not in options), None)
    rate = constructor_arguments("optimizers", name).get("learning_rate") if name is not None else None
    if not isinstance(rate, float):
        return False
    node = {"class_name": name, "learning_rate": rate, "config": {}, "schedule": None}
    ConfigStore.instance().store(group="optimizer", name=option, node=OmegaConf.create(node))
    return True


def initializer_node(value: Any, folders: Sequence[Path]) -> dict[str, Any]:
    """What a file of the group would hold for an option, named values, or a mapping of layers. Raises ConfigError."""
    rest, named = REST, value
    if isinstance(value, dict) and "class_name" in value and isinstance(value.get("layers"), dict):
        rest, named = {key: inner for key, inner in value.items() if key != "layers"}, value["layers"]
    elif not isinstance(value, dict) or "class_name" in value or not value:
        return initializer_content(value, folders, GROUP)
    layers = {
        str(name): initializer_content(inner, folders, f"{GROUP}: of layer {name}") for name, inner in named.items()
    }
    return initializer_content(rest, folders, GROUP) | ({"layers": layers} if layers else {})


def initializer_content(value: Any, folders: Sequence[Path], key: str) -> dict[str, Any]:
    """`{class_name, config}` of an initializer, given so or as an option of the group. Raises ConfigError.

    key: for messages. The class is not looked up: it may be one of the user's own that is not known yet.
    """
    if isinstance(value, dict):
        config = value.get("config") or {}
        if not set(value) <= {"class_name", "config"} or not isinstance(value.get("class_name"), str):
            raise ConfigError(key, value, _MAPPED)
        if not isinstance(config, dict):
            raise ConfigError(f"{key}.config", config, "named values, {name:value}")
        return {"class_name": value["class_name"], "config": config}
    if not isinstance(value, str):
        raise ConfigError(key, value, "constant(0.1) for a number" if isinstance(value, (int, float)) else _MAPPED)
    name = name_of_call(value) if is_call(value) else value
    if ">" in name:
        return {"class_name": name, "config": arguments_of_call(value, lambda _: []) if is_call(value) else {}}
    options = options_of(GROUP, folders)
    if name.removesuffix(".yaml") not in options:
        name = OTHER_NAMES.get(name, name)
    if name.removesuffix(".yaml") not in options:
        raise no_such_option(GROUP, value, options)
    content = _content(name, folders)
    given = arguments_of_call(value, lambda _: list(content["config"])) if is_call(value) else {}
    return {"class_name": content.get("class_name", ""), "config": content["config"] | given}


def _arguments(name: str, folders: Sequence[Path]) -> list[str]:
    """The names of the arguments in an option's file, or in the file that it is another name of."""
    return [str(argument) for argument in _content(OTHER_NAMES.get(name, name), folders).get("config") or {}]


def _content(name: str, folders: Sequence[Path], seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an option's file sets, with what the files set that it is based on."""
    files = [folder / GROUP / f"{name.removesuffix('.yaml')}.yaml" for folder in folders]
    loaded = next((OmegaConf.load(file) for file in files if file.is_file()), None)
    content: Any = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else {}
    merged: dict[str, Any] = {}
    for base in content.pop("defaults", None) or ():
        if isinstance(base, str) and base not in ("_self_", *seen):
            merged |= _content(base, folders, (*seen, name))
    config = (merged.get("config") or {}) | (content.get("config") or {})
    return merged | content | {"config": config}


def describe_other_names(overrides: Iterable[str]) -> list[str]:
    """Say what initializers are in Keras that overrides name as other libraries do: a line per key."""
    by_key: dict[str, dict[str, str]] = {}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key not in (GROUP, "kernel_initializer") or "class_name" in value:
            continue
        for name in re.findall(r"(?:^|:)[\s'\"]*([A-Za-z_]+)", value):  # of one, or of each layer in a mapping
            if name in OTHER_NAMES:
                known = OTHER_NAMES[name] if (key, name) != ("kernel_initializer", "pytorch") else KERNEL
                by_key.setdefault(key, {})[name] = known
    said = {key: ", ".join(f"{name} is {known}" for name, known in names.items()) for key, names in by_key.items()}
    return [f"{key}: {names}" for key, names in said.items()]
