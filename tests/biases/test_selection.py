"""Biases are selected by layer and kind, and a selection that leaves none is refused."""

import pytest

from pipeline.biases.selection import select_biases
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError

BIASES = [
    Bias("encoder/conv/bias", "encoder/conv", "Conv2D", "bias"),
    Bias("encoder/norm/beta", "encoder/norm", "BatchNormalization", "beta"),
    Bias("[red]dense/bias", "[red]dense", "Dense", "bias"),
    Bias("out/bias", "out", "Dense", "absent"),
]


@pytest.mark.parametrize(
    ("layer", "kind", "paths"),
    [
        (None, None, [bias.path for bias in BIASES]),
        ("encoder/*", None, ["encoder/conv/bias", "encoder/norm/beta"]),
        ("encoder/*", "beta", ["encoder/norm/beta"]),
        ("*/bias", None, ["encoder/conv/bias", "[red]dense/bias", "out/bias"]),
        ("[red]dense", None, ["[red]dense/bias"]),  # an exact name, though [red] is a pattern for r, e or d
        (None, "absent", ["out/bias"]),
    ],
)
def test_layers_and_kinds_are_selected(layer, kind, paths):
    """A pattern selects by the layer or by the whole path, an exact name selects whatever letters it has."""
    assert [bias.path for bias in select_biases(BIASES, "model.keras", layer, kind)] == paths


@pytest.mark.parametrize(
    ("biases", "layer", "kind", "message"),
    [
        ([], None, None, "model.keras: none of its layers has a bias"),
        (BIASES, None, "unknown", "--kind: model.keras has no unknown; allowed: bias, beta, absent"),
        (BIASES, "dense", None, "--layer: dense matches no layer of model.keras; nearest: [red]dense"),
        (BIASES, "zzz", "beta", "--layer: zzz matches no layer of model.keras; allowed: encoder/norm"),
        (BIASES, "", None, "--layer:  matches no layer of model.keras; allowed: encoder/conv"),
    ],
)
def test_an_empty_selection_is_refused(biases, layer, kind, message):
    """The message says what is allowed: the kinds that the model has, the nearest layers."""
    with pytest.raises(ConfigError) as refusal:
        select_biases(biases, "model.keras", layer, kind)
    assert message in str(refusal.value)
