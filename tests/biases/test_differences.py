"""The biases of two models are compared path by path."""

import numpy as np
import pytest

from pipeline.biases.differences import bias_differences
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
