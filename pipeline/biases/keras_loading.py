"""Read the biases of a saved model by loading it with Keras, which knows the layers of registered other classes."""

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.model_files import CONFIG, read_biases
from pipeline.biases.safe_files import one_line_error
from pipeline.biases.safe_hdf5 import open_hdf5, read_texts
from pipeline.biases.variables import Bias
from pipeline.errors import ModelFileError, one_line, require
from pipeline.runtime.device import start_tensorflow

ENDINGS = (".keras", ".h5", ".hdf5")  # of the files of whole models that Keras loads
ADVICE = "in Python, import what defines it, keras.saving.load_model, pipeline.biases.describe_biases"


def load_biases(path: Path, register_classes: Callable[[], None]) -> list[Bias]:
    """Load a `.keras` or whole-model `.h5` or `.hdf5` file with Keras in safe mode; `Bias.values` are NumPy arrays.

    register_classes: registers with Keras the classes that the model may use beyond Keras' own.
    Keras sees only files that `read_biases` accepts. Raises ModelFileError for a file that either of them refuses.
    Keras 3 loads some files of Keras 2, and none of Keras 1.
    """
    unknown_classes = sorted({b.layer_type for b in read_biases(path) if b.kind == "unknown" and b.layer_type})
    ending = _ending_of(path)
    allowed = "a .keras file, or a .h5 or .hdf5 file of a whole model; weights only are read without --load"
    require(ending, "--load", path, allowed)
    version = _version_of(path)
    is_older = version.split(".")[0] in ("0", "1", "2")
    by_older = f"written by Keras {version}, which Keras 3 cannot load; leave out --load"
    if is_older and not version.startswith("2"):
        raise ModelFileError(f"--load: {path}: {by_older}")
    start_tensorflow("cpu")
    import keras

    register_classes()

    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to whoever writes such a model
            named = path
            if path.suffix not in ENDINGS:  # Keras goes by the name alone
                named = Path(folder) / f"model{ending}"
                named.symlink_to(path.resolve())
            return with_arrays(find_biases(keras.saving.load_model(named, compile=False, safe_mode=True)))
    except Exception as error:  # Keras passes on whatever a layer of an unknown class raises
        reason = by_older if is_older else f"Keras: {one_line_error(error).split('. ')[0]}"
        advice = f". For {', '.join(unknown_classes)[:200]}: {ADVICE}" if unknown_classes else ""
        raise ModelFileError(f"--load: {path}: {reason}{advice}") from error


def _ending_of(path: Path) -> str:
    """The ending that Keras expects of a whole model with this content; empty for anything else."""
    if not path.is_file():
        return ""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            return ".keras" if CONFIG in archive.namelist() else ""
    with open_hdf5(path) as opened:
        return ".h5" if "model_config" in opened.attrs else ""


def _version_of(path: Path) -> str:
    """The version of the Keras that wrote a whole model, which `read_biases` has read; empty where it does not say."""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
        version = metadata.get("keras_version") if isinstance(metadata, dict) else ""
    else:
        with open_hdf5(path) as opened:
            version = (read_texts(opened.attrs, "keras_version") or [""])[0]
    return one_line(str(version or ""))
