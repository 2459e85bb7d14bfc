"""Saved models that may use the initializers of this project."""

from pathlib import Path

from pipeline.biases.variables import Bias


def load_model_biases(path: Path) -> list[Bias]:
    """Load a model with Keras, which is told of the initializers of this project; see `biases.keras_loading`."""
    from pipeline.biases.keras_loading import load_biases

    def register_initializers() -> None:
        from pipeline.models.initializers import custom  # noqa: F401

    return load_biases(path, register_initializers)
