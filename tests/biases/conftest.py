"""Fixtures for the tests of biases: Keras, imported once, and models that Keras saved once."""

from pathlib import Path
from typing import Any

import pytest
from keras_files import FORMATS, build_models

from pipeline.runtime.device import start_tensorflow


@pytest.fixture(scope="session")
def keras() -> Any:
    start_tensorflow("cpu")
    import keras

    return keras


@pytest.fixture(scope="session")
def saved_models(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The live models of `keras_files.MODELS` by name, and the folder that holds each as `<name>.<format>`."""
    folder = tmp_path_factory.mktemp("models")
    models = build_models(keras)
    for name, model in models.items():
        for file_format in FORMATS:
            save = model.save_weights if file_format == "weights.h5" else model.save
            save(folder / f"{name}.{file_format}")
    return models, folder
