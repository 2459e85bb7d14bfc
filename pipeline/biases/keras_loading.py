"""Read the biases of a saved model by loading it with Keras, which knows the layers of registered other classes."""

from collections.abc import Callable
from pathlib import Path

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.model_files import read_biases
from pipeline.biases.safe_files import one_line_error
from pipeline.biases.variables import Bias
from pipeline.errors import ModelFileError, require
from pipeline.runtime.device import start_tensorflow

ENDINGS = (".keras", ".h5", ".hdf5")  # of the files of whole models that Keras loads
ADVICE = "in Python, import what defines it, keras.saving.load_model, pipeline.biases.describe_biases"


def load_biases(path: Path, register_classes: Callable[[], None]) -> list[Bias]:
    """Load a `.keras` or whole-model `.h5` or `.hdf5` file with Keras in safe mode; `Bias.values` are NumPy arrays.

    register_classes: registers with Keras the classes that the model may use beyond Keras' own.
    Keras sees only files that `read_biases` accepts. Raises ModelFileError for a file that either of them refuses.
    """
    unknown_classes = sorted({b.layer_type for b in read_biases(path) if b.kind == "unknown" and b.layer_type})
    is_model = path.suffix in ENDINGS and not path.stem.endswith(".weights")
    require(is_model, "--load", path, "a .keras file, or a .h5 or .hdf5 file of a whole model")
    start_tensorflow("cpu")
    import keras

    register_classes()

    try:
        return with_arrays(find_biases(keras.saving.load_model(path, compile=False, safe_mode=True)))
    except Exception as error:  # Keras passes on whatever a layer of an unknown class raises
        reason = one_line_error(error).split(". ")[0]
        advice = f". For {', '.join(unknown_classes)[:200]}: {ADVICE}" if unknown_classes else ""
        raise ModelFileError(f"--load: {path}: Keras: {reason}{advice}") from error
