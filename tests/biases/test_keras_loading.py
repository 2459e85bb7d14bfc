"""Keras loads models in safe mode, and what it cannot load is explained."""

from pathlib import Path

import numpy as np
import pytest
from keras_files import descriptions, keras_file

from pipeline.biases.extraction import find_biases
from pipeline.biases.keras_loading import load_biases
from pipeline.biases.model_files import read_biases
from pipeline.errors import ConfigError, ModelFileError

FILES = Path(__file__).with_name("files")


def _register_nothing():
    pass


@pytest.fixture(scope="module")
def offset_class(keras):
    """A layer class that Keras does not know when it loads a model, unless it is registered."""

    class Offset(keras.layers.Layer):
        def build(self, shape):
            self.shift = self.add_weight(shape=(3,), name="shift")
            self.inner = keras.layers.Dense(3, name="inner")
            self.inner.build(shape)

        def call(self, x):
            return self.inner(x) + self.shift

    return Offset


@pytest.mark.parametrize("file_format", ["keras", "h5"])
def test_a_loaded_model_has_the_biases_of_the_live_model(saved_models, file_format):
    """Loading gives the same biases, and arrays as their values."""
    models, folder = saved_models
    biases = load_biases(folder / f"dense.{file_format}", _register_nothing)
    assert descriptions(biases) == descriptions(find_biases(models["dense"]))
    assert all(isinstance(bias.values, np.ndarray) for bias in biases if bias.kind != "absent")


def test_an_hdf5_file_is_loaded_as_an_h5_file(saved_models, tmp_path):
    """Keras takes both endings for a whole model of the legacy format."""
    models, folder = saved_models
    path = tmp_path / "dense.hdf5"
    path.write_bytes((folder / "dense.h5").read_bytes())
    assert descriptions(load_biases(path, _register_nothing)) == descriptions(find_biases(models["dense"]))


def test_only_whole_models_are_loaded(saved_models):
    """A weights file is refused: it has no model."""
    _, folder = saved_models
    with pytest.raises(ConfigError, match=r"--load: .*allowed: a \.keras file, or a \.h5 or \.hdf5 file"):
        load_biases(folder / "dense.weights.h5", _register_nothing)


def test_keras_sees_no_file_that_the_reader_refuses(tmp_path):
    """A hostile archive is refused before Keras opens it."""
    path = tmp_path / "model.keras"
    path.write_bytes(keras_file(("../x", b"")))
    with pytest.raises(ModelFileError, match="points out of the archive"):
        load_biases(path, lambda: pytest.fail("Keras was asked"))


@pytest.mark.parametrize("file_format", ["keras", "h5"])
def test_the_code_of_a_lambda_layer_does_not_run(keras, tmp_path, monkeypatch, file_format):
    """Safe mode refuses it, in one line."""
    monkeypatch.chdir(tmp_path)
    canary, path = tmp_path / "canary", tmp_path / f"model.{file_format}"
    code = keras.layers.Lambda(lambda x: __import__("os").makedirs("canary", exist_ok=True) or x, output_shape=(3,))
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), code]).save(path)
    if canary.exists():
        canary.rmdir()
    with pytest.raises(ModelFileError, match=r"--load: .*Keras: ") as refusal:
        load_biases(path, _register_nothing)
    assert "\n" not in str(refusal.value)
    assert [bias.kind for bias in read_biases(path)] == ["bias"] and not canary.exists()


@pytest.mark.parametrize("file_format", ["keras", "h5"])
def test_a_class_that_keras_does_not_know_is_explained(keras, tmp_path, offset_class, file_format):
    """The refusal names the class and says how to read the model in Python; without Keras its variables are unknown."""
    path = tmp_path / f"model.{file_format}"
    keras.Sequential([keras.Input((3,)), offset_class(name="offset")]).save(path)
    with pytest.raises(ModelFileError, match="For Offset: in Python, import what defines it") as refusal:
        load_biases(path, _register_nothing)
    assert "\n" not in str(refusal.value)
    layer_types = {bias.layer: bias.layer_type for bias in read_biases(path) if bias.kind == "unknown"}
    assert layer_types["offset"] == "Offset"


def test_registered_classes_are_loaded(keras, tmp_path, offset_class):
    """`register_classes` runs before Keras loads the model; the sublayers of such a class have their biases."""
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), offset_class(name="offset")]).save(path)
    with keras.saving.CustomObjectScope({}):
        scope = keras.saving.get_custom_objects()
        biases = load_biases(path, lambda: scope.update({"Offset": offset_class}))
        scope.pop("Offset")
    assert [(bias.path, bias.kind) for bias in biases] == [
        ("offset/shift", "unknown"), ("offset/inner/bias", "bias"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["DENSE.H5", "dense", "dense.model"])
def test_a_file_of_any_name_is_loaded_by_its_content(saved_models, tmp_path, name):
    """Keras goes by the ending; the command by what is in the file."""
    models, folder = saved_models
    path = tmp_path / name
    path.write_bytes((folder / ("dense.keras" if name == "dense" else "dense.h5")).read_bytes())
    assert descriptions(load_biases(path, _register_nothing)) == descriptions(find_biases(models["dense"]))


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("keras122-mlp.h5", "1.2.2"),
        ("keras224-depthwise.h5", "2.2.4"),
        ("tfkeras-functional.h5", "2.21.0"),
        ("tfkeras-functional.keras", "2.21.0"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".hdf5"])
def test_a_file_of_an_earlier_keras_is_explained(tmp_path, name, version, ending):
    """Keras 3 refuses it for a reason that helps nobody; without --load it is read. Every warning is an error here."""
    path = tmp_path / f"model{ending}"
    path.write_bytes((FILES / name).read_bytes())
    with pytest.raises(ModelFileError) as refusal:
        load_biases(path, _register_nothing)
    reason = f"written by Keras {version}, which Keras 3 cannot load; leave out --load"
    assert str(refusal.value) == f"--load: {path}: {reason}"
    assert read_biases(path)


def test_weights_of_keras_2_are_refused_with_what_to_do():
    """They have no model that could be loaded."""
    path = FILES / "keras224-weights-only.h5"
    with pytest.raises(ConfigError, match="weights only are read without --load"):
        load_biases(path, _register_nothing)
