"""The biases of two models are compared path by path."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import extract
from pipeline.biases.differences import bias_differences, describe_names
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError


def _bias(path, *values):
    return Bias(path, path.split("/")[0], "Dense", "bias", values=np.float32(values))


def test_a_difference_has_drift_cosine_and_sign_flips():
    """All three are computed by hand here; a zero has no sign to flip."""
    (row,) = bias_differences([_bias("a/bias", 0.5, -1, 2, 0)], [_bias("a/bias", 0.5, 1, 2, 0)])
    assert row == {
        "variable": "a/bias", "kind": "bias", "shape": "(4,)", "other_shape": "(4,)", "drift": 2.0,
        "cosine": pytest.approx(3.25 / 5.25), "sign_flips": 1, "only_in": "",
    }  # fmt: skip


def test_a_zero_bias_has_no_angle():
    """The cosine is None, not nan and not a warning."""
    (row,) = bias_differences([_bias("a/bias", 0, 0)], [_bias("a/bias", 3, 4)])
    assert (row["drift"], row["cosine"], row["sign_flips"]) == (5.0, None, 0)


def test_a_bias_of_one_model_only_is_named():
    """only_in says which model has it; the order is that of the first model, then of the second."""
    rows = bias_differences([_bias("b/bias", 1), _bias("a/bias", 1)], [_bias("c/bias", 1), _bias("a/bias", 1)])
    assert [(row["variable"], row["only_in"]) for row in rows] == [
        ("b/bias", "first"), ("a/bias", ""), ("c/bias", "second"),
    ]  # fmt: skip
    assert rows[0]["drift"] is None and rows[0]["shape"] == "(1,)" and rows[0]["other_shape"] == ""


def test_biases_of_different_shapes_are_shown_and_not_compared():
    """Both shapes are in the row, and no numbers."""
    (row,) = bias_differences([_bias("a/bias", 1, 2, 3)], [_bias("a/bias", 1)])
    assert (row["shape"], row["other_shape"]) == ("(3,)", "(1,)")
    assert row["drift"] is row["cosine"] is row["sign_flips"] is None


def test_models_without_values_are_refused():
    """Absent biases cannot be compared."""
    absent = [Bias("a/bias", "a", "Dense", "absent")]
    with pytest.raises(ConfigError, match="neither of the two models"):
        bias_differences(absent, absent)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("td/conv/bias", 1, 2), ("td/bias", 1, 2), "td/conv/bias and td/bias have the same values: files may"),
        (("td/conv/bias", 1, 2), ("td/bias", 3, 4), "td/conv/bias and td/bias have the same shape: files may"),
        (("a/bias", 1), ("b/bias", 1, 2), "no bias has the same name in both models"),
        (("a/bias", 1), ("a/bias", 1, 2), ""),
        (("a/bias", 1), ("a/bias", 2), ""),
    ],
)
def test_names_that_may_differ_are_said(first, second, said):
    """Where a bias of one model only has the values or shape of one of the other, or where no name is in both."""
    line = describe_names([_bias(*first)], [_bias(*second)])
    assert said in line and bool(said) == bool(line) and "\n" not in line


def test_a_pair_of_the_same_values_is_named_before_others():
    """It is the likelier one; how many more there may be is said."""
    first = [_bias("a/bias", 1, 1), _bias("b/bias", 2, 2), _bias("both/bias", 1)]
    second = [_bias("c/bias", 3, 3), _bias("d/bias", 2, 2), _bias("both/bias", 5)]
    line = describe_names(first, second)
    assert "b/bias and d/bias have the same values, and 1 more" in line
    assert describe_names(first, [_bias("both/bias", 5)]) == ""  # a model with fewer layers


def test_files_that_name_a_layer_differently_are_said(capsys):
    """Weights alone do not say which layer TimeDistributed wraps, nor what a Sequential in it is called."""
    files = Path(__file__).with_name("files")
    whole, weights = files / "keras122-frozen.h5", files / "keras122-frozen-weights.h5"
    assert extract.main([str(whole), "--diff", str(weights)]) == 0 and capsys.readouterr().err == ""
    assert extract.main([str(files / "keras216-functional.h5"), "--diff", str(files / "keras216-nested.h5")]) == 0
    assert capsys.readouterr().err.startswith("--diff: f/b1/a/bias and mid/sequential/a/bias have the same ")
