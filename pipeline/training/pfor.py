"""Operations that `tf.vectorized_map` cannot take, or XLA not deterministically, written so that both can.

- Convolutions with one filter per seed: the map would loop over the seeds. The filter's positions become slices of
  the input, side by side in the channel axis, and one batched matrix product does all seeds.
- Transposed, grouped and three-dimensional convolutions, and the random numbers of dropout and noise: the operation
  is written out once per seed, and only it.
- Max pooling: XLA has no deterministic gradient for it. A running maximum over the same slices has one, and like
  TensorFlow's own it sends the gradient to the first of equal values.

TensorFlow offers no public way to add a conversion, so `install` puts ours into its table (TensorFlow 2.21).
"""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

# Stateless: each call gives what its own inputs say, so that one call per seed is what a map over them means.
ONE_BY_ONE = ("Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "StatelessRandomUniformV2",
              "StatelessRandomNormalV2", "StatelessTruncatedNormalV2", "StatelessRandomUniformIntV2",
              "StatelessRandomUniformFullIntV2", "StatelessRandomGetKeyCounter")  # fmt: skip


def install_converters() -> None:
    """Teach `tf.vectorized_map` our conversions; calling it again does nothing."""
    from tensorflow.python.ops.parallel_for import pfor

    table = pfor._pfor_converter_registry
    ours = {"Conv2D": _convolution, "MaxPool": _max_pool} | dict.fromkeys(ONE_BY_ONE, _one_by_one)
    for name, converter in ours.items():
        standard = table.get(name)
        if not isinstance(standard, functools.partial) or standard.func is not converter:
            table[name] = functools.partial(converter, standard=standard)


def recurrent_layers(model: Any) -> list[Any]:
    """The recurrent layers of a model, also those within other layers."""
    return [layer for layer in model._flatten_layers() if any(c.__name__ == "RNN" for c in type(layer).__mro__)]


@contextlib.contextmanager
def unrolled_recurrence(model: Any, xla: bool) -> Iterator[None]:
    """Let recurrent layers write out their steps for a while, since XLA does not take the loop over them."""
    kept = {layer: layer.unroll for layer in recurrent_layers(model)} if xla else {}
    for layer in kept:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, unroll in kept.items():
            layer.unroll = unroll


def _one_by_one(pfor_input: Any, standard: Any = None) -> Any:
    import tensorflow as tf
    from tensorflow.python.ops.parallel_for import pfor

    op, inputs = pfor_input.op, pfor_input.inputs
    seeds = next((own.t.shape[0] for own in inputs if own.is_stacked), None)
    if seeds is None:
        raise ValueError(f"{op.type} has no stacked input")
    types, attributes = [output.dtype for output in op.outputs], op.node_def.attr
    each = [
        pfor._create_op(op.type, [own.t[i] if own.is_stacked else own.t for own in inputs], types, attributes).outputs
        for i in range(seeds)
    ]
    return [pfor.wrap(tf.stack(outputs), True) for outputs in zip(*each, strict=True)]


def _convolution(pfor_input: Any, standard: Any) -> Any:
    import tensorflow as tf
    from tensorflow.python.ops.parallel_for import pfor

    _, filter_differs, _ = pfor_input.input(1)
    attributes = _spatial(pfor_input, "dilations")
    if not filter_differs:
        return standard(pfor_input)
    if attributes is None:
        return _one_by_one(pfor_input)
    x, filters = pfor_input.stacked_input(0), pfor_input.stacked_input(1)
    *window, channels, units = filters.shape[1:].as_list()
    if channels != x.shape[-1]:  # grouped
        return _one_by_one(pfor_input)
    seeds, rows, *_ = tf.unstack(tf.shape(x))
    slices = _slices(_join(x, seeds * rows), window, *attributes, fill=0.0)
    size = slices[0].shape[1:-1].as_list()
    patches = tf.reshape(tf.concat(slices, -1), [seeds, -1, len(slices) * channels])
    product = tf.matmul(patches, tf.reshape(filters, [seeds, len(slices) * channels, units]))
    return [pfor.wrap(tf.reshape(product, [seeds, rows, *size, units]), True)]


def _max_pool(pfor_input: Any, standard: Any) -> Any:
    import tensorflow as tf
    from tensorflow.python.ops.parallel_for import pfor

    attributes = _spatial(pfor_input, None)
    window = list(pfor_input.get_attr("ksize"))
    if attributes is None or window[0] != 1 or window[-1] != 1:
        return standard(pfor_input)
    x = pfor_input.stacked_input(0)
    seeds, rows, *_ = tf.unstack(tf.shape(x))
    slices = _slices(_join(x, seeds * rows), window[1:-1], *attributes, fill=x.dtype.min)
    largest = functools.reduce(lambda a, b: tf.where(b > a, b, a), slices)
    return [pfor.wrap(tf.reshape(largest, [seeds, rows, *largest.shape[1:].as_list()]), True)]


def _spatial(pfor_input: Any, dilations: str | None) -> tuple[Sequence[int], Sequence[int], str] | None:
    """(strides, dilations, padding) over the spatial axes; None for layouts that are not ours to convert."""
    padding = pfor_input.get_attr("padding").decode()
    strides = list(pfor_input.get_attr("strides"))[1:-1]
    spread = list(pfor_input.get_attr(dilations))[1:-1] if dilations else [1] * len(strides)
    if padding not in ("SAME", "VALID") or pfor_input.get_attr("data_format").decode() != "NHWC":
        return None
    return strides, spread, padding


def _join(x: Any, rows: Any) -> Any:
    """[seeds, rows, ...] -> [seeds * rows, ...]"""
    import tensorflow as tf

    return tf.reshape(x, [rows, *x.shape[2:].as_list()])


def _slices(
    x: Any, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str, fill: float
) -> list[Any]:
    """What each position of the window sees: a list of [rows, *output size, channels]."""
    import tensorflow as tf

    sizes, pads = [], [[0, 0]]
    for n, k, stride, dilation in zip(x.shape[1:-1].as_list(), window, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        size = -(-n // stride) if padding == "SAME" else (n - reach) // stride + 1
        missing = max((size - 1) * stride + reach - n, 0) if padding == "SAME" else 0
        sizes.append(size)
        pads.append([missing // 2, missing - missing // 2])
    x = tf.pad(x, [*pads, [0, 0]], constant_values=tf.cast(fill, x.dtype))
    return [
        x[(slice(None), *(
            slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
            for at, dilation, size, stride in zip(position, dilations, sizes, strides, strict=True)
        ))]
        for position in itertools.product(*map(range, window))
    ]  # fmt: skip
