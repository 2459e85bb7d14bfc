"""Every bias of a Keras model, live or saved, by name."""

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.biases.tables import describe_biases

__all__ = ["bias_variables", "describe_biases", "extract_biases"]
