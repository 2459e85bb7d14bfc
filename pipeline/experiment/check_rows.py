"""Check that standardizing leaves what layers read off the rows themselves: masked steps, and numbers to look up."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split, standardized_inputs
from pipeline.errors import ConfigError

# Layers that pass numbers on as they are, wherever they put them.
MOVES = ("InputLayer", "Identity", "Reshape", "Flatten", "Permute", "RepeatVector", "Cropping1D", "Masking")
BLOCK = 1024  # rows at once


def check_rows(model: Any, dataset: Dataset, split: Split, data: Data) -> None:
    """Raise ConfigError where standardizing moves the value that a Masking skips, or what an Embedding looks up.

    With `model.fit` on the rows as they are, padding is skipped; standardized, it would be trained on.
    """
    for layer, before in _on_rows(model) if data.standardize else ():
        blocks = _blocks(dataset, split, before)
        if type(layer).__name__ == "Masking":
            value = layer.mask_value
            if all(np.array_equal(_is_step(raw, value), _is_step(moved, value)) for raw, moved in blocks):
                continue
            what = f"skips steps of {value:g}, which data.standardize moves, so that padding is trained on"
        else:
            # One that is given other numbers than whole ones is not understood here.
            if not np.array_equal(dataset.x, np.round(dataset.x)) or all(np.array_equal(*block) for block in blocks):
                continue
            what = "looks up whole numbers, which data.standardize moves"
        raise ConfigError(f"model: {layer.name} {what}; allowed: data.standardize=false")


def _is_step(values: np.ndarray, masked: float) -> np.ndarray:
    """Which steps a Masking does not skip, [rows, steps]."""
    return np.any(values != masked, axis=-1)


def _blocks(dataset: Dataset, split: Split, before: Sequence[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows behind these layers, some at a time: as they are, and standardized."""
    as_is = replace(split, mean=np.zeros_like(split.mean), scale=np.ones_like(split.scale))
    for start in range(0, len(dataset.x), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(dataset.x)))
        raw, moved = (standardized_inputs(dataset, statistics, rows) for statistics in (as_is, split))
        for layer in before:
            raw, moved = (np.asarray(layer(values)) for values in (raw, moved))
        yield raw, moved


def _on_rows(model: Any) -> Iterator[tuple[Any, Sequence[Any]]]:
    """The Masking and Embedding layers that see the rows' own numbers, with the layers that moved these before."""
    if type(model).__name__ == "Sequential":
        before = []
        for layer in _chain(model):
            if type(layer).__name__ in ("Masking", "Embedding"):
                yield layer, tuple(before)
            if type(layer).__name__ not in MOVES:
                return
            before.append(layer)
        return
    import keras

    for layer in model.layers:
        if type(layer).__name__ in ("Masking", "Embedding"):
            behind = keras.Model(model.inputs, layer.input)
            if all(type(other).__name__ in MOVES for other in behind.layers):
                yield layer, (behind,)


def _chain(model: Any) -> Iterator[Any]:
    """The layers of a Sequential, those of one within it too."""
    for layer in model.layers:
        if type(layer).__name__ == "Sequential":
            yield from _chain(layer)
        else:
            yield layer
