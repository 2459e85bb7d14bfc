"""The layers in the config of any Keras 3 are found; a config that Keras would not write is refused."""

import io
import zipfile

import h5py
import pytest
from keras_files import config_text, descriptions, keras_file

from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import CONFIG, WEIGHTS_FILE, read_biases
from pipeline.errors import ModelFileError


@pytest.mark.parametrize("name", ["dense", "renamed", "wrapped", "shared"])
def test_files_without_layer_names_are_read_by_class_and_count(saved_models, tmp_path, name):
    """A file of an earlier Keras 3, whose groups have no name attribute, has the biases of the live model."""
    models, folder = saved_models
    target = tmp_path / f"{name}.keras"
    with zipfile.ZipFile(folder / f"{name}.keras") as new, zipfile.ZipFile(target, "w") as old:
        content = io.BytesIO(new.read(WEIGHTS_FILE))
        with h5py.File(content, "r+") as weights:
            weights.visititems(lambda _, member: member.attrs.pop("name", None) and None)
        old.writestr(WEIGHTS_FILE, content.getvalue(), zipfile.ZIP_DEFLATED)
        old.writestr(CONFIG, new.read(CONFIG), zipfile.ZIP_DEFLATED)
    assert descriptions(read_biases(target)) == descriptions(find_biases(models[name]))


def _nested(depth: int) -> str:
    inner = {"class_name": "Dense", "config": {"name": "d"}}
    for _ in range(depth):
        inner = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    return config_text(inner)


def _doubled(depth: int) -> str:
    """Nested Bidirectional layers: each has two layers for one in its config."""
    inner = {"class_name": "Dropout", "config": {"name": "d"}}
    for _ in range(depth):
        inner = {"class_name": "Bidirectional", "config": {"name": "b", "layer": inner}}
    return config_text(inner)


# What is wrong with a config: the config, and what the refusal says.
CONFIGS = {
    "JSON of endless depth": ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested deeper"),
    "layers of endless depth": (_nested(400), "nested deeper"),
    "layers without number": (_doubled(40), "layers"),
    "a list": ("[]", "not what Keras writes"),
    "no JSON": ("{", "not what Keras writes"),
    "another model's": (
        config_text({"module": "keras.layers", "class_name": "Dense", "config": {"name": "more"}}),
        "nothing of layer more",
    ),
    "a name that moves the cursor": (config_text().replace('"dense"', r'"\u001b[2Jx"'), "is no layer's name"),
    "a name that is a folder": (config_text().replace('"dense"', '"../x"'), "is no layer's name"),
    "a class that moves the cursor": (config_text().replace('"Dense"', r'"\u001b[2Jx"'), "cannot be printed"),
}


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_config_that_keras_would_not_write_is_refused(tmp_path, fault):
    """The refusal is one line that names the file and the reason."""
    config, reason = CONFIGS[fault]
    path = tmp_path / "model.keras"
    path.write_bytes(keras_file(config=config))
    with pytest.raises(ModelFileError) as refusal:
        read_biases(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and reason in message and "\n" not in message and len(message) < 500
