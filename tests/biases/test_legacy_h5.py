"""Whole-model `.h5` files of the legacy format have the biases of the live model."""

import json

import h5py
import numpy as np
import pytest
from keras_files import MODELS, descriptions, legacy_file

from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases
from pipeline.errors import ModelFileError


@pytest.mark.parametrize("name", [name for name in MODELS if name != "shared"])
def test_a_legacy_file_has_the_biases_of_the_live_model(saved_models, name):
    """Biases, paths, kinds, gates and initializers read from a whole-model .h5 equal those of the live model."""
    models, folder = saved_models
    assert descriptions(read_biases(folder / f"{name}.h5")) == descriptions(find_biases(models[name]))


def test_a_layer_in_two_places_is_read_twice(saved_models):
    """A legacy file stores a layer wherever it is used: it has all biases of the live model, and that layer's again."""
    models, folder = saved_models
    live = {row["path"]: row for row in descriptions(find_biases(models["shared"]))}
    read = {row["path"]: row for row in descriptions(read_biases(folder / "shared.h5"))}
    assert {path: read[path] for path in live} == live
    assert {path.split("/")[0] for path in set(read) - set(live)} == {"inner"}  # which `deep` contains as well


OWN = {"class_name": "package>Own", "config": {"name": "own"}}
DENSE = "model_weights/dense"


def _own(name: str):
    """Add a variable of this name to the layer of another library."""

    def change(file: h5py.File) -> None:
        group = file.create_group("model_weights/own")
        group.attrs["weight_names"], group[name] = [name], np.ones(2, np.float32)

    return change


def test_the_variables_of_a_layer_of_another_library_are_unknown(tmp_path):
    """They are named by the ends of their own names, whatever these ends are."""
    path = tmp_path / "model.h5"
    path.write_bytes(legacy_file(OWN, change=_own("own/deep/bias:0")))
    assert [(b.path, b.layer_type, b.kind) for b in read_biases(path)] == [
        ("own/deep/bias", "Own", "unknown"), ("dense/bias", "Dense", "bias"),
    ]  # fmt: skip


def _own_of(**shapes: tuple[int, ...]):
    """Add variables of these names and shapes to the layer of another library."""

    def change(file: h5py.File) -> None:
        group = file.create_group("model_weights/own")
        group.attrs["weight_names"] = [f"own/{name}:0" for name in shapes]
        for name, shape in shapes.items():
            group[f"own/{name}:0"] = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

    return change


# The shapes of the variables of a layer of another library, and those that are biases or may be.
OTHERS = [
    ({"kernel": (3, 2), "bias": (2,)}, {"own/bias": "bias"}),
    ({"kernel": (15, 4, 32), "bias": (32,), "shift": (32,)}, {"own/bias": "bias", "own/shift": "unknown"}),
    ({"depthwise_kernel": (3, 3, 4, 2), "bias": (8,)}, {"own/bias": "bias"}),
    ({"kernel": (3, 3, 5, 4), "bias": (5,)}, {"own/bias": "bias"}),  # as of a transposed convolution
    ({"gamma": (4,), "beta": (4,)}, {"own/beta": "beta"}),
    ({"kernel": (3, 2), "bias": (3,)}, {"own/kernel": "unknown", "own/bias": "unknown"}),
    ({"kernel": (3, 2), "bias": (1, 2)}, {"own/kernel": "unknown", "own/bias": "unknown"}),
    ({"kernel": (3,), "bias": (3,)}, {"own/kernel": "unknown", "own/bias": "unknown"}),
    ({"kernel": (3, 2)}, {"own/kernel": "unknown"}),
    ({"bias": (2,)}, {"own/bias": "unknown"}),
    ({"gamma": (4,), "beta": (2,)}, {"own/gamma": "unknown", "own/beta": "unknown"}),
    ({"beta": (4,)}, {"own/beta": "unknown"}),
]


@pytest.mark.parametrize(("shapes", "kinds"), OTHERS)
def test_a_bias_beside_its_kernel_is_one_in_any_layer(tmp_path, shapes, kinds):
    """Of another library too: its shape is that of the kernel's outputs. All else may be one."""
    path = tmp_path / "model.h5"
    path.write_bytes(legacy_file(OWN, change=_own_of(**shapes)))
    read = [bias for bias in read_biases(path) if bias.layer == "own"]
    assert {bias.path: bias.kind for bias in read} == kinds
    assert {bias.layer_type for bias in read} == {"Own"}
    for bias in read:
        np.testing.assert_array_equal(bias.values, np.arange(bias.values.size).reshape(bias.values.shape))


def test_a_layer_of_keras_with_variables_that_its_config_contradicts_is_unknown(tmp_path):
    """A Dense layer without bias has none, whatever the file calls a variable."""
    plain = {"class_name": "Dense", "config": {"name": "own", "use_bias": False}}
    path = tmp_path / "model.h5"
    path.write_bytes(legacy_file(plain, change=_own_of(kernel=(3, 2), bias=(2,))))
    assert {bias.path: bias.kind for bias in read_biases(path) if bias.layer == "own"} == {
        "own/kernel": "unknown", "own/bias": "unknown",
    }  # fmt: skip


def _of_keras_1(name: str, units: int) -> dict:
    return {"class_name": "Dense", "config": {"name": name, "output_dim": units, "bias": True}}


def _sequential(*layers: dict) -> dict:
    return {"class_name": "Sequential", "config": list(layers)}


def test_models_without_names_have_those_of_their_class(tmp_path):
    """Keras 1 and 2 store no name of a Sequential within another; those beside each other are numbered."""
    merge = {
        "class_name": "Merge",
        "config": {"name": "m", "layers": [_sequential(_of_keras_1("a", 2)), _of_keras_1("b", 2)]},
    }
    inner = _sequential(_sequential(merge, _of_keras_1("c", 2)), _sequential(_of_keras_1("d", 2)))
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": "1.2.2", "model_config": json.dumps(_sequential(inner))})
        group = file.create_group("model_weights/inner")
        file["model_weights"].attrs["layer_names"] = ["inner"]
        group.attrs["weight_names"] = [f"{name}_{end}:0" for name in "abcd" for end in "Wb"]
        for number, name in enumerate("abcd"):
            group[f"{name}_W:0"], group[f"{name}_b:0"] = np.ones((2, 2)), np.full(2, number)
    assert {bias.path: bias.values[0] for bias in read_biases(path)} == {
        "inner/sequential/a/bias": 0, "inner/sequential/b/bias": 1, "inner/sequential/c/bias": 2,
        "inner/sequential_1/d/bias": 3,
    }  # fmt: skip


# What is wrong with a file: its layers besides the Dense layer, a change of it, and what the refusal says.
FAULTS = {
    "a variable twice": ([], lambda file: file[DENSE].attrs.__setitem__("weight_names", ["dense/bias:0"] * 2),
                         "lists a variable twice"),
    "a variable that is a group": ([], lambda file: file[DENSE].attrs.__setitem__("weight_names", ["dense"]),
                                   "dense is no dataset"),
    "a layer without its group": ([], lambda file: file.pop(DENSE), "nothing of layer dense in it: truncated"),
    "a layer that is an array": ([], lambda file: (file.pop(DENSE), file.__setitem__(DENSE, np.ones(2))),
                                 "dense is no group"),
    "a name that moves the cursor": ([OWN], _own("own/\x1b[2Jx:0"), "is no variable's name"),
    "a name that is a folder": ([OWN], _own("own/../x:0"), "is no layer's name"),
    "a config that is a number": ([], lambda file: file.attrs.__setitem__("model_config", 3), "is no text"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_keras_would_not_write_is_refused(tmp_path, fault):
    """The refusal is one line that names the file and the reason."""
    layers, change, reason = FAULTS[fault]
    path = tmp_path / "model.h5"
    path.write_bytes(legacy_file(*layers, change=change))
    with pytest.raises(ModelFileError) as refusal:
        read_biases(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and reason in message and "\n" not in message
