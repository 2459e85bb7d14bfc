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
  compiled program and differ in the variables that it is called with (`Program.call`), so a core costs no compilation.
- Wider is faster for small models (40 dense seeds: 2.0 ms per run and epoch at 10 places, 1.6 at 20) and slower for
  others (10 LSTM seeds: 14 ms at 10 places, 10 at 5), hence `places`.
- Tried without gain: XLA's flags for vector width, copies and its scheduler; SGD shows that Adam is a third of a step.
- Recurrent layers do not compile under XLA (tensor lists). With their steps written out they do, in 8 s more, and train
  twice as fast (LSTM 16 over 8 steps), so short sequences are; long ones run without XLA.
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import config, vectorize
from pipeline.objectives import Objective, class_weights

log = logging.getLogger(__name__)

EVALUATION_ROWS = 512  # at most so many rows per seed in one step of an evaluation
PLACES = (20, 10, 5, 2)  # of one, TensorFlow makes no stack; the counts that people ask for fill these
NORMS = ("clipnorm", "global_clipnorm")
STACK_BYTES = 3 * 2**20  # what a step of a stack may touch before it is made narrower


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


def seed_bytes(model: Any, batch_size: int) -> int:
    """An estimate of what training a seed takes: weights, gradients, optimizer state; outputs and their gradients."""
    weights = sum(int(np.prod(v.shape)) for v in model.variables)
    outputs = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    for layer in recurrent(model):  # four gates before and after their activation, two states, at every step
        _, steps, *features = layer.get_build_config()["input_shape"]
        outputs += 16 * (steps or 1) * int(np.prod(getattr(layer.cell, "output_size", None) or features))
    return 4 * (4 * weights + 2 * batch_size * outputs)


def places(model: Any, batch_size: int) -> int:
    """How many seeds share a stack: it follows from the model and the batch alone, so it is the same everywhere."""
    fitting = [n for n in PLACES if n * seed_bytes(model, batch_size) <= STACK_BYTES]
    return max(fitting, default=PLACES[-1])


class Program:
    """An epoch and an evaluation of `width` seeds, traced once for all stacks and arms of one structure.

    x [n, ...] and y [n] are all rows of the dataset; `like` shows how many rows a seed trains on and validates with.
    """

    def __init__(
        self, template: Any, like: Rows, x: np.ndarray, y: np.ndarray, task: str, n_classes: int,
        optimizer: config.Optimizer, training: config.Training, width: int, xla: bool,
    ) -> None:  # fmt: skip
        import keras
        import tensorflow as tf

        vectorize.install()
        self.template, self.x, self.y, self.width, self.xla = template, x, y, width, xla
        self._task, self._n_classes, self._weighted = task, n_classes, training.class_weight
        self._clip = _norm_clipping(optimizer)
        self._by_seed = False
        self._data = tf.constant(x), tf.constant(y)
        self._weights = [
            keras.Variable(np.zeros([width, *v.shape]), dtype=v.dtype, name=v.name)
            for v in template.trainable_variables
        ]
        for variable, own in zip(self._weights, template.trainable_variables, strict=True):
            if own.constraint is not None:
                variable.constraint = lambda w, c=own.constraint: tf.vectorized_map(c, tf.convert_to_tensor(w))
        self._state = [tf.Variable(tf.zeros([width, *v.shape], v.dtype)) for v in template.non_trainable_variables]
        self._optimizer = _optimizer(optimizer)
        self._optimizer.build(self._weights)
        # Variables, since TensorFlow rewrites arithmetic with constants by their values, and so by who is in the stack.
        self._per_seed = [tf.Variable(values) for values in self.per_seed([like] * width)]
        self.variables = [v.value for v in self._weights] + self._state
        self.variables += [v.value for v in self._optimizer.variables] + self._per_seed
        self.first_values = [np.array(v) for v in self.variables]
        with _logits(template) as activation, _unrolled(template, xla):
            self.objective = Objective(training, task, activation, template.output_shape[-1])
            try:
                self._trace(len(like.train), len(like.validation), training.batch_size)
            except (ValueError, NotImplementedError) as error:
                log.info("These layers cannot be stacked, so each seed has its own copy: %s", str(error)[:300])
                self._by_seed = True
                self._trace(len(like.train), len(like.validation), training.batch_size)

    def per_seed(self, rows: Sequence[Rows]) -> list[np.ndarray]:
        """What standardises each seed's rows and weights its classes: each [width, 1, ..., *shape]."""

        def spread(name: str, axes: int) -> np.ndarray:
            values = np.stack([np.float32(getattr(r, name)) for r in rows])
            return values.reshape(self.width, *[1] * (axes - values.ndim), *values.shape[1:])

        axes = {"mean": self.x.ndim + 1, "scale": self.x.ndim + 1, "target_mean": 2, "target_scale": 2}
        return [spread(name, n) for name, n in axes.items()] + [
            np.stack([class_weights(self._weighted, self.y[r.train], self._n_classes) for r in rows])
        ]

    def call(self, function: Any, variables: Sequence[Any], *arguments: Any) -> Any:
        """Call a traced function of this program on other variables than those that it was traced with."""
        own = {id(mine.handle): theirs.handle for mine, theirs in zip(self.variables, variables, strict=True)}
        captured = [own.get(id(handle), handle) for handle in function.captured_inputs]
        return function._call_flat([_tensor(a) for a in arguments], captured)

    def _trace(self, training_rows: int, validation_rows: int, size: int) -> None:
        """Make `epoch` (a pass over the training rows, then one over the validation rows) and `evaluation`."""
        import tensorflow as tf

        def step_of(size: int) -> Any:
            return tf.function(self._step).get_concrete_function(self._numbers(size)) if size else None

        steps, last = training_rows // size, training_rows % size
        whole, rest = step_of(size if steps else 0), step_of(last)
        pieces = -(-validation_rows // EVALUATION_ROWS)
        self.piece = -(-validation_rows // pieces)
        evaluation = tf.function(lambda numbers, counts: self._forward(numbers, counts, False)[1])
        self.evaluation = evaluation.get_concrete_function(self._numbers(self.piece), tf.TensorSpec([self.piece]))
        nothing = tf.zeros([self.width, self.objective.size])

        def epoch(numbers: Any, validation: Any, counts: Any) -> Any:
            trained = validated = nothing
            if whole is not None:
                for i in tf.range(steps):
                    trained += whole(tf.slice(numbers, [0, i * size], [self.width, size]))
            if rest is not None:
                trained += rest(numbers[:, training_rows - last :])
            for i in tf.range(pieces):
                at = i * self.piece
                part = tf.slice(validation, [0, at], [self.width, self.piece])
                validated += self.evaluation(part, tf.slice(counts, [at], [self.piece]))
            return trained, validated

        self.epoch = tf.function(epoch, jit_compile=self.xla).get_concrete_function(
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
        y = (y - target_mean) / target_scale if self._task == "regression" else y

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

    def load(self, models: Sequence[Any], rows: Sequence[Rows]) -> None:
        """Start anew with a model and its rows in each place, the optimizer at its start."""
        stacked = [np.stack([np.asarray(v.value) for v in same]) for same in zip(*map(_own, models), strict=True)]
        per_seed = self.program.per_seed(rows)
        middle = self.program.first_values[len(stacked) : -len(per_seed)]
        for variable, values in zip(self._variables, [*stacked, *middle, *per_seed], strict=True):
            variable.assign(values)

    def train_epoch(self, order: np.ndarray, validation: np.ndarray) -> np.ndarray:
        """One pass over the row numbers `order` [width, training rows], a batch at a time, then over `validation`.

        [width, 2 * (1 + metrics)]: running means of loss and metrics, then the means over the validation rows.
        """
        filled, counts = self._filled(validation)
        sums = self.program.call(self.program.epoch, self._variables, order, filled, counts)
        rows = order.shape[1], validation.shape[1]
        return np.concatenate([self._means(s, n) for s, n in zip(sums, rows, strict=True)], 1)

    def evaluate(self, numbers: np.ndarray) -> np.ndarray:
        """Means [width, 1 + metrics] over the row numbers [width, n], without training."""
        (filled, counts), size = self._filled(numbers), self.program.piece
        sums = np.zeros([self.program.width, self.program.objective.size], np.float32)
        for start in range(0, filled.shape[1], size):
            piece = slice(start, start + size)
            arguments = filled[:, piece], counts[piece]
            sums += np.asarray(self.program.call(self.program.evaluation, self._variables, *arguments))
        return self._means(sums, numbers.shape[1])

    def values(self, variable: Any) -> np.ndarray:
        """What the stack holds now for a variable of the program's template: [width, *shape]."""
        for own, stacked in zip(_own(self.program.template), self._variables, strict=False):
            if own is variable:
                return np.array(stacked)
        raise KeyError(variable.path)

    def put_back(self, model: Any, place: int) -> None:
        """Give a model the weights and the state that its place has reached."""
        for own, stacked in zip(_own(model), self._variables, strict=False):
            own.assign(np.asarray(stacked)[place])

    def _filled(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers filled up to whole pieces, and how often each counts: what fills counts 0."""
        count = numbers.shape[1]
        filled = np.pad(numbers, [(0, 0), (0, -count % self.program.piece)])
        return filled, np.float32(np.arange(filled.shape[1]) < count)

    def _means(self, sums: Any, rows: int) -> np.ndarray:
        return self.program.objective.means(np.asarray(sums), rows)


def _own(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables]


def _tensor(values: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.convert_to_tensor(values)


def _optimizer(given: config.Optimizer) -> Any:
    import keras

    rate, arguments = given.learning_rate, {k: v for k, v in given.config.items() if k not in NORMS}
    if given.schedule is not None:
        schedule = getattr(keras.optimizers.schedules, given.schedule["class_name"])
        own = given.schedule.get("config") or {}
        rate = schedule(**({} if "values" in own else {"initial_learning_rate": rate}), **own)
    return getattr(keras.optimizers, given.class_name)(learning_rate=rate, **arguments)


def _norm_clipping(optimizer: config.Optimizer) -> Callable[[list[Any]], list[Any]]:
    """Clipping by a norm, seed by seed: Keras' own would take the norm over all seeds."""
    import tensorflow as tf

    norm, global_norm = (optimizer.config.get(name) for name in NORMS)
    if norm:
        return lambda gradients: tf.vectorized_map(lambda own: [tf.clip_by_norm(g, norm) for g in own], gradients)
    if global_norm:
        return lambda gradients: tf.vectorized_map(lambda own: tf.clip_by_global_norm(own, global_norm)[0], gradients)
    return lambda gradients: gradients


def recurrent(model: Any) -> list[Any]:
    """The recurrent layers of a model, also those within other layers."""
    return [layer for layer in model._flatten_layers() if any(c.__name__ == "RNN" for c in type(layer).__mro__)]


@contextlib.contextmanager
def _unrolled(model: Any, xla: bool) -> Iterator[None]:
    """Let recurrent layers write out their steps for a while, since XLA does not take the loop over them."""
    kept = {layer: layer.unroll for layer in recurrent(model)} if xla else {}
    for layer in kept:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, unroll in kept.items():
            layer.unroll = unroll


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
