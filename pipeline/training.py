"""Train all seeds of an arm together: which seeds share a stack, in what order rows come, what is kept of it.

How a stack computes is in `stack.py`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import config, signatures
from pipeline.config import ConfigError, closest
from pipeline.runtime import derive_seed
from pipeline.stack import WIDTH, Rows, Stack

log = logging.getLogger(__name__)

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")
# Norms over a whole variable would mix the seeds; the others need more than the step taken here.
NOT_STACKED = ("clipnorm", "global_clipnorm", "use_ema", "loss_scale_factor", "gradient_accumulation_steps")


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
    rows: Sequence[Rows],
    x: np.ndarray,
    y: np.ndarray,
    task: str,
    optimizer: config.Optimizer,
    training: config.Training,
    watch: Callable[[Any], dict[str, Any]],
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trained]:
    """Train one built Keras model per seed, all together; each model ends with its trained weights.

    models, rows: one per seed, all of one structure. x [n, ...], y [n]: all rows of the dataset. watch(model): the
    variables, by path, whose values are kept at every epoch. on_epoch(epochs done, epochs in all).
    """
    recurrent = any("RNN" in {c.__name__ for c in type(layer).__mro__} for layer in models[0]._flatten_layers())
    xla, stacks = not recurrent, _stacks(rows)
    trained: dict[int, Trained] = {}
    for number, members in enumerate(stacks):

        def tell(epoch: int, before: int = number * training.epochs) -> None:
            on_epoch(before + epoch, len(stacks) * training.epochs)

        def attempt(xla: bool, members: list[int] = members, tell: Callable[[int], None] = tell) -> list[Trained]:
            own_models, own_rows = [models[i] for i in members], [rows[i] for i in members]
            stack = Stack(own_models, own_rows, x, y, task, optimizer, training.batch_size, xla)
            return _run(stack, training.epochs, watch, tell)

        try:
            results = attempt(xla)
        except _xla_errors() as error:
            if not xla:
                raise
            log.info("XLA cannot compile this model, which now trains without it: %s", str(error)[:300])
            xla = False
            results = attempt(xla)
        trained |= {i: results[rows[i].place] for i in members}
    return [trained[i] for i in range(len(models))]


def _stacks(rows: Sequence[Rows]) -> list[list[int]]:
    """Who trains with whom: for each stack, the position in `rows` of whoever is in each of its `WIDTH` places.

    Everyone is in its own place; empty places repeat another member of the stack.
    """
    stacks: list[dict[int, int]] = []
    for i, r in enumerate(rows):
        stack = next((s for s in stacks if r.place not in s), None)
        if stack is None:
            stack = {}
            stacks.append(stack)
        stack[r.place] = i
    return [[stack.get(place, next(iter(stack.values()))) for place in range(WIDTH)] for stack in stacks]


def _run(
    stack: Stack, epochs: int, watch: Callable[[Any], dict[str, Any]], on_epoch: Callable[[int], None]
) -> list[Trained]:
    """Train a stack and keep the record of each of its places."""
    training_rows, validation, test = (
        np.stack([getattr(r, part) for r in stack.rows]) for part in ("train", "validation", "test")
    )
    watched = watch(stack.template)
    curves = [np.concatenate([stack.evaluate(training_rows), stack.evaluate(validation)], 1)]
    snapshots = [{path: stack.values(variable) for path, variable in watched.items()}]
    for epoch in range(1, epochs + 1):
        order = np.stack([batch_order(r.seed, epoch, r.train) for r in stack.rows])
        curves.append(np.concatenate([stack.train_epoch(order), stack.evaluate(validation)], 1))
        snapshots.append({path: stack.values(variable) for path, variable in watched.items()})
        on_epoch(epoch)
    test_means = stack.evaluate(test)
    stack.put_back()

    metric = metric_name(stack.task)
    names = ("loss", metric, "val_loss", f"val_{metric}")
    return [
        Trained(
            history={name: np.array([means[place, column] for means in curves]) for column, name in enumerate(names)},
            test={"test_loss": float(test_means[place, 0]), f"test_{metric}": float(test_means[place, 1])},
            trajectory={path: np.stack([kept[path][place] for kept in snapshots]) for path in watched},
        )
        for place in range(WIDTH)
    ]


def _xla_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)
