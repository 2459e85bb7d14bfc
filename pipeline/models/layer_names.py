"""Names of layers that have none: Keras' automatic ones count up within a process, so they would not be stable."""

import itertools
import re
from collections import Counter
from typing import Any

from pipeline.biases.snake_case import snake_case as keras_snake_case
from pipeline.errors import ConfigError

NESTED = ("layer", "backward_layer", "layers", "cell", "cells")  # arguments that hold layers


def name_layers(layers: list[dict[str, Any]]) -> None:
    """Name every layer that has no name after its class, in order: `dense`, `dense_1`, ..., also within layers."""
    names = Counter(layer["config"]["name"] for layer in layers if layer["config"].get("name") is not None)
    for name, count in names.items():
        if count > 1:
            raise ConfigError(f"model.layers: two layers are named {name}; allowed: a different name for each")
    taken = set(names)
    for layer in layers:
        config = layer["config"]
        if config.get("name") is None:
            snake_case = _snake_case(layer["class_name"])
            candidates = (f"{snake_case}_{i}" if i else snake_case for i in itertools.count())
            config["name"] = next(name for name in candidates if name not in taken)
            taken.add(config["name"])
        name_layers(inner_layers(layer))


def inner_layers(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers that a wrapper, an RNN layer or a model holds directly."""
    config = layer["config"]
    return [inner for name in NESTED if config.get(name) is not None for inner in as_list(config[name])]


def as_list(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one: a wrapper holds one layer or several."""
    return value if isinstance(value, list) else [value]


def is_automatic(name: Any, class_name: str) -> bool:
    """Whether a layer has a name that Keras gives to one without a name, such as `dense_5`."""
    stem = keras_snake_case(class_name.split(">")[-1])
    return isinstance(name, str) and re.fullmatch(rf"{re.escape(stem)}(_\d+)?", name) is not None


def _snake_case(class_name: str) -> str:
    name = class_name.split(">")[-1]  # of a registered class, without its package
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
