"""Numbers in a metric's own precision."""

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.formatting import number_format, p_value, plain_rows


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.97361, 0.0025, "0.9736"),
        (3012.3, 45.0, "3012"),
        (0.5, np.nan, "0.5000"),
        (12.3456, 1.5, "12.3"),
        (0.0, 0.0, "0.000"),
        (-0.00001, 0.02, "0.000"),
        (1.234e-9, 2e-10, "1.23e-09"),
        (1.234e12, 2e11, "1.23e+12"),
    ],
)
def test_numbers_have_their_metrics_precision(value: float, half: float, text: str) -> None:
    """Numbers show two digits of their interval's half width, and zero has no sign."""
    rows = plain_rows(pd.DataFrame({"mean": [value], "ci_low": [value - half], "ci_high": [value + half]}))
    assert number_format(rows)(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0312, "0.031"), (0.0502, "0.0502"), (0.56, "0.56"), (1, "1")]
)
def test_a_p_value_is_never_0_nor_the_level_it_missed(p: float, text: str) -> None:
    """p = 0.0502 is not rounded to 0.05, which would contradict `undecided`."""
    assert p_value(p) == text


def test_plain_rows_can_be_json() -> None:
    """Values become Python's own types, and missing or infinite ones None."""
    frame = pd.DataFrame({"a": [1.5, np.nan, np.inf], "b": pd.array([1, None, 3], "Int64"), "c": [True, np.nan, "x"]})
    assert plain_rows(frame) == [
        {"a": 1.5, "b": 1, "c": True}, {"a": None, "b": None, "c": None}, {"a": None, "b": 3, "c": "x"},
    ]  # fmt: skip
    assert [type(row["b"]) for row in plain_rows(frame)] == [int, type(None), int]


def test_the_narrowest_interval_is_not_shown_as_none():
    """One arm whose seeds hardly differ has digits for it, beside another with a wide interval."""
    rows = [{"mean": 0.0924, "ci_low": 0.0895, "ci_high": 0.0953}, {"mean": 0.55, "ci_low": -1.05, "ci_high": 2.15},
            {"mean": 0.62, "ci_low": -0.98, "ci_high": 2.22}]  # fmt: skip
    number = number_format(rows)
    assert (number(0.0924), number(0.0029), number(1.6)) == ("0.092", "0.003", "1.600")
