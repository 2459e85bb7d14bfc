"""Losses, metrics and class weights of stacked seeds, with Keras' own functions.

Losses are computed per row, so that rows can be weighted and each seed has its own mean. Over batches, losses are added
up, and so is what each metric needs (`metrics.py`).
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.biases.introspection import output_layer
from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.config.metrics import (
    METRICS,
    fits_task,
    know_directions,
    metric_name,
    metrics_of,
    own_class_name,
    top_k,
)
from pipeline.config.schema import Training
from pipeline.config.stopping import check_monitor
from pipeline.data.dataset import Dataset
from pipeline.errors import ConfigError, closest, is_number, require
from pipeline.training.class_weights import check_some_count, is_weight
from pipeline.training.metrics import Sums, stacked_metric
from pipeline.training.own import check_own, own_loss, own_metric

# Allowed losses by task, the default first. CategoricalCrossentropy gets the integer labels one-hot. Of two classes,
# the categorical ones are for a model with two outputs, for which BinaryCrossentropy is the same.
LOSSES = {
    "binary": ("BinaryCrossentropy", "SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
    "multiclass": ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
    "regression": ("MeanSquaredError", "MeanAbsoluteError", "Huber"),
}
ARGUMENTS = ("label_smoothing", "delta")  # of losses, that a config may set


def check_objective(training: Training, task: str, n_classes: int) -> None:
    """Raise ConfigError for a loss, a metric or class weights that do not fit the task."""
    name, config = _loss(training, task)
    if name not in LOSSES[task] and not own_class_name(name):
        raise ConfigError(f"training.loss: {name} given for a {task} target; allowed: auto, {', '.join(LOSSES[task])}")
    own = bool(own_class_name(name))
    arguments = [] if own else [a for a in constructor_arguments("losses", name) if a in ARGUMENTS]
    for key, value in () if own else config.items():
        if key not in arguments:
            near = closest(str(key), arguments)
            raise ConfigError(f"training.loss.config.{key}: {name} takes no such argument; {near}")
        smoothing = key == "label_smoothing"
        fits = is_number(value) and (0 <= value < 1 if smoothing else value > 0)
        allowed = "a number from 0 to below 1" if smoothing else "a positive number"
        require(fits, f"training.loss.config.{key}", value, allowed)
    _check_metrics(training.metrics, task, n_classes)
    check_monitor(training.stop, metric_names(training, task))
    weights = training.class_weight
    if weights is not None:
        require(task != "regression", "training.class_weight", weights, "null, since a regression has no classes")
        numbers = isinstance(weights, list) and len(weights) == n_classes and all(map(is_weight, weights))
        if numbers:
            check_some_count(weights, weights)
        fits = weights == "balanced" or numbers
        allowed = f"null, balanced, a list of {n_classes} weights, or {{class: weight, ...}}"
        require(fits, "training.class_weight", weights, allowed)


def check_outputs(training: Training, task: str, units: int) -> None:
    """Raise ConfigError for a categorical loss of a model that tells two classes by one output, and for losses and
    metrics of the user's own that cannot be stacked.
    """
    name = _loss(training, task)[0]
    check_own(training.loss, training.metrics, task, units)
    if task == "binary" and units == 1 and name in ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"):
        reason = "but the model has one output for two classes"
        raise ConfigError("training.loss", name, "auto, BinaryCrossentropy, or a model with two outputs", reason=reason)


def _check_metrics(given: Any, task: str, n_classes: int) -> None:
    metrics = [given] if isinstance(given, str) else given
    if isinstance(metrics, list):
        know_directions(metrics)
        _check_own_names(metrics)
    allowed = f"auto, or for a {task} target a list of {', '.join(metrics_of(task))}"
    require(isinstance(metrics, list) and metrics, "training.metrics", given, allowed)
    for metric in metrics if metrics != ["auto"] else ():
        require(own_class_name(metric) or fits_task(metric, task), "training.metrics", metric, allowed)
    for name in metrics:
        reason = f"which every prediction is among, since there are {n_classes} classes"
        if top_k(str(name)) >= n_classes > 0:
            raise ConfigError("training.metrics", name, f"top_1 to top_{n_classes - 1}", reason=reason)


def _check_own_names(metrics: list[Any]) -> None:
    """Refuse forms that are no metric, and names that tables have for another one."""
    own = [metric for metric in metrics if own_class_name(metric)]
    for metric in own:
        fits = isinstance(metric, str) or set(metric) <= {"class_name", "config", "higher_is_better"}
        require(fits, "training.metrics", metric, "{class_name, config, higher_is_better: true or false} of one")
        name = metric_name(metric)
        is_new = re.fullmatch(r"[A-Za-z]\w*", name) and name not in METRICS and name != "loss" and not top_k(name)
        require(is_new, "training.metrics", name, "another name, as config: {name: my_metric} gives it")
    require(
        len({metric_name(m) for m in own}) == len(own), "training.metrics", metrics, "each metric under another name"
    )


def metric_names(training: Training, task: str) -> tuple[str, ...]:
    """The metrics measured besides the loss, the default metric of the task for `auto`, each once."""
    names = metrics_of(task)[:1] if training.metrics in ("auto", ["auto"]) else training.metrics
    return tuple(dict.fromkeys(metric_name(name) for name in ([names] if isinstance(names, (str, Mapping)) else names)))


def is_cross_entropy(training: Training, task: str) -> bool:
    """Whether the loss is a cross-entropy, which takes probabilities."""
    name = _loss(training, task)[0]
    return "Crossentropy" in name and not own_class_name(name)


@contextlib.contextmanager
def without_output_activation(model: Any, training: Training, task: str) -> Iterator[str]:
    """Within the context, a model trained on a cross-entropy has no softmax or sigmoid at its end.

    Yields the name of the activation that is left out, or `none`. Keras finds the logits in front of a Softmax layer
    and of `keras.ops.softmax` too, by TensorFlow's operation or by an attribute of its result.
    """
    last = output_layer(model)
    name, attribute = _output_activation(last)
    if name == "none" or not is_cross_entropy(training, task):
        yield "none"
        return
    own = vars(last).get(attribute)
    setattr(last, attribute, _unchanged)
    try:
        yield name
    finally:
        if own is not None:
            setattr(last, attribute, own)
        else:
            delattr(last, attribute)


def _output_activation(last: Any) -> tuple[str, str]:
    """The softmax or sigmoid that a layer or operation applies last, else `none`, and the attribute that does it."""
    import keras

    kind, axis = type(last).__name__, getattr(last, "axis", -1)
    if isinstance(last, keras.layers.Softmax) or (kind in ("Softmax", "Sigmoid") and isinstance(last, keras.Operation)):
        return (kind.lower(), "call") if axis in (-1, 1) else ("none", "")
    types: Any = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation)
    name = getattr(getattr(last, "activation", None), "__name__", "none")
    return (name, "activation") if isinstance(last, types) and name in ("softmax", "sigmoid") else ("none", "")


def _unchanged(inputs: Any, mask: Any = None) -> Any:
    if mask is not None:  # after which the outputs are no softmax, also to Keras
        raise ConfigError("model: its last layer, a Softmax, has a mask; allowed: one without a mask")
    return inputs


class Objective:
    """Loss and metrics of outputs taken in front of `activation` (softmax, sigmoid or none).

    Rows are described by sums that add up over batches: their loss, then those of each metric. `size` is the number of
    sums, `names` are the metrics.
    """

    def __init__(self, training: Training, task: str, activation: str, units: int, center: Any = 0.0) -> None:
        """units: outputs of the model. center: see `metrics.stacked_metric`."""
        import keras

        name, config = _loss(training, task)
        own = own_loss(training.loss)
        if own is None and task == "binary" and units > 1:  # two softmax units for two classes
            name = "SparseCategoricalCrossentropy"
        if name == "SparseCategoricalCrossentropy" and config.get("label_smoothing"):
            name = "CategoricalCrossentropy"
        one_hot = name == "CategoricalCrossentropy"
        logits = {"from_logits": activation in ("softmax", "sigmoid")} if own is None and "Crossentropy" in name else {}
        self._loss = own or getattr(keras.losses, name)(reduction=None, **config, **logits)
        self._one_hot = units if one_hot else 0
        self._activation = keras.activations.get(None if activation == "none" else activation)
        self.task = task
        self.names = metric_names(training, task)
        self._metrics = [
            own_metric(name, training.metrics, task, units) or stacked_metric(name, task, units, center)
            for name in self.names
        ]
        self._sums: dict[Any, Sums] = {metric.sums.kind: metric.sums for metric in self._metrics}
        self.size = 1 + sum(sums.size for sums in self._sums.values())

    def losses(self, y: Any, outputs: Any) -> Any:
        """The loss of every row, [seeds, rows], for y [seeds, rows] or, of a regression with several targets,
        [seeds, rows, units], and outputs [seeds, rows, units]."""
        import tensorflow as tf

        if self._one_hot:
            return self._loss(tf.one_hot(y, self._one_hot), outputs)
        y = _with_last_axis(y, outputs)
        return self._loss(y if outputs.shape[-1] > 1 else tf.cast(y, outputs.dtype), outputs)

    def metric_sums(self, y: Any, outputs: Any, counts: Any, unit: Any = None) -> list[Any]:
        """What the metrics need of these rows, each [seeds, n]; row i counts `counts[i]` times.

        unit: [seeds, 1] or [seeds, 1, outputs], by which the standardized targets of a regression are multiplied, so
        that its metrics are in the unit of the targets. Their mean is left out of both, which changes no error.
        """
        y, predictions = _with_last_axis(y, outputs), self._activation(outputs)
        if unit is not None:
            unit = _with_last_axis(unit, outputs)
            y, predictions = y * unit, predictions * unit
        return [sums.add(y, predictions, counts) for sums in self._sums.values()]

    def means(self, sums: np.ndarray, n_rows: int) -> np.ndarray:
        """Loss and metrics [seeds, 1 + metrics] of `n_rows` rows, from their sums [seeds, size]."""
        sizes = [part.size for part in self._sums.values()]
        loss, *parts = np.split(sums, np.cumsum([1, *sizes[:-1]]), axis=1)
        by_kind = dict(zip(self._sums, parts, strict=True))
        columns = [loss[:, 0] / np.float32(n_rows)]
        columns += [metric.result(by_kind[metric.sums.kind], n_rows) for metric in self._metrics]
        return np.stack(columns, 1)


def _with_last_axis(values: Any, outputs: Any) -> Any:
    """Values of one target with an axis of length 1 for it; those of several have it."""
    return values if values.shape.rank == outputs.shape.rank else values[..., None]


def _loss(training: Training, task: str) -> tuple[str, dict[str, Any]]:
    """(class name, arguments) of the loss, from `auto`, a name in any spelling of Keras, or `{class_name, config}`."""
    loss: Any = {"class_name": training.loss} if isinstance(training.loss, str) else training.loss
    mapped = isinstance(loss, Mapping) and {"class_name"} <= set(loss) <= {"class_name", "config"}
    fits = mapped and isinstance(loss.get("config") or {}, Mapping)
    require(fits, "training.loss", loss, "auto, a loss, or {class_name, config: its arguments} of one")
    name = LOSSES[task][0] if loss["class_name"] == "auto" else str(loss["class_name"])
    name = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError"}.get(name, name)
    by_spelling = {k.lower(): k for k in class_names("losses")}
    return by_spelling.get(name.replace("_", "").lower(), name), dict(loss.get("config") or {})


def target_center(dataset: Dataset, standardized: bool) -> Any:
    """The `center` of `metrics.stacked_metric`: 0 for standardized targets, else the mean over the whole dataset."""
    if dataset.task != "regression" or standardized:
        return 0.0
    return np.asarray(np.mean(dataset.y, axis=0, dtype=np.float64), np.float32)
