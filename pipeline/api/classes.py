"""Classes of the user's own, defined in a notebook or a module: made known here and in the process that trains."""

import pickle
import re
import sys
from collections.abc import Sequence
from typing import Any

import cloudpickle

from pipeline.api.objects import plain
from pipeline.config.user_classes import UserClass, user_arguments
from pipeline.errors import ConfigError, describe_error
from pipeline.models.user_code import register_class

KERAS = ("keras", "tf_keras")


def is_own(value: Any) -> bool:
    """Whether an object's class is neither Keras' nor this project's."""
    return type(value).__module__.partition(".")[0] not in (*KERAS, "pipeline")


def own_form(value: Any, argument: str) -> tuple[dict[str, Any], UserClass]:
    """`{class_name, config}` of an object of the user's, with its registered name; and its class.

    Where the class has no `get_config` of its own, its arguments are taken from attributes of their names. Raises
    ConfigError for an object that another process could not make again.
    """
    cls = type(value)
    known = register_class(cls)
    try:
        config = _config(value)
        again = cls.from_config(dict(config))
    except Exception as error:
        what = describe_error(error)
        line = f"{argument}: {cls.__name__} cannot be made again from its config ({what}); {_ALLOWED}"
        raise ConfigError(line) from error
    given = vars(value)
    if known.group in ("losses", "metrics"):  # Keras keeps much in them that no argument sets
        given = [name for name in given if name in user_arguments(cls) and name != "name"]
    lost = [name for name in given if name not in vars(again) or not _equal(vars(again)[name], vars(value)[name])]
    if lost:
        name = lost[0].lstrip("_")
        raise ConfigError(f"{argument}: {cls.__name__} loses its {name}, which is not in its config; {_ALLOWED}")
    return {"class_name": known.name, "config": plain(config)}, known


_ALLOWED = "allowed: a get_config that returns the arguments of its constructor"


def _config(value: Any) -> dict[str, Any]:
    """The arguments of an object: what its `get_config` returns, or else attributes of their names."""
    import keras

    cls = type(value)
    bases = (keras.initializers.Initializer, keras.losses.Loss, keras.metrics.Metric, keras.metrics.MeanMetricWrapper)
    if cls.get_config in [base.get_config for base in bases]:
        config = {name: getattr(value, name) for name in user_arguments(cls) if hasattr(value, name)}
    else:
        config = dict(value.get_config())
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if isinstance(value, bases[1:]) and re.fullmatch(rf"{snake}(_\d+)?", str(config.get("name"))):
        del config["name"]  # Keras' automatic one, which counts up
    return {name: given for name, given in config.items() if name != "dtype" or isinstance(given, str)}


def _equal(one: Any, other: Any) -> bool:
    """Whether two attributes are the same, as far as one can tell: objects without a comparison count as equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (bool, int, float, complex, str, bytes, list, tuple, dict, set, type(None))):
        return one == other or repr(one) == repr(other)  # nan
    if hasattr(one, "tobytes"):
        return one.tobytes() == other.tobytes()
    return True


def pickled(classes: Sequence[UserClass]) -> bytes:
    """The classes as another process can have them. Raises ConfigError."""
    try:
        by_value = cloudpickle.dumps([(known.name, known.group, known.digest, known.object) for known in classes])
        return pickle.dumps((sys.path, by_value))
    except Exception as error:
        names = ", ".join(known.object.__name__ for known in classes)
        what = describe_error(error)
        line = f"{names}: what it uses cannot be handed to the process that trains ({what}); allowed: plain values"
        raise ConfigError(line) from error
