"""Which initializers there are for a bias, and which of them cannot work on a bias of a given shape."""

import math

from pipeline import signatures
from pipeline.config import BiasInitializer
from pipeline.errors import ConfigError, closest

# They fill matrices: Keras raises on a 1-D shape. STFT makes the fixed filters of a spectrogram.
NEEDS_MATRIX = ("Orthogonal", "Identity")
NOT_FOR_BIAS = ("STFT",)
CHOICES = {
    "mode": ("fan_in", "fan_out", "fan_avg"),
    "distribution": ("truncated_normal", "untruncated_normal", "uniform"),
}


def names() -> list[str]:
    """Class names of the initializers that a bias may take."""
    return [name for name in signatures.names("initializers") if name not in NOT_FOR_BIAS]


def defaults(class_name: str) -> dict[str, object]:
    """An initializer's arguments with their default values. Raises ConfigError for a name Keras does not have."""
    if class_name not in names():
        raise ConfigError(
            f"bias_initializer.class_name: {class_name} is not a Keras initializer for biases; "
            f"{closest(class_name, names())}"
        )
    return signatures.arguments("initializers", class_name)


def check_arguments(initializer: BiasInitializer) -> None:
    """Refuse an argument that the class does not have, or a value that draws nothing sensible."""
    known, given = defaults(initializer.class_name), initializer.config
    for name, value in given.items():
        key = f"bias_initializer.config.{name}"
        if name not in known:
            raise ConfigError(f"{key}: {initializer.class_name} has no such argument; {closest(name, list(known))}")
        if name in CHOICES and value not in CHOICES[name]:
            raise ConfigError(f"{key}: {value} given; allowed: {', '.join(CHOICES[name])}")
        if isinstance(known[name], float):
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or (name in ("stddev", "scale") and value <= 0):
                allowed = "a positive number" if name in ("stddev", "scale") else "a number"
                raise ConfigError(f"{key}: {value} given; allowed: {allowed}")
    if given.get("minval", 0) > given.get("maxval", math.inf):
        raise ConfigError(
            f"bias_initializer.config.minval: {given['minval']} given; allowed: at most maxval, {given['maxval']}"
        )


def check_rank(class_name: str, layer: str, bias_rank: int) -> None:
    """Refuse a class that cannot fill a bias with `bias_rank` axes."""
    if class_name in NEEDS_MATRIX and bias_rank < 2:
        allowed = ", ".join(name for name in names() if name not in NEEDS_MATRIX)
        raise ConfigError(
            f"bias_initializer: {class_name} given, but it fills matrices and the bias of {layer} has one axis; "
            f"allowed: {allowed}"
        )
