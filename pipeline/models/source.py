"""Where a model's layers come from: the settings, a saved model, or a function of the user's."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pipeline.biases.introspection import name_counts, set_name_counts
from pipeline.config.schema import Config, Model
from pipeline.errors import ConfigError, describe_error
from pipeline.models.architecture import read_architecture
from pipeline.models.functional import is_functional_model
from pipeline.models.stable_names import in_stable_names

SOURCES = "model=file model.path=mine.keras, model=python model.function=mine:build, or a model of conf/model"


def model_layers(config: Config) -> Any:
    """The layers as they are given, or the architecture of `model.path` or `model.function`. Raises ConfigError."""
    model = config.model
    check_source(model)
    if model.path is not None:
        return read_architecture(model.path)
    if model.function is not None:
        return _of_function(config)[0]
    return model.layers


def layers_key(model: Model) -> str:
    """What a message calls the list of layers: the setting that it comes from."""
    for key, value in (("model.path", model.path), ("model.function", model.function)):
        if value is not None:
            return f"{key}: {value}: layers"
    return "model.layers"


def in_layer_names(config: Config) -> Config:
    """The config with the layers that its settings name called as they are here, see `stable_names.py`: other than in
    the program of the model that `model.function` returns. Raises ConfigError.
    """
    layers, chosen = config.bias_layers, config.bias_initializer.layers
    is_named = isinstance(layers, list) or chosen
    if config.model.function is None or not is_named:
        return config
    check_source(config.model)
    names = _of_function(config)[1]
    if isinstance(layers, list):
        layers = list(in_stable_names(layers, names, "bias_layers").values())
    if chosen:
        stable = in_stable_names(chosen, names, "bias_initializer")
        chosen = {stable[name]: initializer for name, initializer in chosen.items()}
    return replace(config, bias_layers=layers, bias_initializer=replace(config.bias_initializer, layers=chosen))


def check_source(model: Model) -> None:
    """Raise ConfigError unless there is one source of the model's layers."""
    given = {"model.path": model.path, "model.function": model.function}
    given = {key: value for key, value in given.items() if value is not None}
    if not given and model.layers is None:
        raise ConfigError(f"model: neither layers, nor a path or function; allowed: {SOURCES}")
    if len(given) == 2 or (given and model.layers is not None):
        key, value = next(iter(given.items()))
        other = "model.function is given too" if len(given) == 2 else f"{model.name} has layers of its own"
        option = "file" if key == "model.path" else "python"
        raise ConfigError(key, value, f"model={option} {key}=...", reason=f"but {other}")


def declares_input(layers: list[Any]) -> bool:
    """Whether a list of layers begins with an InputLayer, which says the shape of the rows."""
    return isinstance(layers[0], Mapping) and layers[0].get("class_name") == "InputLayer"


def declared_shape(config: Config) -> tuple[int | None, ...] | None:
    """The shape of one row that the model was made for; None where it does not say."""
    return shape_of_input(model_layers(config))


def shape_of_input(layers: Any) -> tuple[int | None, ...] | None:
    """The shape of one row that a model's layers say; None where they do not."""
    if is_functional_model(layers):
        graph = layers[0]["config"]
        layers = [layer for layer in graph["layers"] if layer["config"].get("name") == graph["input_layers"][0]]
    if not isinstance(layers, list) or not layers or not declares_input(layers):
        return None
    arguments = layers[0].get("config") or {}
    shape = arguments.get("batch_shape") or ([None, *arguments["shape"]] if "shape" in arguments else None)
    return None if shape is None else tuple(shape[1:])


def _of_function(config: Config) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The architecture of the model that the user's function returns, and the names of its layers, see `live.py`.
    Raises ConfigError for what it raises.
    """
    from pipeline.models.user_code import find_function, load_code

    name, files = str(config.model.function), load_code(config.code_paths)
    function, counted = find_function(files, name, "model.function"), Counter[str]()
    for file in files:
        counted |= Counter(file.names)
    return _called(function, name, tuple(counted.items()))


@lru_cache(maxsize=16)
def _called(
    function: Any, name: str, counted: tuple[tuple[str, int], ...]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """counted: how far its files have counted Keras' automatic names."""
    from pipeline.models.live import architecture_of_model

    key, before = f"model.function: {name}", name_counts()
    set_name_counts(dict(counted))  # as in a program that calls this function alone
    try:
        model = function()
    except Exception as error:
        raise ConfigError(f"{key} raises {describe_error(error)}") from error
    finally:
        set_name_counts(before)
    return architecture_of_model(model, key)
