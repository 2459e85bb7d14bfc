"""One TensorFlow program that trains `width` seeds of one model at once."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import cachetools
import numpy as np

from pipeline.config.schema import Optimizer, Training
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.runtime.logs import tell_once
from pipeline.training.class_weights import class_weights
from pipeline.training.memory import FEWEST_ROWS, evaluation_rows, smallest_form, stack_width
from pipeline.training.objectives import Objective, target_center, without_output_activation
from pipeline.training.optimizers import make_optimizer, norm_clipping
from pipeline.training.pfor import install_converters
from pipeline.training.recurrence import unrolled_recurrence

log = logging.getLogger(__name__)


class Program:
    """An epoch and an evaluation of `width` seeds, traced once for all stacks and arms of one model structure.

    Row numbers, int32 [width, n], say which rows of the dataset each seed reads.
    epoch(order, validation, counts): one pass over the training rows `order`, batch by batch, then one over the
    validation rows. Returns the sums of both, [width, objective.size] each. Row i of the validation counts `counts[i]`
    times (1, or 0 for padding).
    evaluation(rows, counts): the sums over `rows_per_evaluation` rows, [width, objective.size].
    variables: everything the two read and write; `initial_values` are their values before training, and
    `learning_rate_index` is the position of the learning rate, None under a schedule.
    """

    def __init__(
        self, template: Any, split: Split, dataset: Dataset, optimizer: Optimizer, training: Training, xla: bool
    ) -> None:
        """Trace the program. template: a built model of the structure. split: one with the right number of rows."""
        import tensorflow as tf

        install_converters()
        self.template, self.xla = template, xla
        self.width = width = stack_width(template, training.batch_size, training.xla)
        self._dataset, self._class_weight = dataset, training.class_weight
        self._data = _on_device(dataset)[1:]
        self._weights = _stacked_weights(template, width)
        self._state = [tf.Variable(tf.zeros([width, *v.shape], v.dtype)) for v in template.non_trainable_variables]
        self._optimizer = make_optimizer(optimizer)
        self._optimizer.build(self._weights)
        self._clip = norm_clipping(optimizer)
        # Variables, not constants: TensorFlow simplifies arithmetic with constants according to their values, so a
        # seed's last bits would depend on the seeds beside it.
        self._seed_constants = [tf.Variable(tf.constant(v)) for v in self.seed_constants([split] * width)]
        self.variables = [v.value for v in self._weights] + self._state
        self.variables += [v.value for v in self._optimizer.variables] + self._seed_constants
        learning_rate = getattr(self._optimizer.learning_rate, "value", None)
        self.learning_rate_index = next((i for i, v in enumerate(self.variables) if v is learning_rate), None)
        self.initial_values = [np.array(v) for v in self.variables]
        with (
            without_output_activation(template, training, dataset.task) as activation,
            unrolled_recurrence(template, xla),
        ):
            center = target_center(dataset, bool(np.any(split.target_mean) or np.any(split.target_scale != 1)))
            self.objective = Objective(training, dataset.task, activation, template.output_shape[-1], center)
            row_counts = len(split.train), len(split.validation), training.batch_size
            self._one_copy_per_seed = width == 1
            try:
                self._trace(*row_counts)
            except ValueError as error:
                log.info("These layers cannot be stacked: %s", str(error)[:300])
                tell_once("training seed by seed, which takes longer: TensorFlow cannot stack a layer of this model")
                self._one_copy_per_seed = True
                self._trace(*row_counts)

    def seed_constants(self, splits: Sequence[Split]) -> list[np.ndarray]:
        """Each seed's standardization, in the precision of the data, and float32 class weights.

        Mean and scale of the inputs, then of the targets, then what fills missing inputs if any are missing, each
        [width, 1, ..., *shape] so that it broadcasts over batches; at the end the class weights [width, classes].
        """

        def broadcastable(name: str, like: np.ndarray) -> np.ndarray:
            values = np.stack([np.asarray(getattr(split, name), like.dtype) for split in splits])
            return values.reshape(self.width, *[1] * (like.ndim + 1 - values.ndim), *values.shape[1:])

        x, y, classes = self._dataset.x, self._dataset.y, self._dataset.classes
        targets = y if self._dataset.task == "regression" else np.float32(y)
        like = {"mean": x, "scale": x, "target_mean": targets, "target_scale": targets}
        like |= {} if splits[0].fill is None else {"fill": x}
        weights = [class_weights(self._class_weight, y[split.train], classes) for split in splits]
        return [*(broadcastable(name, values) for name, values in like.items()), np.stack(weights)]

    def _trace(self, n_train: int, n_validation: int, batch_size: int) -> None:
        """Make `epoch` and `evaluation` for these numbers of rows."""
        import tensorflow as tf

        train = self._training_pass(n_train, batch_size)
        n_pieces = -(-n_validation // evaluation_rows(self.template, self.width))
        self.rows_per_evaluation = size = max(-(-n_validation // n_pieces), FEWEST_ROWS)
        self.evaluation = _traced(
            lambda rows, counts: self._forward(rows, counts, training=False)[1],
            self._row_numbers(size), tf.TensorSpec([size]),
        )  # fmt: skip

        def validated(rows: Any, counts: Any, piece: Any) -> Any:
            of_piece = tf.slice(rows, [0, piece * size], [self.width, size])
            return self.evaluation(of_piece, tf.slice(counts, [piece * size], [size]))

        def epoch(order: Any, validation: Any, counts: Any) -> Any:
            return train(order), self._summed(n_pieces, lambda piece: validated(validation, counts, piece))

        padded = n_pieces * size
        self.epoch = _traced(
            epoch, self._row_numbers(n_train), self._row_numbers(padded), tf.TensorSpec([padded]), jit_compile=self.xla
        )

    def _training_pass(self, n_train: int, batch_size: int) -> Callable[[Any], Any]:
        """A function of the row numbers [width, n_train] that trains on all of them and returns their sums.

        The steps, one for whole batches and one for a smaller last batch, are traced here, before the loop over them.
        """
        import tensorflow as tf

        n_batches, n_last = divmod(n_train, batch_size)
        step = _traced(self._step, self._row_numbers(batch_size)) if n_batches else None
        last_step = _traced(self._step, self._row_numbers(n_last)) if n_last else None

        def batch(order: Any, i: Any) -> Any:
            return tf.slice(order, [0, i * batch_size], [self.width, batch_size])

        def train(order: Any) -> Any:
            sums = tf.zeros([self.width, self.objective.size])
            if step is not None:
                sums += self._summed(n_batches, lambda i, step=step: step(batch(order, i)))
            if last_step is not None:
                sums += last_step(order[:, n_train - n_last :])
            return sums

        return train

    def _summed(self, times: int, sums: Callable[[Any], Any]) -> Any:
        """sums(0) + sums(1) + ... + sums(times - 1), looped over on the device."""
        import tensorflow as tf

        zeros = tf.zeros([self.width, self.objective.size])
        return tf.while_loop(lambda i, _: i < times, lambda i, total: (i + 1, total + sums(i)), (0, zeros))[1]

    def _row_numbers(self, n: int) -> Any:
        import tensorflow as tf

        return tf.TensorSpec([self.width, n], tf.int32)

    def _step(self, rows: Any) -> Any:
        """Train on one batch of each seed: forward, backward, update. Returns its sums [width, objective.size]."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses, sums, new_state = self._forward(rows, tf.ones(rows.shape[1]), training=True)
            loss = tf.reduce_sum(losses)  # the seeds share no variable, so each gets the gradient of its own loss
        weights = [w.value for w in self._weights]
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        self._optimizer.apply(self._clip(gradients), self._weights)
        for variable, new in zip(self._state, new_state, strict=True):
            variable.assign(new)
        return sums

    def _forward(self, rows: Any, counts: Any, training: bool) -> tuple[Any, Any, list[Any]]:
        """The forward pass of training and evaluation, for row numbers [width, n] of which row i counts `counts[i]`.

        Returns the loss of each seed [width], the sums over its rows [width, objective.size], and the new state.
        """
        import tensorflow as tf

        mean, scale, target_mean, target_scale, *fill, weights = self._seed_constants
        x, y = (tf.gather(values, rows) for values in self._data)
        x = tf.cast(x, self._dataset.x.dtype)
        x = tf.where(tf.math.is_nan(x), fill[0], x) if fill else x
        x = tf.cast((x - mean) / scale, tf.float32)
        unit = None
        if self._dataset.task == "regression":
            y, unit = tf.cast((y - target_mean) / target_scale, tf.float32), tf.cast(target_scale, tf.float32)

        def call(seed: Any) -> Any:
            outputs, new_state, losses = self.template.stateless_call(*seed, training=training, return_losses=True)
            return outputs, new_state, tf.add_n([tf.cast(v, tf.float32) for v in losses] or [tf.constant(0.0)])

        stacked = [w.value for w in self._weights], [tf.convert_to_tensor(v) for v in self._state], x
        outputs, new_state, penalty = self._for_each_seed(call, stacked)
        loss = self.objective.losses(y, outputs) * counts
        if training and self._class_weight is not None:
            loss *= tf.gather(weights, y, batch_dims=1)
        n_rows = tf.reduce_sum(counts)
        total = tf.reduce_sum(loss, 1) + penalty * n_rows
        return (
            total / n_rows,
            tf.concat([total[:, None], *self.objective.metric_sums(y, outputs, counts, unit)], 1),
            new_state,
        )

    def _for_each_seed(self, function: Callable[[Any], Any], stacked: Any) -> Any:
        """Call a function for all seeds at once, or seed by seed where its layers cannot be stacked."""
        import tensorflow as tf

        if not self._one_copy_per_seed:
            return tf.vectorized_map(function, stacked, fallback_to_while_loop=False)
        each = [function(tf.nest.map_structure(lambda t, i=i: t[i], stacked)) for i in range(self.width)]
        return tf.nest.map_structure(lambda *values: tf.stack(values), *each)


def model_variables(model: Any) -> list[Any]:
    """A model's trainable variables, then the others."""
    return [*model.trainable_variables, *model.non_trainable_variables]


def _traced(function: Callable[..., Any], *signature: Any, jit_compile: bool | None = None) -> Any:
    """The concrete function. Without AutoGraph, which Keras' layers do not need and which doubles the tracing time."""
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False).get_concrete_function(*signature)


def _stacked_weights(template: Any, width: int) -> list[Any]:
    """A variable [width, *shape] for each trainable variable; a constraint applies to each seed's part."""
    import keras
    import tensorflow as tf

    stacked = []
    for variable in template.trainable_variables:
        weight = keras.Variable(np.zeros([width, *variable.shape]), dtype=variable.dtype, name=variable.name)
        if variable.constraint is not None:
            weight.constraint = lambda w, c=variable.constraint: tf.vectorized_map(c, tf.convert_to_tensor(w))
        stacked.append(weight)
    return stacked


@cachetools.cached(cachetools.LRUCache(maxsize=1), key=id)
def _on_device(dataset: Dataset) -> tuple[Dataset, Any, Any]:
    """The dataset with x and y as tensors, which all programs share. Holding the dataset keeps its id taken."""
    import tensorflow as tf

    return dataset, tf.constant(smallest_form(dataset.x)), tf.constant(dataset.y)
