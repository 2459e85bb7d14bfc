"""How fast seeds train together, against what people write by hand: `uv run python -m tests.benchmarks`.

Every figure is a ratio of two timings taken on one machine, one after the other. Prints a table and writes
`reports/benchmark.json`, where each row stands with the machine and the day it was measured. All rows take a quarter of
an hour, most of it `sweep`; `rows="mlp;cnn"` measures only some, and leaves the others as they were.
"""

import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from factories import compose_config
from rich.console import Console
from rich.table import Table

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.environment import describe_environment
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore
from pipeline.training.loop import train_seeds

sys.path.insert(0, str(Path(__file__).parents[1]))

EPOCHS = 10
ASKED = {
    "mlp": 100,
    "mlp, tf.data": 15,
    "cnn": 20,
    "lstm": 20,
    "matmul": 0.25,
    "sweep": 12,
    "memory": 300,
    "compare 40 runs": 8,
    "compare 4000 runs": 30,
}
AT_MOST = {"memory": "MB", "compare 40 runs": "s", "compare 4000 runs": "s"}  # less is better
CNN = ("model.name=cnn", (
    "model.layers=[{class_name: Conv2D, config: {filters: 16, kernel_size: 3, activation: relu}},"
    "{class_name: Conv2D, config: {filters: 32, kernel_size: 3, activation: relu}},"
    "{class_name: Flatten}, {class_name: Dense, config: {name: output}}]"
))  # fmt: skip
LSTM = ("model=lstm",)  # the rows of a picture as 8 steps, LSTM 16


def prepared(seeds: int, *overrides: str) -> tuple[Any, Any, list[Any], list[Any]]:
    """A config, its dataset, and a model and its rows per seed."""
    config = compose_config("bias_initializer=glorot", f"seeds={seeds}", f"training.epochs={EPOCHS}", *overrides)
    dataset = load_dataset(config.data)
    layers, shape = complete_layers(config), dataset.x.shape[1:]
    built = [build_model(layers, shape, dataset.task, len(dataset.classes), seed) for seed in config.seeds]
    return config, dataset, built, [split_rows(dataset, config.data, seed) for seed in config.seeds]


def together(seeds: int, *overrides: str) -> float:
    """Milliseconds per run and epoch of all seeds at once, compiled before: least of five trainings."""
    times = []
    for _ in range(6):
        config, dataset, built, rows = prepared(seeds, *overrides)
        start = time.perf_counter()
        train_seeds(
            built, rows, dataset,
            config.optimizer, config.training, bias_variables,
        )  # fmt: skip
        times.append(time.perf_counter() - start)
    return min(times[1:]) / seeds / EPOCHS * 1000


def alone(cached: bool, *overrides: str) -> float:
    """Milliseconds per epoch of one `model.fit` with validation and a snapshot of the biases: least of five epochs."""
    import keras
    import tensorflow as tf

    config, dataset, (model,), (rows,) = prepared(1, *overrides)
    x, size = (dataset.x - rows.mean) / rows.scale, config.training.batch_size
    steps = -(-len(rows.train) // size)
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
        train = cached_data(rows.train).shuffle(len(rows.train)).batch(size).prefetch(2)
        validation = cached_data(rows.validation).batch(size).prefetch(2)
        model.fit(train, validation_data=validation, epochs=6, verbose=0, callbacks=[Snapshot()])
    else:
        validation = (x[rows.validation], dataset.y[rows.validation])
        train = x[rows.train], dataset.y[rows.train]
        model.fit(*train, size, 6, verbose=0, validation_data=validation, callbacks=[Snapshot()])
    return min(times[1:]) * 1000


def products(seeds: int = 40) -> float:
    """Milliseconds per run and epoch of nothing but the matrix products of the MLP's epoch, stacked, under XLA."""
    import tensorflow as tf

    config, _, _, (rows, *_) = prepared(1, "model=mlp")
    size, sizes = config.training.batch_size, [64, 64, 32, 10]
    x = tf.random.normal([seeds, size, sizes[0]])
    kernels = [tf.random.normal([seeds, a, b]) for a, b in itertools.pairwise(sizes)]
    steps = -(-len(rows.train) // size)

    @tf.function(jit_compile=True)
    def epoch(x: Any, *kernels: Any) -> Any:
        for _ in tf.range(steps):
            outputs = [x]
            for kernel in kernels:
                outputs.append(outputs[-1] @ kernel)
            gradient, new = outputs[-1], []
            for i in reversed(range(len(kernels))):
                new.insert(0, kernels[i] * 0.5 + 1e-9 * tf.matmul(outputs[i], gradient, transpose_a=True))
                gradient = tf.matmul(gradient, kernels[i], transpose_b=True) if i else gradient
            kernels = tuple(new)
        return kernels

    return least(lambda: epoch(x, *kernels)[0].numpy(), 20) / seeds * 1000


def least(function: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of some calls, after a first one that does not count."""
    function()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def peak_memory(seeds: int) -> float:
    """Peak resident MB of a process of its own that trains the MLP with so many seeds."""
    command = [sys.executable, "-m", "tests.benchmarks", f"peak={seeds}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def sweep(seeds: int = 30) -> tuple[float, float]:
    """Seconds of the default sweep and of the one written by hand, from process start to the last MLflow write."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        ours = ["-m", "pipeline.train", "-m", f"seeds={seeds}", f"results={folder}/results", f"tracking.uri={store}"]
        arms = "arm=no_bias,zeros,ones,glorot_uniform"
        by_hand = [str(PROJECT / "tests" / "benchmarks" / "by_hand.py"), "-m", arms, f"seeds={seeds}"]
        taken = []
        for command, uri in ((ours, store), (by_hand, f"sqlite:///{folder}/by-hand.db")):
            command = [sys.executable, *command, f"hydra.sweep.dir={folder}/log"]
            start = time.perf_counter()
            subprocess.run(command, cwd=PROJECT, env=os.environ | {"MLFLOW_TRACKING_URI": uri}, check=True,
                           capture_output=True)  # fmt: skip
            taken.append(time.perf_counter() - start)
    return taken[0], taken[1]


def write_study(results: Path, runs: int) -> None:
    """Store a made-up study of so many runs in four arms, of the default study's shape: only its reading is timed."""
    rng, epochs = np.random.default_rng(0), 21
    shapes = {"dense/bias": 64, "dense_1/bias": 32, "output/bias": 10}
    falling = np.exp(-np.arange(epochs) / 5)
    for arm, start in {"no_bias": None, "zeros": 0.0, "ones": 1.0, "glorot_uniform": 0.1}.items():
        for seed in range(runs // 4):
            arrays = {"epoch": np.arange(epochs)}
            for path, units in shapes.items() if start is not None else ():
                moved = np.float32(start + rng.normal(0, 0.01, (epochs, units)).cumsum(0))
                arrays |= {f"before/{path}": moved[0], f"after/{path}": moved[-1], f"trajectory/{path}": moved}
            right, loss = (rng.integers(345, 356) / 360).astype(np.float32), 2.3 * falling + rng.normal(0.1, 0.01)
            history = {"loss": loss, "accuracy": right - falling, "val_loss": loss, "val_accuracy": right - falling}
            meta = {
                "key": f"{arm}-{seed}", "recipe": "r", "arm": arm, "seed": seed, "status": "complete",
                "metrics": {"test_accuracy": float(right), "test_loss": float(loss[-1])},
                "initial_kernels_digest": str(seed), "data_digest": "d", "environment": {"device": "CPU"},
                "config": {"bias_setting": arm, "data": {}, "model": {"layers": []}, "optimizer": {}, "training": {}},
            }  # fmt: skip
            write_run(RunStore(results, "many"), meta, arrays, history)


def compare(runs: int) -> float:
    """Seconds that the answer of a study of so many runs takes, from process start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder) / "results", runs)
        command = [sys.executable, "-m", "pipeline.compare", f"results={folder}/results", f"reports={folder}/reports"]
        start = time.perf_counter()
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
        return time.perf_counter() - start


def measure(row: str) -> dict[str, float | None]:
    """A row of the table: ours, what it is held against, and the ratio, which should be at least what was asked."""
    if row.startswith("compare"):
        ours = compare(int(row.split()[1]))
        return {"ours": ours, "other": None, "ratio": ours}
    if row == "memory":
        ours, other = peak_memory(40), peak_memory(1)
        return {"ours": ours, "other": other, "ratio": ours - other}
    if row == "sweep":
        ours, other = sweep()
    elif row == "matmul":
        ours, other = together(40, "model=mlp"), products()
    else:
        seeds, overrides = {"cnn": (10, CNN), "lstm": (10, LSTM)}.get(row, (40, ("model=mlp",)))
        ours, other = together(seeds, *overrides), alone("tf.data" in row, *overrides)
    return {"ours": ours, "other": other, "ratio": other / ours}


@dataclass(frozen=True)
class BenchmarkOptions:
    """Which rows to measure, separated by semicolons; or only the peak memory of this many seeds."""

    rows: str = ";".join(ASKED)
    peak: int = 0


def main(arguments: list[str]) -> None:
    """Measure the rows asked for, print them, and write them with the machine's description."""
    options = parse_options(arguments, BenchmarkOptions)
    if options is None:
        print(__doc__)
        return
    device = start_tensorflow("auto")
    if options.peak:
        together(options.peak, "model=mlp")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    machine = describe_environment(device) | {"processor": processor()}
    table = Table(
        "work",
        "ours",
        "held against",
        "ratio",
        "asked",
        title=f"{machine['processor']}, {device}, {machine['threads']} threads",
    )
    measured = {}
    for row in options.rows.split(";"):
        found = measure(row)
        measured[row] = found | {"machine": machine, "day": time.strftime("%Y-%m-%d")}
        table.add_row(row, *_cells(row, found))
    Console(width=110).print(table)
    path = PROJECT / "reports" / "benchmark.json"
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | measured, indent=2) + "\n")


def _cells(row: str, found: dict[str, Any]) -> list[str]:
    """Ours, what it is held against, the ratio or what counts instead, and what was asked."""
    unit, least_is_best = AT_MOST.get(row, "s" if row == "sweep" else "ms"), row in AT_MOST
    reached = found["ratio"] <= ASKED[row] if least_is_best else found["ratio"] >= ASKED[row]
    other = "–" if found["other"] is None else f"{found['other']:.3g} {unit}"
    ratio = f"{found['ratio']:.3g} {unit}" if least_is_best else f"{found['ratio']:.3g}x"
    asked = f"at most {ASKED[row]} {unit}" if least_is_best else f"{ASKED[row]}x"
    return [f"{found['ours']:.3g} {unit}", other, ratio, asked + ("" if reached else " (missed)")]


def processor() -> str:
    """The processor's name, where the machine tells it."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main(sys.argv[1:])
