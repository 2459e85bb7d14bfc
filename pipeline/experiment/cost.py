"""Estimate how long the missing runs take."""

import math
from collections.abc import Sequence
from typing import Any

from pipeline.biases.introspection import (
    direct_trainable_variables,
    flatten_layers,
    inbound_output_shapes,
    recurrent_layers,
)
from pipeline.experiment.plan import Plan
from pipeline.runtime.device import n_cores, start_tensorflow
from pipeline.runtime.hashing import digest
from pipeline.training.cache import MOST_STEPS, model_structure
from pipeline.training.loop import fit_batch_size
from pipeline.training.memory import stack_width

# Of two cores of a Xeon, digits: 28 GFLOP/s for the MLP, 46 for the CNN, 9 for the LSTM; the time to compile them.
FLOPS_OF_A_CORE, RECURRENT_SLOWER = 14e9, 3
START, COMPILE, COMPILE_LAYER, COMPILE_STEP = 12, 3, 2, 1  # seconds


def estimate_time(arms: Sequence[Plan], models: Sequence[Any], missing: Sequence[int]) -> str:
    """A rough estimate of how long the missing runs of each arm take, in words."""
    if not sum(missing):
        return "Nothing to train."
    device = start_tensorflow(arms[0].config.runtime.device)
    if device != "CPU":
        return f"{sum(missing)} runs to train on {device}; their time is not estimated."
    seconds, structures = float(START), set()
    for p, (model, _, rows), count in zip(arms, models, missing, strict=True):
        if count:
            layers = [layer for layer in flatten_layers(model) if direct_trainable_variables(layer)]
            steps = sum(layer.get_build_config()["input_shape"][1] or 1 for layer in recurrent_layers(model))
            structure = digest([model_structure(model.get_config()), model_structure(p.settings)])
            if structure not in structures:
                structures.add(structure)
                seconds += COMPILE + COMPILE_LAYER * len(layers) + COMPILE_STEP * min(steps, MOST_STEPS)
            width = stack_width(model, fit_batch_size(p.config.training, rows).batch_size)
            seeds = math.ceil(count / width) * width  # a stack always has all its places
            operations = 6 * _products(model) * len(rows.train) * p.config.training.epochs * seeds
            seconds += operations / FLOPS_OF_A_CORE / n_cores() * (RECURRENT_SLOWER if steps else 1)
    about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{sum(missing)} runs to train, in roughly {about} on {n_cores()} cores."


def _products(model: Any) -> int:
    """Multiplications for one row on its way forward: each weight, as often as it is used."""
    times = {id(layer.cell): layer.get_build_config()["input_shape"][1] or 1 for layer in recurrent_layers(model)}
    total = 0
    for layer in flatten_layers(model):
        shapes = inbound_output_shapes(layer)
        positions = math.prod(n or 1 for n in shapes[0][1:-1]) if shapes else 1
        weights = sum(math.prod(v.shape) for v in direct_trainable_variables(layer))
        total += weights * times.get(id(layer), positions)
    return total
