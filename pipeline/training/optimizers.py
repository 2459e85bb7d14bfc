"""Keras' optimizers for stacked variables: which can be used so, and how they are made.

Optimizers that work element by element are one optimizer per seed there; clipping by a norm is done here, per seed.
"""

from collections.abc import Callable
from typing import Any

from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments
from pipeline.config.schema import Optimizer
from pipeline.errors import ConfigError, closest, is_number, require

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")
# These need more than the step that is taken here, or what `fit` does at its end.
NOT_STACKED = ("use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")
NORMS = ("clipnorm", "global_clipnorm")
SCHEDULES = ("CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay",
             "PiecewiseConstantDecay")  # fmt: skip


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse an optimizer, an argument of one, or a schedule that cannot train stacked seeds. Raises ConfigError."""
    name = optimizer.class_name
    if name not in ELEMENTWISE:
        whole = name in class_names("optimizers")
        why = "which looks at more than single weights" if whole else "which is no Keras optimizer"
        near = f"allowed: {', '.join(ELEMENTWISE)}" if whole else closest(name, list(ELEMENTWISE))
        raise ConfigError(f"optimizer.class_name: {name} given, {why}; {near}")
    arguments = constructor_arguments("optimizers", name)
    known = [a for a in arguments if a not in (*NOT_STACKED, "name", "learning_rate")]
    for key, value in optimizer.config.items():
        if key in NOT_STACKED:
            raise ConfigError(
                f"optimizer.config.{key}: it cannot be used when seeds train together; "
                "allowed: clipvalue, clipnorm, global_clipnorm"
            )
        if key not in known:
            raise ConfigError(f"optimizer.config.{key}: {name} has no such argument; {closest(key, known)}")
        clips = key in ("clipvalue", *NORMS)
        at = f"optimizer.config.{key}"
        if isinstance(arguments[key], bool):
            require(isinstance(value, bool), at, value, "true or false")
        elif isinstance(arguments[key], float) or clips:
            require(is_number(value), at, value, "a number")
            require(not key.startswith("beta_") or 0 <= value < 1, at, value, "a number from 0 to below 1")
        elif arguments[key] is None:
            require(value is None or is_number(value), at, value, "a number, or null")
        require(not clips or value > 0, f"optimizer.config.{key}", value, "a positive number")
    both = [key for key in ("clipvalue", *NORMS) if optimizer.config.get(key) is not None]
    require(len(both) < 2, "optimizer.config", " and ".join(both), "one of clipvalue, clipnorm, global_clipnorm")
    if optimizer.schedule is not None:
        _check_schedule(optimizer.schedule, optimizer.learning_rate)


def check_optimizer_values(optimizer: Optimizer) -> None:
    """Refuse, as ConfigError, what Keras itself refuses when it makes the optimizer."""
    try:
        make_optimizer(optimizer)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"optimizer: Keras refuses it: {' '.join(str(error).split())[:300]}") from error


def make_optimizer(given: Optimizer) -> Any:
    """The Keras optimizer, with its schedule, and without the norms that it would take over all seeds."""
    import keras

    rate, arguments = given.learning_rate, {k: v for k, v in given.config.items() if k not in NORMS}
    if given.schedule is not None:
        schedule = getattr(keras.optimizers.schedules, given.schedule["class_name"])
        own = given.schedule.get("config") or {}
        rate = schedule(**({} if "values" in own else {"initial_learning_rate": rate}), **own)
    return getattr(keras.optimizers, given.class_name)(learning_rate=rate, **arguments)


def norm_clipping(given: Optimizer) -> Callable[[list[Any]], list[Any]]:
    """What clips stacked gradients, each [seeds, ...], by each seed's own norm."""
    import tensorflow as tf

    norm, global_norm = (given.config.get(name) for name in NORMS)
    if norm:
        return lambda gradients: tf.vectorized_map(lambda own: [tf.clip_by_norm(g, norm) for g in own], gradients)
    if global_norm:
        return lambda gradients: tf.vectorized_map(lambda own: tf.clip_by_global_norm(own, global_norm)[0], gradients)
    return lambda gradients: gradients


def _check_schedule(schedule: Any, rate: float) -> None:
    given = schedule if isinstance(schedule, dict) else {"class_name": schedule}
    name, config = given.get("class_name"), given.get("config") or {}
    if set(given) - {"class_name", "config"} or name not in SCHEDULES or not isinstance(config, dict):
        near = closest(str(name), list(SCHEDULES))
        raise ConfigError(f"optimizer.schedule: {schedule} given; allowed: {{class_name, config}} of Keras; {near}")
    arguments = constructor_arguments("optimizers.schedules", name)
    known = [a for a in arguments if a not in ("name", "initial_learning_rate")]
    for key, value in config.items():
        at = f"optimizer.schedule.config.{key}"
        if key not in known:
            raise ConfigError(f"{at}: {name} has no such argument; {closest(key, known)}")
        if isinstance(arguments[key], bool):
            require(isinstance(value, bool), at, value, "true or false")
        elif key in ("boundaries", "values"):
            numbers = isinstance(value, list) and value and all(map(is_number, value))
            rising = key == "values" or (numbers and value == sorted(value))
            require(numbers and rising, at, value, "a list of numbers, for boundaries rising ones")
        elif value is not None or arguments[key] is not None:
            needed = arguments[key] is REQUIRED
            allowed = "a positive number" if needed else "a number from 0 up"
            require(is_number(value) and (value > 0 or (value == 0 and not needed)), at, value, allowed)
    for key in known:
        if arguments[key] is REQUIRED and key not in config:
            raise ConfigError(f"optimizer.schedule.config.{key}: nothing given; {name} needs it")
    if name == "PiecewiseConstantDecay":
        values, pieces = config["values"], len(config["boundaries"]) + 1
        allowed = f"{pieces} numbers, one more than boundaries; the first is optimizer.learning_rate, {rate}"
        right = len(values) == pieces and values[0] == rate
        require(right, "optimizer.schedule.config.values", values, allowed)
