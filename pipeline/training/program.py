"""One TensorFlow program that trains `width` seeds of one model at once."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.config.schema import Optimizer, Training
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.training.memory import FEWEST_ROWS, evaluation_rows, stack_width
from pipeline.training.objectives import Objective, class_weights, without_output_activation
from pipeline.training.optimizers import make_optimizer, norm_clipping
from pipeline.training.pfor import install_converters, unrolled_recurrence

log = logging.getLogger(__name__)


class Program:
    """An epoch and an evaluation of `width` seeds, traced once for all stacks and arms of one structure.

    `template` is a model of that structure; `like` shows how many rows a seed trains on and validates with.
    """

    def __init__(
        self, template: Any, like: Split, dataset: Dataset, optimizer: Optimizer, training: Training,
        xla: bool,
    ) -> None:  # fmt: skip
        import keras
        import tensorflow as tf

        install_converters()
        self.template, self.xla, self._dataset, self._weighted = template, xla, dataset, training.class_weight
        self.width = width = stack_width(template, training.batch_size)
        self._clip = norm_clipping(optimizer)
        self._by_seed = False
        self._data = _on_device(dataset)
        self._weights = [
            keras.Variable(np.zeros([width, *v.shape]), dtype=v.dtype, name=v.name)
            for v in template.trainable_variables
        ]
        for variable, own in zip(self._weights, template.trainable_variables, strict=True):
            if own.constraint is not None:
                variable.constraint = lambda w, c=own.constraint: tf.vectorized_map(c, tf.convert_to_tensor(w))
        self._state = [tf.Variable(tf.zeros([width, *v.shape], v.dtype)) for v in template.non_trainable_variables]
        self._optimizer = make_optimizer(optimizer)
        self._optimizer.build(self._weights)
        # Variables, since TensorFlow rewrites arithmetic with constants by their values, and so by who is in the stack.
        self._per_seed = [tf.Variable(values) for values in self.per_seed([like] * width)]
        self.variables = [v.value for v in self._weights] + self._state
        self.variables += [v.value for v in self._optimizer.variables] + self._per_seed
        # Which variable is the learning rate; a schedule has none, and is part of the program.
        rates = [n for n, v in enumerate(self.variables) if v is getattr(self._optimizer._learning_rate, "value", None)]
        self.rate = rates[0] if rates else None
        self.first_values = [np.array(v) for v in self.variables]
        with (
            without_output_activation(template, training, dataset.task) as activation,
            unrolled_recurrence(template, xla),
        ):
            self.objective = Objective(training, dataset.task, activation, template.output_shape[-1])
            try:
                self._trace(len(like.train), len(like.validation), training.batch_size)
            except ValueError as error:
                log.info("These layers cannot be stacked, so each seed has its own copy: %s", str(error)[:300])
                self._by_seed = True
                self._trace(len(like.train), len(like.validation), training.batch_size)

    def per_seed(self, rows: Sequence[Split]) -> list[np.ndarray]:
        """What standardises each seed's rows and weights its classes: each [width, 1, ..., *shape]."""

        def spread(name: str, axes: int) -> np.ndarray:
            values = np.stack([np.float32(getattr(r, name)) for r in rows])
            return values.reshape(self.width, *[1] * (axes - values.ndim), *values.shape[1:])

        x_axes, classes, y = self._dataset.x.ndim + 1, len(self._dataset.classes), self._dataset.y
        weights = [class_weights(self._weighted, y[r.train], classes) for r in rows]
        axes = {"mean": x_axes, "scale": x_axes, "target_mean": 2, "target_scale": 2}
        return [*(spread(name, n) for name, n in axes.items()), np.stack(weights)]

    def _trace(self, training_rows: int, validation_rows: int, size: int) -> None:
        """Make `epoch` (a pass over the training rows, then one over the validation rows) and `evaluation`."""
        import tensorflow as tf

        def traced(function: Callable[..., Any], *like: Any) -> Any:
            # Without AutoGraph, which Keras' layers do not need: it takes as long as all the rest.
            return tf.function(function, autograph=False).get_concrete_function(*like)

        steps, last = training_rows // size, training_rows % size
        whole = traced(self._step, self._numbers(size)) if steps else None
        rest = traced(self._step, self._numbers(last)) if last else None
        pieces = -(-validation_rows // evaluation_rows(self.template, self.width))
        self.piece = max(-(-validation_rows // pieces), FEWEST_ROWS)
        self.evaluation = traced(
            lambda numbers, counts: self._forward(numbers, counts, False)[1],
            self._numbers(self.piece), tf.TensorSpec([self.piece]),
        )  # fmt: skip

        def summed(times: int, sums: Callable[[Any], Any]) -> Any:
            """What `sums` gives for 0, 1, ... `times` - 1, added up."""
            nothing = tf.zeros([self.width, self.objective.size])
            return tf.while_loop(lambda i, _: i < times, lambda i, so_far: (i + 1, so_far + sums(i)), (0, nothing))[1]

        def epoch(numbers: Any, validation: Any, counts: Any) -> Any:
            trained = tf.zeros([self.width, self.objective.size])
            if whole is not None:
                trained += summed(steps, lambda i: whole(tf.slice(numbers, [0, i * size], [self.width, size])))
            if rest is not None:
                trained += rest(numbers[:, training_rows - last :])

            def validated(i: Any) -> Any:
                part = tf.slice(validation, [0, i * self.piece], [self.width, self.piece])
                return self.evaluation(part, tf.slice(counts, [i * self.piece], [self.piece]))

            return trained, summed(pieces, validated)

        self.epoch = tf.function(epoch, jit_compile=self.xla, autograph=False).get_concrete_function(
            self._numbers(training_rows), self._numbers(pieces * self.piece), tf.TensorSpec([pieces * self.piece])
        )

    def _numbers(self, size: int) -> Any:
        import tensorflow as tf

        return tf.TensorSpec([self.width, size], tf.int32)

    def _step(self, numbers: Any) -> Any:
        """One batch: forward, backward, update. What its rows add up to, [width, objective.size]."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses, sums, new_state = self._forward(numbers, tf.ones(numbers.shape[1]), True)
            loss = tf.reduce_sum(losses)  # the seeds share nothing, so this gradient is each seed's own
        gradients = tape.gradient(loss, [w.value for w in self._weights], unconnected_gradients="zero")
        self._optimizer.apply(self._clip(gradients), self._weights)
        for variable, new in zip(self._state, new_state, strict=True):
            variable.assign(new)
        return sums

    def _forward(self, numbers: Any, counts: Any, training: bool) -> tuple[Any, Any, list[Any]]:
        """(loss per seed, sums [width, size] over rows, new state); row i counts `counts[i]` times."""
        import tensorflow as tf

        mean, scale, target_mean, target_scale, weights = self._per_seed
        x, y = (tf.gather(whole, numbers) for whole in self._data)
        x = (x - mean) / scale
        y = (y - target_mean) / target_scale if self._dataset.task == "regression" else y

        def one_seed(own: Any) -> Any:
            outputs, new_state, losses = self.template.stateless_call(*own, training=training, return_losses=True)
            return outputs, new_state, tf.add_n([tf.cast(v, tf.float32) for v in losses] or [tf.constant(0.0)])

        stacked = [w.value for w in self._weights], [tf.convert_to_tensor(v) for v in self._state], x
        outputs, new_state, penalty = self._each_seed(one_seed, stacked)
        loss = self.objective.losses(y, outputs) * counts
        if training and self._weighted is not None:
            loss *= tf.gather(weights, y, batch_dims=1)
        rows = tf.reduce_sum(counts)
        total = tf.reduce_sum(loss, 1) + penalty * rows
        return total / rows, tf.concat([total[:, None], *self.objective.added(y, outputs, counts)], 1), new_state

    def _each_seed(self, function: Callable[[Any], Any], stacked: Any) -> Any:
        import tensorflow as tf

        if not self._by_seed:
            return tf.vectorized_map(function, stacked, fallback_to_while_loop=False)
        each = [function(tf.nest.map_structure(lambda t, i=i: t[i], stacked)) for i in range(self.width)]
        return tf.nest.map_structure(lambda *values: tf.stack(values), *each)


_last: list[Any] = []  # the dataset that was put on the device last, and its tensors


def _on_device(dataset: Dataset) -> Any:
    """Its x and y as tensors, the same ones for all programs."""
    import tensorflow as tf

    if not _last or _last[0] is not dataset:
        _last[:] = [dataset, (tf.constant(dataset.x), tf.constant(dataset.y))]
    return _last[1]


def model_variables(model: Any) -> list[Any]:
    """A model's trainable variables, then the others."""
    return [*model.trainable_variables, *model.non_trainable_variables]
