"""Optimizers, losses, metrics and initializers of Keras, given by name or as objects, as the settings spell them."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.biases.introspection import loss_arguments
from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.errors import ConfigError, closest

LEFT_OUT = {"reduction": ("sum_over_batch_size", "auto", None), "ignore_class": (None,), "axis": (-1,), "dtype": None,
            "name": None}  # fmt: skip
METRIC_NAMES = {
    "acc": "accuracy", "sparse_categorical_accuracy": "accuracy", "categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy", "mean_absolute_error": "mae", "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse", "r2_score": "r2", "f1_score": "f1",
}  # fmt: skip
NEUTRAL = {"thresholds": (0.5,), "threshold": (0.5,), "average": ("macro",)}  # what the table's metrics do


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
    shown = getattr(value, "__name__", None) or type(value).__name__
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


def loss_settings(value: Any) -> tuple[Any, bool]:
    """`training.loss`, and whether the loss takes the model's outputs for logits."""
    if isinstance(value, str):
        return value, False
    name = getattr(value, "__name__", None)
    if name is not None and not is_keras_object(value) and not isinstance(value, type):
        spelling = name.replace("_", "").lower()
        if str(getattr(value, "__module__", "")).split(".")[0] == "keras" and spelling in _spellings("losses"):
            return name, False
        raise ConfigError("loss", name, "a loss of Keras, by its name or as an object; functions of your own are none")
    if isinstance(value, type):
        return value.__name__, False
    form = serialized(value, "loss")
    config = {k: as_typed(v) for k, v in (form["config"] | plain(loss_arguments(value))).items()}
    logits = bool(config.pop("from_logits", False))
    for key, neutral in LEFT_OUT.items():
        if key in config and (neutral is None or config[key] in neutral):
            del config[key]
    config = without_defaults("losses", form["class_name"], config)
    return ({"class_name": form["class_name"], "config": config} if config else form["class_name"]), logits


def _spellings(group: str) -> set[str]:
    return {name.lower() for name in class_names(group)}


def metric_settings(values: Any) -> list[str] | str:
    """`training.metrics` of names and objects of metrics."""
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, (list, tuple)):
        raise ConfigError("metrics", values, 'a list such as ["accuracy"]')
    return [_metric_name(value) for value in values] or "auto"


def _refuse_metric_arguments(class_name: str, config: Mapping[str, Any]) -> None:
    """Raise ConfigError for an argument with which a metric is another than the table's."""
    for name, value in without_defaults("metrics", class_name, config).items():
        if name not in ("name", "dtype", "k") and value is not None and value not in NEUTRAL.get(name, ()):
            given = f"{class_name}({name}={as_typed(value)!r})"
            raise ConfigError("metrics", given, f"{class_name} with Keras' default of {name}, or a metric of your own")


def _metric_name(value: Any) -> str:
    if isinstance(value, str):
        return METRIC_NAMES.get(value.lower(), value)
    if is_keras_object(value) or (isinstance(value, Mapping) and "class_name" in value):
        form = serialized(value, "metrics")
        config = form["config"]
        _refuse_metric_arguments(form["class_name"], config)
        if "TopK" in form["class_name"]:
            return f"top_{config.get('k') or 5}"
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", form["class_name"]).lower()
        return METRIC_NAMES.get(name, name)
    name = getattr(value, "__name__", None)
    if name is None:
        raise ConfigError("metrics", type(value).__name__, "names such as accuracy, or metrics of Keras")
    return METRIC_NAMES.get(str(name).lower(), str(name))
