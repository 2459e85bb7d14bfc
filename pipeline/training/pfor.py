"""Everything that uses TensorFlow's private names (TensorFlow 2.21): conversions for `tf.vectorized_map`, calls of
a traced function with other variables, and the state of `tf.random`.

`tf.vectorized_map` cannot take some operations, and XLA has no deterministic form of others. There is no public way to
add a conversion, so `install_converters` puts these into TensorFlow's table:

- Convolutions with one filter per seed, which the map would loop over: the input seen by each position of the filter
  becomes a slice, the slices are joined along the channel axis, and one batched matrix product does all seeds.
- Transposed, grouped and three-dimensional convolutions, and the random numbers of dropout and noise: the operation
  is repeated once per seed.
- Max pooling, for which XLA has no deterministic gradient: a running maximum over the same slices has one, and like
  TensorFlow's own it sends the gradient to the first of equal values.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Repeated once per seed. The random ones are stateless: what they return follows from their inputs alone, so one call
# per seed means the same as a map over the seeds.
ONE_BY_ONE = ("Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "StatelessRandomUniformV2",
              "StatelessRandomNormalV2", "StatelessTruncatedNormalV2", "StatelessRandomUniformIntV2",
              "StatelessRandomUniformFullIntV2", "StatelessRandomGetKeyCounter")  # fmt: skip


def install_converters() -> None:
    """Add the conversions of this module to `tf.vectorized_map`; a second call does nothing."""
    from tensorflow.python.ops.parallel_for import pfor

    table = pfor._pfor_converter_registry
    converters = {"Conv2D": _convolution, "MaxPool": _max_pool} | dict.fromkeys(ONE_BY_ONE, _one_by_one)
    for name, converter in converters.items():
        standard = table.get(name)
        if not isinstance(standard, functools.partial) or standard.func is not converter:
            table[name] = functools.partial(converter, standard=standard)


def with_variables(function: Any, replaced: Sequence[tuple[Any, Any]]) -> Callable[..., Any]:
    """A traced function that reads and writes other variables than those it was traced with.

    function: a concrete function. replaced: (traced variable, variable to use instead).
    Raises RuntimeError when the function uses a variable that is not replaced.
    """
    import tensorflow as tf

    handles = {id(traced.handle): used.handle for traced, used in replaced}
    captured = [handles.get(id(handle), handle) for handle in function.captured_inputs]
    for handle, traced in zip(captured, function.captured_inputs, strict=True):
        if handle is traced and handle.dtype == tf.resource:
            raise RuntimeError("a variable of this model has no value per seed, so seeds would share it")
    return lambda *arguments: function._call_flat([tf.convert_to_tensor(a) for a in arguments], captured)


def _one_by_one(pfor_input: Any, standard: Any = None) -> Any:
    """Repeat the operation once per seed, whatever TensorFlow's `standard` conversion does."""
    import tensorflow as tf
    from tensorflow.python.ops.parallel_for import pfor

    op, inputs = pfor_input.op, pfor_input.inputs
    seeds = next((value.t.shape[0] for value in inputs if value.is_stacked), None)
    if seeds is None:
        raise ValueError(f"{op.type} has no stacked input")
    types, attributes = [output.dtype for output in op.outputs], op.node_def.attr

    def repeat(seed: int) -> Any:
        of_seed = [value.t[seed] if value.is_stacked else value.t for value in inputs]
        return pfor._create_op(op.type, of_seed, types, attributes).outputs

    return [pfor.wrap(tf.stack(outputs), True) for outputs in zip(*map(repeat, range(seeds)), strict=True)]


def _convolution(pfor_input: Any, standard: Any) -> Any:
    """A Conv2D with one filter per seed as one batched matrix product."""
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
    """Max pooling as a running maximum over the positions of the window."""
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
    """(strides, dilations, padding) over the spatial axes; None for layouts that only TensorFlow itself converts."""
    padding = pfor_input.get_attr("padding").decode()
    strides = list(pfor_input.get_attr("strides"))[1:-1]
    dilation = list(pfor_input.get_attr(dilations))[1:-1] if dilations else [1] * len(strides)
    if padding not in ("SAME", "VALID") or pfor_input.get_attr("data_format").decode() != "NHWC":
        return None
    return strides, dilation, padding


def _join(x: Any, rows: Any) -> Any:
    """[seeds, rows, ...] -> [seeds * rows, ...]"""
    import tensorflow as tf

    return tf.reshape(x, [rows, *x.shape[2:].as_list()])


def _slices(
    x: Any, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str, fill: float
) -> list[Any]:
    """The input as seen by each position of the window: a list of [rows, *output size, channels]."""
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


def random_state() -> Any:
    """The state of `tf.random`'s global seed; None where TensorFlow is not imported."""
    module = sys.modules.get("tensorflow.python.eager.context")
    if module is None:
        return None
    context = module.context()
    generator = getattr(context, "_rng", None)
    return context._seed, generator, generator.getstate() if generator else None


def restore_random_state(state: Any) -> None:
    """Put the state of `tf.random` back, see `random_state`."""
    module = sys.modules.get("tensorflow.python.eager.context")
    if module is None or state is None:
        return
    seed, generator, drawn = state
    context = module.context()
    unchanged = generator is getattr(context, "_rng", None) and (not generator or generator.getstate() == drawn)
    context._seed, context._rng = seed, generator
    if generator:
        generator.setstate(drawn)
    if not unchanged:
        context.clear_kernel_cache()  # a kernel of a seed goes on where it was, instead of beginning anew
