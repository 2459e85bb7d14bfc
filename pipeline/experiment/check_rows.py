"""Check what layers read off the rows themselves: masked steps, and numbers to look up.

What reaches these layers is found by running the model on the rows, wherever the layers are in it and whatever selects,
moves, pads or drops numbers before.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.biases.introspection import flatten_layers
from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split, standardized_inputs
from pipeline.errors import ConfigError

ENTRIES = {"Embedding": "input_dim", "CategoryEncoding": "num_tokens"}  # the argument that says how many there are
KINDS = ("Masking", "Hashing", *ENTRIES)
FIRST, BLOCK = 32, 1024  # rows at once, the first of which go through the whole model
LOG = logging.getLogger(__name__)

# The id of a layer, and what it was called with: None for values of a graph, and for those that depend on weights.
Calls = list[tuple[int, np.ndarray | None]]


@dataclass
class Reached:
    """What reaches a layer, over all rows. is_whole: whether rows as they are give whole numbers. is_moved: whether
    standardizing changes what is read off. lowest, highest: of what it is given in training."""

    is_whole: bool = True
    is_moved: bool = False
    lowest: float = math.inf
    highest: float = -math.inf


class Enough(Exception):
    """Everything that reaches the watched layers has been seen."""

    _keras_call_info_injected = True  # keeps Keras from putting an exception of its own in its place


def check_rows(model: Any, dataset: Dataset, split: Split, data: Data) -> bool:
    """Raise ConfigError where standardizing moves the value that a Masking skips, or what an Embedding looks up, and
    where that has no such entry.

    With `model.fit` on the rows as they are, padding is skipped; standardized, it would be trained on. Returns whether
    the model was run, which it is only if it has such a layer.
    """
    layers = {id(layer): layer for layer in flatten_layers(model) if _kind(layer)}
    if not layers:
        return False
    for key, reached in _reached(model, layers, dataset, split, data).items():
        layer, kind, what = layers[key], _kind(layers[key]), ""
        if reached.is_moved and kind == "Masking":
            value = _inner(layer).mask_value
            what = f"skips steps of {value:g}, which data.standardize moves, so that padding is trained on"
        elif reached.is_moved and reached.is_whole:  # one that is given other numbers is not understood here
            what = "looks up whole numbers, which data.standardize moves"
        if what:
            raise ConfigError(f"model: {layer.name} {what}; allowed: data.standardize=false")
        _check_entries(layer, reached)
    return True


def _check_entries(layer: Any, reached: Reached) -> None:
    """Raise ConfigError where a layer is asked for entries that it does not have. TensorFlow looks up what is there."""
    argument = ENTRIES.get(type(_inner(layer)).__name__)  # a class of the user's may count from elsewhere
    if argument is None or reached.lowest > reached.highest:
        return
    entries, lowest, highest = getattr(_inner(layer), argument), int(reached.lowest), int(reached.highest)
    if lowest < 0 or highest >= entries:
        has = f"model: {layer.name} has {entries} entries, 0 to {entries - 1}, but x goes from {lowest} to {highest}"
        raise ConfigError(f"{has}; allowed: " + ("numbers from 0 up" if lowest < 0 else f"{argument}={highest + 1}"))


def _inner(layer: Any) -> Any:
    """The layer that a TimeDistributed applies to each step."""
    return layer.layer if type(layer).__name__ == "TimeDistributed" else layer


def _kind(layer: Any) -> str:
    """Which of `KINDS` a layer is, also one of the user's that extends it; else ""."""
    return next((cls.__name__ for cls in type(_inner(layer)).__mro__ if cls.__name__ in KINDS), "")


def _reached(model: Any, layers: Mapping[int, Any], dataset: Dataset, split: Split, data: Data) -> dict[int, Reached]:
    """What reaches each layer, by its id."""
    as_is = replace(split, mean=np.zeros_like(split.mean), scale=np.ones_like(split.scale))
    found = {key: Reached() for key in layers}
    most = None
    for rows in _blocks(len(dataset.x)):
        raw = seen = _calls(model, layers, standardized_inputs(dataset, as_is, rows), most)
        if data.standardize:
            seen = _calls(model, layers, standardized_inputs(dataset, split, rows), most)
        most = len(raw)
        for (key, before), (other, after) in zip(raw, seen, strict=False):
            if before is None or after is None or key != other or not before.size:
                continue
            reached, moved = found[key], not np.array_equal(before, after)
            if moved and _kind(layers[key]) == "Masking":
                value = _inner(layers[key]).mask_value
                moved = not np.array_equal(_is_step(before, value), _is_step(after, value))
            reached.is_moved |= moved
            reached.is_whole &= np.array_equal(before, np.round(before))
            reached.lowest = min(reached.lowest, float(after.min()))
            reached.highest = max(reached.highest, float(after.max()))
    return found


def _is_step(values: np.ndarray, masked: float) -> np.ndarray:
    """Which steps a Masking does not skip, [rows, steps]."""
    return np.any(values != masked, axis=-1)


def _blocks(n_rows: int) -> Iterator[np.ndarray]:
    starts = [0, *range(FIRST, n_rows, BLOCK), n_rows]
    return (np.arange(*part) for part in pairwise(starts))


def _calls(model: Any, layers: Mapping[int, Any], x: np.ndarray, most: int | None) -> Calls:
    """The calls of the layers, in order, while the model runs on x; no more than `most`."""
    import tensorflow as tf

    calls: list[tuple[int, Any]] = []
    weights = [weight.value for weight in model.weights if weight.value.dtype.is_floating]
    with tf.GradientTape(persistent=True) as tape, _recording(layers, calls, most):
        for weight in weights:  # frozen ones too
            tape.watch(weight)
        try:
            model(tf.constant(x), training=False)
        except Exception as error:  # what fails here fails in training, where it is told
            if not isinstance(error, Enough):
                LOG.debug("check_rows: %s", error)

    def seen(values: Any) -> np.ndarray | None:
        if not tf.is_tensor(values) or not hasattr(values, "numpy"):
            return None
        gradients = tape.gradient(values, weights) if values.dtype.is_floating else []
        return values.numpy() if all(gradient is None for gradient in gradients) else None

    return [(key, seen(values)) for key, values in calls]


@contextmanager
def _recording(layers: Mapping[int, Any], calls: list[tuple[int, Any]], most: int | None) -> Iterator[None]:
    """Append what each of the layers is called with, and end the run after `most` calls."""

    def record(key: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(values: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append((key, values))
            if len(calls) == most:
                raise Enough
            return call(_within(layers[key], values), *args, **kwargs)

        return recorded

    for key, layer in layers.items():
        vars(layer)["call"] = record(key, layer.call)
    try:
        yield
    finally:
        for layer in layers.values():
            del vars(layer)["call"]


def _within(layer: Any, values: Any) -> Any:
    """The values, or the nearest entries that the layer has, so that the run goes on to the next layer."""
    import keras

    argument = ENTRIES.get(type(layer).__name__)
    return values if argument is None else keras.ops.clip(values, 0, getattr(layer, argument) - 1)
