"""Evaluate stored weights on test rows: metrics, and which ReLU units are alive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.analysis.ablation import relu_layers
from pipeline.config.schema import Training
from pipeline.data.dataset import Dataset
from pipeline.models.build import build_model
from pipeline.models.functional import is_functional_model
from pipeline.models.graph_calls import call_graph, make_operation
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
        self._layers, self._relu_layers = layers, relu_layers(layers)
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

        alive: dict[str, Any] = {}

        def watch(path: str, outputs: Any) -> None:
            if path in self._relu_layers:
                units = tf.reduce_any(outputs > 0, list(range(outputs.shape.rank - 1)))
                alive[path] = units | alive[path] if path in alive else units

        outputs = watched_call(self._layers, self._model, watch)(x)
        counts = tf.ones(tf.shape(x)[:1])
        losses = self._objective.losses(y[None], outputs[None])
        penalty = tf.add_n([tf.cast(v, tf.float32) for v in self._model.losses] or [tf.constant(0.0)])
        total = tf.reduce_sum(losses) + penalty * tf.reduce_sum(counts)
        added = self._objective.metric_sums(
            y[None], outputs[None], counts, unit[None] if self._objective.task == "regression" else None
        )
        sums = tf.concat([total[None], *(part[0] for part in added)], 0)
        return sums, [alive[path] for path in self._relu_layers]


def watched_call(layers: list[dict[str, Any]], model: Any, watch: Callable[[str, Any], None]) -> Callable[..., Any]:
    """A function that calls a model layer by layer, those of nested models in their places.

    layers: the config of the model's. watch(path, output): called with what each layer returns.
    """
    if is_functional_model(layers):
        return _graph_call(layers[0]["config"], model, "", watch)
    return _chain_call(layers, model, "", watch)


def _layer_call(entry: dict[str, Any], layer: Any, above: str, watch: Callable[[str, Any], None]) -> Callable[..., Any]:
    path = f"{above}{entry['config']['name']}"
    if entry["class_name"] == "Sequential":
        return _chain_call(entry["config"]["layers"], layer, f"{path}/", watch)
    if entry["class_name"] == "Functional":
        return _graph_call(entry["config"], layer, f"{path}/", watch)

    def call(*args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        watch(path, outputs)
        return outputs

    return call


def _chain_call(layers: list[dict[str, Any]], model: Any, above: str, watch: Callable[[str, Any], None]) -> Any:
    calls = [_layer_call(entry, layer, above, watch) for entry, layer in zip(layers, model.layers, strict=True)]

    def call(outputs: Any) -> Any:
        for layer in calls:
            outputs = layer(outputs)
        return outputs

    return call


def _graph_call(graph: dict[str, Any], model: Any, above: str, watch: Callable[[str, Any], None]) -> Any:
    by_name = {layer.name: layer for layer in model.layers}
    calls = [
        make_operation(entry) if "module" in entry
        else _layer_call(entry, by_name.get(entry["config"]["name"]), above, watch)
        for entry in graph["layers"]
    ]  # fmt: skip
    return lambda inputs: call_graph(graph, calls, inputs)
