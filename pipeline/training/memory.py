"""What a stack of seeds takes of the memory, estimated from the model: how many share one, how many rows at a time."""

from typing import Any

import numpy as np

from pipeline.training.pfor import recurrent_layers

EVALUATION_ROWS, FEWEST_ROWS = 512, 32  # of a seed in one step of an evaluation, as memory allows
EVALUATION_BYTES = 64 * 2**20  # what such a step may touch
PLACES = (20, 10, 5, 2)  # of one, TensorFlow makes no stack; the counts that people ask for fill these
COPIES = 10  # of all weights: values and two moments, those of the program it is traced with, gradients, new values
COMPILER_BYTES = 200 * 2**20  # what TensorFlow takes to trace and compile any model
STACK_BYTES = 3 * 2**20  # what a step of a stack may touch before it is made narrower


def seed_bytes(model: Any, batch_size: int) -> int:
    """What a step of a seed touches: weights, gradients, optimizer state; outputs and their gradients."""
    outputs = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    return 4 * (4 * _weights(model) + 2 * batch_size * (outputs + _gates(model)))


def evaluation_rows(model: Any, width: int) -> int:
    """How many rows of each seed an evaluation takes at once."""
    return int(np.clip(EVALUATION_BYTES // (width * _row_bytes(model)), FEWEST_ROWS, EVALUATION_ROWS))


def stack_bytes(model: Any, width: int, batch_size: int) -> int:
    """An estimate of the memory that a stack takes: its weights, and one step of training or evaluation.

    Held against measured peaks in tests/test_training.py.
    """
    rows = max(2 * batch_size, evaluation_rows(model, width))
    return COMPILER_BYTES + width * (4 * COPIES * _weights(model) + rows * _row_bytes(model))


def _weights(model: Any) -> int:
    return sum(int(np.prod(v.shape)) for v in model.variables)


def _gates(model: Any) -> int:
    """Floats that recurrent layers keep of a row: per step four gates before and after activation, and two states."""
    floats = 0
    for layer in recurrent_layers(model):
        _, steps, *features = layer.get_build_config()["input_shape"]
        floats += 16 * (steps or 1) * int(np.prod(getattr(layer.cell, "output_size", None) or features))
    return floats


def _row_bytes(model: Any) -> int:
    """Bytes for one row of one seed on its way through the layers, with the patches that convolutions make of it."""
    floats = int(np.prod(model.input_shape[1:])) + 2 * _gates(model)
    for layer in model._flatten_layers():
        shapes = [tuple(node.outputs[0].shape[1:]) for node in layer._inbound_nodes]
        size = max((int(np.prod([n or 1 for n in shape])) for shape in shapes), default=0)
        kernel = getattr(layer, "kernel", None) if "Conv" in type(layer).__name__ and layer.built else None
        patch = 2 * int(np.prod(kernel.shape[:-1])) / kernel.shape[-1] if kernel is not None else 0
        floats += int(size * (2 + patch))
    return 4 * floats


def stack_width(model: Any, batch_size: int) -> int:
    """How many seeds share a stack: it follows from the model and the batch alone, so it is the same everywhere."""
    fitting = [n for n in PLACES if n * seed_bytes(model, batch_size) <= STACK_BYTES]
    return max(fitting, default=PLACES[-1])
