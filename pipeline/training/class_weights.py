"""The weight of each class, from `training.class_weight`: null, `balanced`, a list, or a mapping as Keras takes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import ConfigError, is_number

KEY = "training.class_weight"
WEIGHT = "a number from 0 to 3e38"


def listed_weights(setting: Any, classes: Sequence[str]) -> Any:
    """The setting, a mapping as the list of its weights in the order of the classes; else unchanged.

    A mapping names classes by their labels or, if it has all of them, by their numbers from 0, as Keras does. A label
    that it lacks weighs 1, as in Keras. Raises ConfigError for what is no class or no weight.
    """
    if not isinstance(setting, Mapping) or not classes:
        return setting
    given, labels = {_spelling(name): weight for name, weight in setting.items()}, list(map(_spelling, classes))
    numbers = [str(i) for i in range(len(classes))]
    names = numbers if not set(given) <= set(labels) and set(given) == set(numbers) else labels
    if len(given) != len(setting) or len(set(names)) != len(names):
        raise ConfigError(KEY, dict(setting), f"each class once: {', '.join(classes)}")
    for name, weight in setting.items():
        if _spelling(name) not in names:
            reason = "which is no class"
            raise ConfigError(KEY, name, f"{', '.join(classes)}; or all numbers from 0 to {numbers[-1]}", reason=reason)
        if not is_weight(weight):
            raise ConfigError(f"{KEY}.{name}", weight, WEIGHT)
    listed = [given.get(name, 1) for name in names]
    check_some_count(listed, dict(setting))
    return listed


def is_weight(value: Any) -> bool:
    """Whether a value is a weight that is finite in the precision of the training."""
    return is_number(value) and 0 <= value <= float(np.finfo(np.float32).max)


def check_some_count(weights: Sequence[float], given: Any) -> None:
    """Raise ConfigError where no class counts, in the precision of the training; then nothing would be learned."""
    if not np.any(np.asarray(weights, np.float32)):
        raise ConfigError(KEY, given, "a weight above 0 for one class or more", reason="so that no row counts")


def class_weights(setting: Any, y_train: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The weight of each class, [classes] float32.

    `balanced` is rows / (classes * rows of the class), as `sklearn.utils.class_weight.compute_class_weight` has it,
    where a class without rows counts as if it had one.
    """
    n_classes, setting = len(classes), listed_weights(setting, classes)
    if setting == "balanced":
        rows = np.maximum(np.bincount(y_train, minlength=n_classes), 1)
        return np.asarray(len(y_train) / (n_classes * rows), np.float32)
    return np.ones(max(n_classes, 1), np.float32) if setting is None else np.asarray(setting, np.float32)


def _spelling(name: Any) -> str:
    """A label as it is compared: `true` is True, and 1.0 is 1."""
    text = str(name)
    try:
        number = float(text)
    except ValueError:
        return text.capitalize() if text.lower() in ("true", "false") else text
    return str(int(number)) if number.is_integer() else repr(number)
