"""Whole-model `.h5` files of the legacy format have the biases of the live model."""

import pytest
from keras_files import MODELS, descriptions

from pipeline.biases.extraction import find_biases
from pipeline.biases.model_files import read_biases


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
