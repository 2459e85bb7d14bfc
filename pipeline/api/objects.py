"""Optimizers and initializers of Keras, given by name or as objects, as the settings spell them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.errors import ConfigError, closest, kind_of


def is_keras_object(value: Any) -> bool:
    """Whether a value has a config, as optimizers, losses, metrics, initializers and layers of Keras have."""
    return not isinstance(value, type) and callable(getattr(value, "get_config", None))


def serialized(value: Any, argument: str) -> dict[str, Any]:
    """`{class_name, config}` of an object of Keras, or of a mapping in this form. Raises ConfigError."""
    if is_keras_object(value):
        try:
            return {"class_name": type(value).__name__, "config": plain(value.get_config())}
        except (NotImplementedError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{argument}: {type(value).__name__} has no config that Keras can store: {error}"
            ) from error
    if isinstance(value, Mapping) and "class_name" in value:
        return {"class_name": str(value["class_name"]), "config": plain(value.get("config") or {})}
    shown = getattr(value, "__name__", None) or kind_of(value)
    raise ConfigError(argument, shown, "a name that Keras knows, an object of Keras, or {class_name: ..., config: ...}")


def plain(value: Any) -> Any:
    """A config as plain Python values; float32 numbers as they were typed, 0.001 and not 0.0010000000474974513."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.floating):
        return float(str(value))
    if isinstance(value, np.integer):
        return int(value)
    return value


def as_typed(number: Any) -> Any:
    """A number that Keras holds as float32, as the user gave it."""
    if not isinstance(number, float):
        return number
    short = float(str(np.float32(number)))
    return short if np.float32(short) == np.float32(number) and abs(short - number) < 1e-6 * abs(number) else number


def without_defaults(group: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that differ from the constructor's defaults."""
    if class_name not in class_names(group):
        return dict(config)
    defaults = constructor_arguments(group, class_name)
    return {name: value for name, value in config.items() if name not in defaults or defaults[name] != value}


def optimizer_settings(value: Any) -> dict[str, Any]:
    """The group `optimizer` of an optimizer by name, as an object or in Keras' form."""
    names = class_names("optimizers")
    if isinstance(value, str):
        word = value.replace("_", "").lower()
        class_name = next((name for name in names if name.lower() == word), None)
        if class_name is None:
            raise ConfigError(f"optimizer: {value} is no optimizer of Keras; {closest(value, names)}")
        value = {"class_name": class_name}
    form = serialized(value, "optimizer")
    class_name, config = form["class_name"], {k: v for k, v in form["config"].items() if k != "name"}
    config = {name: as_typed(number) for name, number in config.items()}
    default = constructor_arguments("optimizers", class_name).get("learning_rate") if class_name in names else None
    rate, schedule = config.pop("learning_rate", default), None
    if isinstance(rate, Mapping):
        rate, schedule = _schedule(rate)
    if not isinstance(rate, (int, float)):
        raise ConfigError("optimizer", class_name, "one with a learning rate that is a number or a schedule of Keras")
    kept = without_defaults("optimizers", class_name, config)
    return {"class_name": class_name, "learning_rate": float(rate), "config": kept, "schedule": schedule}


def _schedule(form: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The first learning rate of a schedule, and `optimizer.schedule`."""
    class_name, config = str(form.get("class_name")), dict(form.get("config") or {})
    config = {name: as_typed(value) for name, value in config.items() if name != "name"}
    rate = config.pop("initial_learning_rate", None)
    if rate is None and config.get("values"):
        rate = config["values"][0]
    kept = without_defaults("optimizers.schedules", class_name, config)
    return rate, {"class_name": class_name, "config": kept}
