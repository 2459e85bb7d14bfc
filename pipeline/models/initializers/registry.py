"""Which initializers there are for a bias, and which of them cannot work on a bias of a given shape."""

import math
from typing import Any

from pipeline.config.keras_signatures import class_names, constructor_arguments, is_custom
from pipeline.config.schema import BiasInitializer
from pipeline.errors import ConfigError, closest, is_number, require

# They fill matrices: Keras raises on a 1-D shape. STFT makes the fixed filters of a spectrogram.
NEEDS_MATRIX = ("Orthogonal", "Identity")
NOT_FOR_BIAS = ("STFT",)
# Made for some layers alone: for gates, and for the model's output.
ONLY_RECURRENT = ("Chrono", "ForgetGate")
ONLY_OUTPUT = ("ClassPrior",)
FROM_LAYER = ("fan_in", "fan_out", "gates", "values")  # filled in from layer and labels, never by a config
ALIASES = {"uniform": "RandomUniform", "normal": "RandomNormal", "zero": "Zeros", "one": "Ones"}
LARGEST = 3.4e38  # that a 32-bit number can hold
CHOICES = {
    "mode": ("fan_in", "fan_out", "fan_avg"),
    "distribution": ("truncated_normal", "untruncated_normal", "uniform"),
}


def initializer_names() -> list[str]:
    """Class names of the initializers that a bias may take."""
    return [name for name in class_names("initializers") if name not in NOT_FOR_BIAS]


def is_custom_initializer(class_name: str) -> bool:
    """Whether it is one of this project's, not of Keras'."""
    return is_custom("initializers", class_name)


def initializer_defaults(class_name: str) -> dict[str, object]:
    """An initializer's arguments with their default values. Raises ConfigError for a name Keras does not have."""
    if class_name not in initializer_names():
        raise ConfigError(
            f"bias_initializer.class_name: {class_name} is not an initializer for biases; "
            f"{closest(class_name, initializer_names())}"
        )
    return constructor_arguments("initializers", class_name)


def check_initializer_arguments(initializer: BiasInitializer) -> None:
    """Refuse an argument that the class does not have, or a value that draws nothing sensible."""
    known, given = initializer_defaults(initializer.class_name), initializer.config
    open_ones = [name for name in known if name not in FROM_LAYER]
    for name, value in given.items():
        key = f"bias_initializer.config.{name}"
        if name not in open_ones:
            raise ConfigError(f"{key}: {initializer.class_name} has no such argument; {closest(name, open_ones)}")
        if name in CHOICES and value not in CHOICES[name]:
            raise ConfigError(f"{key}: {value} given; allowed: {', '.join(CHOICES[name])}")
        if isinstance(known[name], float):
            positive = name in ("stddev", "scale", "factor", "variance")
            allowed = ("a positive number" if positive else "a number") + f" up to {LARGEST:g}"
            require(is_number(value) and (value > 0 or not positive) and abs(value) <= LARGEST, key, value, allowed)
    steps = given.get("t_max")
    whole = isinstance(steps, int) and not isinstance(steps, bool) and steps >= 3
    allowed = "a whole number of steps from 3 up, or null for those of the layer's input"
    require(whole or steps is None, "bias_initializer.config.t_max", steps, allowed)
    if given.get("minval", 0) > given.get("maxval", math.inf):
        raise ConfigError(
            f"bias_initializer.config.minval: {given['minval']} given; allowed: at most maxval, {given['maxval']}"
        )


def full_form(given: Any, key: str) -> dict[str, Any]:
    """An initializer in full form, from its name (`he_normal`, `HeNormal`) or `{class_name, config}`."""
    full = {"class_name": given, "config": {}} if isinstance(given, str) else given
    if not isinstance(full, dict) or not set(full) <= {"class_name", "config"} or "class_name" not in full:
        raise ConfigError(f"{key}: {given} given; allowed: a name, or {{class_name: a name, config: its arguments}}")
    name, config, known = str(full["class_name"]), full.get("config") or {}, class_names("initializers")
    plain = ALIASES.get(name, name).replace("_", "").lower()
    found = [k for k in known if k.lower() == plain]
    if not found:
        raise ConfigError(f"{key}: {name} is not a Keras initializer; {closest(name, known)}")
    arguments = constructor_arguments("initializers", found[0])
    for argument in config:
        if argument not in arguments:
            raise ConfigError(f"{key}.config.{argument}: {found[0]} has no such argument; allowed: {[*arguments]}")
    return {"class_name": found[0], "config": dict(config)}


def check_bias_rank(class_name: str, layer: str, bias_rank: int) -> None:
    """Refuse a class that cannot fill a bias with `bias_rank` axes."""
    if class_name in NEEDS_MATRIX and bias_rank < 2:
        allowed = ", ".join(name for name in initializer_names() if name not in NEEDS_MATRIX)
        raise ConfigError(
            f"bias_initializer: {class_name} given, but it fills matrices and the bias of {layer} has one axis; "
            f"allowed: {allowed}"
        )
