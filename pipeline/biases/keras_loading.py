"""Read the biases of a saved model by loading it with Keras, which knows the layers of registered other classes."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.model_files import CONFIG, read_biases
from pipeline.biases.safe_files import one_line_error
from pipeline.biases.safe_hdf5 import open_hdf5
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
    ending = _ending_of(path)
    allowed = "a .keras file, or a .h5 or .hdf5 file of a whole model; weights only are read without --load"
    require(ending, "--load", path, allowed)
    start_tensorflow("cpu")
    import keras

    register_classes()

    try:
        with tempfile.TemporaryDirectory() as folder:
            named = path
            if path.suffix not in ENDINGS:  # Keras goes by the name alone
                named = Path(folder) / f"model{ending}"
                named.symlink_to(path.resolve())
            return with_arrays(find_biases(keras.saving.load_model(named, compile=False, safe_mode=True)))
    except Exception as error:  # Keras passes on whatever a layer of an unknown class raises
        if _is_of_keras_2(path):
            by_older = "written by Keras 2 (tf_keras), which Keras 3 does not load; leave out --load"
            raise ModelFileError(f"--load: {path}: {by_older}") from error
        reason = one_line_error(error).split(". ")[0]
        advice = f". For {', '.join(unknown_classes)[:200]}: {ADVICE}" if unknown_classes else ""
        raise ModelFileError(f"--load: {path}: Keras: {reason}{advice}") from error


def _ending_of(path: Path) -> str:
    """The ending that Keras expects of a whole model with this content; empty for anything else."""
    if not path.is_file():
        return ""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            return ".keras" if CONFIG in archive.namelist() else ""
    with open_hdf5(path) as opened:
        return ".h5" if "model_config" in opened.attrs else ""


def _is_of_keras_2(path: Path) -> bool:
    """Whether a .keras archive, which `read_biases` has read, says that Keras 2 wrote it."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    return isinstance(metadata, dict) and str(metadata.get("keras_version")).startswith("2.")
