"""The initializers that a bias can have, the layers they are meant for, their arguments (imports no Keras)."""

import ast
import math
from functools import cache
from typing import Any

from pipeline.config.calls import arguments_of_call, is_call, name_of_call
from pipeline.config.hints import NO_BIAS, OWN_FILE, near_initializers, no_such_class
from pipeline.config.keras_signatures import (
    CUSTOM_INITIALIZERS,
    REQUIRED,
    class_names,
    constructor_arguments,
    is_custom,
)
from pipeline.config.made_options import OTHER_NAMES, initializer_content
from pipeline.config.schema import CONF, BiasInitializer
from pipeline.config.user_classes import full_name, user_class
from pipeline.errors import ConfigError, closest, is_number, require

KEY = "bias_initializer"
NEEDS_MATRIX = ("Orthogonal", "Identity")  # Keras raises on a bias with one axis
NOT_FOR_BIAS = ("STFT",)  # makes the fixed filters of a spectrogram
FROM_LAYER = ("fan_in", "fan_out", "gates", "values")  # filled in from layer and targets, never by a config
MODELS_OWN = (*NO_BIAS, "default", "keras", "model")  # words for the kernels that a model has by itself
ALIASES = {"uniform": "RandomUniform", "normal": "RandomNormal", "zero": "Zeros", "one": "Ones"}
POSITIVE = ("stddev", "scale", "factor", "variance")  # arguments
KERNELS: dict[str, dict[str, Any]] = {  # PyTorch's default for the kernels of Linear and Conv layers
    "pytorch": {
        "class_name": "VarianceScaling",
        "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
    }
}
LARGEST = 3.4e38  # that 32 bits hold
CHOICES = {
    "mode": ("fan_in", "fan_out", "fan_avg"),
    "distribution": ("truncated_normal", "untruncated_normal", "uniform"),
}


def initializer_names() -> list[str]:
    """Class names of the initializers that a bias can have, Keras' and this project's."""
    return [name for name in class_names("initializers") if name not in NOT_FOR_BIAS]


def is_custom_initializer(class_name: str) -> bool:
    """Whether an initializer is this project's, not Keras'."""
    return is_custom("initializers", class_name)


def only_for_gates(class_name: str) -> bool:
    """Whether an initializer fills gates, so that only LSTM and GRU layers can have it."""
    return "GateInitializer" in _bases(class_name)


def only_for_output(class_name: str) -> bool:
    """Whether an initializer is meant for the model's output alone."""
    return "OutputInitializer" in _bases(class_name)


def _bases(class_name: str) -> list[str]:
    """The names of the base classes of an initializer that Keras does not ship."""
    own = user_class("initializers", class_name)
    return [_custom_bases().get(class_name, "")] if own is None else [base.__name__ for base in own.__mro__]


@cache
def _custom_bases() -> dict[str, str]:
    """The base class of each custom initializer, read from the source text, since importing it imports Keras."""
    tree = ast.parse(CUSTOM_INITIALIZERS.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}


def initializer_defaults(class_name: str, key: str = KEY) -> dict[str, object]:
    """An initializer's arguments with their defaults. Raises ConfigError for a name that does not exist."""
    if class_name not in (known := initializer_names()):
        if ">" in class_name and not any(">" in name for name in known):
            raise ConfigError(f"{key}.class_name", class_name, OWN_FILE, reason="which is no class of Keras")
        near = near_initializers(class_name, known)
        raise ConfigError(f"{key}.class_name: {class_name} is not an initializer for biases; {near}")
    return constructor_arguments("initializers", class_name)


def resolved_initializer(initializer: BiasInitializer) -> BiasInitializer:
    """The initializer with its class, and those of `layers`, in full. Raises ConfigError for what does not fit.

    A class of the user's own may lack its package, and `layers` may name options of conf/.
    """
    full = _resolved({"class_name": initializer.class_name, "config": initializer.config}, KEY)
    if initializer.layers is None:
        return BiasInitializer(**full)
    layers = initializer.layers
    require(isinstance(layers, dict) and layers, f"{KEY}.layers", layers, "{layer:initializer,...}, or null")
    own = {
        str(layer): _resolved(initializer_content(value, [CONF], f"{KEY}: of layer {layer}"), f"{KEY}.layers.{layer}")
        for layer, value in layers.items()
    }
    return BiasInitializer(**full, layers=own)


def _resolved(full: dict[str, Any], key: str) -> dict[str, Any]:
    """`{class_name, config}` with the whole name of the class, checked."""
    full = full | {"class_name": full_name("initializers", full["class_name"])}
    check_initializer_arguments(BiasInitializer(**full), key)
    return full


def check_initializer_arguments(initializer: BiasInitializer, at: str = KEY) -> None:
    """Raise ConfigError for an argument that the class does not have, or a value that it cannot draw with.

    at: the key of the initializer, for messages.
    """
    defaults, arguments = initializer_defaults(initializer.class_name, at), initializer.config
    is_own = user_class("initializers", initializer.class_name) is not None
    settable = [name for name in defaults if is_own or name not in FROM_LAYER]
    for name in [
        name for name, default in defaults.items() if default is REQUIRED and name not in (*arguments, "seed")
    ]:
        raise ConfigError(f"{at}.config.{name}: nothing given; {initializer.class_name} needs it")
    for name, value in arguments.items():
        key = f"{at}.config.{name}"
        if name not in settable:
            own = "; in a sweep, an option has its own in brackets: constant(0.1)" if not settable else ""
            raise ConfigError(f"{key}: {initializer.class_name} has no such argument; {closest(name, settable)}{own}")
        if is_own:
            continue
        if name in CHOICES:
            require(value in CHOICES[name], key, value, ", ".join(CHOICES[name]))
        if isinstance(defaults[name], float):
            positive = name in POSITIVE
            allowed = ("a positive number" if positive else "a number") + f" up to {LARGEST:g}"
            require(is_number(value) and (value > 0 or not positive) and abs(value) <= LARGEST, key, value, allowed)
    if is_own:
        return
    steps = arguments.get("t_max")
    whole = isinstance(steps, int) and not isinstance(steps, bool) and steps >= 3
    allowed = "a whole number of steps from 3 up, or null for those of the layer's input"
    require(whole or steps is None, f"{at}.config.t_max", steps, allowed)
    low, high = arguments.get("minval", 0), arguments.get("maxval", math.inf)
    require(low <= high, f"{at}.config.minval", low, f"at most maxval, {high}")


def full_form(initializer: Any, key: str) -> dict[str, Any]:
    """`{class_name, config}` of an initializer given so or by its name (`he_normal`, `HeNormal`).

    key: the config key it is read from, for messages. Raises ConfigError for a class or argument that does not exist.
    """
    full = {"class_name": initializer, "config": {}} if isinstance(initializer, str) else initializer
    if not isinstance(full, dict) or not set(full) <= {"class_name", "config"} or "class_name" not in full:
        raise ConfigError(key, initializer, "a name, or {class_name: a name, config: its arguments}")
    name, config, names = str(full["class_name"]), full.get("config") or {}, class_names("initializers")
    spelling = ALIASES.get(name, name).replace("_", "").lower()
    own = full_name("initializers", name)
    class_name = own if own in names else next((k for k in names if k.lower() == spelling), None)
    if class_name is None:
        if key == "kernel_initializer" and name.lower() in MODELS_OWN:
            allowed = "null, or leaving it out, which is the model's own; or an initializer of Keras"
            raise ConfigError(key, name, allowed)
        fitting = [known for known in names if not is_custom_initializer(known)]
        raise ConfigError(f"{key}: {name} is not a Keras initializer; {no_such_class(name, fitting)}")
    arguments = constructor_arguments("initializers", class_name)
    for argument in config:
        if argument not in arguments:
            raise ConfigError(f"{key}.config.{argument}: {class_name} has no such argument; allowed: {[*arguments]}")
    return {"class_name": class_name, "config": dict(config)}


def kernel_form(initializer: Any) -> dict[str, Any]:
    """`{class_name, config}` of `kernel_initializer`: a name, also one of other libraries, a name with arguments, or
    that form itself. Raises ConfigError.
    """
    key, given, config = "kernel_initializer", initializer, {}
    if is_call(given):
        given, config = name_of_call(given), arguments_of_call(given, lambda name: list(full_arguments(name, key)))
    if isinstance(given, str) and given in KERNELS:
        full = KERNELS[given]
    else:
        full = full_form(OTHER_NAMES.get(given, given) if isinstance(given, str) else given, key)
    full = full | {"config": full["config"] | config}
    if is_custom_initializer(full["class_name"]):
        allowed = "an initializer of Keras or of your own, or pytorch"
        raise ConfigError(key, given, allowed, reason="which is for biases")
    check_initializer_arguments(BiasInitializer(**full), key)
    return full


def full_arguments(name: str, key: str) -> list[str]:
    """The arguments, without the seed, of an initializer that is given by its name."""
    class_name = full_form(OTHER_NAMES.get(name, name), key)["class_name"]
    return [argument for argument in constructor_arguments("initializers", class_name) if argument != "seed"]


def check_bias_rank(class_name: str, layer: str, bias_rank: int) -> None:
    """Raise ConfigError for an initializer that cannot fill a bias with `bias_rank` axes."""
    if class_name in NEEDS_MATRIX and bias_rank < 2:
        allowed = f"any but {', '.join(NEEDS_MATRIX)}, such as GlorotUniform"
        reason = f"but it fills matrices and the bias of {layer} has one axis"
        raise ConfigError("bias_initializer", class_name, allowed, reason=reason)
