"""Evaluate stored weights on test rows: metrics, and which ReLU units are alive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.analysis.ablation import relu_layers
from pipeline.config.schema import Training
from pipeline.data.dataset import Dataset
from pipeline.models.build import build_model
from pipeline.training.memory import evaluation_rows
from pipeline.training.objectives import Objective, target_center, without_output_activation


@dataclass(frozen=True)
class Evaluation:
    """Test metrics by name; alive: for each ReLU layer, which units [units] are above 0 on some row."""

    metrics: dict[str, float]
    alive: dict[str, np.ndarray]


class Evaluator:
    """A model of one structure, traced once, that is given one set of weights after the other.

    settings: those of a run of that structure. labels: training targets [rows] of any seed, which the initializer
    `class_prior` reads.
    """

    def __init__(self, settings: dict[str, Any], dataset: Dataset, labels: np.ndarray) -> None:
        import tensorflow as tf

        layers, shape = settings["model"]["layers"], dataset.x.shape[1:]
        training = Training(**settings["training"])
        self._model = build_model(layers, shape, dataset.task, dataset.n_targets, 0, labels)
        self._relu_layers = relu_layers(layers)
        self._rows_at_once = evaluation_rows(self._model, 1)
        self._variables: dict[str, Any] = {}
        with without_output_activation(self._model, training, dataset.task) as activation:
            units = self._model.output_shape[-1]
            center = target_center(dataset, settings["data"].get("standardize_target", True))
            self._objective = Objective(training, dataset.task, activation, units, center)
            self._traced = tf.function(self._forward, autograph=False).get_concrete_function(
                tf.TensorSpec([None, *shape]),
                tf.TensorSpec([None, *labels.shape[1:]], tf.as_dtype(labels.dtype)),
                tf.TensorSpec([1, *labels.shape[1:]]),
            )

    def load(self, weights: Mapping[str, np.ndarray], moment: str) -> None:
        """Give the model all the weights that a run had `before` or `after` training."""
        values = {name.removeprefix(f"{moment}/"): v for name, v in weights.items() if name.startswith(f"{moment}/")}
        self._variables = dict(zip(values, self._model.weights, strict=True))
        self.assign(values)

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Replace the weights at these paths alone."""
        for path, value in values.items():
            self._variables[path].value.assign(value)  # Keras' own assign takes longer than testing a small model

    def evaluate(self, x: np.ndarray, y: np.ndarray, unit: np.ndarray) -> Evaluation:
        """Evaluate standardized rows x [rows, ...] with targets y [rows, ...], some rows at a time.

        unit: what a regression's targets were divided by, [] or [outputs], for metrics in their own unit.
        """
        import tensorflow as tf

        total = np.zeros(self._objective.size, np.float32)
        per_target = tf.constant(np.broadcast_to(unit, y.shape[1:])[None], tf.float32)
        alive = [np.False_ for _ in self._relu_layers]
        for start in range(0, len(x), self._rows_at_once):
            rows = slice(start, start + self._rows_at_once)
            sums, rows_alive = self._traced(tf.constant(x[rows]), tf.constant(y[rows]), per_target)
            total = total + np.asarray(sums)
            alive = [a | np.asarray(b) for a, b in zip(alive, rows_alive, strict=True)]
        values = self._objective.means(total[None], len(x))[0]
        names = [f"test_{name}" for name in ("loss", *self._objective.names)]
        return Evaluation(
            {name: float(value) for name, value in zip(names, values, strict=True)},
            {layer: np.asarray(units) for layer, units in zip(self._relu_layers, alive, strict=True)},
        )

    def _forward(self, x: Any, y: Any, unit: Any) -> tuple[Any, list[Any]]:
        """(sums over the rows [objective.size], alive units [units] of each ReLU layer)."""
        import tensorflow as tf

        outputs = x
        alive = {}
        for path, layer in _layers(self._model):
            outputs = layer(outputs)
            if path in self._relu_layers:
                alive[path] = tf.reduce_any(outputs > 0, list(range(outputs.shape.rank - 1)))
        counts = tf.ones(tf.shape(x)[:1])
        losses = self._objective.losses(y[None], outputs[None])
        penalty = tf.add_n([tf.cast(v, tf.float32) for v in self._model.losses] or [tf.constant(0.0)])
        total = tf.reduce_sum(losses) + penalty * tf.reduce_sum(counts)
        added = self._objective.metric_sums(
            y[None], outputs[None], counts, unit[None] if self._objective.task == "regression" else None
        )
        sums = tf.concat([total[None], *(part[0] for part in added)], 0)
        return sums, [alive[path] for path in self._relu_layers]


def _layers(model: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(path, layer) of a Sequential in order, with the layers of a nested Sequential in its place."""
    for layer in model.layers:
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer, f"{above}{layer.name}/")
        else:
            yield f"{above}{layer.name}", layer
