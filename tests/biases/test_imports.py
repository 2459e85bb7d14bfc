"""The package and the readers of files import neither Keras nor TensorFlow nor pandas."""

import subprocess
import sys

import pytest
from keras_files import FORMATS

from pipeline.config.schema import PROJECT

HEAVY = ("tensorflow", "keras", "mlflow", "hydra", "pandas", "scipy", "altair")


def _heavy_imports(code: str) -> list[str]:
    """The heavy packages that a fresh Python has imported after running the code."""
    code += f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "from pipeline.biases import describe_biases, extract_biases",
        "from pipeline import extract\ntry: extract.main(['--help'])\nexcept SystemExit as stop: assert stop.code == 0",
    ],
    ids=["package", "help"],
)
def test_the_package_and_the_help_import_nothing_heavy(code):
    """`from pipeline.biases import extract_biases` and `--help` are quick."""
    assert _heavy_imports(code) == "[]"


def test_reading_a_file_imports_nothing_heavy(saved_models):
    """Files of all three formats are read and shown without Keras, TensorFlow and pandas."""
    _, folder = saved_models
    files = [str(folder / f"wrapped.{file_format}") for file_format in FORMATS]
    code = f"from pipeline import extract\nfor file in {files}: assert extract.main([file]) == 0"
    assert _heavy_imports(code) == "[]"
