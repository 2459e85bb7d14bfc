"""The default sweep as people write it by hand, with Hydra, `model.fit` and MLflow: what the benchmark compares with.

`python tests/benchmarks/by_hand.py -m arm=no_bias,zeros,ones,glorot_uniform seeds=30`; Hydra runs the arms in one
process, and `MLFLOW_TRACKING_URI` says where the runs go. It records what the default sweep records: biases before and
after, curves, settings.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import keras
import mlflow
import numpy as np
from hydra.core.config_store import ConfigStore
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@dataclass
class Settings:
    """Command-line settings."""

    arm: str = "zeros"
    seeds: int = 10
    epochs: int = 20
    batch_size: int = 32


ConfigStore.instance().store(name="settings", node=Settings)


class LogEpoch(keras.callbacks.Callback):
    """Log the curves to MLflow after every epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log loss and accuracy of an epoch."""
        mlflow.log_metrics(logs, step=epoch)


def build(arm: str) -> keras.Sequential:
    """The network with one bias setting in every layer."""
    bias = {"use_bias": False} if arm == "no_bias" else {"bias_initializer": arm}
    layers = keras.layers
    hidden = [layers.Dense(units, activation="relu", **bias) for units in (64, 32)]
    return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10, activation="softmax", **bias)])


def biases(model: keras.Sequential) -> dict[str, np.ndarray]:
    """The biases by layer."""
    return {layer.name: np.array(layer.bias) for layer in model.layers if layer.use_bias}


def train(settings: Settings, seed: int) -> None:
    """Load the data, train one model, and log the run to MLflow."""
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y)
    mean, scale = x.mean(0), x.std(0) + 1e-9
    x, x_val, x_test = ((part - mean) / scale for part in (x, x_val, x_test))
    keras.utils.set_random_seed(seed)
    model = build(settings.arm)
    before = biases(model)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with mlflow.start_run(run_name=f"{settings.arm}-s{seed}"), tempfile.TemporaryDirectory() as folder:
        mlflow.log_params({"arm": settings.arm, "seed": seed, "epochs": settings.epochs})
        model.fit(
            x, y, settings.batch_size, settings.epochs,
            verbose=0, validation_data=(x_val, y_val), callbacks=[LogEpoch()],
        )  # fmt: skip
        loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
        mlflow.log_metrics({"test_loss": loss, "test_accuracy": accuracy})
        for name, arrays in (("before", before), ("after", biases(model))):
            np.savez(Path(folder) / f"{name}.npz", **arrays)
        mlflow.log_artifacts(folder, "biases")


@hydra.main(version_base="1.3", config_path=None, config_name="settings")
def main(settings: Settings) -> None:
    """Train all seeds of an arm, one after the other."""
    mlflow.set_experiment("by-hand")
    for seed in range(settings.seeds):
        train(settings, seed)


if __name__ == "__main__":
    main()
