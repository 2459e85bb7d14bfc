"""A stored run suffices to redo it: with the rows of the dataset and Keras, and nothing of this project."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from factories import TrainedStudy


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_is_redone_from_its_files(trained_study: TrainedStudy, seed: int) -> None:
    """Its first weights, the kept order of its rows and its settings give its last weights and test accuracy."""
    import keras
    from sklearn.datasets import load_iris

    folder = next((trained_study.results / TrainedStudy.name).glob(f"zeros*/seed={seed}"))
    meta, rows, weights = json.loads((folder / "run.json").read_text()), load(folder / "rows.npz"), {}
    assert meta["config"]["data"]["source"] == "iris"
    for name, values in load(folder / "weights.npz").items():
        moment, _, path = name.partition("/")
        weights.setdefault(moment, {})[path] = values
    x, y = load_iris(return_X_y=True)
    x = ((x - rows["mean"]) / rows["scale"]).astype("float32")
    layers = [getattr(keras.layers, layer["class_name"])(**layer["config"]) for layer in layers_of(meta)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.set_weights(list(weights["before"].values()))
    optimizer, training = meta["config"]["optimizer"], meta["config"]["training"]
    model.compile(
        getattr(keras.optimizers, optimizer["class_name"])(optimizer["learning_rate"]),
        loss="sparse_categorical_crossentropy", metrics=["accuracy"],
    )  # fmt: skip
    assert len(rows["order"]) == training["epochs"]
    for order in rows["order"]:
        assert sorted(order) == sorted(rows["train"])
        model.fit(x[order], y[order], batch_size=training["batch_size"], shuffle=False, verbose=0)
    for mine, stored in zip(model.get_weights(), weights["after"].values(), strict=True):
        np.testing.assert_allclose(mine, stored, rtol=1e-4, atol=1e-5)
    _, accuracy = model.evaluate(x[rows["test"]], y[rows["test"]], verbose=0)
    assert accuracy == pytest.approx(meta["metrics"]["test_accuracy"], abs=1e-6)


def layers_of(meta: dict) -> list[dict]:
    """The layers of run.json without initializers; the last one has as many units as the dataset classes."""
    layers = copy.deepcopy(meta["config"]["model"]["layers"])
    for layer in layers:
        layer["config"].pop("bias_initializer", None)
    layers[-1]["config"] = {"units": 3, "activation": "softmax"} | layers[-1]["config"]
    return layers
