"""What is minimised and what is measured: Keras' losses and metrics, class weights.

Losses are taken row by row, so that rows can be weighted and each seed has its own mean. Metrics are Keras' own
functions; for the area under the curve it is the hits by threshold that add up over batches.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.config.schema import Training
from pipeline.errors import ConfigError, closest, is_number, require

# The usual one of each task first. CategoricalCrossentropy takes the same integer labels here, coded one-hot.
LOSSES = {
    "binary": ("BinaryCrossentropy",),
    "multiclass": ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
    "regression": ("MeanSquaredError", "MeanAbsoluteError", "Huber"),
}
METRICS = {"binary": ("accuracy", "auc"), "multiclass": ("accuracy",), "regression": ("mae", "mse")}
ARGUMENTS = ("label_smoothing", "delta")


def check_objective(training: Training, task: str, n_classes: int) -> None:
    """Refuse a loss, a metric or class weights that do not fit the task. Raises ConfigError."""
    name, config = _loss(training, task)
    if name not in LOSSES[task]:
        raise ConfigError(f"training.loss: {name} given for a {task} target; allowed: auto, {', '.join(LOSSES[task])}")
    known = [a for a in constructor_arguments("losses", name) if a in ARGUMENTS]
    for key, value in config.items():
        if key not in known:
            raise ConfigError(f"training.loss.config.{key}: {name} takes no such argument; {closest(str(key), known)}")
        smoothing = key == "label_smoothing"
        fits = is_number(value) and (0 <= value < 1 if smoothing else value > 0)
        allowed = "a number from 0 to below 1" if smoothing else "a positive number"
        require(fits, f"training.loss.config.{key}", value, allowed)
    metrics = [training.metrics] if isinstance(training.metrics, str) else training.metrics
    known = isinstance(metrics, list) and metrics and all(m in METRICS[task] for m in metrics)
    allowed = f"auto, or for a {task} target a list of {', '.join(METRICS[task])}"
    require(known or metrics == ["auto"], "training.metrics", training.metrics, allowed)
    weights = training.class_weight
    if weights is not None:
        require(task != "regression", "training.class_weight", weights, "null, since a regression has no classes")
        each = weights != "balanced" and isinstance(weights, list) and all(is_number(w) and w >= 0 for w in weights)
        fits = weights == "balanced" or (each and len(weights) == n_classes and any(weights))
        require(fits, "training.class_weight", weights, f"null, balanced, or a list of {n_classes} weights")


def metric_names(training: Training, task: str) -> tuple[str, ...]:
    """What is measured besides the loss; the first one counts: `accuracy`, or `mae` for a regression."""
    given = METRICS[task][:1] if training.metrics in ("auto", ["auto"]) else training.metrics
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


def class_weights(given: Any, y_train: np.ndarray, n_classes: int) -> np.ndarray:
    """The weight of each class [classes], float32; `balanced` is rows / (classes * rows of the class)."""
    if given == "balanced":
        return np.float32(len(y_train) / (n_classes * np.maximum(np.bincount(y_train, minlength=n_classes), 1)))
    return np.ones(max(n_classes, 1), np.float32) if given is None else np.float32(given)


@contextlib.contextmanager
def without_output_activation(model: Any, training: Training, task: str) -> Iterator[str]:
    """Take the softmax or sigmoid off the model's last layer for a while, for a cross-entropy; its name, or `none`."""
    import keras

    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", "none")
    comes_last = isinstance(last, (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation))
    if name not in ("softmax", "sigmoid") or not comes_last or "Crossentropy" not in _loss(training, task)[0]:
        yield "none"
        return
    last.activation = keras.activations.linear
    try:
        yield name
    finally:
        last.activation = activation


class Objective:
    """Loss and metrics for outputs that are taken before `activation` where that is softmax or sigmoid.

    `size` counts the sums that describe some rows: their loss, then what each metric adds up.
    """

    def __init__(self, training: Training, task: str, activation: str, units: int) -> None:
        import keras

        name, config = _loss(training, task)
        if task == "binary" and units > 1:  # two softmax units for two classes
            name = "SparseCategoricalCrossentropy"
        if name == "SparseCategoricalCrossentropy" and config.get("label_smoothing"):
            name = "CategoricalCrossentropy"
        one_hot = name == "CategoricalCrossentropy"
        logits = {"from_logits": activation in ("softmax", "sigmoid")} if "Crossentropy" in name else {}
        self._loss = getattr(keras.losses, name)(reduction=None, **config, **logits)
        self._one_hot = units if one_hot else 0
        self._activation = keras.activations.get(None if activation == "none" else activation)
        self.task = task
        self.names = metric_names(training, task)
        self._functions = [_row_metric(name, units) for name in self.names]  # None for the area under the curve
        self._auc = keras.metrics.AUC() if "auc" in self.names else None
        held = sum(int(np.prod(v.shape)) for v in self._auc.variables) if self._auc else 0
        self._sizes = [1 if function else held for function in self._functions]
        self.size = 1 + sum(self._sizes)

    def losses(self, y: Any, outputs: Any) -> Any:
        """The loss of every row [seeds, rows]; y [seeds, rows], outputs [seeds, rows, units]."""
        import tensorflow as tf

        if self._one_hot:
            return self._loss(tf.one_hot(y, self._one_hot), outputs)
        y = y[..., None]
        return self._loss(y if outputs.shape[-1] > 1 else tf.cast(y, outputs.dtype), outputs)

    def added(self, y: Any, outputs: Any, counts: Any) -> list[Any]:
        """What these rows add to each metric, [seeds, n]; row i counts `counts[i]` times."""
        import tensorflow as tf

        y, predictions = y[..., None], self._activation(outputs)
        hits = [function and function(y, predictions) for function in self._functions]
        return [
            self._hits_by_threshold(y, predictions, counts) if hit is None
            else tf.reduce_sum(tf.cast(hit, tf.float32) * counts, 1, keepdims=True)
            for hit in hits
        ]  # fmt: skip

    def means(self, sums: np.ndarray, rows: int) -> np.ndarray:
        """Loss and metrics [seeds, 1 + metrics] of `rows` rows that were summed up as [seeds, size]."""
        columns, *parts = np.split(sums, np.cumsum([1, *self._sizes[:-1]]), axis=1)
        columns = [columns[:, 0] / np.float32(rows)]
        for part, function in zip(parts, self._functions, strict=True):
            columns.append(part[:, 0] / np.float32(rows) if function else self._areas(part))
        return np.stack(columns, 1)

    def _hits_by_threshold(self, y: Any, predictions: Any, counts: Any) -> Any:
        import tensorflow as tf

        def one_seed(own: tuple[Any, Any]) -> Any:
            empty = [tf.zeros(v.shape, v.dtype) for v in self._auc.variables]
            positive = own[1][:, -1:]  # of two classes the second
            return tf.concat(self._auc.stateless_update_state(empty, *own[:1], positive, sample_weight=counts), 0)

        return tf.vectorized_map(one_seed, (y, predictions), fallback_to_while_loop=False)

    def _areas(self, hits: np.ndarray) -> np.ndarray:
        own = [np.split(row, len(self._auc.variables)) for row in hits]
        return np.array([float(self._auc.stateless_result(values)) for values in own], np.float32)


def _loss(training: Training, task: str) -> tuple[str, dict[str, Any]]:
    """Keras' class and its arguments, from `auto`, a name in any of Keras' spellings, or `{class_name, config}`."""
    given = {"class_name": training.loss} if isinstance(training.loss, str) else training.loss
    mapped = isinstance(given, Mapping) and {"class_name"} <= set(given) <= {"class_name", "config"}
    fits = mapped and isinstance(given.get("config") or {}, Mapping)
    require(fits, "training.loss", given, "auto, a loss, or {class_name, config: its arguments} of one")
    name = LOSSES[task][0] if given["class_name"] == "auto" else str(given["class_name"])
    name = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError"}.get(name, name)
    known = {k.lower(): k for k in class_names("losses")}
    return known.get(name.replace("_", "").lower(), name), dict(given.get("config") or {})


def _row_metric(name: str, units: int) -> Any:
    """Keras' function for a metric that is a mean over rows; None for one that is not."""
    import keras

    if name == "accuracy" and units == 1:
        return lambda y, predictions: keras.metrics.binary_accuracy(y, predictions)[..., 0]
    functions = {"accuracy": "sparse_categorical_accuracy", "mae": "mean_absolute_error", "mse": "mean_squared_error"}
    return getattr(keras.metrics, functions[name]) if name in functions else None
