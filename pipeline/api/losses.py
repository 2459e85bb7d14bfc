"""Losses and metrics given by name or as objects, of Keras or of the user's own, as the settings spell them."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.api.classes import is_own, own_form
from pipeline.api.objects import as_typed, is_keras_object, plain, serialized, without_defaults
from pipeline.biases.introspection import loss_arguments
from pipeline.config.keras_signatures import class_names
from pipeline.errors import ConfigError, kind_of

LEFT_OUT = {"reduction": ("sum_over_batch_size", "auto", None), "ignore_class": (None,), "axis": (-1,), "dtype": None,
            "name": None}  # fmt: skip
METRIC_NAMES = {
    "acc": "accuracy", "sparse_categorical_accuracy": "accuracy", "categorical_accuracy": "accuracy",
    "binary_accuracy": "accuracy", "mean_absolute_error": "mae", "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse", "r2_score": "r2", "f1_score": "f1",
    **dict.fromkeys(("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"), "log_loss"),
}  # fmt: skip
NEUTRAL = {"thresholds": (0.5,), "threshold": (0.5,), "average": ("macro",)}  # what the table's metrics do
OWN = "an object of your own subclass of keras.{}"


def loss_settings(value: Any) -> tuple[Any, bool]:
    """`training.loss`, and whether the loss takes the model's outputs for logits."""
    if isinstance(value, str):
        return value, False
    name = getattr(value, "__name__", None)
    if name is not None and not is_keras_object(value) and not isinstance(value, type):
        spelling = name.replace("_", "").lower()
        if str(getattr(value, "__module__", "")).split(".")[0] == "keras" and spelling in _spellings("losses"):
            return name, False
        raise ConfigError("loss", name, f"a loss of Keras, by its name or as an object, or {OWN.format('losses.Loss')}")
    if isinstance(value, type):
        value = _instance(value, "loss")
    if is_keras_object(value) and is_own(value):
        return own_form(value, "loss")[0], False
    form = serialized(value, "loss")
    config = {k: as_typed(v) for k, v in (form["config"] | plain(loss_arguments(value))).items()}
    logits = bool(config.pop("from_logits", False))
    for key, neutral in LEFT_OUT.items():
        if key in config and (neutral is None or config[key] in neutral):
            del config[key]
    config = without_defaults("losses", form["class_name"], config)
    return ({"class_name": form["class_name"], "config": config} if config else form["class_name"]), logits


def _instance(cls: Any, argument: str) -> Any:
    try:
        return cls()
    except TypeError as error:
        raise ConfigError(argument, cls.__name__, f"an instance, {cls.__name__}(...), not the class") from error


def _spellings(group: str) -> set[str]:
    return {name.lower() for name in class_names(group)}


def metric_settings(values: Any) -> list[Any] | str:
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


def _metric_name(value: Any) -> Any:
    if isinstance(value, type):
        value = _instance(value, "metrics")
    if is_keras_object(value) and is_own(value):
        form = own_form(value, "metrics")[0]
        higher = getattr(value, "higher_is_better", None)
        return form if higher is None else form | {"higher_is_better": bool(higher)}
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
    if name is None or str(getattr(value, "__module__", "")).split(".")[0] != "keras":
        allowed = f"names such as accuracy, metrics of Keras, or {OWN.format('metrics.Metric')}"
        raise ConfigError("metrics", name or kind_of(value), allowed)
    return METRIC_NAMES.get(str(name).lower(), str(name))
