"""Memory: how many seeds share a stack, how many stacks train at once, and what an evaluation and the inputs take."""

from typing import Any

import numpy as np

from pipeline.biases.introspection import flatten_layers, inbound_output_shapes, recurrent_layers, sequence_shape
from pipeline.config.schema import Training
from pipeline.errors import ConfigError, describe_size
from pipeline.runtime.device import free_memory, n_cores
from pipeline.runtime.logs import tell_once

EVALUATION_ROWS, FEWEST_ROWS = 512, 32  # most and fewest rows of a seed in one step of an evaluation
EVALUATION_BYTES = 64 * 2**20  # that such a step may touch
WIDTHS = (20, 10, 5, 2)  # of a stack: TensorFlow makes no stack of one, and the seed counts people ask for fill these
COPIES = 10  # of all weights: values, two moments, the same three in the program's trace, gradients, new values
BEST_COPIES = 2  # more under early stopping: the best weights so far, and those of the epoch that may be better
COMPILER_BYTES = 200 * 2**20  # that TensorFlow takes to trace and compile any model
TRACE_BYTES = 60 * 2**20  # that it takes for a seed that trains alone, which is not compiled
ALONE_PRODUCTS = 6e6  # multiplications of the convolutions of a seed's step from which on it trains alone
STACK_BYTES = 3 * 2**20  # that a step of a stack may touch before the stack is made narrower


def stack_width(model: Any, batch_size: int, xla: bool | str = "auto") -> int:
    """How many seeds share a stack: by model, batch size and `training.xla`, so it is the same on all machines without
    a GPU, and the same on all with one.
    """
    if xla is not True and trains_alone(model, batch_size):
        return 1
    fitting = [width for width in WIDTHS if width * step_bytes(model, batch_size) <= STACK_BYTES]
    return max(fitting, default=WIDTHS[-1])


def trains_alone(model: Any, batch_size: int) -> bool:
    """Whether each seed of this model trains in a stack of its own, without XLA: by its arithmetic, on a CPU.

    A stack computes convolutions as one batched product of copied patches. Where a seed's step has much to compute, the
    copies cost more than the stack saves, and TensorFlow's own convolutions are faster; XLA has none that are. Those
    that are no such product, as a stack would repeat XLA's, always train alone: 60 times as fast, and more.
    """
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return False
    convolutions = [layer for layer in flatten_layers(model) if _is_convolution(layer)]
    if any(_is_no_product(layer) for layer in convolutions):
        return True
    return batch_size * sum(map(_products_per_row, convolutions)) >= ALONE_PRODUCTS


def _is_convolution(layer: Any) -> bool:
    return "Conv" in type(layer).__name__ and layer.built and getattr(layer, "rank", None) is not None


def _is_no_product(convolution: Any) -> bool:
    """Whether it is another convolution than those that `pfor` makes a batched product of."""
    name = type(convolution).__name__
    is_of_another_kind = name.startswith(("Depthwise", "Separable")) or name.endswith("Transpose")
    return is_of_another_kind or convolution.rank > 2 or (getattr(convolution, "groups", None) or 1) > 1


def _products_per_row(convolution: Any) -> int:
    """Multiplications that a convolution takes for a row; 0 for one that keeps its kernel under another name."""
    kernel = getattr(convolution, "kernel", None)
    if kernel is None:
        return 0
    sizes = [shape[1:-1] for shape in inbound_output_shapes(convolution)]
    positions = max((int(np.prod([n or 1 for n in size])) for size in sizes), default=0)
    return positions * int(np.prod(kernel.shape))


def stacks_at_once(model: Any, training: Training) -> int:
    """How many stacks train side by side: one on a GPU, else one per core, as memory and `seeds_at_once` allow.

    Raises ConfigError when the machine's free memory does not hold one stack. TensorFlow does not report a GPU's free
    memory beforehand, so there it is not checked.
    """
    import tensorflow as tf

    width, asked = stack_width(model, training.batch_size, training.xla), training.seeds_at_once
    stacks = f"seeds train in stacks of {width}, which changes no number"
    if tf.config.get_visible_devices("GPU"):
        _tell_difference(asked, width, "a GPU takes one stack" if asked != "auto" and asked > width else stacks)
        return 1
    needed, free = stack_bytes(model, width, training.batch_size, bool(training.stop)), free_memory()
    if needed > free:
        raise ConfigError(
            f"training.batch_size, model: {width} seeds of this model, which train together, at a batch size of "
            f"{training.batch_size} need about {describe_size(needed)}, but {describe_size(free)} are free; lower one"
        )
    wanted = n_cores() if asked == "auto" else max(1, asked // width)
    fitting = int(min(wanted, free // needed))
    _tell_difference(asked, fitting * width, "memory is short" if fitting < wanted else stacks)
    return fitting


def _tell_difference(asked: int | str, given: int, why: str) -> None:
    """Tell where another number of seeds trains at once than was asked for."""
    if asked not in ("auto", given):
        tell_once(f"training.seeds_at_once: {asked} given, but {given} train at once: {why}")


def memory_is_short(model: Any, training: Training) -> bool:
    """Whether training takes more than half of the free memory, as estimated; always on a GPU, where that is unknown.

    Raises ConfigError as `stacks_at_once` does.
    """
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return True
    width = stack_width(model, training.batch_size, training.xla)
    return (
        stacks_at_once(model, training) * stack_bytes(model, width, training.batch_size, bool(training.stop))
        > free_memory() / 2
    )


def stack_bytes(model: Any, width: int, batch_size: int, stops_early: bool = False) -> int:
    """Estimate the bytes of memory that training one stack takes: its weights, and one step or evaluation.

    tests/training/test_memory.py compares it to measured peaks.
    """
    copies = COPIES + (BEST_COPIES if stops_early else 0)
    rows = max(2 * batch_size, evaluation_rows(model, width))
    return (COMPILER_BYTES if width > 1 else TRACE_BYTES) + width * (
        4 * copies * _n_weights(model) + rows * _row_bytes(model, width > 1)
    )


def step_bytes(model: Any, batch_size: int) -> int:
    """Bytes that one training step of one seed touches: weights, gradients, optimizer state, outputs and theirs."""
    shapes = [shape[1:] for layer in model.layers for shape in inbound_output_shapes(layer)]
    outputs = sum(int(np.prod([n or 1 for n in shape])) for shape in shapes)
    return 4 * (4 * _n_weights(model) + 2 * batch_size * (outputs + _gate_floats(model)))


def evaluation_rows(model: Any, width: int) -> int:
    """How many rows of each seed one step of an evaluation takes."""
    return int(np.clip(EVALUATION_BYTES // (width * _row_bytes(model, width > 1)), FEWEST_ROWS, EVALUATION_ROWS))


def smallest_form(x: np.ndarray) -> np.ndarray:
    """The inputs as bytes where these hold them exactly, as the pixels of pictures: a quarter of the memory to read."""
    if x.dtype != np.float32 or not (x.min() >= 0 and x.max() <= 255):  # which is false with missing values as well
        return x
    as_bytes = x.astype(np.uint8)
    return as_bytes if np.array_equal(as_bytes, x) else x


def _n_weights(model: Any) -> int:
    return sum(int(np.prod(v.shape)) for v in model.variables)


def _gate_floats(model: Any) -> int:
    """Floats that recurrent layers keep per row: per step four gates before and after activation, and two states."""
    floats = 0
    for layer in recurrent_layers(model):
        _, steps, *features = sequence_shape(layer)
        floats += 16 * (steps or 1) * int(np.prod(getattr(layer.cell, "output_size", None) or features))
    return floats


def _row_bytes(model: Any, is_stacked: bool) -> int:
    """Bytes of one row of one seed on its way through the layers, with the patches that a stack's convolutions copy."""
    floats = int(np.prod(model.input_shape[1:])) + 2 * _gate_floats(model)
    for layer in flatten_layers(model):
        shapes = [shape[1:] for shape in inbound_output_shapes(layer)]
        size = max((int(np.prod([n or 1 for n in shape])) for shape in shapes), default=0)
        kernel = getattr(layer, "kernel", None) if "Conv" in type(layer).__name__ and layer.built else None
        patch = 0 if kernel is None or not is_stacked else 2 * int(np.prod(kernel.shape[:-1])) / kernel.shape[-1]
        floats += int(size * (2 + patch))
    return 4 * floats
