"""Check a model's layers, and write the study's bias choice into them (imports no Keras).

A layer is `{class_name, config}`, as Keras serializes it; wrappers (Bidirectional, TimeDistributed, a nested
Sequential) hold layers of the same form. A list of one `Functional` is a Functional model, see `functional.py`.
`complete_layers` makes a list that `build.py` turns into a Keras model.
"""

import copy
from collections.abc import Iterator
from typing import Any

from pipeline.config.hints import no_such_class
from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments, layer_settings
from pipeline.config.naming import initializer_name
from pipeline.config.schema import Config
from pipeline.config.user_classes import full_name
from pipeline.errors import ConfigError, closest
from pipeline.models.adapted import check_state
from pipeline.models.functional import (
    ENDS,
    check_nodes,
    check_operation,
    check_references,
    is_functional_model,
    refuse_code,
    top_layers,
)
from pipeline.models.initializers.per_layer import layer_initializers
from pipeline.models.initializers.registry import full_form, kernel_form, only_for_gates, only_for_output
from pipeline.models.layer_names import NESTED, as_list, inner_layers, name_layers
from pipeline.models.source import declares_input, layers_key, model_layers

Layer = dict[str, Any]

# These run code from their config, or read files; a config must not be able to.
CODE_BEARING = ("Lambda", "Layer", "Wrapper", "Pipeline", "StringLookup", "IntegerLookup", "TextVectorization")
COMMON = ("name", "trainable", "dtype")  # arguments of every layer
POSITIVE = ("units", "filters", "kernel_size", "pool_size", "strides", "depth_multiplier", "groups", "num_heads",
            "key_dim", "input_dim", "output_dim", "n", "dilation_rate")  # fmt: skip
BY_BATCH = "its penalty depends on which rows share a batch; allowed: kernel_regularizer, bias_regularizer of a layer"
REFUSED = {
    **dict.fromkeys(CODE_BEARING, "it runs code or reads files; allowed: other layers of Keras"),
    "ActivityRegularization": BY_BATCH,
    "SpectralNormalization": "it assigns weights while called, which a stack cannot; allowed: a kernel_constraint",
}
GATED = ("LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")  # and the cells of these names


def complete_layers(config: Config) -> list[Layer]:
    """The model's layers in full form, named, with the study's `use_bias` and `bias_initializer` where they apply.

    The choice applies to each layer that can have a bias, is selected by `bias_layers`, and does not set its own. A
    layer built without a bias keeps no initializer, so that settings which train the same model look the same.
    Raises ConfigError for a layer, an argument or a value that Keras would refuse, and for a choice that applies to no
    layer.
    """
    layers = full_layers(config)
    biased = [layer for layer, _ in walk_layers(layers) if "bias_initializer" in layer_arguments(layer)]
    if not biased:
        raise ConfigError(f"model: no layer of {config.model.name} can have a bias; allowed: a model where one can")
    _apply_kernels(layers, config)
    applied = _apply_choices(biased, config)
    if not any(applied):
        reason = f"but no layer of {config.model.name} takes the choice: there is none, or it sets its own bias"
        raise ConfigError("bias_layers", config.bias_layers, "layers that leave it open", reason=reason)
    for layer in biased:
        no_bias_axes = "use_bias" not in layer_arguments(layer) and layer["config"].get("bias_axes") is None
        if no_bias_axes or layer["config"].get("use_bias", True) is False:
            layer["config"].pop("bias_initializer", None)
        _check_gates(layer)
    return layers


def full_layers(config: Config) -> list[Layer]:
    """The model's layers in full form and named, as its author left them, without the shape of its input."""
    given = model_layers(config)
    if not isinstance(given, list) or not given:
        raise ConfigError("model.layers", given, "a list of layers, each {class_name, config}")
    is_graph = is_functional_model(given)
    given = given[1:] if not is_graph and declares_input(given) else given
    where = layers_key(config.model)
    layers = [_full_layer(layer, f"{where}.{i}", i == len(given) - 1) for i, layer in enumerate(given)]
    if is_graph:
        graph = layers[0]["config"]
        graph.pop("name", None)
        for layer in graph["layers"]:
            if layer["class_name"] == "InputLayer":
                layer["config"].pop("batch_shape", None)
    name_layers(layers)
    return layers


def own_biases(config: Config) -> list[str]:
    """Name the layers that set their own bias, or none, whatever the arm: a sentence per setting."""
    by_setting: dict[str, list[str]] = {}
    for layer, path in walk_layers(full_layers(config)):
        own = layer["config"].get("bias_initializer")
        if "bias_initializer" not in layer_arguments(layer):
            continue
        if layer["config"].get("use_bias") is False:
            by_setting.setdefault("", []).append(path)
        elif own is not None:
            defaults = constructor_arguments("initializers", own["class_name"])
            by_setting.setdefault(initializer_name(own["class_name"], own["config"], defaults), []).append(path)
    has = ("has no bias in any arm", "keeps its own bias"), ("have no bias in any arm", "keep their own bias")
    return [
        f"model: {', '.join(paths)} {has[len(paths) > 1][bool(name)]}{name and f' in every arm: {name}'}"
        for name, paths in by_setting.items()
    ]


def bias_initializers(layers: list[Layer]) -> Iterator[tuple[str, str, int]]:
    """(layer path, class of its bias initializer, axes of its bias) for every layer of a completed list with a bias."""
    for layer, path in walk_layers(layers):
        config = layer["config"]
        if "bias_initializer" in config:
            n_axes = 1 + (layer["class_name"] in ("GRU", "GRUCell") and config.get("reset_after", True))
            if config.get("bias_axes"):  # EinsumDense: Keras adds axes of length 1 after the first bias axis
                output = str(config.get("equation", "")).partition("->")[2]
                n_axes = len(output) - min((output.find(axis) for axis in config["bias_axes"]), default=0)
            yield path, config["bias_initializer"]["class_name"], n_axes


def walk_layers(layers: list[Layer], prefix: str = "") -> Iterator[tuple[Layer, str]]:
    """Every layer with its path (`encoder/conv`), outer layers before those they hold."""
    for layer in top_layers(layers) if not prefix else layers:
        path = f"{prefix}{layer['config']['name']}"
        yield layer, path
        yield from walk_layers(inner_layers(layer), f"{path}/")


def layer_arguments(layer: Layer) -> dict[str, object]:
    """Constructor arguments of a layer with their defaults, REQUIRED for those without one."""
    if "module" in layer:  # an operation
        return {}
    if layer["class_name"] in ("Sequential", "Functional"):
        return dict.fromkeys(("layers", *ENDS) if layer["class_name"] == "Functional" else ("layers",), REQUIRED)
    return layer_settings(layer["class_name"])


def _apply_kernels(layers: list[Layer], config: Config) -> None:
    """Write the study's `kernel_initializer` into the layers that leave it open, unless it is what they have anyway."""
    if config.kernel_initializer is None:
        return
    full, key = kernel_form(config.kernel_initializer), "kernel_initializer"
    left_open = [
        layer for layer, _ in walk_layers(layers) if key in layer_arguments(layer) and key not in layer["config"]
    ]
    if not left_open:
        reason = f"but every layer of {config.model.name} sets its own, or has none"
        raise ConfigError(key, config.kernel_initializer, "null", reason=reason)
    for layer in left_open:
        default = layer_arguments(layer)[key]
        if default is None or full != full_form(default, key):
            layer["config"][key] = full


def _apply_choices(biased: list[Layer], config: Config) -> list[bool]:
    """Write the study's choice into the layers that it is for. Returns for each whether the layer left it open."""
    chosen = _chosen_layers(biased, config)
    if not config.bias_initializer.layers:
        full = {"class_name": config.bias_initializer.class_name, "config": config.bias_initializer.config}
        return [_apply_choice(layer, config, full) for layer in chosen]
    if config.bias_layers != "all":
        reason = "with an initializer for each layer"
        raise ConfigError("bias_layers", config.bias_layers, "all, and the layers in bias_initializer", reason=reason)
    names = [layer["config"]["name"] for layer in biased]
    initializers = layer_initializers(config.bias_initializer, names)
    applied = [_apply_choice(layer, config, full) for layer, full in zip(biased, initializers, strict=True)]
    for name, is_open in zip(names, applied, strict=True):
        if name in config.bias_initializer.layers and not is_open:
            reason = "but the model says what its bias is"
            raise ConfigError("bias_initializer", f"layer {name}", "layers that leave it open", reason=reason)
    return applied


def _apply_choice(layer: Layer, config: Config, initializer: dict[str, Any]) -> bool:
    """Write the study's choice into a layer. Returns whether the layer left it open."""
    arguments, has_switch = layer["config"], "use_bias" in layer_arguments(layer)
    if config.use_bias:
        has_bias = arguments.get("use_bias", True) if has_switch else arguments.get("bias_axes") is not None
        applied = has_bias and "bias_initializer" not in arguments
        arguments.setdefault("bias_initializer", copy.deepcopy(initializer))
    elif has_switch:
        applied = "use_bias" not in arguments
        arguments.setdefault("use_bias", False)
    else:  # EinsumDense has a bias if it has bias axes
        applied, arguments["bias_axes"] = arguments.get("bias_axes") is not None, None
    return applied


def _chosen_layers(biased: list[Layer], config: Config) -> list[Layer]:
    """The layers selected by `bias_layers`; of these only those that the initializer is meant for, if any."""
    selected = _selected_layers(biased, config.bias_layers)
    if config.use_bias and only_for_output(config.bias_initializer.class_name):
        return biased[-1:]
    if config.use_bias and only_for_gates(config.bias_initializer.class_name) and isinstance(config.bias_layers, str):
        return [layer for layer in selected if _has_gates(layer)] or selected
    return selected


def _selected_layers(biased: list[Layer], bias_layers: Any) -> list[Layer]:
    """The layers selected by `bias_layers`; the last one that can have a bias is the output."""
    if bias_layers == "all":
        return biased
    if bias_layers in ("hidden", "output"):
        return biased[:-1] if bias_layers == "hidden" else biased[-1:]
    names = [layer["config"]["name"] for layer in biased]
    for name in bias_layers:
        if name not in names:
            raise ConfigError(f"bias_layers: no layer {name} that can have a bias; {closest(name, names)}")
    return [layer for layer in biased if layer["config"]["name"] in bias_layers]


def _check_gates(layer: Layer) -> None:
    """Refuse an initializer of gates on a layer without them; else keep Keras' ones off the forget gate."""
    name = layer["config"].get("bias_initializer", {}).get("class_name")
    if not only_for_gates(name):
        return
    if not _has_gates(layer):
        reason = f"but it fills the gates of LSTM and GRU layers, and {layer['config']['name']} has none"
        allowed = "a model with such layers, or their names in bias_layers"
        raise ConfigError("bias_initializer", name, allowed, reason=reason)
    if "unit_forget_bias" in layer_arguments(layer):
        layer["config"].setdefault("unit_forget_bias", False)


def _has_gates(layer: Layer) -> bool:
    return layer["class_name"].removesuffix("Cell") in GATED


def _full_layer(layer: Any, key: str, is_last: bool = False) -> Layer:
    """A copy of a layer in full form, its class and arguments checked against Keras' signatures."""
    if not isinstance(layer, dict) or not set(layer) <= {"class_name", "config"} or "class_name" not in layer:
        raise ConfigError(key, layer, "{class_name: a Keras layer, config: its arguments}")
    if not isinstance(layer.get("config") or {}, dict):
        raise ConfigError(f"{key}.config", layer["config"], "the layer's arguments, as name: value")
    class_name, config = full_name("layers", layer["class_name"]), dict(layer.get("config") or {})
    if class_name == "Functional":
        return {"class_name": class_name, "config": _full_graph(config, key, is_last)}
    named = f"{key}.class_name: {class_name}"
    if str(class_name) in REFUSED:
        raise ConfigError(f"{named} given, but {REFUSED[class_name]}")
    known = [name for name in class_names("layers") if name not in CODE_BEARING] + ["Sequential"]
    if class_name not in known:
        raise ConfigError(f"{named} is not a Keras layer; {no_such_class(str(class_name), known)}")
    check_state(class_name, config, key)
    arguments = layer_arguments({"class_name": class_name})
    for name, value in config.items():
        if name not in arguments and name not in COMMON:
            near = closest(str(name), [*arguments, *COMMON])
            raise ConfigError(f"{key}.config.{name}: {class_name} has no such argument; {near}")
        config[name] = _full_argument(name, value, arguments.get(name), f"{key}.config.{name}")
    for name, default in arguments.items():
        left_open = is_last and (class_name, name) == ("Dense", "units")
        if default is REQUIRED and name not in config and not left_open:
            raise ConfigError(f"{key}.config.{name}: nothing given; {class_name} needs it")
    return {"class_name": class_name, "config": config}


def _full_graph(config: dict[str, Any], key: str, is_last: bool) -> dict[str, Any]:
    """The config of a Functional model in full form, its layers and the calls between them checked."""
    for name in ("layers", *ENDS):
        if not isinstance(config.get(name), list) or not config[name]:
            allowed = "that of a Functional model, as Keras writes it"
            raise ConfigError(f"{key}.config.{name}", config.get(name), allowed)
    layers = []
    for i, layer in enumerate(config["layers"]):
        where = f"{key}.config.layers.{i}"
        nodes = check_nodes(layer, where)
        own = {name: value for name, value in layer.items() if name in ("class_name", "config")}
        full = check_operation(layer, where) if "module" in layer else None
        full = full or _full_layer(own, where, is_last and i == len(config["layers"]) - 1)
        layers.append(full | {"inbound_nodes": nodes})
    graph = {**config, "layers": layers}
    check_references(graph, key)
    return graph


def _full_argument(name: str, value: Any, default: object, key: str) -> Any:
    """A layer's argument, checked; layers and initializers that it holds in full form."""
    if name == "activity_regularizer" and value is not None:
        raise ConfigError(f"{key}: {value} given, but {BY_BATCH}")
    if name in POSITIVE and not all(map(_is_positive, as_list(value))):
        raise ConfigError(key, value, "whole numbers from 1 up")
    if isinstance(default, bool) and not isinstance(value, bool):
        raise ConfigError(key, value, "true or false")
    if name == "bias_initializer" and value is None:
        raise ConfigError(f"{key}: null given, which Keras reads as glorot_uniform; name one")
    if name in NESTED and value is not None:
        inner = [_full_layer(v, f"{key}.{i}") for i, v in enumerate(as_list(value))]
        return inner if isinstance(value, list) else inner[0]
    if name.endswith("_initializer") and value is not None:
        return full_form(value, key)
    refuse_code(value, key)
    return value


def _is_positive(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)
