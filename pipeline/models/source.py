"""Where a model's layers come from: the settings, a saved model, or a function of the user's."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipeline.config.schema import Config, Model
from pipeline.errors import ConfigError, one_line
from pipeline.models.architecture import read_architecture
from pipeline.models.functional import is_functional_model

SOURCES = "model=file model.path=mine.keras, model=python model.function=mine:build, or a model of conf/model"


def model_layers(config: Config) -> Any:
    """The layers as they are given, or the architecture of `model.path` or `model.function`. Raises ConfigError."""
    model = config.model
    check_source(model)
    if model.path is not None:
        return read_architecture(model.path)
    if model.function is not None:
        return _of_function(config)
    return model.layers


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
    layers = model_layers(config)
    if is_functional_model(layers):
        graph = layers[0]["config"]
        layers = [layer for layer in graph["layers"] if layer["config"].get("name") == graph["input_layers"][0]]
    if not isinstance(layers, list) or not layers or not declares_input(layers):
        return None
    arguments = layers[0].get("config") or {}
    shape = arguments.get("batch_shape") or ([None, *arguments["shape"]] if "shape" in arguments else None)
    return None if shape is None else tuple(shape[1:])


def _of_function(config: Config) -> Any:
    """The architecture of the model that the user's function returns. Raises ConfigError for what it raises."""
    from pipeline.models.user_code import find_function, load_code

    name = str(config.model.function)
    function = find_function(load_code(config.code_paths), name, "model.function")
    return _called(function, name)


@lru_cache(maxsize=16)
def _called(function: Any, name: str) -> list[dict[str, Any]]:
    from pipeline.models.live import architecture_of_model

    key = f"model.function: {name}"
    try:
        model = function()
    except Exception as error:
        raise ConfigError(f"{key} raises {type(error).__name__}: {one_line(error)}") from error
    return architecture_of_model(model, key)
