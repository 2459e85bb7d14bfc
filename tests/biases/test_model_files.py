"""Saved models have the biases of the live model, read without Keras and without running any code in them."""

import numpy as np
import pytest
from keras_files import MODELS, config_text, descriptions, keras_file, weights_file

from pipeline.biases import limits
from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases
from pipeline.errors import ConfigError, ModelFileError


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
    ("limit", "most"),
    [("MAX_WEIGHTS_BYTES", 100), ("MAX_JSON_BYTES", 10), ("MAX_ARRAY_BYTES", 4), ("MAX_OBJECTS", 1),
     ("MAX_TOTAL_BYTES", 6)],
)  # fmt: skip
def test_more_than_the_limits_is_not_read(tmp_path, monkeypatch, limit, most):
    """Each limit refuses a file that exceeds it, so that no file fills memory or disk."""
    path = tmp_path / "model.keras"
    path.write_bytes(keras_file())
    monkeypatch.setattr(limits, limit, most)
    with pytest.raises(ModelFileError, match=r"at most|more than|members"):
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
