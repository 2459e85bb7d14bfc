"""Sequential models from YAML lists of Keras layers, with every random draw given a seed of its own.

A layer is `{class_name, config}`, as Keras serializes it; wrappers (Bidirectional, TimeDistributed, a nested
Sequential) hold layers of the same form. `complete` writes the study's choice into such a list, `build` makes the
Keras model for one seed. Only `build` imports Keras.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments
from pipeline.config.schema import Config
from pipeline.errors import ConfigError, closest
from pipeline.models.initializers.registry import ONLY_OUTPUT, ONLY_RECURRENT, full_form

Layer = dict[str, Any]

# These run code that a config brings along, or read files: a config must not be able to.
CODE_BEARING = ("Lambda", "Layer", "Wrapper", "Pipeline", "StringLookup", "IntegerLookup", "TextVectorization")
COMMON = ("name", "trainable", "dtype")
POSITIVE = ("units", "filters", "kernel_size", "pool_size", "strides", "depth_multiplier", "groups", "num_heads",
            "key_dim", "input_dim", "output_dim", "n", "dilation_rate")  # fmt: skip
BY_BATCH = "its penalty depends on which rows share a batch; allowed: kernel_regularizer, bias_regularizer of a layer"
REFUSED = {
    "ActivityRegularization": BY_BATCH,
    "SpectralNormalization": "it assigns weights while it is called, which seeds in a stack cannot; allowed: a layer "
    "with kernel_constraint",
}
NESTED = ("layer", "backward_layer", "layers", "cell", "cells")  # arguments that hold layers


def complete_layers(config: Config) -> list[Layer]:
    """The model's layers with names, and with the study's `use_bias` and `bias_initializer` wherever they apply.

    They apply to each layer that takes them, is meant by `bias_layers`, and does not set its own. A layer built
    without a bias has no initializer left, so that settings which train the same model look the same.
    Raises ConfigError for a layer, an argument or a value that Keras would refuse.
    """
    layers = config.model.layers
    if not isinstance(layers, list) or not layers:
        raise ConfigError(f"model.layers: {layers} given; allowed: a list of layers, each {{class_name, config}}")
    layers = [_checked(layer, f"model.layers.{i}", i == len(layers) - 1) for i, layer in enumerate(layers)]
    _name(layers)
    biased = [layer for layer, _ in walk_layers(layers) if "bias_initializer" in layer_arguments(layer)]
    if not biased:
        raise ConfigError(f"model: no layer of {config.model.name} can have a bias; allowed: a model where one can")
    reached = [_choose(layer, config) for layer in _fitting(biased, config)]
    if not any(reached):
        raise ConfigError(
            f"bias_layers: {config.bias_layers} given, but no layer of {config.model.name} takes the choice: there is "
            "none, or it sets its own bias; allowed: layers that leave it open"
        )
    for layer in biased:
        by_axes = "use_bias" not in layer_arguments(layer) and layer["config"].get("bias_axes") is None
        if by_axes or layer["config"].get("use_bias", True) is False:
            layer["config"].pop("bias_initializer", None)
        _check_gates(layer)
    return layers


def _choose(layer: Layer, config: Config) -> bool:
    """Write the study's choice into a layer that leaves it open; whether it did."""
    own, by_switch = layer["config"], "use_bias" in layer_arguments(layer)
    if config.use_bias:
        there = own.get("use_bias", True) if by_switch else own.get("bias_axes") is not None
        reached = there and "bias_initializer" not in own
        own.setdefault("bias_initializer", asdict(config.bias_initializer))
    elif by_switch:
        reached = "use_bias" not in own
        own.setdefault("use_bias", False)
    else:  # EinsumDense says by its axes whether it has a bias
        reached, own["bias_axes"] = own.get("bias_axes") is not None, None
    return reached


def _check_gates(layer: Layer) -> None:
    """Refuse an initializer of gates on a layer without them, and keep Keras' ones off the forget gate."""
    name = layer["config"].get("bias_initializer", {}).get("class_name")
    if name in ONLY_RECURRENT:
        if not _gated(layer):
            raise ConfigError(
                f"bias_initializer: {name} given, but it fills the gates of LSTM and GRU layers, and "
                f"{layer['config']['name']} has none; allowed: a model with such layers, or their names in bias_layers"
            )
        if "unit_forget_bias" in layer_arguments(layer):
            layer["config"].setdefault("unit_forget_bias", False)


def _gated(layer: Layer) -> bool:
    return layer["class_name"].removesuffix("Cell") in ("LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


def bias_initializers(layers: list[Layer]) -> Iterator[tuple[str, str, int]]:
    """(layer path, class of its bias initializer, axes of its bias) for every layer of a completed list with a bias."""
    for layer, path in walk_layers(layers):
        config = layer["config"]
        if "bias_initializer" in config:
            axes = 1 + (layer["class_name"] in ("GRU", "GRUCell") and config.get("reset_after", True))
            if config.get("bias_axes"):  # Keras fills up with axes of length 1 behind the first
                after = str(config.get("equation", "")).partition("->")[2]
                axes = len(after) - min((after.find(axis) for axis in config["bias_axes"]), default=0)
            yield path, config["bias_initializer"]["class_name"], axes


def walk_layers(layers: list[Layer], above: str = "") -> Iterator[tuple[Layer, str]]:
    """Every layer with its path (`encoder/conv`), outer ones before those they hold."""
    for layer in layers:
        path = f"{above}{layer['config']['name']}"
        yield layer, path
        yield from walk_layers(inner_layers(layer), f"{path}/")


def _checked(layer: Any, key: str, is_last: bool = False) -> Layer:
    """A copy of a layer from a file in full form, each argument looked up in Keras' signature."""
    if not isinstance(layer, dict) or not set(layer) <= {"class_name", "config"} or "class_name" not in layer:
        raise ConfigError(f"{key}: {layer} given; allowed: {{class_name: a Keras layer, config: its arguments}}")
    if not isinstance(layer.get("config") or {}, dict):
        raise ConfigError(f"{key}.config: {layer['config']} given; allowed: the layer's arguments, as name: value")
    class_name, config = layer["class_name"], dict(layer.get("config") or {})
    known = [name for name in class_names("layers") if name not in CODE_BEARING] + ["Sequential"]
    if class_name not in known:
        why = "runs code or reads files" if class_name in CODE_BEARING else "is not a Keras layer"
        raise ConfigError(f"{key}.class_name: {class_name} {why}; {closest(str(class_name), known)}")
    if class_name in REFUSED:
        raise ConfigError(f"{key}.class_name: {class_name} given, but {REFUSED[class_name]}")
    arguments = layer_arguments({"class_name": class_name})
    for name, value in config.items():
        if name not in arguments and name not in COMMON:
            names = [*arguments, *COMMON]
            raise ConfigError(f"{key}.config.{name}: {class_name} has no such argument; {closest(str(name), names)}")
        if name == "activity_regularizer" and value is not None:
            raise ConfigError(f"{key}.config.{name}: {value} given, but {BY_BATCH}")
        if name in POSITIVE and not _positive(value):
            raise ConfigError(f"{key}.config.{name}: {value} given; allowed: whole numbers from 1 up")
        if isinstance(arguments.get(name), bool) and not isinstance(value, bool):
            raise ConfigError(f"{key}.config.{name}: {value} given; allowed: true or false")
        if name == "bias_initializer" and value is None:
            raise ConfigError(f"{key}.config.{name}: null given, which Keras reads as glorot_uniform; name one")
        if name in NESTED:
            inner = value if isinstance(value, list) else [value]
            inner = [_checked(v, f"{key}.config.{name}.{i}") for i, v in enumerate(inner)]
            config[name] = inner if isinstance(value, list) else inner[0]
        elif name.endswith("_initializer") and value is not None:
            config[name] = full_form(value, f"{key}.config.{name}")
    for name, default in arguments.items():
        left_open = is_last and (class_name, name) == ("Dense", "units")
        if default is REQUIRED and name not in config and not left_open:
            raise ConfigError(f"{key}.config.{name}: nothing given; {class_name} needs it")
    return {"class_name": class_name, "config": config}


def layer_arguments(layer: Layer) -> dict[str, object]:
    """Constructor arguments of a layer with their defaults."""
    if layer["class_name"] == "Sequential":
        return {"layers": REQUIRED}
    return constructor_arguments("layers", layer["class_name"])


def inner_layers(layer: Layer) -> list[Layer]:
    """The layers that a wrapper, cell or Sequential holds."""
    held = [layer["config"][name] for name in NESTED if name in layer["config"]]
    return [inner for value in held for inner in (value if isinstance(value, list) else [value])]


def _name(layers: list[Layer]) -> None:
    """Give every layer a name of its own: Keras' automatic ones count up within a process."""
    given = Counter(layer["config"]["name"] for layer in layers if layer["config"].get("name") is not None)
    for name, count in given.items():
        if count > 1:
            raise ConfigError(f"model.layers: two layers are named {name}; allowed: a different name for each")
    taken = set(given)
    for layer in layers:
        base = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", layer["class_name"]).lower()
        if layer["config"].get("name") is None:
            candidates = (f"{base}_{i}" if i else base for i in itertools.count())
            layer["config"]["name"] = next(name for name in candidates if name not in taken)
            taken.add(layer["config"]["name"])
        _name(inner_layers(layer))


def _meant(biased: list[Layer], bias_layers: Any) -> list[Layer]:
    """The layers that `bias_layers` means; the last one that can have a bias is the output."""
    if bias_layers == "all":
        return biased
    if bias_layers in ("hidden", "output"):
        return biased[:-1] if bias_layers == "hidden" else biased[-1:]
    names = [layer["config"]["name"] for layer in biased]
    for name in bias_layers:
        if name not in names:
            raise ConfigError(f"bias_layers: no layer {name} that can have a bias; {closest(name, names)}")
    return [layer for layer in biased if layer["config"]["name"] in bias_layers]


def _fitting(biased: list[Layer], config: Config) -> list[Layer]:
    """The layers that `bias_layers` means, and of them only those that the initializer is made for."""
    name, meant = config.bias_initializer.class_name, _meant(biased, config.bias_layers)
    if not config.use_bias or name not in (*ONLY_RECURRENT, *ONLY_OUTPUT):
        return meant
    if name in ONLY_OUTPUT:
        return biased[-1:]
    gated = [layer for layer in meant if _gated(layer)]
    return gated if gated and isinstance(config.bias_layers, str) else meant


def _positive(value: Any) -> bool:
    return all(v is None or (isinstance(v, int) and not isinstance(v, bool) and v >= 1)
               for v in (value if isinstance(value, list) else [value]))  # fmt: skip
