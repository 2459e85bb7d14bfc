"""Metrics of stacked seeds, from sums that add up over batches.

A metric is computed over all rows of an epoch, never as a mean of what batches gave: of accuracies and errors the sum
over rows is enough, scores of classes need counts per class, r2 and rmse sums per target, and the area under the curve
counts at Keras' thresholds. Several metrics may share their sums.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.metrics import top_k


@dataclass(frozen=True)
class Sums:
    """What is summed over rows. size: how many numbers. add(y, predictions, counts): their sums over these rows,
    [seeds, size], where y is [seeds, rows, 1 or outputs], predictions [seeds, rows, outputs], and row i counts
    `counts[i]` times.
    """

    kind: Hashable
    size: int
    add: Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class StackedMetric:
    """A metric: sums, and result(sums [seeds, size], rows) -> [seeds]."""

    sums: Sums
    result: Callable[[np.ndarray, int], np.ndarray]


def stacked_metric(name: str, task: str, units: int, center: Any = 0.0) -> StackedMetric:
    """The metric of this name for a model of `units` outputs.

    center: [] or [outputs], near the mean of a regression's targets as the model sees them. Squares are summed from
    there, since float32 would blur the variance of targets that are far from 0.
    """
    if name == "auc":
        return _area_under_curve()
    if name in COUNTED:
        n_classes = max(units, 2)
        return StackedMetric(_class_counts(n_classes), lambda sums, _: COUNTED[name](sums, task))
    if name in ("r2", "rmse"):
        squares = Sums("squares", 3 * units, lambda y, outputs, counts: _squares(y, outputs, counts, center))
        return StackedMetric(squares, _r2 if name == "r2" else _rmse)
    return mean_metric(name, _row_metric(name, units))


def mean_metric(name: str, by_row: Callable[[Any, Any], Any]) -> StackedMetric:
    """The mean of a function of y and predictions that gives each row's value, [seeds, rows]."""
    return StackedMetric(Sums(name, 1, lambda *rows: _row_sums(by_row, *rows)), _mean)


def _row_metric(name: str, units: int) -> Callable[[Any, Any], Any]:
    """A function of y and predictions that gives each row's value, [seeds, rows]; its mean is the metric."""
    import keras

    if name == "accuracy" and units == 1:
        binary_accuracy: Any = keras.metrics.binary_accuracy
        return lambda y, predictions: binary_accuracy(y, predictions)[..., 0]
    if name == "log_loss":
        return _log_losses
    if k := top_k(name):
        return lambda y, predictions: _is_in_top(y, predictions, k)
    functions = {"accuracy": "sparse_categorical_accuracy", "mae": "mean_absolute_error", "mse": "mean_squared_error"}
    return getattr(keras.metrics, functions[name])


def _row_sums(by_row: Callable[[Any, Any], Any], y: Any, predictions: Any, counts: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(by_row(y, predictions), tf.float32) * counts, 1, keepdims=True)


def _mean(sums: np.ndarray, rows: int) -> np.ndarray:
    return sums[:, 0] / np.float32(rows)


def _log_losses(y: Any, predictions: Any) -> Any:
    """Minus the logarithm of the probability of each row's class, no nearer to 0 or 1 than float32 can be to 1."""
    import tensorflow as tf

    smallest = float(np.finfo(np.float32).eps)
    probability = tf.clip_by_value(tf.cast(_of_class(y, predictions), tf.float32), smallest, 1 - smallest)
    return -tf.math.log(probability)


def _of_class(y: Any, predictions: Any) -> Any:
    """The output that belongs to each row's class, [seeds, rows]."""
    import tensorflow as tf

    labels = tf.cast(y[..., 0], tf.int32)
    if predictions.shape[-1] == 1:
        second = predictions[..., 0]
        return tf.where(labels == 1, second, 1 - second)
    return tf.reduce_sum(tf.one_hot(labels, predictions.shape[-1], dtype=predictions.dtype) * predictions, -1)


def _is_in_top(y: Any, predictions: Any, k: int) -> Any:
    """Whether each row's class is among the k likeliest; of equal ones the later class comes first, as it does in
    scikit-learn.
    """
    import tensorflow as tf

    own = _of_class(y, predictions)[..., None]
    later = tf.range(predictions.shape[-1]) > tf.cast(y, tf.int32)
    before = (predictions > own) | ((predictions == own) & later)
    return tf.reduce_sum(tf.cast(before, tf.int32), -1) < k


def _class_counts(n_classes: int) -> Sums:
    """For each class: rows of it that are predicted as it, rows predicted as it, rows of it."""
    import tensorflow as tf

    def add(y: Any, predictions: Any, counts: Any) -> Any:
        if predictions.shape[-1] == 1:
            codes = tf.cast(predictions[..., 0] > 0.5, tf.int32)
        else:
            codes = tf.argmax(predictions, -1, tf.int32)
        actual, predicted = (tf.one_hot(v, n_classes) for v in (tf.cast(y[..., 0], tf.int32), codes))
        return tf.concat([tf.reduce_sum(v * counts[:, None], 1) for v in (actual * predicted, predicted, actual)], 1)

    return Sums("classes", 3 * n_classes, add)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _over_classes(scores: np.ndarray, known: np.ndarray, task: str) -> np.ndarray:
    """The score of the second of two classes; of more, the mean over those that occur."""
    if task == "binary":
        return scores[:, 1]
    return _ratio((scores * known).sum(1), known.sum(1).astype(scores.dtype))


def _scores(part: Callable[[np.ndarray, np.ndarray], np.ndarray], macro: bool = False) -> Any:
    """A score of classes that is hits / part(predicted, actual)."""

    def score(sums: np.ndarray, task: str) -> np.ndarray:
        hits, predicted, actual = np.split(np.asarray(sums, np.float64), 3, axis=1)
        scores = _ratio(hits, part(predicted, actual))
        return _over_classes(scores, predicted + actual > 0, "" if macro else task).astype(np.float32)

    return score


def _balanced_accuracy(sums: np.ndarray, task: str) -> np.ndarray:
    hits, _, actual = np.split(np.asarray(sums, np.float64), 3, axis=1)
    return _over_classes(_ratio(hits, actual), actual > 0, "").astype(np.float32)


COUNTED: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
    "precision": _scores(lambda predicted, actual: predicted),
    "recall": _scores(lambda predicted, actual: actual),
    "f1": _scores(lambda predicted, actual: (predicted + actual) / 2),
    "f1_macro": _scores(lambda predicted, actual: (predicted + actual) / 2, macro=True),
    "balanced_accuracy": _balanced_accuracy,
}


def _squares(y: Any, outputs: Any, counts: Any, center: Any) -> Any:
    """For each target: squared errors, distances from the center, and their squares."""
    import tensorflow as tf

    y = tf.cast(y, tf.float32) - tf.constant(center, tf.float32)
    errors = y - (tf.cast(outputs, tf.float32) - tf.constant(center, tf.float32))
    return tf.concat([tf.reduce_sum(v * counts[:, None], 1) for v in (errors**2, y, y**2)], 1)


def _rmse(sums: np.ndarray, rows: int) -> np.ndarray:
    squared = np.split(np.asarray(sums, np.float64), 3, axis=1)[0]
    return np.sqrt(squared / rows).mean(1).astype(np.float32)


def _r2(sums: np.ndarray, rows: int) -> np.ndarray:
    """As scikit-learn has it: where the targets do not vary, 1 if they are met, else 0."""
    squared, total, squares = np.split(np.asarray(sums, np.float64), 3, axis=1)
    variation = squares - total**2 / rows
    varies = variation > 1e-12 * np.maximum(squares, 1e-300)
    explained = 1 - np.divide(squared, variation, out=(squared > 0).astype(np.float64), where=varies)
    return explained.mean(1).astype(np.float32)


def _area_under_curve() -> StackedMetric:
    """The area under the ROC curve, from true and false positives and negatives at each of Keras' thresholds."""
    import keras
    import tensorflow as tf

    auc: Any = keras.metrics.AUC()

    def add(y: Any, predictions: Any, counts: Any) -> Any:
        def count(seed: tuple[Any, Any]) -> Any:
            labels, outputs = seed
            empty = [tf.zeros(v.shape, v.dtype) for v in auc.variables]
            positive = outputs[:, -1:]  # the second of two classes
            return tf.concat(auc.stateless_update_state(empty, labels, positive, sample_weight=counts), 0)

        return tf.vectorized_map(count, (y, predictions), fallback_to_while_loop=False)

    def areas(sums: np.ndarray, _: int) -> np.ndarray:
        by_seed = [np.split(row, len(auc.variables)) for row in sums]
        return np.array([float(auc.stateless_result(values)) for values in by_seed], np.float32)

    return StackedMetric(Sums("auc", sum(int(np.prod(v.shape)) for v in auc.variables), add), areas)
