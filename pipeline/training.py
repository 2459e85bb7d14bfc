"""Train all seeds of an arm together: which seeds share a stack, in what order rows come, what is kept of it.

How a stack computes is in `stack.py`.
"""

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np

from pipeline import config, signatures
from pipeline.config import ConfigError, closest
from pipeline.runtime import derive_seed, digest, free_memory, n_cores
from pipeline.stack import Program, Rows, Stack, places, recurrent, seed_bytes

log = logging.getLogger(__name__)

ELEMENTWISE = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion")
# These need more than the step that is taken here, or what `fit` does at its end.
NOT_STACKED = ("use_ema", "ema_momentum", "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps")
SCHEDULES = ("CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay",
             "PiecewiseConstantDecay")  # fmt: skip
PARTS = ("train", "validation", "test")
MOST_STEPS = 8  # of recurrent layers that XLA gets to see written out
PROGRAMS = 4  # kept for further arms


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
    """Refuse an optimizer, an argument of one, or a schedule that cannot train stacked seeds."""
    name = optimizer.class_name
    if name not in ELEMENTWISE:
        whole = name in signatures.names("optimizers")
        why = "which looks at more than single weights" if whole else "which is no Keras optimizer"
        near = f"allowed: {', '.join(ELEMENTWISE)}" if whole else closest(name, list(ELEMENTWISE))
        raise ConfigError(f"optimizer.class_name: {name} given, {why}; {near}")
    arguments = signatures.arguments("optimizers", name)
    known = [a for a in arguments if a not in (*NOT_STACKED, "name", "learning_rate")]
    for key, value in optimizer.config.items():
        if key in NOT_STACKED:
            raise ConfigError(
                f"optimizer.config.{key}: it cannot be used when seeds train together; "
                "allowed: clipvalue, clipnorm, global_clipnorm"
            )
        if key not in known:
            raise ConfigError(f"optimizer.config.{key}: {name} has no such argument; {closest(key, known)}")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        clips = key in ("clipvalue", "clipnorm", "global_clipnorm")
        if (isinstance(arguments[key], float) or clips) and not number:
            raise ConfigError(f"optimizer.config.{key}: {value} given; allowed: a number")
        if clips and value <= 0:
            raise ConfigError(f"optimizer.config.{key}: {value} given; allowed: a positive number")
    if optimizer.schedule is not None:
        _check_schedule(optimizer.schedule, optimizer.learning_rate)


def _check_schedule(schedule: Any, rate: float) -> None:
    given = schedule if isinstance(schedule, dict) else {"class_name": schedule}
    name, config = given.get("class_name"), given.get("config") or {}
    if set(given) - {"class_name", "config"} or name not in SCHEDULES or not isinstance(config, dict):
        near = closest(str(name), list(SCHEDULES))
        raise ConfigError(f"optimizer.schedule: {schedule} given; allowed: {{class_name, config}} of Keras; {near}")
    arguments = signatures.arguments("optimizers.schedules", name)
    known = [a for a in arguments if a not in ("name", "initial_learning_rate")]
    for key in config:
        if key not in known:
            raise ConfigError(f"optimizer.schedule.config.{key}: {name} has no such argument; {closest(key, known)}")
    for key in known:
        if arguments[key] is signatures.REQUIRED and key not in config:
            raise ConfigError(f"optimizer.schedule.config.{key}: nothing given; {name} needs it")
    values = config.get("values")
    if name == "PiecewiseConstantDecay" and (not isinstance(values, list) or not values or values[0] != rate):
        raise ConfigError(
            f"optimizer.schedule.config.values: {values} given; allowed: a list that begins with "
            f"optimizer.learning_rate, which is {rate}"
        )


def batch_order(seed: int, epoch: int, train_rows: np.ndarray) -> np.ndarray:
    """The training rows in the order in which `seed` sees them in `epoch` (from 1)."""
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(train_rows)


def train(
    models: Sequence[Any],
    rows: Sequence[Rows],
    x: np.ndarray,
    y: np.ndarray,
    task: str,
    n_classes: int,
    optimizer: config.Optimizer,
    training: config.Training,
    watch: Callable[[Any], dict[str, Any]],
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trained]:
    """Train one built Keras model per seed, all together; each model ends with its trained weights.

    models, rows: one per seed, all of one structure. x [n, ...], y [n]: all rows of the dataset. watch(model): the
    variables, by path, whose values are kept at every epoch. on_epoch(epochs done, epochs in all), over all stacks.
    """
    width = places(models[0], training.batch_size)
    stacks, at_once = _stacks(rows, width), stacks_at_once(models[0], training)

    def attempt(xla: bool) -> dict[int, Trained]:
        program = _program(models[0], rows[0], x, y, task, n_classes, optimizer, training, xla)
        free: SimpleQueue[Stack] = SimpleQueue()
        for _ in range(min(at_once, len(stacks))):
            free.put(Stack(program))
        done, stop = itertools.count(1), threading.Event()

        def tell() -> None:
            on_epoch(next(done), len(stacks) * training.epochs)
            if stop.is_set():
                raise InterruptedError("another stack has ended the training")

        def run(members: list[int]) -> dict[int, Trained]:
            stack = free.get()
            try:
                stack.load([models[i] for i in members], [rows[i] for i in members])
                trained = _run(stack, [rows[i] for i in members], training.epochs, watch, tell)
                own = {i: place for place, i in enumerate(members) if rows[i].seed % width == place}
                for i, place in own.items():
                    stack.put_back(models[i], place)
            finally:
                free.put(stack)
            return {i: trained[place] for i, place in own.items()}

        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(run, members) for members in stacks]
            try:
                return {i: trained for future in futures for i, trained in future.result().items()}
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    xla = _xla(models[0], training)
    try:
        trained = attempt(xla)
    except _xla_errors() as error:
        if not xla or training.xla is True:
            raise
        log.info("XLA cannot compile this model, which now trains without it: %s", str(error)[:300])
        trained = attempt(False)
    return [trained[i] for i in range(len(models))]


def stacks_at_once(model: Any, training: config.Training) -> int:
    """How many stacks train side by side: one per core on a CPU, as far as memory and `seeds_at_once` allow."""
    import tensorflow as tf

    width = places(model, training.batch_size)
    needed, free = width * seed_bytes(model, training.batch_size), free_memory()
    if needed > free:
        raise ConfigError(
            f"training.batch_size, model: {width} seed{'s' * (width > 1)} of this model at a batch size of "
            f"{training.batch_size} need about {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; lower one"
        )
    cores = 1 if tf.config.get_visible_devices("GPU") else n_cores()
    wanted = cores if training.seeds_at_once == "auto" else max(1, training.seeds_at_once // width)
    return int(min(wanted, free // needed))


def _stacks(rows: Sequence[Rows], width: int) -> list[list[int]]:
    """Who trains with whom: for each stack, the position in `rows` of whoever is in each of its places.

    A seed's place is seed % width in any stack; empty places repeat another member of the stack.
    """
    stacks: list[dict[int, int]] = []
    for i, r in enumerate(rows):
        place = r.seed % width
        stack = next((s for s in stacks if place not in s), None)
        if stack is None:
            stack = {}
            stacks.append(stack)
        stack[place] = i
    return [[stack.get(place, next(iter(stack.values()))) for place in range(width)] for stack in stacks]


def _run(
    stack: Stack, rows: Sequence[Rows], epochs: int, watch: Callable[[Any], dict[str, Any]], tell: Callable[[], None]
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


def _xla(model: Any, training: config.Training) -> bool:
    """Whether to compile with XLA: unless told, always but for recurrent layers of many steps, which take too long."""
    steps = [layer.get_build_config()["input_shape"][1] for layer in recurrent(model)]
    few = all(n is not None for n in steps) and sum(steps) <= MOST_STEPS
    return few if training.xla == "auto" else training.xla


def _xla_errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)


# The programs used last, so that arms of one structure share theirs: initial values are no part of a program.
_programs: OrderedDict[str, Program] = OrderedDict()


def _program(
    model: Any, like: Rows, x: np.ndarray, y: np.ndarray, task: str, n_classes: int,
    optimizer: config.Optimizer, training: config.Training, xla: bool,
) -> Program:  # fmt: skip
    recipe = {k: v for k, v in asdict(training).items() if k not in ("epochs", "seeds_at_once")}
    lengths = [len(getattr(like, part)) for part in PARTS]
    shapes = [np.shape(like.mean), [list(v.shape) for v in model.variables]]
    what = [_structure(model.get_config()), shapes, lengths, id(x), id(y), task, n_classes]
    key = digest([*what, asdict(optimizer), recipe, xla])
    if key in _programs:
        _programs.move_to_end(key)
        return _programs[key]
    width = places(model, training.batch_size)
    _programs[key] = Program(model, like, x, y, task, n_classes, optimizer, training, width, xla)
    if len(_programs) > PROGRAMS:
        _programs.popitem(last=False)
    return _programs[key]


def _structure(part: Any) -> Any:
    """A model's config, as JSON can hold it, without what only decides its initial values."""
    if isinstance(part, dict):
        return {k: _structure(v) for k, v in part.items() if k != "seed" and not k.endswith("_initializer")}
    if isinstance(part, (list, tuple)):
        return [_structure(v) for v in part]
    return part if isinstance(part, (str, int, float, bool, type(None))) else str(part)
