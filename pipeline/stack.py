"""Many models of one structure as one TensorFlow program.

Each variable gets a leading seed axis. `tf.vectorized_map` calls the Keras model once for all seeds, and one Keras
optimizer updates the stacked variables: Keras' optimizers work element by element, so it is one optimizer per seed. An
epoch is one `tf.function` that loops over the steps on the device; the data lie there once, and each seed picks its
own rows. The numbers are those of `model.fit`, seed by seed, on the same batches.

What was measured, and shapes it (digits, Dense 64-32-10, 2 cores):
- The step is traced before the XLA program that loops over it. Traced within, its forward and backward passes become
  two functions that hand each other shapes; XLA then takes the inputs of the first for compile-time constants, and
  with them the weights: it compiled anew at every call, and a last smaller step started from the first weights.
- The last bits depend on how many seeds are stacked (dense nets agreed for 1 to 10, not for 20 and 40), and without
  XLA on a seed's place, but not on its neighbours. So the width follows from the model alone, and a seed always has
  the same place: which seeds train together does not matter.
- XLA hardly uses a second core for such small products. Two stacks side by side do: 1.7 times as fast. They share one
  compiled program and differ in the variables that it is called with (`Stack`), so a core costs no compilation.
- Wider is faster for small models (40 dense seeds: 2.0 ms per run and epoch at 10 places, 1.6 at 20) and slower for
  others (10 LSTM seeds: 14 ms at 10 places, 10 at 5), hence `places`.
- Tried without gain: XLA's flags for vector width, copies and its scheduler; Adam's update is a fifth to two fifths of
  a step.
- Recurrent layers do not compile under XLA (tensor lists). With their steps written out they do, in some 10 s more, and
  train twice as fast (LSTM 16 over 8 steps), so short sequences are; long ones run without XLA.
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline import config, memory, objectives, optimizers, vectorize
from pipeline.data import Dataset, Rows

log = logging.getLogger(__name__)


class Program:
    """An epoch and an evaluation of `width` seeds, traced once for all stacks and arms of one structure.

    `template` is a model of that structure; `like` shows how many rows a seed trains on and validates with.
    """

    def __init__(
        self, template: Any, like: Rows, dataset: Dataset, optimizer: config.Optimizer, training: config.Training,
        xla: bool,
    ) -> None:  # fmt: skip
        import keras
        import tensorflow as tf

        vectorize.install()
        self.template, self.xla, self._dataset, self._weighted = template, xla, dataset, training.class_weight
        self.width = width = memory.places(template, training.batch_size)
        self._clip = optimizers.norm_clipping(optimizer)
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
        self._optimizer = optimizers.make(optimizer)
        self._optimizer.build(self._weights)
        # Variables, since TensorFlow rewrites arithmetic with constants by their values, and so by who is in the stack.
        self._per_seed = [tf.Variable(values) for values in self.per_seed([like] * width)]
        self.variables = [v.value for v in self._weights] + self._state
        self.variables += [v.value for v in self._optimizer.variables] + self._per_seed
        # Which variable is the learning rate; a schedule has none, and is part of the program.
        rates = [n for n, v in enumerate(self.variables) if v is getattr(self._optimizer._learning_rate, "value", None)]
        self.rate = rates[0] if rates else None
        self.first_values = [np.array(v) for v in self.variables]
        with objectives.logits(template, training, dataset.task) as activation, vectorize.unrolled(template, xla):
            self.objective = objectives.Objective(training, dataset.task, activation, template.output_shape[-1])
            try:
                self._trace(len(like.train), len(like.validation), training.batch_size)
            except ValueError as error:
                log.info("These layers cannot be stacked, so each seed has its own copy: %s", str(error)[:300])
                self._by_seed = True
                self._trace(len(like.train), len(like.validation), training.batch_size)

    def per_seed(self, rows: Sequence[Rows]) -> list[np.ndarray]:
        """What standardises each seed's rows and weights its classes: each [width, 1, ..., *shape]."""

        def spread(name: str, axes: int) -> np.ndarray:
            values = np.stack([np.float32(getattr(r, name)) for r in rows])
            return values.reshape(self.width, *[1] * (axes - values.ndim), *values.shape[1:])

        x_axes, classes, y = self._dataset.x.ndim + 1, len(self._dataset.classes), self._dataset.y
        weights = [objectives.class_weights(self._weighted, y[r.train], classes) for r in rows]
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
        pieces = -(-validation_rows // memory.evaluation_rows(self.template, self.width))
        self.piece = max(-(-validation_rows // pieces), memory.FEWEST_ROWS)
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


class Stack:
    """Seeds that train side by side: a program, and variables of its own."""

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        self.program = program
        self._variables = [tf.Variable(values) for values in program.first_values]
        pairs = zip(program.variables, self._variables, strict=True)
        own_handles = {id(traced.handle): own.handle for traced, own in pairs}

        def on_own(function: Any) -> Callable[..., Any]:
            """A traced function of the program, on this stack's variables instead of those it was traced with."""
            captured = [own_handles.get(id(handle), handle) for handle in function.captured_inputs]
            for handle, traced in zip(captured, function.captured_inputs, strict=True):
                if handle is traced and handle.dtype == tf.resource:
                    raise RuntimeError("a variable of this model is not known per seed, so seeds would share it")
            return lambda *arguments: function._call_flat([tf.convert_to_tensor(a) for a in arguments], captured)

        self._epoch, self._evaluation = on_own(program.epoch), on_own(program.evaluation)

    def load(self, models: Sequence[Any], rows: Sequence[Rows], learning_rate: float) -> None:
        """Start anew with a model and its rows in each place, the optimizer at its start."""
        stacked = [np.stack([np.asarray(v.value) for v in same]) for same in zip(*map(_own, models), strict=True)]
        per_seed = self.program.per_seed(rows)
        middle = self.program.first_values[len(stacked) : -len(per_seed)]
        for variable, values in zip(self._variables, [*stacked, *middle, *per_seed], strict=True):
            variable.assign(values)
        if self.program.rate is not None:
            self._variables[self.program.rate].assign(learning_rate)

    def train_epoch(self, order: np.ndarray, validation: np.ndarray) -> np.ndarray:
        """One pass over the row numbers `order` [width, training rows], a batch at a time, then over `validation`.

        [width, 2 * (1 + metrics)]: running means of loss and metrics, then the means over the validation rows.
        """
        filled, counts = self._filled(validation)
        sums = self._epoch(order, filled, counts)
        rows = order.shape[1], validation.shape[1]
        return np.concatenate([self._means(s, n) for s, n in zip(sums, rows, strict=True)], 1)

    def evaluate(self, numbers: np.ndarray) -> np.ndarray:
        """Means [width, 1 + metrics] over the row numbers [width, n], without training."""
        (filled, counts), size = self._filled(numbers), self.program.piece
        sums = np.zeros([self.program.width, self.program.objective.size], np.float32)
        for start in range(0, filled.shape[1], size):
            piece = slice(start, start + size)
            sums += np.asarray(self._evaluation(filled[:, piece], counts[piece]))
        return self._means(sums, numbers.shape[1])

    def values(self, variable: Any) -> np.ndarray:
        """What the stack holds now for a variable of the program's template: [width, *shape]."""
        for own, stacked in zip(_own(self.program.template), self._variables, strict=False):
            if own is variable:
                return np.array(stacked)
        raise KeyError(variable.path)

    def ends(self) -> list[np.ndarray]:
        """The weights and the state of all places, [width, *shape] each, in the order of `put_back`."""
        return [np.array(v) for v in self._variables[: len(_own(self.program.template))]]

    def _filled(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers filled up to whole pieces, and how often each counts: what fills counts 0."""
        count = numbers.shape[1]
        filled = np.pad(numbers, [(0, 0), (0, -count % self.program.piece)])
        return filled, np.float32(np.arange(filled.shape[1]) < count)

    def _means(self, sums: Any, rows: int) -> np.ndarray:
        return self.program.objective.means(np.asarray(sums), rows)


def put_back(model: Any, values: Sequence[np.ndarray]) -> None:
    """Give a model the weights and the state that its place in a stack has reached."""
    for own, value in zip(_own(model), values, strict=True):
        own.assign(value)


_last: list[Any] = []  # the dataset that was put on the device last, and its tensors


def _on_device(dataset: Dataset) -> Any:
    """Its x and y as tensors, the same ones for all programs."""
    import tensorflow as tf

    if not _last or _last[0] is not dataset:
        _last[:] = [dataset, (tf.constant(dataset.x), tf.constant(dataset.y))]
    return _last[1]


def _own(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables]
