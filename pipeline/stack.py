"""Many models of one structure as one TensorFlow program.

Each variable gets a leading seed axis. `tf.vectorized_map` calls the Keras model once for all seeds, and one Keras
optimizer updates the stacked variables: Keras' optimizers work element by element, so it is one optimizer per seed. An
epoch is one `tf.function` that loops over the steps on the device; the data lie there once, and each seed picks its
own rows. The numbers are those of `model.fit`, seed by seed, on the same batches.

What was measured, and shapes it (digits, Dense 64-32-10):
- The step is traced before the XLA program that loops over it. Traced within, its forward and backward passes become
  two functions that hand each other shapes; XLA then takes the inputs of the first for compile-time constants, and
  with them the weights: it compiled anew at every call, and a last smaller step started from the first weights.
- The last bits depend on how many seeds are stacked (dense nets agreed for 3 and 10, not for 20 and 40), and without
  XLA on a seed's place, but not on its neighbours. So every stack has `WIDTH` places, and a seed always has the same
  one: which seeds train together does not matter.
- Recurrent layers do not compile under XLA (tensor lists), so they run without it. Unrolled they do compile, in 20 s
  where tracing takes 4, and train no faster (LSTM 16 over 8 steps).
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import config, vectorize

WIDTH = 10  # places for seeds in one program
EVALUATION_ROWS = 256  # rows per seed in one step of an evaluation


@dataclass(frozen=True)
class Rows:
    """What one seed trains on: row numbers (int32) of each part, and `(x - mean) / scale` for inputs and targets."""

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float = 0.0
    target_scale: float = 1.0

    @property
    def place(self) -> int:
        """The seed's place in any stack."""
        return self.seed % WIDTH


class Stack:
    """The models and rows of `WIDTH` places, where a model that is not in its own place only fills a gap.

    x [n, ...] and y [n] are all rows of the dataset. Means that the methods return are [WIDTH, 2]: loss and metric.
    """

    def __init__(
        self, models: Sequence[Any], rows: Sequence[Rows], x: np.ndarray, y: np.ndarray, task: str,
        optimizer: config.Optimizer, batch_size: int, xla: bool,
    ) -> None:  # fmt: skip
        import keras
        import tensorflow as tf

        vectorize.install()
        self.models, self.rows, self.task, self.batch_size, self.xla = models, rows, task, batch_size, xla
        self.template = models[0]
        self.weights = [
            keras.Variable(values, name=own.name)
            for own, values in zip(self.template.trainable_variables, _stacked(models, "trainable"), strict=True)
        ]
        for variable, own in zip(self.weights, self.template.trainable_variables, strict=True):
            if own.constraint is not None:
                variable.constraint = lambda w, c=own.constraint: tf.vectorized_map(c, tf.convert_to_tensor(w))
        self.state = [tf.Variable(values) for values in _stacked(models, "non_trainable")]
        rate = optimizer.learning_rate
        self.optimizer = getattr(keras.optimizers, optimizer.class_name)(learning_rate=rate, **optimizer.config)
        self.optimizer.build(self.weights)
        self.x, self.y = tf.constant(x), tf.constant(y)
        # Variables, since TensorFlow rewrites arithmetic with constants by their values, and so by who is in the stack.
        self.mean, self.scale = (tf.Variable(_per_seed(rows, name, x.ndim + 1)) for name in ("mean", "scale"))
        self.target_mean, self.target_scale = (
            tf.Variable(_per_seed(rows, name, 2)) for name in ("target_mean", "target_scale")
        )
        with _logits(self.template) as self.activation:
            self._trace(len(rows[0].train))

    def train_epoch(self, order: np.ndarray) -> np.ndarray:
        """One pass over the row numbers `order` [WIDTH, training rows], a batch at a time; running means."""
        return np.asarray(self._epoch(order))

    def evaluate(self, numbers: np.ndarray) -> np.ndarray:
        """Means over the row numbers [WIDTH, n], without training. The last piece is filled up; what fills counts 0."""
        count = numbers.shape[1]
        filled = np.pad(numbers, [(0, 0), (0, -count % EVALUATION_ROWS)])
        counts = np.float32(np.arange(filled.shape[1]) < count)
        sums = np.zeros([WIDTH, 2], np.float32)
        for start in range(0, filled.shape[1], EVALUATION_ROWS):
            piece = slice(start, start + EVALUATION_ROWS)
            sums += np.asarray(self._evaluation(filled[:, piece], counts[piece]))
        return sums / np.float32(count)

    def values(self, variable: Any) -> np.ndarray:
        """What the stack holds now for a variable of the first model: [WIDTH, *shape]."""
        for own, stacked in self._pairs(self.template):
            if own is variable:
                return np.array(stacked)
        raise KeyError(variable.path)

    def put_back(self) -> None:
        """Give each model that is in its own place the weights and the state it has reached."""
        for place, (model, rows) in enumerate(zip(self.models, self.rows, strict=True)):
            if rows.place == place:
                for own, stacked in self._pairs(model):
                    own.assign(np.asarray(stacked)[place])

    def _pairs(self, model: Any) -> Iterator[tuple[Any, Any]]:
        yield from zip(model.trainable_variables, [w.value for w in self.weights], strict=True)
        yield from zip(model.non_trainable_variables, self.state, strict=True)

    def _trace(self, count: int) -> None:
        """Make the programs: an epoch of `count` rows, and a piece of an evaluation."""
        import tensorflow as tf

        def step_of(size: int) -> Any:
            spec = tf.TensorSpec([WIDTH, size], tf.int32)
            return tf.function(self._step).get_concrete_function(spec) if size else None

        size = self.batch_size
        steps, last = count // size, count % size
        whole, rest = step_of(size if steps else 0), step_of(last)

        @tf.function(jit_compile=self.xla)
        def epoch(numbers: Any) -> Any:
            sums = tf.zeros([WIDTH, 2])
            if whole is not None:
                for i in tf.range(steps):
                    sums += whole(tf.slice(numbers, [0, i * size], [WIDTH, size]))
            if rest is not None:
                sums += rest(numbers[:, count - last :])
            return sums / count

        self._epoch = epoch
        self._evaluation = tf.function(lambda numbers, counts: self._forward(numbers, counts, False)[1])
        self._evaluation = self._evaluation.get_concrete_function(
            tf.TensorSpec([WIDTH, EVALUATION_ROWS], tf.int32), tf.TensorSpec([EVALUATION_ROWS])
        )

    def _step(self, numbers: Any) -> Any:
        """One batch: forward, backward, update. Sums [WIDTH, 2] of loss and metric over its rows."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            losses, sums, new_state = self._forward(numbers, tf.ones(numbers.shape[1]), True)
            loss = tf.reduce_sum(losses)  # the seeds share nothing, so this gradient is each seed's own
        gradients = tape.gradient(loss, [w.value for w in self.weights], unconnected_gradients="zero")
        self.optimizer.apply(gradients, self.weights)
        for variable, new in zip(self.state, new_state, strict=True):
            variable.assign(new)
        return sums

    def _forward(self, numbers: Any, counts: Any, training: bool) -> tuple[Any, Any, list[Any]]:
        """(loss per seed, sums [WIDTH, 2] of loss and metric over rows, new state); row i counts `counts[i]` times."""
        import tensorflow as tf

        x = (tf.gather(self.x, numbers) - self.mean) / self.scale
        y = tf.gather(self.y, numbers)
        y = (y - self.target_mean) / self.target_scale if self.task == "regression" else y

        def one_seed(own: Any) -> Any:
            outputs, new_state, losses = self.template.stateless_call(*own, training=training, return_losses=True)
            return outputs, new_state, tf.add_n([tf.cast(v, tf.float32) for v in losses] or [tf.constant(0.0)])

        stacked = [w.value for w in self.weights], [tf.convert_to_tensor(v) for v in self.state], x
        outputs, new_state, penalty = tf.vectorized_map(one_seed, stacked)
        loss, metric = loss_and_metric(self.task, y, outputs, self.activation)
        rows = tf.reduce_sum(counts)
        sums = tf.stack([tf.reduce_sum(loss * counts, 1) + penalty * rows, tf.reduce_sum(metric * counts, 1)], 1)
        return sums[:, 0] / rows, sums, new_state


def loss_and_metric(task: str, y: Any, outputs: Any, activation: str) -> tuple[Any, Any]:
    """Loss and metric of every row, [seeds, rows]: cross-entropy and hit, or squared and absolute error.

    y [seeds, rows]; outputs [seeds, rows, units], taken before `activation` where it is softmax or sigmoid.
    """
    import keras
    import tensorflow as tf

    if task == "regression":
        error = outputs[..., 0] - y
        return tf.square(error), tf.abs(error)
    if outputs.shape[-1] == 1:
        logits, targets = activation == "sigmoid", tf.cast(y, outputs.dtype)[..., None]
        loss = keras.losses.binary_crossentropy(targets, outputs, from_logits=logits)
        hit = (outputs[..., 0] > (0.0 if logits else 0.5)) == (y == 1)
    else:
        loss = keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=activation == "softmax")
        hit = tf.argmax(outputs, -1, output_type=tf.int32) == tf.cast(y, tf.int32)
    return loss, tf.cast(hit, tf.float32)


def _stacked(models: Sequence[Any], kind: str) -> list[np.ndarray]:
    own = [getattr(model, f"{kind}_variables") for model in models]
    return [np.stack([np.asarray(v.value) for v in same]) for same in zip(*own, strict=True)]


def _per_seed(rows: Sequence[Rows], name: str, axes: int) -> np.ndarray:
    """A field of all rows, [WIDTH, 1, ..., *shape] with `axes` axes, so that it broadcasts over a batch."""
    values = np.stack([np.float32(getattr(r, name)) for r in rows])
    return values.reshape(WIDTH, *[1] * (axes - values.ndim), *values.shape[1:])


@contextlib.contextmanager
def _logits(model: Any) -> Iterator[str]:
    """Take the softmax or sigmoid off the model's last layer for a while; its name, or `none`."""
    import keras

    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", "none")
    if name not in ("softmax", "sigmoid"):
        yield "none"
        return
    last.activation = keras.activations.linear
    try:
        yield name
    finally:
        last.activation = activation
