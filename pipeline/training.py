"""All seeds of an arm in one program.

Each variable of the model gets a leading seed axis. `tf.vectorized_map` calls the Keras model once for all seeds, and
one Keras optimizer updates the stacked variables: Keras' optimizers work element by element, so it is one optimizer
per seed. An epoch is one `tf.function` that loops over the steps on the device; data lie there once and each seed
picks its own rows. The numbers are those of `model.fit`, seed by seed, on the same batches.

Four measured facts shape it (digits, Dense 64-32-10):
- The step is traced before the XLA program that loops over it. Traced within, its forward and backward passes become
  two functions that hand each other shapes; XLA then takes the inputs of the first for compile-time constants, and
  with them the weights: it compiled anew at every call, and a last smaller step started from the first weights.
- The last bits depend on how many seeds are stacked (dense nets agreed for 3 and 10, not for 20 and 40), and without
  XLA on a seed's place, but not on its neighbours. So every stack has `WIDTH` places, and a seed always has the same
  one: which seeds train together does not matter.
- Recurrent layers do not compile under XLA (tensor lists). They, and whatever else XLA refuses, run without it.
  Unrolled they do compile, in 20 s where tracing takes 4, and train no faster (LSTM 16 over 8 steps).
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import config, signatures, vectorize
from pipeline.config import ConfigError, closest
from pipeline.runtime import derive_seed

log = logging.getLogger(__name__)

WIDTH = 10  # seeds in one program
EVALUATION_ROWS = 256  # rows per seed in one step of an evaluation
ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")
# Norms over a whole variable would mix the seeds; the others need more than the step taken here.
NOT_STACKED = ("clipnorm", "global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")


@dataclass(frozen=True)
class Rows:
    """What one seed trains on: row numbers of each part, and `(x - mean) / scale` for inputs and targets."""

    seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    target_mean: float
    target_scale: float


@dataclass(frozen=True)
class Trained:
    """One seed's numbers. `history` and `trajectory` start with epoch 0, before training.

    history: metric -> [epochs + 1]; test: metric -> value; trajectory: variable's path -> [epochs + 1, *shape].
    """

    history: dict[str, np.ndarray]
    test: dict[str, float]
    trajectory: dict[str, np.ndarray]

    @property
    def diverged(self) -> bool:
        """Whether anything that was recorded is not finite."""
        arrays = [*self.history.values(), *self.trajectory.values(), np.array(list(self.test.values()))]
        return not all(np.isfinite(a).all() for a in arrays)


def check(optimizer: config.Optimizer) -> None:
    """Refuse an optimizer, or an argument of one, that cannot train stacked seeds."""
    name = optimizer.class_name
    if name not in ELEMENTWISE:
        raise ConfigError(f"optimizer.class_name: {name} given; {closest(name, list(ELEMENTWISE))}")
    known = [a for a in signatures.arguments("optimizers", name) if a not in (*NOT_STACKED, "name", "learning_rate")]
    for key, value in optimizer.config.items():
        if key in NOT_STACKED:
            raise ConfigError(
                f"optimizer.config.{key}: it cannot be used when seeds train together; allowed: clipvalue"
            )
        if key not in known:
            raise ConfigError(f"optimizer.config.{key}: {name} has no such argument; {closest(key, known)}")
        default = signatures.arguments("optimizers", name)[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(default, float) and not number:
            raise ConfigError(f"optimizer.config.{key}: {value} given; allowed: a number")


def metric_name(task: str) -> str:
    """The metric that goes with the loss: `accuracy`, or `mae` for a regression."""
    return "mae" if task == "regression" else "accuracy"


def batch_order(seed: int, epoch: int, train_rows: np.ndarray) -> np.ndarray:
    """The training rows in the order in which `seed` sees them in `epoch` (from 1)."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(train_rows)


def train(
    models: Sequence[Any],
    x: np.ndarray,
    y: np.ndarray,
    task: str,
    rows: Sequence[Rows],
    optimizer: config.Optimizer,
    training: config.Training,
    watch: Callable[[Any], dict[str, Any]],
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trained]:
    """Train one built Keras model per seed, all together; each model ends with its trained weights.

    models, rows: one per seed, all of one structure. x [n, ...], y [n]: all rows of the dataset. watch(model): the
    variables, by path, whose values are kept at every epoch. on_epoch(epochs done, epochs in all).
    """
    vectorize.install()
    xla = not any("RNN" in {c.__name__ for c in type(layer).__mro__} for layer in models[0]._flatten_layers())
    stacks = _stacks([r.seed for r in rows])
    trained: dict[int, Trained] = {}
    for number, places in enumerate(stacks):

        def tell(epoch: int, before: int = number * training.epochs) -> None:
            on_epoch(before + epoch, len(stacks) * training.epochs)

        chosen = [models[i] for i in places], x, y, task, [rows[i] for i in places], optimizer, training, watch
        try:
            results = _train_stack(*chosen, xla, tell)
        except _xla_errors() as error:
            if not xla:
                raise
            log.info("XLA cannot compile this model, which now trains without it: %s", str(error)[:300])
            xla = False
            results = _train_stack(*chosen, xla, tell)
        trained |= {i: results[rows[i].seed % WIDTH] for i in places}
    return [trained[i] for i in range(len(models))]


def _stacks(seeds: Sequence[int]) -> list[list[int]]:
    """Who trains with whom: for each stack, the position in `seeds` of whoever is in each of its `WIDTH` places.

    A seed's place is the seed modulo `WIDTH`; empty places repeat another seed of the stack.
    """
    stacks: list[dict[int, int]] = []
    for i, seed in enumerate(seeds):
        place = seed % WIDTH
        stack = next((s for s in stacks if place not in s), None)
        if stack is None:
            stack = {}
            stacks.append(stack)
        stack[place] = i
    return [[stack.get(place, next(iter(stack.values()))) for place in range(WIDTH)] for stack in stacks]


def _train_stack(
    models: Sequence[Any], x: np.ndarray, y: np.ndarray, task: str, rows: Sequence[Rows],
    optimizer_config: config.Optimizer, training: config.Training, watch: Callable[[Any], dict[str, Any]],
    xla: bool, on_epoch: Callable[[int], None],
) -> list[Trained]:  # fmt: skip
    """Train the models and rows of `WIDTH` places."""
    import keras
    import tensorflow as tf

    template = models[0]

    def stacked(get: Callable[[Any], Any]) -> np.ndarray:
        return np.stack([np.asarray(get(model)) for model in models])

    weights = [
        keras.Variable(stacked(lambda m, i=i: m.trainable_variables[i].value), name=v.name)
        for i, v in enumerate(template.trainable_variables)
    ]
    for variable, own in zip(weights, template.trainable_variables, strict=True):
        if own.constraint is not None:
            variable.constraint = lambda w, c=own.constraint: tf.vectorized_map(c, tf.convert_to_tensor(w))
    state = [
        tf.Variable(stacked(lambda m, i=i: m.non_trainable_variables[i].value))
        for i in range(len(template.non_trainable_variables))
    ]
    optimizer = getattr(keras.optimizers, optimizer_config.class_name)(
        learning_rate=optimizer_config.learning_rate, **optimizer_config.config
    )
    optimizer.build(weights)

    # Variables, since TensorFlow would rewrite arithmetic with constants by their values, and so by who is in the stack.
    def per_seed(name: str, axes: int) -> Any:
        values = np.stack([np.float32(getattr(r, name)) for r in rows])
        return tf.Variable(values.reshape(WIDTH, *[1] * (axes - values.ndim), *values.shape[1:]))

    inputs, targets = tf.constant(x), tf.constant(y)
    mean, scale = per_seed("mean", x.ndim + 1), per_seed("scale", x.ndim + 1)
    target_mean, target_scale = per_seed("target_mean", 2), per_seed("target_scale", 2)

    def batch(numbers: Any) -> tuple[Any, Any]:
        picked = tf.gather(targets, numbers)
        picked = (picked - target_mean) / target_scale if task == "regression" else picked
        return (tf.gather(inputs, numbers) - mean) / scale, picked

    def forward(numbers: Any, counts: Any, is_training: bool) -> tuple[Any, Any, Any]:
        """(loss per seed, sums over rows [seeds, 2] of loss and metric, new state); row i counts `counts[i]` times."""
        values, current = [v.value for v in weights], [tf.convert_to_tensor(v) for v in state]
        batch_x, batch_y = batch(numbers)

        def one_seed(args: Any) -> Any:
            own_weights, own_state, own_x = args
            outputs, new_state, losses = template.stateless_call(
                own_weights, own_state, own_x, training=is_training, return_losses=True
            )
            return outputs, new_state, tf.add_n([tf.cast(v, tf.float32) for v in losses] or [tf.constant(0.0)])

        outputs, new_state, penalty = tf.vectorized_map(one_seed, (values, current, batch_x))
        loss, metric = _loss_and_metric(task, batch_y, outputs, kind)
        rows_counted = tf.reduce_sum(counts)
        loss_sum = tf.reduce_sum(loss * counts, 1) + penalty * rows_counted
        sums = tf.stack([loss_sum, tf.reduce_sum(metric * counts, 1)], 1)
        return loss_sum / rows_counted, sums, new_state

    def step(numbers: Any) -> Any:
        with tf.GradientTape() as tape:
            mean_loss, sums, new_state = forward(numbers, tf.ones(numbers.shape[1]), True)
            loss = tf.reduce_sum(mean_loss)  # the seeds share nothing, so this gradient is each seed's own
        optimizer.apply(tape.gradient(loss, [v.value for v in weights], unconnected_gradients="zero"), weights)
        for variable, new in zip(state, new_state, strict=True):
            variable.assign(new)
        return sums

    def traced(body: Callable[..., Any], *specs: Any) -> Any:
        return tf.function(body).get_concrete_function(*specs)

    def epoch_program(count: int) -> Callable[[Any], Any]:
        """A pass over `count` rows, a batch at a time and the rest in a last smaller step; means [seeds, 2]."""
        size = training.batch_size
        whole, rest = (
            traced(step, tf.TensorSpec([WIDTH, n], tf.int32)) if n else None
            for n in (min(size, count // size * size), count % size)
        )

        @tf.function(jit_compile=xla)
        def program(numbers: Any) -> Any:
            sums = tf.zeros([WIDTH, 2])
            if whole is not None:
                for i in tf.range(count // size):
                    sums += whole(tf.slice(numbers, [0, i * size], [WIDTH, size]))
            if rest is not None:
                sums += rest(numbers[:, count - count % size :])
            return sums / count

        return program

    def evaluate(numbers: np.ndarray) -> np.ndarray:
        """Means [seeds, 2] of loss and metric without training; the last piece is filled with rows that count 0."""
        count = numbers.shape[1]
        filled = np.pad(numbers, [(0, 0), (0, -count % EVALUATION_ROWS)])
        counts = np.float32(np.arange(filled.shape[1]) < count)
        pieces = range(0, filled.shape[1], EVALUATION_ROWS)
        cut = [slice(i, i + EVALUATION_ROWS) for i in pieces]
        return sum(np.asarray(evaluation(tf.constant(filled[:, c]), tf.constant(counts[c]))) for c in cut) / count

    watched = _places(template, watch(template))
    record: dict[str, list[np.ndarray]] = {"train": [], "validation": []}
    snapshots: dict[str, list[np.ndarray]] = {path: [] for path in watched}

    def note(train_means: np.ndarray) -> None:
        record["train"].append(train_means)
        record["validation"].append(evaluate(validation))
        for path, (group, i) in watched.items():
            snapshots[path].append(np.array((weights if group == "trainable" else state)[i]))

    with _logits(template) as kind:
        training_rows, validation, test = (
            np.stack([getattr(r, part) for r in rows]) for part in ("train", "validation", "test")
        )
        evaluation = traced(
            lambda numbers, counts: forward(numbers, counts, False)[1],
            tf.TensorSpec([WIDTH, EVALUATION_ROWS], tf.int32), tf.TensorSpec([EVALUATION_ROWS]),
        )  # fmt: skip
        train_epoch = epoch_program(training_rows.shape[1])
        note(evaluate(training_rows))
        for epoch in range(1, training.epochs + 1):
            order = np.stack([batch_order(r.seed, epoch, r.train) for r in rows])
            note(np.asarray(train_epoch(tf.constant(order))))
            on_epoch(epoch)
        test_means = evaluate(test)

    for place, (model, r) in enumerate(zip(models, rows, strict=True)):
        if r.seed % WIDTH == place:  # else it only fills a gap here
            for variable, values in zip(model.trainable_variables, weights, strict=True):
                variable.assign(np.asarray(values.value)[place])
            for variable, values in zip(model.non_trainable_variables, state, strict=True):
                variable.assign(np.asarray(values)[place])

    metric = metric_name(task)
    curves = {part: np.stack(means) for part, means in record.items()}  # [epochs + 1, seeds, 2]
    return [
        Trained(
            history={
                "loss": curves["train"][:, i, 0],
                metric: curves["train"][:, i, 1],
                "val_loss": curves["validation"][:, i, 0],
                f"val_{metric}": curves["validation"][:, i, 1],
            },
            test={"test_loss": float(test_means[i, 0]), f"test_{metric}": float(test_means[i, 1])},
            trajectory={path: np.stack([s[i] for s in kept]) for path, kept in snapshots.items()},
        )
        for i in range(WIDTH)
    ]


def _loss_and_metric(task: str, y: Any, outputs: Any, activation: str) -> tuple[Any, Any]:
    """Loss and metric of every row, [seeds, rows]. Targets y [seeds, rows], outputs [seeds, rows, units]."""
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


def _places(model: Any, variables: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """Where each variable is: (trainable | other, position)."""
    where = {id(v): ("trainable", i) for i, v in enumerate(model.trainable_variables)}
    where |= {id(v): ("other", i) for i, v in enumerate(model.non_trainable_variables)}
    return {path: where[id(variable)] for path, variable in variables.items()}


def _xla_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)
