"""Which initializers there are for a bias, and which of them cannot work on a bias of a given shape."""

from typing import Any

from pipeline import signatures
from pipeline.config import BiasInitializer, ConfigError, closest

# They fill matrices: Keras raises on a 1-D shape. STFT makes the fixed filters of a spectrogram.
NEEDS_MATRIX = ("Orthogonal", "Identity")
NOT_FOR_BIAS = ("STFT",)


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


def check(initializer: BiasInitializer | dict[str, Any], key: str, bias_rank: int) -> None:
    """Refuse an unknown class or argument, and a class that cannot fill a bias with `bias_rank` axes."""
    if isinstance(initializer, dict):
        initializer = BiasInitializer(**initializer)
    known = defaults(initializer.class_name)
    for name, value in initializer.config.items():
        if name not in known:
            raise ConfigError(
                f"bias_initializer.config.{name}: no such key; {closest(name, sorted(known) or ['none'])}"
            )
        if isinstance(known[name], float) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ConfigError(f"bias_initializer.config.{name}: {value} given; allowed: a number")
    if initializer.class_name in NEEDS_MATRIX and bias_rank < 2:
        raise ConfigError(
            f"bias_initializer: {initializer.class_name} given, but it fills matrices and the bias of {key} "
            f"has one axis; allowed: any of {', '.join(n for n in names() if n not in NEEDS_MATRIX)}"
        )
