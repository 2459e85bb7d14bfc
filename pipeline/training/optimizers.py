"""Keras' optimizers for stacked variables: check the settings, make the optimizer.

An optimizer that works element by element is one optimizer per seed on stacked variables. Clipping by a norm, which
Keras would take over all seeds together, is done here for each seed.
"""

from collections.abc import Callable
from typing import Any

from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments
from pipeline.config.schema import Optimizer
from pipeline.errors import ConfigError, closest, is_number, require

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")
# Arguments that need more than the plain update step of `Program`, or what `model.fit` does at its end.
NOT_STACKED = ("use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")
NORMS = ("clipnorm", "global_clipnorm")
CLIPPING = ("clipvalue", *NORMS)
SCHEDULES = ("CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay",
             "PiecewiseConstantDecay")  # fmt: skip


def check_optimizer(optimizer: Optimizer) -> None:
    """Raise ConfigError for an optimizer, an argument or a schedule that Keras does not have or stacks cannot use."""
    name = optimizer.class_name
    if name not in ELEMENTWISE:
        exists = name in class_names("optimizers") and ">" not in name
        why = "which looks at more than single weights" if exists else "which is no Keras optimizer"
        near = f"allowed: {', '.join(ELEMENTWISE)}" if exists else closest(name, list(ELEMENTWISE))
        raise ConfigError(f"optimizer.class_name: {name} given, {why}; {near}")
    arguments = constructor_arguments("optimizers", name)
    allowed = [a for a in arguments if a not in (*NOT_STACKED, "name", "learning_rate")]
    for argument, value in optimizer.config.items():
        key = f"optimizer.config.{argument}"
        if argument in NOT_STACKED:
            raise ConfigError(
                f"{key}: it cannot be used when seeds train together; allowed: clipvalue, clipnorm, global_clipnorm"
            )
        if argument not in allowed:
            raise ConfigError(f"{key}: {name} has no such argument; {closest(argument, allowed)}")
        _check_argument(argument, value, arguments[argument], key)
    clippings = [argument for argument in CLIPPING if optimizer.config.get(argument) is not None]
    require(len(clippings) < 2, "optimizer.config", " and ".join(clippings), f"one of {', '.join(CLIPPING)}")
    if optimizer.schedule is not None:
        _check_schedule(optimizer.schedule, optimizer.learning_rate)


def _check_argument(argument: str, value: Any, default: object, key: str) -> None:
    """Check a value against the type of Keras' default."""
    clips = argument in CLIPPING
    if isinstance(default, bool):
        require(isinstance(value, bool), key, value, "true or false")
    elif isinstance(default, float) or clips:
        require(is_number(value), key, value, "a number")
        require(not argument.startswith("beta_") or 0 <= value < 1, key, value, "a number from 0 to below 1")
    elif default is None:
        require(value is None or is_number(value), key, value, "a number, or null")
    require(not clips or (is_number(value) and value > 0), key, value, "a positive number")


def check_optimizer_values(optimizer: Optimizer) -> None:
    """Raise ConfigError for what Keras itself refuses when it makes the optimizer (imports Keras)."""
    try:
        make_optimizer(optimizer)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"optimizer: Keras refuses it: {error}") from error


def make_optimizer(settings: Optimizer) -> Any:
    """The Keras optimizer with its schedule, without clipping by norms (see `norm_clipping`)."""
    import keras

    rate, arguments = settings.learning_rate, {k: v for k, v in settings.config.items() if k not in NORMS}
    if settings.schedule is not None:
        schedule = getattr(keras.optimizers.schedules, settings.schedule["class_name"])
        config = settings.schedule.get("config") or {}
        rate = schedule(**({} if "values" in config else {"initial_learning_rate": rate}), **config)
    return getattr(keras.optimizers, settings.class_name)(learning_rate=rate, **arguments)


def norm_clipping(settings: Optimizer) -> Callable[[list[Any]], list[Any]]:
    """A function that clips stacked gradients, each [seeds, ...], by the norm of each seed's part."""
    import tensorflow as tf

    norm, global_norm = (settings.config.get(name) for name in NORMS)
    if norm:
        return lambda gradients: tf.vectorized_map(lambda seed: [tf.clip_by_norm(g, norm) for g in seed], gradients)
    if global_norm:
        return lambda gradients: tf.vectorized_map(lambda seed: tf.clip_by_global_norm(seed, global_norm)[0], gradients)
    return lambda gradients: gradients


def _check_schedule(schedule: Any, rate: float) -> None:
    """Check `optimizer.schedule`. rate: `optimizer.learning_rate`, from which a schedule starts."""
    form = schedule if isinstance(schedule, dict) else {"class_name": schedule}
    name, config = form.get("class_name"), form.get("config") or {}
    if set(form) - {"class_name", "config"} or name not in SCHEDULES or not isinstance(config, dict):
        near = closest(str(name), list(SCHEDULES))
        raise ConfigError(f"optimizer.schedule: {schedule} given; allowed: {{class_name, config}} of Keras; {near}")
    arguments = constructor_arguments("optimizers.schedules", name)
    settable = [a for a in arguments if a not in ("name", "initial_learning_rate")]
    for argument, value in config.items():
        key = f"optimizer.schedule.config.{argument}"
        if argument not in settable:
            raise ConfigError(f"{key}: {name} has no such argument; {closest(argument, settable)}")
        _check_schedule_argument(argument, value, arguments[argument], key)
    for argument in settable:
        if arguments[argument] is REQUIRED and argument not in config:
            raise ConfigError(f"optimizer.schedule.config.{argument}: nothing given; {name} needs it")
    if name == "PiecewiseConstantDecay":
        values, pieces = config["values"], len(config["boundaries"]) + 1
        allowed = f"{pieces} numbers, one more than boundaries; the first is optimizer.learning_rate, {rate}"
        fits = len(values) == pieces and values[0] == rate
        require(fits, "optimizer.schedule.config.values", values, allowed)


def _check_schedule_argument(argument: str, value: Any, default: object, key: str) -> None:
    """Check a value against the type of Keras' default."""
    if isinstance(default, bool):
        require(isinstance(value, bool), key, value, "true or false")
    elif argument in ("boundaries", "values"):
        numbers = isinstance(value, list) and value and all(map(is_number, value))
        rising = argument == "values" or (numbers and value == sorted(value))
        require(numbers and rising, key, value, "a list of numbers, for boundaries rising ones")
    elif value is not None or default is not None:
        needed = default is REQUIRED
        allowed = "a positive number" if needed else "a number from 0 up"
        require(is_number(value) and (value > 0 if needed else value >= 0), key, value, allowed)
