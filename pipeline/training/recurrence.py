"""Recurrent layers while a program is traced: their steps written out, and the product of their inputs taken once.

XLA does not take the loop of a recurrent layer. Written out, each step of an LSTM, a GRU or a SimpleRNN multiplies its
inputs with the kernel and adds the bias, and XLA computes the bias' gradient step by step, each time with all steps
behind it once more (LSTM 16 over 8 steps: a third of the time). The inputs' product does not depend on the state, so it
is taken over all steps at once here. The numbers are those of Keras' cells but for the order of sums.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipeline.biases.introspection import recurrent_layers


@contextlib.contextmanager
def unrolled_recurrence(model: Any, xla: bool) -> Iterator[None]:
    """Within the context, recurrent layers write out their steps if XLA compiles, see above."""
    layers = recurrent_layers(model) if xla else []
    before = [(layer, layer.unroll) for layer in layers]
    try:
        for layer in layers:
            layer.unroll = True
            _take_inputs_at_once(layer)
        yield
    finally:
        for layer, unroll in before:
            layer.unroll = unroll
            for owner, name in ((layer, "inner_loop"), (layer.cell, "call")):
                if name in vars(owner):
                    delattr(owner, name)


def _take_inputs_at_once(layer: Any) -> None:
    """Have a layer multiply all its inputs with the kernel before its steps, if its cell is a known one of Keras.

    Dropout of a cell changes its inputs or states at each step, so such a cell stays as it is.
    """
    import keras

    cell, loop = layer.cell, layer.inner_loop
    steps: dict[Any, Callable[..., Any]] = {
        keras.layers.LSTMCell: _lstm, keras.layers.GRUCell: _gru, keras.layers.SimpleRNNCell: _simple
    }  # fmt: skip
    known = type(cell) in steps and type(layer) in (
        keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN, keras.layers.RNN
    )  # fmt: skip
    if not known or cell.dropout or cell.recurrent_dropout or cell.compute_dtype != layer.compute_dtype:
        return
    step = steps[type(cell)]

    def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        return loop(_inputs(cell, sequences), initial_state, mask, training=training)

    def call(inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        new = step(cell, inputs, *(states if isinstance(states, (list, tuple)) else [states]))
        return new[0], list(new)

    layer.inner_loop, cell.call = inner_loop, call


def _inputs(cell: Any, sequences: Any) -> Any:
    """The inputs' product [rows, steps, gates] with the kernel, the bias added.

    Computed with the steps in front, as the loop over them wants it: XLA drops the transpositions that cancel out.
    """
    from keras import ops

    inputs, kernel = ops.swapaxes(sequences, 0, 1), cell.kernel
    if cell.bias is not None:
        bias = cell.bias if len(cell.bias.shape) == 1 else cell.bias[0]
        inputs = ops.concatenate([inputs, ops.ones_like(inputs[..., :1])], -1)
        kernel = ops.concatenate([kernel, bias[None]], 0)
    return ops.swapaxes(ops.matmul(inputs, kernel), 0, 1)


def _lstm(cell: Any, inputs: Any, h: Any, c: Any) -> tuple[Any, Any]:
    from keras import ops

    i, f, new, o = _activated(cell, inputs + ops.matmul(h, cell.recurrent_kernel))
    c = f * c + i * new
    return o * cell.activation(c), c


def _activated(cell: Any, gates: Any) -> list[Any]:
    """The gates i, f, c and o of an LSTM. By default all at once: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2."""
    import keras
    from keras import ops

    default = (cell.recurrent_activation, cell.activation) == (keras.activations.sigmoid, keras.activations.tanh)
    if default:
        tanh = np.repeat(np.array([0, 0, 1, 0], gates.dtype.as_numpy_dtype), cell.units)
        gates = ops.tanh(gates * (0.5 + 0.5 * tanh)) * (0.5 + 0.5 * tanh) + (0.5 - 0.5 * tanh)
        return ops.split(gates, 4, axis=-1)
    i, f, new, o = ops.split(gates, 4, axis=-1)
    return [
        cell.recurrent_activation(i),
        cell.recurrent_activation(f),
        cell.activation(new),
        cell.recurrent_activation(o),
    ]


def _gru(cell: Any, inputs: Any, h: Any) -> tuple[Any]:
    from keras import ops

    kernel, units = cell.recurrent_kernel, cell.units
    if cell.reset_after:
        products = ops.matmul(h, kernel)
        products = products if cell.bias is None else products + cell.bias[1]
        gates, last = products[:, : 2 * units], products[:, 2 * units :]
    else:
        gates = ops.matmul(h, kernel[:, : 2 * units])
    z, r = ops.split(cell.recurrent_activation(inputs[:, : 2 * units] + gates), 2, axis=-1)
    last = r * last if cell.reset_after else ops.matmul(r * h, kernel[:, 2 * units :])
    new = cell.activation(inputs[:, 2 * units :] + last)
    return (z * h + (1 - z) * new,)


def _simple(cell: Any, inputs: Any, h: Any) -> tuple[Any]:
    from keras import ops

    return (cell.activation(inputs + ops.matmul(h, cell.recurrent_kernel)),)
