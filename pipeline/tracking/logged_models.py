"""Log the model of an arm's best seed in MLflow, as `mlflow.keras.log_model` does, without waiting for TensorFlow.

Where `keep_model=true` has kept the models of an arm's runs, that of one seed becomes a logged model of the arm's run:
`mlflow.keras.load_model("runs:/<id>/model")`. The best seed is the one with the best value on the validation rows.
"""

import contextlib
import json
import platform
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.stopping import DEFAULTS, monitored_name, monitors_up
from pipeline.store.meta import MODEL
from pipeline.store.runs import Run

NAME = "model"
INPUTS = "standardized as in training: (x - mean) / scale, with mean and scale of the run's rows.npz"


def best_model(runs: Sequence[Run]) -> Run | None:
    """The run of an arm whose model is logged: of those that keep theirs, the one with the best validation.

    The measure is what `training.stop` monitors, else the validation loss; of equal runs the first.
    """
    kept = [run for run in runs if run.complete and run.has(MODEL)]
    if not kept:
        return None
    stop = kept[0].meta["config"]["training"].get("stop") or DEFAULTS
    sign = -1.0 if monitors_up(stop) else 1.0
    return min(kept, key=lambda run: (sign * run.meta["metrics"][monitored_name(stop)], run.seed))


def log_model(client: Any, experiment_id: str, run_id: str, run: Run, folder: Path) -> None:
    """Log the model that a run keeps, as one of the MLflow run `run_id`. folder: an empty one for what is uploaded."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    signature = _signature(run)
    tags = {"seed": str(run.seed), "key": run.key, "inputs": INPUTS}
    logged = client.create_logged_model(experiment_id, name=NAME, source_run_id=run_id, tags=tags, model_type="keras")
    try:
        _write_model(folder, run, logged.model_id, run_id, signature)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    except Exception:
        with contextlib.suppress(Exception):  # the reason is the first one
            client.delete_logged_model(logged.model_id)
        raise


def delete_models(client: Any, run: Any) -> None:
    """Delete the logged models of an MLflow run, which would outlive it."""
    for output in run.outputs.model_outputs if run.outputs else ():
        client.delete_logged_model(output.model_id)


def _write_model(folder: Path, run: Run, model_id: str, run_id: str, signature: dict[str, Any] | None) -> None:
    """Write an MLflow model: the `.keras` file, and what MLflow has to know to load it."""
    from mlflow import __version__ as mlflow_version

    packages = run.meta["environment"]["packages"]
    (folder / "data").mkdir()
    (folder / "data" / "model.keras").write_bytes((run.path / MODEL).read_bytes())
    (folder / "data" / "keras_module.txt").write_text("keras")
    requirements = [f"mlflow=={mlflow_version}", *(f"{name}=={packages[name]}" for name in ("keras", "tensorflow"))]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    python = run.machine.get("python", platform.python_version())
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))
    flavors = {
        "keras": {
            "data": "data",
            "keras_version": packages["keras"],
            "keras_backend": "tensorflow",
            "save_exported_model": False,
        },
        "python_function": {
            "loader_module": "mlflow.keras",
            "python_version": python,
            "env": {"virtualenv": "python_env.yaml"},
        },
    }
    described = {
        "artifact_path": NAME,
        "flavors": flavors,
        "metadata": {"arm": run.arm, "seed": run.seed, "key": run.key, "inputs": INPUTS},
        "mlflow_version": mlflow_version,
        "model_id": model_id,
        "model_uuid": model_id,
        "run_id": run_id,
        **({} if signature is None else {"signature": signature}),
        "utc_time_created": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime()),
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False))


def _signature(run: Run) -> dict[str, Any] | None:
    """What goes in and comes out, in MLflow's words: rows of float32. None where the file does not say what goes in."""
    with zipfile.ZipFile(run.path / MODEL) as archive:
        shape = _input_shape(json.loads(archive.read("config.json")))
    if shape is None:
        return None
    tensors = [
        json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, *(n or -1 for n in rest)]}}])
        for rest in (shape[1:], [None])
    ]
    return {"inputs": tensors[0], "outputs": tensors[1], "params": None}


def _input_shape(config: dict[str, Any]) -> list[int | None] | None:
    """The shape of a saved model's input: that it was built for, or of a Functional one its InputLayer's."""
    shape = (config.get("build_config") or {}).get("input_shape")
    inputs = [layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == "InputLayer"]
    if not shape and len(inputs) == 1:
        shape = inputs[0].get("batch_shape")
    return shape if isinstance(shape, list) and shape and not any(isinstance(n, list) for n in shape) else None
