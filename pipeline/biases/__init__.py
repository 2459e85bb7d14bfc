"""Every bias of a Keras model, live or saved, by name.

`extract_biases(model)` copies them, `describe_biases(model)` tabulates them; `model_files.read_biases(path)` reads them
from a saved model without Keras. Importing this package imports neither Keras nor TensorFlow nor pandas.
"""

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.biases.tables import describe_biases

__all__ = ["bias_variables", "describe_biases", "extract_biases"]
