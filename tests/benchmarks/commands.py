"""Timings of whole commands: the default sweep, the same sweep written by hand, and the comparison of many runs."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.config.schema import PROJECT
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore
from tests.factories import made_meta


def time_sweeps(seeds: int = 30) -> tuple[float, float]:
    """Seconds of the default sweep and of the one written by hand, from process start to the last write to MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        ours = ["-m", "pipeline.train", "-m", f"seeds={seeds}", f"results={folder}/results", f"tracking.uri={store}"]
        arms = "arm=no_bias,zeros,ones,glorot_uniform"
        by_hand = [str(PROJECT / "tests" / "benchmarks" / "by_hand.py"), "-m", arms, f"seeds={seeds}"]
        times = []
        for command, uri in ((ours, store), (by_hand, f"sqlite:///{folder}/by-hand.db")):
            arguments = [sys.executable, *command, f"hydra.sweep.dir={folder}/log"]
            times.append(_time_process(arguments, MLFLOW_TRACKING_URI=uri))
    return times[0], times[1]


def time_compare(runs: int) -> float:
    """Seconds that `pipeline.compare` takes for a study of this many runs, from process start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        _write_made_up_study(RunStore(Path(folder) / "results", "many"), runs)
        command = [sys.executable, "-m", "pipeline.compare", f"results={folder}/results", f"reports={folder}/reports"]
        return _time_process(command)


def _time_process(command: list[str], **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=PROJECT, env=os.environ | environment, check=True, capture_output=True)
    return time.perf_counter() - start


def _write_made_up_study(store: RunStore, runs: int) -> None:
    """Store this many runs in four arms, of the default study's shape: only reading them is timed."""
    rng, epochs = np.random.default_rng(0), 21
    shapes = {"dense/bias": 64, "dense_1/bias": 32, "output/bias": 10}
    falling = np.exp(-np.arange(epochs) / 5)
    for arm, start in {"no_bias": None, "zeros": 0.0, "ones": 1.0, "glorot_uniform": 0.1}.items():
        for seed in range(runs // 4):
            arrays = {"epoch": np.arange(epochs)}
            for path, units in shapes.items() if start is not None else ():
                biases = np.float32(start + rng.normal(0, 0.01, (epochs, units)).cumsum(0))
                arrays |= {f"before/{path}": biases[0], f"after/{path}": biases[-1], f"trajectory/{path}": biases}
            accuracy = (rng.integers(345, 356) / 360).astype(np.float32)
            loss = 2.3 * falling + rng.normal(0.1, 0.01)
            curve = accuracy - falling
            history = {"loss": loss, "accuracy": curve, "val_loss": loss, "val_accuracy": curve}
            metrics = {"test_accuracy": float(accuracy), "test_loss": float(loss[-1])}
            meta = made_meta(arm, seed, metrics=metrics)
            write_run(store, meta, arrays, history)
