"""`keep_model=true`: a run's trained model as a file that Keras loads, and an arm's best one in MLflow."""

import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import MLflowStore, change_config, change_meta, compose_config

from pipeline.config.schema import Tracking
from pipeline.experiment.run import run_arm
from pipeline.store.meta import MODEL
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.logged_models import best_model
from pipeline.tracking.runs import Sent, mirror_arm, try_arm, up_to_date

ARM = ("data=iris", "model=mlp", "bias_initializer=fan_in_uniform", "tracking=none", "training.epochs=4", "seeds=3",
       "training.xla=false", "training.stop={patience:1}")  # fmt: skip
LOAD = """
import sys, numpy, keras
model = keras.saving.load_model(sys.argv[1])
assert "pipeline" not in sys.modules
numpy.savez(sys.argv[2], *model.get_weights(), rows=model.predict(numpy.ones([2, 4]), verbose=0))
"""


def train(results: Path, **changes: Any) -> list[Run]:
    return list(run_arm(change_config(compose_config(*ARM), results=str(results), **changes)).runs)


@pytest.mark.slow
def test_keras_loads_the_best_weights_without_this_project(tmp_path: Path) -> None:
    """In another process and folder, from an arm with an initializer of this project; no path or time is in it."""
    run = train(tmp_path / "results", keep_model=True)[1]
    out = tmp_path / "loaded.npz"
    subprocess.run([sys.executable, "-c", LOAD, str(run.path / MODEL), str(out)], cwd=tmp_path, check=True)
    after = [values for name, values in run.weights().items() if name.startswith("after/")]
    with np.load(out) as loaded:
        assert len(after) == len(loaded.files) - 1 == 6
        assert all(np.array_equal(loaded[f"arr_{i}"], values) for i, values in enumerate(after))
        assert loaded["rows"].shape == (2, 3)
    assert run.has(MODEL)
    with zipfile.ZipFile(run.path / MODEL) as archive:
        text = archive.read("config.json") + archive.read("metadata.json")
    assert str(tmp_path).encode() not in text and b"FanInUniform" not in text


@pytest.mark.slow
def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    """Of every file of a run, the model included; who asks for models later trains those runs again that lack them."""
    first = train(tmp_path / "one", keep_model=True)
    without = train(tmp_path / "two")
    assert not any(run.has(MODEL) for run in without)
    again = train(tmp_path / "two", keep_model=True)
    assert [run.meta["digests"] for run in first] == [run.meta["digests"] for run in again]
    assert [run.key for run in without] == [run.key for run in again]
    assert [run.meta["digests"] for run in train(tmp_path / "two")] == [run.meta["digests"] for run in again]


@pytest.mark.slow
def test_the_best_seed_is_a_logged_model(tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow.keras.load_model and pyfunc load it from the arm's run; when the arm changes, it follows."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)  # set_tracking_uri would leave it to later tests
    results = tmp_path / "results"
    store, runs = RunStore(results, "iris-mlp"), train(results)
    tracking = Tracking(True, mlflow_store)
    assert mirror_arm(tracking, store, runs[0].arm, runs) == ""
    runs = train(results, keep_model=True)
    assert not up_to_date(tracking, store, runs[0].arm, runs)
    for chosen in (runs[:2], runs):
        assert mirror_arm(tracking, store, runs[0].arm, chosen) == ""
        best = best_model(chosen)
        assert best is not None
        assert best.meta["metrics"]["val_loss"] == min(run.meta["metrics"]["val_loss"] for run in chosen)
        mirrored = MLflowStore(mlflow_store)
        arm = mirrored.by_name("iris-mlp")[runs[0].arm]
        model = mlflow.keras.load_model(f"runs:/{arm.info.run_id}/model")
        after = [values for name, values in best.weights().items() if name.startswith("after/")]
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), after, strict=True))
        (logged,) = mirrored.client.search_logged_models([arm.info.experiment_id])
        assert (logged.name, logged.tags["seed"], str(logged.status)) == ("model", str(best.seed), "READY")
        rows = np.ones((2, 4), np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own type hints
            served = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict(rows)
        assert np.array_equal(served, model.predict(rows, verbose=0))
        assert up_to_date(tracking, store, runs[0].arm, chosen)


@pytest.mark.slow
def test_a_functional_model_is_logged(tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shape of its input, which a Functional file has in another place than a Sequential one."""
    import keras
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    inputs = keras.Input((4,))
    both = keras.layers.Add()([keras.layers.Dense(3, name="a")(inputs), keras.layers.Dense(3, name="b")(inputs)])
    keras.Model(inputs, keras.layers.Dense(3, "softmax", name="out")(both)).save(tmp_path / "branches.keras")
    arm = ("data=iris", "model=file", f"model.path={tmp_path / 'branches.keras'}", "training.epochs=1", "seeds=1",
           "training.xla=false", "tracking=none")  # fmt: skip
    runs = list(run_arm(change_config(compose_config(*arm), results=str(tmp_path / "r"), keep_model=True)).runs)
    store = RunStore(tmp_path / "r", runs[0].meta["study"])
    assert try_arm(Tracking(True, mlflow_store), store, runs[0].arm, runs) == Sent()
    mirrored = MLflowStore(mlflow_store)
    (logged,) = mirrored.client.search_logged_models(
        [mirrored.client.get_experiment_by_name(store.study).experiment_id]
    )
    folder = logged.artifact_location.removeprefix("file://")
    described = mlflow.models.get_model_info(folder)
    assert described.signature.inputs.inputs[0].shape == (-1, 4)
    rows = np.ones((2, 4), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints
        served = mlflow.pyfunc.load_model(folder).predict(rows)
    assert np.array_equal(served, keras.saving.load_model(runs[0].path / MODEL).predict(rows, verbose=0))


def test_the_best_model_is_chosen_by_validation(trained_study: Any) -> None:
    """By the loss, or by what early stopping monitors; never by the test rows; diverged runs and those without: not."""
    store = RunStore(trained_study.results, trained_study.name)
    arm = "zeros,training.epochs=2"
    assert best_model(store.runs(arm)) is None

    def change(seed: int, **values: Any) -> None:
        (store.run_folder(arm, seed) / MODEL).write_bytes(b"model")
        change_meta(store.run_folder(arm, seed), lambda meta: (
            meta["metrics"].update(values), meta["digests"].update({MODEL: "9372c470eeadd5ec"})))  # fmt: skip

    losses, accuracies = (0.3, 0.2, 0.25), (0.7, 0.8, 0.9)
    for seed in range(3):
        change(seed, val_loss=losses[seed], val_accuracy=accuracies[seed], test_loss=-seed)
    chosen = best_model(store.runs(arm))
    assert chosen is not None and chosen.seed == 1
    for seed in range(3):
        change_meta(store.run_folder(arm, seed), lambda meta: meta["config"]["training"].update(
            stop={"patience": 1, "monitor": "val_accuracy"}))  # fmt: skip
    chosen = best_model(store.runs(arm))
    assert chosen is not None and chosen.seed == 2
