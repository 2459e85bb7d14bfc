"""Starting TensorFlow does not import what it and Keras would take along but do not need here."""

import subprocess
import sys

import pytest

from pipeline.config.schema import PROJECT

PROGRAM = """
import sys
from pipeline.runtime.device import start_tensorflow
start_tensorflow("cpu")
assert not {"jax", "matplotlib.pyplot"} & set(sys.modules)
import jax
assert jax.numpy.ones(2).sum() == 2
"""


@pytest.mark.slow
def test_jax_is_imported_only_where_it_is_asked_for():
    """TensorFlow starts without JAX, which can be imported afterwards."""
    pytest.importorskip("jax")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
