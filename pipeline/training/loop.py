"""Train all seeds of an arm together.

Seeds are assigned to stacks, stacks train side by side in threads, and what they record is handed over per seed as soon
as its stack has ended. How a stack computes is in `stack.py`.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from pipeline.config.metrics import RUN_LENGTHS
from pipeline.config.schema import Optimizer, Training
from pipeline.config.stopping import monitored_name
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.runtime.hashing import derive_seed
from pipeline.runtime.logs import tell_once
from pipeline.runtime.signals import hold_signals
from pipeline.training.cache import PARTS, cached_program
from pipeline.training.memory import stacks_at_once
from pipeline.training.program import Program
from pipeline.training.stack import Stack, assign_values
from pipeline.training.stopping import EarlyStopping

log = logging.getLogger(__name__)

Watch = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """What the training of one seed recorded. `history` and `trajectory` start with epoch 0, before training.

    history: metric -> [epochs + 1]; test: metric -> value; trajectory: variable's path -> [epochs + 1, *shape].
    best_epoch: where it may stop early, the epoch whose weights it ends with, and whose are tested; else None. seconds:
    its share of the time that its stack took, compilation included.
    """

    history: dict[str, np.ndarray]
    test: dict[str, float]
    trajectory: dict[str, np.ndarray]
    best_epoch: int | None = None
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """The epochs that it trained."""
        return len(self.history["loss"]) - 1

    @property
    def final(self) -> dict[str, float]:
        """What the trained model reached: the metrics of the epoch whose weights it has, and those of the test rows."""
        kept = -1 if self.best_epoch is None else self.best_epoch
        final = {name: float(values[kept]) for name, values in self.history.items()} | self.test
        if self.best_epoch is None:
            return final
        return final | dict(zip(RUN_LENGTHS, (self.epochs, self.best_epoch), strict=True))

    @property
    def diverged(self) -> bool:
        """Whether any recorded value is infinite or not a number."""
        arrays = [*self.history.values(), *self.trajectory.values(), np.array(list(self.test.values()))]
        return not all(np.isfinite(a).all() for a in arrays)


def train_seeds(
    models: Sequence[Any],
    splits: Sequence[Split],
    dataset: Dataset,
    optimizer: Optimizer,
    training: Training,
    watch: Watch,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
    on_trained: Callable[[int, Trained], None] = lambda i, trained: None,
) -> list[Trained]:
    """Train one built Keras model per seed, all together; each model ends with its trained weights.

    models, splits: one per seed, all of one structure. watch(model): path -> variable, the variables whose values are
    recorded at every epoch. on_epoch(done, total): called after each epoch of each stack, in the stack's thread.
    on_trained(i, trained): called for seed i when its stack has ended and `models[i]` has its trained weights, in the
    caller's thread, while other stacks train; after an error or Ctrl-C, still for every stack that had ended.
    A model that XLA cannot compile is trained without it, unless `training.xla` is true.
    Raises ConfigError when the free memory does not hold one stack.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}  # a program is made for one number of rows, as groups may differ in
    for i, split in enumerate(splits):
        by_size.setdefault(tuple(len(getattr(split, part)) for part in PARTS), []).append(i)
    results: dict[int, Trained] = {}

    def finish(i: int, trained: Trained) -> None:
        results[i] = trained
        on_trained(i, trained)

    for n_done, chosen in enumerate(by_size.values()):
        _train_same_size(
            [models[i] for i in chosen], [splits[i] for i in chosen], dataset, optimizer, training, watch,
            lambda done, total, n_done=n_done: on_epoch(n_done * total + done, len(by_size) * total),
            lambda i, trained, chosen=chosen: finish(chosen[i], trained),
        )  # fmt: skip
    return [results[i] for i in range(len(models))]


def _train_same_size(
    models: Sequence[Any], splits: Sequence[Split], dataset: Dataset, optimizer: Optimizer, training: Training,
    watch: Watch, on_epoch: Callable[[int, int], None], on_trained: Callable[[int, Trained], None],
) -> None:  # fmt: skip
    """Train models whose splits have the same numbers of rows, see `train_seeds`."""
    training = fit_batch_size(training, splits[0])
    n_parallel = stacks_at_once(models[0], training)
    any_ended = False

    def finish(i: int, trained: Trained, values: Sequence[np.ndarray]) -> None:
        nonlocal any_ended
        any_ended = True
        assign_values(models[i], values)
        on_trained(i, trained)

    def attempt(program: Program) -> None:
        _train_stacks(program, n_parallel, models, splits, optimizer, training, watch, on_epoch, finish)

    program = cached_program(models[0], splits[0], dataset, optimizer, training)
    try:
        attempt(program)
    except _xla_errors():
        # XLA compiles in the first epoch of the first stack. Once a stack has ended, the error is of another kind, and
        # models have changed that a second attempt would have to start from.
        if not program.xla or training.xla is True or any_ended:
            raise
        log.info("XLA cannot compile this model", exc_info=True)
        tell_once("training without XLA, which cannot compile this model; the job's log says why")
        attempt(cached_program(models[0], splits[0], dataset, optimizer, training, without_xla=True))


def fit_batch_size(training: Training, split: Split) -> Training:
    """The settings with a batch size no larger than the training rows, as memory and stack width are counted with."""
    rows = len(split.train)
    if training.batch_size > rows:
        tell_once(f"training.batch_size: {training.batch_size} given, but {rows} rows train, so an epoch is one step")
    return replace(training, batch_size=min(training.batch_size, rows))


def batch_order(seed: int, epoch: int, train_rows: np.ndarray) -> np.ndarray:
    """The training rows in the order in which `seed` sees them in `epoch` (from 1)."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(train_rows)


def _train_stacks(
    program: Program, n_parallel: int, models: Sequence[Any], splits: Sequence[Split], optimizer: Optimizer,
    training: Training, watch: Watch, on_epoch: Callable[[int, int], None], finish: Callable[..., None],
) -> None:  # fmt: skip
    """Train every stack, `n_parallel` at a time, and hand over its seeds when it has ended: finish(i, trained, values).

    When one stack fails, the others stop after their current epoch. At Ctrl-C that is not waited for: an epoch, or the
    compilation before it, can take minutes.
    """
    assignments = _assign_slots(splits, program.width)
    free_stacks: SimpleQueue[Stack] = SimpleQueue()
    for _ in range(min(n_parallel, len(assignments))):
        free_stacks.put(Stack(program))
    done, counting, stop = 0, threading.Lock(), threading.Event()
    loading = threading.Lock()  # two threads in thousands of small calls of Python take four times as long together

    def after_epochs(n: int) -> None:
        nonlocal done
        with counting:
            done += n
            on_epoch(done, len(assignments) * training.epochs)
        if stop.is_set():
            raise InterruptedError("another stack has ended the training")

    def train(slots: dict[int, int]) -> dict[int, tuple[Trained, list[np.ndarray]]]:
        filler = next(iter(slots.values()))  # trains in the free slots too
        seeds = [slots.get(slot, filler) for slot in range(program.width)]
        stack = free_stacks.get()
        begun = time.monotonic()
        try:
            with loading:
                stack.load([models[i] for i in seeds], [splits[i] for i in seeds], optimizer.learning_rate)
            trained = _train_stack(stack, [splits[i] for i in seeds], training, watch, after_epochs)
            values = stack.all_values()
        finally:
            free_stacks.put(stack)
        share = (time.monotonic() - begun) / len(slots)
        return {i: (replace(trained[slot], seconds=share), [v[slot] for v in values]) for slot, i in slots.items()}

    pool = ThreadPoolExecutor(n_parallel)
    futures = [pool.submit(train, slots) for slots in assignments]
    to_hand_over = set(futures)

    def hand_over(future: Future[dict[int, tuple[Trained, list[np.ndarray]]]]) -> None:
        to_hand_over.discard(future)
        with hold_signals():  # Ctrl-C must not cost a stack that has ended
            for i, result in future.result().items():
                finish(i, *result)

    try:
        for future in as_completed(futures):
            hand_over(future)
    except BaseException as error:
        stop.set()
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        for future in [f for f in futures if f in to_hand_over and f.done() and not f.cancelled()]:
            if future.exception() is None:
                hand_over(future)
        raise
    pool.shutdown()


def _assign_slots(splits: Sequence[Split], width: int) -> list[dict[int, int]]:
    """Assign seeds to stacks: one dict per stack, slot -> index into `splits`. A seed always gets slot seed % width."""
    assignments: list[dict[int, int]] = []
    for i, split in enumerate(splits):
        slot = split.seed % width
        stack = next((slots for slots in assignments if slot not in slots), None)
        if stack is None:
            stack = {}
            assignments.append(stack)
        stack[slot] = i
    return assignments


def _train_stack(
    stack: Stack, splits: Sequence[Split], training: Training, watch: Watch, after_epochs: Callable[[int], None]
) -> list[Trained]:
    """Train a loaded stack; returns what each slot recorded. Under early stopping, slots end with their best weights.

    after_epochs(n): called after each epoch with 1; at the end with the number of those that were not needed.
    """
    train, validation, test = (np.stack([getattr(split, part) for split in splits]) for part in PARTS)
    watched = watch(stack.program.template)
    names = ("loss", *stack.program.objective.names)
    columns = [*names, *(f"val_{name}" for name in names)]
    stopping = EarlyStopping(training.stop, len(splits)) if training.stop else None
    monitored = columns.index(monitored_name(training.stop)) if training.stop else 0
    curves = [np.concatenate([stack.evaluate(train), stack.evaluate(validation)], 1)]
    snapshots = [{path: stack.values(variable) for path, variable in watched.items()}]
    for epoch in range(1, training.epochs + 1):
        order = np.stack([batch_order(split.seed, epoch, split.train) for split in splits])
        curves.append(stack.train_epoch(order, validation))
        snapshots.append({path: stack.values(variable) for path, variable in watched.items()})
        after_epochs(1)
        if stopping and stopping.update(epoch, curves[-1][:, monitored], stack.all_values):
            after_epochs(training.epochs - epoch)
            break
    if stopping:
        stack.assign_all(stopping.best_weights(stack.all_values))
    test_means = stack.evaluate(test)
    recorded = [len(curves) if stopping is None else stopping.last_epoch[slot] + 1 for slot in range(len(splits))]
    return [
        Trained(
            history={name: np.array([means[slot, column] for means in curves[:n]])
                     for column, name in enumerate(columns)},
            test={f"test_{name}": float(test_means[slot, column]) for column, name in enumerate(names)},
            trajectory={path: np.stack([values[path][slot] for values in snapshots[:n]]) for path in watched},
            best_epoch=None if stopping is None else int(stopping.best_epoch[slot]),
        )
        for slot, n in enumerate(recorded)
    ]  # fmt: skip


def _xla_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)
