"""Estimate how long the missing runs take."""

import math
from collections.abc import Sequence
from typing import Any

from pipeline.biases.introspection import (
    direct_trainable_variables,
    flatten_layers,
    inbound_output_shapes,
    recurrent_layers,
    sequence_shape,
)
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.experiment.plan import Plan
from pipeline.runtime.device import n_cores, start_tensorflow
from pipeline.runtime.hashing import digest
from pipeline.training.cache import MOST_STEPS, model_structure
from pipeline.training.loop import fit_batch_size
from pipeline.training.memory import stack_width

# Measured on two cores of a Xeon with digits: 28 GFLOP/s for the MLP, 46 for the CNN, 9 for the LSTM.
FLOPS_PER_CORE, RECURRENT_SLOWDOWN = 14e9, 3
# Seconds to start, and to compile a program: its base, each layer, each step of a recurrent layer.
START, COMPILE, COMPILE_LAYER, COMPILE_STEP = 12, 3, 2, 1
BUILD_AND_STORE = 0.02  # seconds of each run besides its training, as 400 runs of the linear model took


def estimate_time(
    plans: Sequence[Plan], first_models: Sequence[tuple[Any, Dataset, Split]], missing: Sequence[int]
) -> str:
    """Estimate how long the missing runs take, as a sentence; a rough figure for a CPU, none for a GPU.

    first_models: see `check.first_model`, one per plan. missing: how many seeds each plan has to train.
    """
    total = sum(missing)
    if not total:
        return "Nothing to train."
    device = start_tensorflow(plans[0].config.runtime.device, plans[0].portable)
    if device != "CPU":
        return f"{total} runs to train on {device}; their time is not estimated."
    seconds = float(START)
    compiled = set()
    for plan, (model, _, split), count in zip(plans, first_models, missing, strict=True):
        if not count:
            continue
        steps = sum(sequence_shape(layer)[1] or 1 for layer in recurrent_layers(model))
        structure = digest([model_structure(model.get_config()), model_structure(plan.settings)])
        if structure not in compiled:  # arms of one structure share a compiled program
            compiled.add(structure)
            layers = [layer for layer in flatten_layers(model) if direct_trainable_variables(layer)]
            seconds += COMPILE + COMPILE_LAYER * len(layers) + COMPILE_STEP * min(steps, MOST_STEPS)
        training = fit_batch_size(plan.config.training, split)
        width = stack_width(model, training.batch_size, training.xla)
        seeds = math.ceil(count / width) * width  # a stack computes all its slots, filled or not
        operations = 6 * _products(model) * len(split.train) * plan.config.training.epochs * seeds
        seconds += BUILD_AND_STORE * count
        seconds += operations / FLOPS_PER_CORE / n_cores() * (RECURRENT_SLOWDOWN if steps else 1)
    about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{total} runs to train, in roughly {about} on {n_cores()} cores."


def _products(model: Any) -> int:
    """Count the multiplications of one row's forward pass: each weight as often as it is used."""
    times = {id(layer.cell): sequence_shape(layer)[1] or 1 for layer in recurrent_layers(model)}
    total = 0
    for layer in flatten_layers(model):
        shapes = inbound_output_shapes(layer)
        positions = math.prod(n or 1 for n in shapes[0][1:-1]) if shapes else 1
        weights = sum(math.prod(v.shape) for v in direct_trainable_variables(layer))
        total += weights * times.get(id(layer), positions)
    return total
