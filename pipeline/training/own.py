"""Losses and metrics of the user's own code, registered with Keras, on stacked seeds.

A loss is computed row by row, and a metric from sums over rows, since the rows of a batch may be padded and those of an
epoch come in batches. Whether one can be is tried on made rows before anything is trained. Targets of one column come
as [rows, 1], like the outputs: of targets [rows], a loss that subtracts them would make a square.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.config.metrics import own_class_name, own_metrics
from pipeline.config.user_classes import full_name, user_class
from pipeline.errors import ConfigError, describe_error
from pipeline.training.metrics import StackedMetric, Sums, mean_metric

ROWS = 12  # made, to try a loss or a metric on
SEEDS = 2  # to try it on: TensorFlow vectorizes nothing for a single one


def own_object(group: str, entry: Any) -> Any:
    """The loss or metric of the user's that a setting names: a function, or an object with its arguments; else None."""
    name = own_class_name(entry)
    cls = user_class(group, full_name(group, name)) if name else None
    if cls is not None:
        return cls(**(entry.get("config") or {} if isinstance(entry, Mapping) else {}))
    return user_class("functions", full_name("functions", name)) if name else None


def own_loss(entry: Any) -> Callable[[Any, Any], Any] | None:
    """A function of y and outputs that gives the user's loss of each row, [seeds, rows]; None for one of Keras'."""
    loss = own_object("losses", entry)
    if loss is None:
        return None
    if hasattr(loss, "reduction"):
        loss.reduction = None  # the rows are weighted and averaged here
    return lambda y, outputs: _for_each_seed(loss, y, outputs)


def own_metric(name: str, entries: Any, task: str, units: int) -> StackedMetric | None:
    """The user's metric of this name among `training.metrics`; None where it has none. units: outputs of the model."""
    entry = own_metrics(entries).get(name)
    metric = own_object("metrics", entry)
    if metric is None:
        return None
    if not hasattr(metric, "update_state"):
        return mean_metric(name, lambda y, outputs: _for_each_seed(metric, y, outputs))
    return _summed(name, metric, task, units)


def check_own(loss: Any, entries: Any, task: str, units: int) -> None:
    """Raise ConfigError for a loss or a metric of the user's own that cannot be computed for stacked seeds."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    y = random.integers(0, max(units, 2), (SEEDS, ROWS, 1))
    outputs = random.dirichlet(np.ones(units + 1), (SEEDS, ROWS))[..., :units].astype(np.float32)
    if task == "regression":
        y, outputs = (random.normal(size=(SEEDS, ROWS, units)).astype(np.float32) for _ in range(2))
    rows, first, ones = (tf.constant(y), tf.constant(outputs)), slice(0, ROWS // 3), tf.ones(ROWS)
    if own_class_name(loss):
        _try(lambda: _check_loss(own_loss(loss), rows, first), "training.loss", loss)
    for name, entry in own_metrics(entries).items():
        _try(
            lambda name=name: _check_metric(own_metric(name, entries, task, units), rows, first, ones),
            "training.metrics",
            entry,
        )


def _try(check: Callable[[], str], key: str, entry: Any) -> None:
    try:
        problem = check()
    except Exception as error:  # whatever the user's code raises
        problem = f"which raises {describe_error(error)}"
    if problem:
        raise ConfigError(
            key, own_class_name(entry), "one that gives each row's value, or sums over rows", reason=problem
        )


def _check_loss(loss: Any, rows: Any, first: slice) -> str:
    if loss is None:
        return "which no file of code registers as a loss"
    loss = _traced(loss)
    values = np.asarray(loss(*rows))
    if values.shape != (SEEDS, ROWS):
        return f"which gives an array of shape {values.shape[1:]} for {ROWS} rows"
    alone = np.asarray(loss(*(part[:, first] for part in rows)))
    return "" if np.allclose(values[:, first], alone, 1e-4, 1e-6) else "which mixes the rows of a batch"


def _check_metric(metric: StackedMetric | None, rows: Any, first: slice, ones: Any) -> str:
    if metric is None:
        return "which no file of code registers as a metric"
    counts = np.arange(ROWS) < first.stop
    y, outputs = rows
    add, cut = _traced(metric.sums.add), first.stop
    weights = ones * counts.astype(np.float32)
    whole, weighted = np.asarray(add(y, outputs, ones)), np.asarray(add(y, outputs, weights))
    alone = np.asarray(add(y[:, :cut], outputs[:, :cut], ones[:cut]))
    rest = np.asarray(add(y[:, cut:], outputs[:, cut:], ones[cut:]))
    if not np.allclose(weighted, alone, 1e-4, 1e-5):
        return "which does not leave out rows whose sample_weight is 0"
    if not np.allclose(whole, alone + rest, 1e-4, 1e-5):
        return "whose variables are no sums over rows"
    return "" if np.shape(metric.result(whole, ROWS)) == (SEEDS,) else "whose result is not one number"


def _traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a stack calls it, in a graph."""
    import tensorflow as tf

    return tf.function(function, autograph=False)


def _for_each_seed(function: Any, y: Any, outputs: Any) -> Any:
    """[seeds, rows] of a function that is called with the rows of one seed, as in `model.fit`."""
    import tensorflow as tf

    def call(seed: tuple[Any, Any]) -> Any:
        return tf.cast(function(*seed), tf.float32)

    return _mapped(call, y, outputs)


def _mapped(call: Callable[[tuple[Any, Any]], Any], y: Any, outputs: Any) -> Any:
    """`call` of each seed's y and outputs, stacked: vectorized, or seed after seed where it uses what cannot be.

    TensorFlow vectorizes no `argmax` of Keras, for one. A loop here leaves the model itself vectorized.
    """
    import tensorflow as tf

    try:
        return tf.vectorized_map(call, (y, outputs), fallback_to_while_loop=False)
    except Exception:  # of many types; what the user's code itself raises, it raises again
        return tf.stack([call((y[seed], outputs[seed])) for seed in range(outputs.shape[0])])


def _summed(name: str, metric: Any, task: str, units: int) -> StackedMetric:
    """A metric object whose variables are sums over rows."""
    import tensorflow as tf

    y = tf.zeros([1, units], tf.float32) if task == "regression" else tf.zeros([1, 1], tf.int32)
    metric.update_state(
        y, tf.zeros([1, units]), sample_weight=tf.ones(1)
    )  # some make their variables when they first see rows
    metric.reset_state()
    state = list(metric.variables)
    sizes = [int(np.prod(v.shape)) for v in state]

    def add(y: Any, outputs: Any, counts: Any) -> Any:
        def count(seed: tuple[Any, Any]) -> Any:
            empty = [tf.zeros(v.shape, v.dtype) for v in state]
            updated = metric.stateless_update_state(empty, *seed, sample_weight=counts)
            return tf.concat([tf.reshape(tf.cast(v, tf.float32), [-1]) for v in updated], 0)

        return _mapped(count, y, outputs)

    def result(sums: np.ndarray, _: int) -> np.ndarray:
        by_seed = [
            [
                tf.cast(tf.reshape(part, v.shape), v.dtype)
                for part, v in zip(np.split(row, np.cumsum(sizes)[:-1]), state, strict=True)
            ]
            for row in np.asarray(sums)
        ]
        return np.array([float(metric.stateless_result(values)) for values in by_seed], np.float32)

    return StackedMetric(Sums(name, sum(sizes), add), result)
