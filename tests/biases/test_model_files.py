"""Saved models have the biases of the live model, read without Keras and without running any code in them."""

import re

import numpy as np
import pytest
from keras_files import MODELS, config_text, descriptions, keras_file, legacy_file, npy, weights_file, zip_file

from pipeline.biases import limits
from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases
from pipeline.errors import ConfigError, ModelFileError

DROPOUTS = [{"class_name": "Dropout", "config": {"name": f"dropout_{number}"}} for number in range(30)]


@pytest.mark.parametrize("name", MODELS)
def test_a_keras_file_has_the_biases_of_the_live_model(saved_models, name):
    """Biases, paths, kinds, gates and initializers read from a .keras file equal those of the live model."""
    models, folder = saved_models
    assert descriptions(read_biases(folder / f"{name}.keras")) == descriptions(find_biases(models[name]))


def test_a_run_folder_has_the_biases_after_training(tmp_path):
    """Of the arrays of a stored run, those after training are read, and no others."""
    epochs = {"trajectory/dense/bias": np.zeros((3, 2)), "epoch": np.arange(3)}
    arrays = {"before/dense/bias": np.zeros(2), "after/dense/bias": np.ones(2), "after/norm/beta (2)": np.ones(1)}
    np.savez(tmp_path / "biases.npz", **arrays, **epochs)
    dense, norm = read_biases(tmp_path)
    assert (dense.path, dense.layer, dense.kind, dense.values.tolist()) == ("dense/bias", "dense", "bias", [1, 1])
    assert (norm.path, norm.layer, norm.kind) == ("norm/beta (2)", "norm", "beta")


def test_code_in_a_config_does_not_run(tmp_path):
    """The code of a Lambda layer and a class of another module are neither run nor imported."""
    canary = tmp_path / "canary"
    code = {"class_name": "__lambda__", "config": {"code": f"__import__('os').mkdir({str(canary)!r})"}}
    layers = [{"module": "keras.layers", "class_name": "Lambda", "config": {"name": "code", "function": code}},
              {"module": "os", "class_name": "system", "config": {"name": f"mkdir {canary.name}"}}]  # fmt: skip
    path = tmp_path / "model.keras"

    def add(weights):
        for group, name in (("lambda", "code"), ("system", f"mkdir {canary.name}")):
            weights.create_group(f"layers/{group}/vars").attrs["name"] = name

    path.write_bytes(keras_file(config=config_text(*layers), weights=weights_file(add)))
    assert [bias.path for bias in read_biases(path)] == ["dense/bias"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (zip_file(("x.txt", "x")), "a.keras", "an archive without config.json"),
        (zip_file(("config.json", "{}")), "a.keras", "an archive without model.weights.h5"),
        (zip_file(("bias.npy", npy(np.ones(2)))), "a.npz", "an npz of bias, none of which is a bias by its path"),
        (zip_file(("x/\x1b[2J.npy", npy(np.ones(2)))), "a.npz", "is no bias's path"),
        (
            weights_file(lambda file: file.pop("layers")),
            "a.h5",
            "contains nothing, neither a model nor weights that Keras saved",
        ),
        (b"{}", "a.weights.json", "save them in one .weights.h5"),
        (b"GIF89a", "a.gif", "neither a .keras, .weights.h5, .h5 or .npz file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, name, reason):
    """The refusal says what the file lacks."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=re.escape(reason)):
        read_biases(path)


@pytest.mark.parametrize(
    ("limit", "most", "content", "reason"),
    [
        ("MAX_WEIGHTS_BYTES", 100, keras_file(), "model.weights.h5 is"),
        ("MAX_WEIGHTS_BYTES", 4, weights_file(), "attributes that can be 5 bytes of text"),
        ("MAX_JSON_BYTES", 10, keras_file(), "config.json is"),
        ("MAX_JSON_BYTES", 10, legacy_file(), "attribute model_config is too large"),
        ("MAX_ARRAY_BYTES", 4, weights_file(), "/layers/dense/vars/1 is 8 bytes"),
        ("MAX_ARRAY_BYTES", 20, zip_file(("a/bias.npy", npy(np.ones(2)))), "a/bias.npy is too large"),
        ("MAX_OBJECTS", 1, keras_file(), "2 members"),
        ("MAX_OBJECTS", 1, weights_file(), "more than 1 groups and datasets"),
        ("MAX_OBJECTS", 20, legacy_file(*DROPOUTS), "more than 20 layers"),
        ("MAX_OBJECTS", 20, keras_file(config=config_text(*DROPOUTS)), "more than 20 layers"),
        ("MAX_TOTAL_BYTES", 6, weights_file(), "more than 6 bytes of values"),
        ("MAX_GROUP_DEPTH", 1, weights_file(), "groups nested deeper than 1"),
        ("MAX_LAYER_DEPTH", 0, keras_file(), "layers nested deeper than 0"),
    ],
)
def test_more_than_the_limits_is_not_read(tmp_path, monkeypatch, limit, most, content, reason):
    """Each limit refuses a file that exceeds it, so that no file fills memory or disk."""
    path = tmp_path / "model"
    path.write_bytes(content)
    read_biases(path)
    monkeypatch.setattr(limits, limit, most)
    with pytest.raises(ModelFileError, match=re.escape(reason)):
        read_biases(path)


def test_any_damage_is_harmless_or_refused_in_one_line(tmp_path):
    """A file with random bytes in it, or cut off anywhere, is read or refused; nothing else happens."""
    draw = np.random.default_rng(1)
    path = tmp_path / "model.keras"
    refused = 0
    for whole in (keras_file(), weights_file()):
        for number in range(150):
            content = bytearray(whole)
            for position in draw.integers(0, len(content), 1 + number % 8):
                content[position] = draw.integers(0, 256)
            path.write_bytes(content[: len(content) if number % 3 else draw.integers(0, len(content))])
            try:
                read_biases(path)
            except ConfigError as error:
                assert isinstance(error, ModelFileError) and "\n" not in str(error)
                refused += 1
    assert refused > 100


def test_a_run_without_biases_has_none(tmp_path):
    """Its biases.npz holds the epochs of a trajectory that has no bias."""
    path = tmp_path / "biases.npz"
    np.savez(path, epoch=np.arange(3))
    assert read_biases(path) == read_biases(tmp_path) == []
