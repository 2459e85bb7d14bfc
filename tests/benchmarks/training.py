"""Timings and peak memory of training: all seeds together, one seed with `model.fit`, the bare matrix products."""

import atexit
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.config.schema import PROJECT
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.training.loop import train_seeds
from tests.factories import compose_config

EPOCHS = 10


def prepare(seeds: int, *overrides: str) -> tuple[Any, Any, list[Any], list[Any]]:
    """A config, its dataset, and one model and one split per seed."""
    config = compose_config("bias_initializer=glorot", f"seeds={seeds}", f"training.epochs={EPOCHS}", *overrides)
    dataset = load_dataset(config.data)
    layers, shape = complete_layers(config), dataset.x.shape[1:]
    models = [build_model(layers, shape, dataset.task, dataset.n_targets, seed) for seed in config.seeds]
    return config, dataset, models, [split_rows(dataset, config.data, seed) for seed in config.seeds]


def pictures(model: str, rows: int) -> tuple[str, ...]:
    """The overrides that train a model on made-up pictures of 28 x 28 bytes, ten classes, in batches of 128."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    random = np.random.default_rng(0)
    y = random.integers(0, 10, rows)
    x = random.integers(0, 120, (rows, 28, 28), np.uint8)
    x[np.arange(rows), :, y * 2] += 100  # a bright column says the class
    np.savez(folder / "pictures.npz", x=x[..., None] if model == "cnn" else x, y=y)
    return "data=file", f"data.path={folder / 'pictures.npz'}", f"model={model}", "training.batch_size=128"


def time_seeds_together(seeds: int, *overrides: str) -> float:
    """Milliseconds per run and epoch of training all seeds at once: the fastest of five trainings, once compiled."""
    return min([time_training(seeds, *overrides) for _ in range(6)][1:])


def time_training(seeds: int, *overrides: str) -> float:
    """Milliseconds per run and epoch of one training of all seeds at once."""
    config, dataset, models, splits = prepare(seeds, *overrides)
    start = time.perf_counter()
    train_seeds(models, splits, dataset, config.optimizer, config.training, bias_variables)
    return (time.perf_counter() - start) / seeds / EPOCHS * 1000


def time_model_fit(cached: bool, *overrides: str) -> float:
    """Milliseconds per epoch of one `model.fit` with validation and a snapshot of the biases: the fastest of five.

    cached: train on a cached `tf.data` dataset, one call per epoch, instead of on arrays.
    """
    import keras
    import tensorflow as tf

    config, dataset, (model,), (split,) = prepare(1, *overrides)
    x, batch_size = (dataset.x - split.mean) / split.scale, config.training.batch_size
    steps = -(-len(split.train) // batch_size)
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=steps if cached else 1
    )
    times: list[float] = []

    class Snapshot(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            extract_biases(self.model)
            times.append(time.perf_counter() - self.start)

    def cached_data(part: np.ndarray) -> Any:
        return tf.data.Dataset.from_tensor_slices((x[part], dataset.y[part])).cache()

    if cached:
        train = cached_data(split.train).shuffle(len(split.train)).batch(batch_size).prefetch(2)
        validation = cached_data(split.validation).batch(batch_size).prefetch(2)
        model.fit(train, validation_data=validation, epochs=6, verbose=0, callbacks=[Snapshot()])
    else:
        validation = (x[split.validation], dataset.y[split.validation])
        train = x[split.train], dataset.y[split.train]
        model.fit(*train, batch_size, 6, verbose=0, validation_data=validation, callbacks=[Snapshot()])
    return min(times[1:]) * 1000


def time_matrix_products(seeds: int = 40) -> float:
    """Milliseconds per run and epoch of nothing but the matrix products of the MLP's epoch, stacked, under XLA."""
    import tensorflow as tf

    config, _, _, (split, *_) = prepare(1, "model=mlp")
    batch_size, widths = config.training.batch_size, [64, 64, 32, 10]
    x = tf.random.normal([seeds, batch_size, widths[0]])
    kernels = [tf.random.normal([seeds, inputs, units]) for inputs, units in itertools.pairwise(widths)]
    steps = -(-len(split.train) // batch_size)

    @tf.function(jit_compile=True)
    def epoch(x: Any, *kernels: Any) -> Any:
        for _ in tf.range(steps):
            outputs = [x]
            for kernel in kernels:
                outputs.append(outputs[-1] @ kernel)
            gradient, updated = outputs[-1], []
            for i in reversed(range(len(kernels))):
                updated.insert(0, kernels[i] * 0.5 + 1e-9 * tf.matmul(outputs[i], gradient, transpose_a=True))
                gradient = tf.matmul(gradient, kernels[i], transpose_b=True) if i else gradient
            kernels = tuple(updated)
        return kernels

    return _fastest(lambda: epoch(x, *kernels)[0].numpy(), 20) / seeds * 1000


def _fastest(function: Callable[[], Any], calls: int) -> float:
    """Seconds of the fastest of some calls, after a first one that is not timed."""
    function()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory(seeds: int) -> float:
    """Peak resident MB of a process that trains the MLP with this many seeds."""
    command = [sys.executable, "-m", "tests.benchmarks", f"peak={seeds}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
