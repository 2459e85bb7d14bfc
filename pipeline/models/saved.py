"""Saved models: those that may use the initializers of this project, and those that it saves."""

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from pipeline.biases.variables import Bias


def load_model_biases(path: Path) -> list[Bias]:
    """Load a model with Keras, which is told of the initializers of this project; see `biases.keras_loading`."""
    from pipeline.biases.keras_loading import load_biases

    def register_initializers() -> None:
        from pipeline.models.initializers import custom  # noqa: F401

    return load_biases(path, register_initializers)


def model_bytes(model: Any) -> bytes:
    """The content of a `.keras` file of a model: the same for the same model, and loadable without this project.

    Keras writes the time into it. Custom initializers, which a trained model has no use for, become zeros: Keras could
    not load the model without the code that registers them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as saved:
            members = {name: saved.read(name) for name in saved.namelist()}
    members["metadata.json"] = _in_json(json.loads(members["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"})
    members["config.json"] = _in_json(_without_custom_initializers(json.loads(members["config.json"])))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name), member)
    return content.getvalue()


def _in_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _without_custom_initializers(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_custom_initializers(value) for value in config]
    if not isinstance(config, dict):
        return config
    zeros = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    return {
        name: zeros if name.endswith("_initializer") and _is_custom(value) else _without_custom_initializers(value)
        for name, value in config.items()
    }


def _is_custom(value: Any) -> bool:
    return isinstance(value, dict) and not str(value.get("module") or "").startswith("keras")
