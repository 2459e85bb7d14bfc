"""Train all seeds of an arm together: which seeds share a stack, in what order rows come, what is kept of it.

How a stack computes is in `stack.py`.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from pipeline.config.schema import Optimizer, Training
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.errors import ConfigError
from pipeline.runtime.device import free_memory, n_cores
from pipeline.runtime.hashing import derive_seed
from pipeline.training.cache import PARTS, cached_program
from pipeline.training.memory import stack_bytes, stack_width
from pipeline.training.program import Program
from pipeline.training.stack import Stack, put_back

log = logging.getLogger(__name__)


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


def batch_order(seed: int, epoch: int, train_rows: np.ndarray) -> np.ndarray:
    """The training rows in the order in which `seed` sees them in `epoch` (from 1)."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(train_rows)


def train_seeds(
    models: Sequence[Any],
    rows: Sequence[Split],
    dataset: Dataset,
    optimizer: Optimizer,
    training: Training,
    watch: Callable[[Any], dict[str, Any]],
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trained]:
    """Train one built Keras model per seed, all together; each model ends with its trained weights.

    models, rows: one per seed, all of one structure. watch(model): the variables, by path, whose values are kept at
    every epoch. on_epoch(epochs done, epochs in all), over all stacks.
    """
    training = fit_batch_size(training, rows[0])
    at_once = stacks_at_once(models[0], training)

    def attempt(program: Program) -> list[Trained]:
        stacks = _stacks(rows, program.width)
        free: SimpleQueue[Stack] = SimpleQueue()
        for _ in range(min(at_once, len(stacks))):
            free.put(Stack(program))
        done, stop = itertools.count(1), threading.Event()

        def tell() -> None:
            on_epoch(next(done), len(stacks) * training.epochs)
            if stop.is_set():
                raise InterruptedError("another stack has ended the training")

        def run(own: dict[int, int]) -> dict[int, tuple[Trained, list[np.ndarray]]]:
            anyone = next(iter(own.values()))  # fills the places that are left
            members = [own.get(place, anyone) for place in range(program.width)]
            stack = free.get()
            try:
                stack.load([models[i] for i in members], [rows[i] for i in members], optimizer.learning_rate)
                trained = _run(stack, [rows[i] for i in members], training.epochs, watch, tell)
                ends = stack.ends()
            finally:
                free.put(stack)
            return {i: (trained[place], [values[place] for values in ends]) for place, i in own.items()}

        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(run, own) for own in stacks]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                ended = {i: one for future in futures for i, one in future.result().items()}
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        for i, (_, values) in ended.items():  # only now: a second attempt must start where the first one did
            put_back(models[i], values)
        return [ended[i][0] for i in range(len(models))]

    program = cached_program(models[0], rows[0], dataset, optimizer, training)
    try:
        return attempt(program)
    except _xla_errors() as error:
        if not program.xla or training.xla is True:
            raise
        log.info("XLA cannot compile this model, which now trains without it: %s", str(error)[:300])
    return attempt(cached_program(models[0], rows[0], dataset, optimizer, training, refused=True))


def fit_batch_size(training: Training, rows: Split) -> Training:
    """The same, with batches that are no larger than the training rows: what memory and places are counted with."""
    return replace(training, batch_size=min(training.batch_size, len(rows.train)))


def stacks_at_once(model: Any, training: Training) -> int:
    """How many stacks train side by side: one on a GPU, else one per core, as memory and `seeds_at_once` allow.

    Raises ConfigError when the machine's memory does not hold one; a GPU's memory TensorFlow does not tell beforehand.
    """
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return 1
    width = stack_width(model, training.batch_size)
    needed, free = stack_bytes(model, width, training.batch_size), free_memory()
    if needed > free:
        raise ConfigError(
            f"training.batch_size, model: {width} seeds of this model, which train together, at a batch size of "
            f"{training.batch_size} need about {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; lower one"
        )
    wanted = n_cores() if training.seeds_at_once == "auto" else max(1, training.seeds_at_once // width)
    return int(min(wanted, free // needed))


def _stacks(rows: Sequence[Split], width: int) -> list[dict[int, int]]:
    """Who trains with whom: for each stack, which position in `rows` has which place. A seed's is seed % width."""
    stacks: list[dict[int, int]] = []
    for i, r in enumerate(rows):
        place = r.seed % width
        stack = next((s for s in stacks if place not in s), None)
        if stack is None:
            stack = {}
            stacks.append(stack)
        stack[place] = i
    return stacks


def _run(
    stack: Stack, rows: Sequence[Split], epochs: int, watch: Callable[[Any], dict[str, Any]], tell: Callable[[], None]
) -> list[Trained]:
    """Train a stack and keep the record of each of its places."""
    training_rows, validation, test = (np.stack([getattr(r, part) for r in rows]) for part in PARTS)
    watched = watch(stack.program.template)
    curves = [np.concatenate([stack.evaluate(training_rows), stack.evaluate(validation)], 1)]
    snapshots = [{path: stack.values(variable) for path, variable in watched.items()}]
    for epoch in range(1, epochs + 1):
        curves.append(stack.train_epoch(np.stack([batch_order(r.seed, epoch, r.train) for r in rows]), validation))
        snapshots.append({path: stack.values(variable) for path, variable in watched.items()})
        tell()
    test_means = stack.evaluate(test)

    names = ("loss", *stack.program.objective.names)
    columns = [*names, *(f"val_{name}" for name in names)]
    return [
        Trained(
            history={name: np.array([means[place, column] for means in curves]) for column, name in enumerate(columns)},
            test={f"test_{name}": float(test_means[place, column]) for column, name in enumerate(names)},
            trajectory={path: np.stack([kept[path][place] for kept in snapshots]) for path in watched},
        )
        for place in range(len(rows))
    ]


def _xla_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)
