"""Initializers of the user's own: seeded by this project, and tried before anything is trained (imports Keras).

An initializer with an argument `seed` gets one. Any other is made and called with the random states of Python, NumPy,
Keras and TensorFlow set, so that its draws depend on the seed of the run alone.
"""

import contextlib
import functools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from pipeline.biases.extraction import variable_paths
from pipeline.biases.introspection import flatten_layers
from pipeline.errors import ConfigError, describe_error, kind_of

SEED = "_seed_of_draws"  # attribute of an initializer


def make_initializer(cls: Any, config: Mapping[str, Any], seed: int) -> Any:
    """An initializer of a class of the user's own, every draw of which is decided by the seed."""
    _seed_calls(cls)
    with _seeded(seed), _named(cls):
        initializer = cls(**config)
    setattr(initializer, SEED, seed)
    return initializer


def make_layer(cls: Any, config: Mapping[str, Any], seed: int) -> Any:
    """A layer of a class of the user's own; what its constructor and its `build` draw is decided by the seed."""
    with _seeded(seed):
        layer = cls(**config)
    build = layer.build

    @functools.wraps(build)
    def seeded_build(*args: Any, **kwargs: Any) -> None:
        with _seeded(seed):
            build(*args, **kwargs)

    layer.build = seeded_build
    return layer


def _seed_calls(cls: Any) -> None:
    """Have the calls of a class set the random states, for objects that have a seed. Twice is the same as once."""
    call = cls.__call__
    if hasattr(call, SEED):
        return

    @functools.wraps(call)
    def seeded_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        seed = getattr(self, SEED, None)
        if seed is None:  # another one than this project made
            return call(self, *args, **kwargs)
        with _seeded(seed), _named(cls):
            values = call(self, *args, **kwargs)
        shape = args[0] if args else kwargs.get("shape")
        if shape is not None:
            _check_draw(cls.__name__, values, tuple(shape))
        return values

    setattr(seeded_call, SEED, None)
    cls.__call__ = seeded_call


def _check_draw(name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Raise ConfigError for what is no array of this shape, or of numbers that are not finite."""
    try:
        array = np.asarray(values)
    except Exception:  # of a graph, whose values are seen in `check_repeatable`
        return
    if array.dtype.kind not in "biufcV":  # bfloat16 is of the last kind
        raise _refused(name, f"returns {kind_of(values)}", f"an array of numbers of shape {shape}")
    if array.shape != shape:
        what = "bias" if len(shape) == 1 else "weight"
        raise _refused(name, f"returns shape {array.shape} for a {what} of shape {shape}", f"the shape {shape}")
    if np.issubdtype(array.dtype, np.number) and not np.isfinite(array).all():
        raise _refused(name, "returns values that are nan or infinite", "finite numbers")


@contextlib.contextmanager
def _named(cls: Any) -> Iterator[None]:
    """Within the context, an exception becomes a ConfigError that names the class."""
    try:
        yield
    except Exception as error:
        what = f"code: the initializer {cls.__name__} raises {describe_error(error)}"
        raise ConfigError(f"{what}; allowed: one that draws values of any shape of a bias") from error


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within the context, all random states follow from the seed; Python's and NumPy's are afterwards as before."""
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        keras.utils.set_random_seed(0)  # as at the start of TensorFlow (`runtime.device`)
        random.setstate(states[0])
        np.random.set_state(states[1])


def check_repeatable(model: Any, again: Any) -> None:
    """Check the initial variables of a model that has initializers of the user's own, by a second one of the same seed.

    Raises ConfigError for values of another shape than the variable's, for values that are no finite numbers, and for
    those that differ between the two.
    """
    paths = variable_paths(model)
    for variable, twin in zip(model.variables, again.variables, strict=True):
        name = _drawn_by(model, variable) + (paths.get(id(variable)) or str(variable.path))
        values, repeated = np.asarray(variable.value), np.asarray(twin.value)
        if values.shape != tuple(variable.shape):
            raise _refused(name, f"draws values of shape {values.shape}", f"the shape {tuple(variable.shape)}")
        if np.issubdtype(values.dtype, np.number) and not np.isfinite(values).all():
            raise _refused(name, "draws values that are nan or infinite", "finite numbers")
        if values.tobytes() != repeated.tobytes():
            allowed = "draws that follow from an argument `seed`, or from the random states of NumPy, Keras or Python"
            raise _refused(name, "draws other values when a model of the same seed is built again", allowed)


def _drawn_by(model: Any, variable: Any) -> str:
    """The class of the user's own whose initializer a variable has, for a message; "" where that is not known."""
    for layer in flatten_layers(model):
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        if hasattr(initializer, SEED) and any(variable is one for one in layer.variables):
            return f"{type(initializer).__name__} of "
    return "of "


def _refused(name: str, what: str, allowed: str) -> ConfigError:
    return ConfigError(f"code: the initializer {name} {what}; allowed: {allowed}")
