"""Numbers of a column have one number of digits."""

import pytest

from pipeline.analysis.formatting import number_format
from pipeline.report.format import column_format, interval_texts


@pytest.mark.parametrize(
    ("values", "significant", "texts"),
    [
        ([0.1234, 1.5, 0.98765], 3, ["0.123", "1.500", "0.988"]),
        ([12.3456, 0.5, 100.0], 3, ["12.3", "0.5", "100.0"]),
        ([0.97222, 0.5], 4, ["0.9722", "0.5000"]),
        ([2.0, 12.0], 3, ["2", "12"]),
        ([10, 360, 0], 3, ["10", "360", "0"]),
        ([0.0, 0.0], 3, ["0", "0"]),
        ([1.5e-9, 0.3, 0.0], 3, ["1.50e-09", "3.00e-01", "0"]),  # never 0.000 for what is not 0
        ([-0.001, -0.5], 3, ["-0.001", "-0.500"]),
        ([1e-17, 0.5], 3, ["0.000", "0.500"]),  # what rounding leaves
        ([3e9, 0.5], 3, ["3.00e+09", "5.00e-01"]),
    ],
)  # fmt: skip
def test_a_column_has_one_number_of_digits(values: list[float], significant: int, texts: list[str]) -> None:
    """That of its middle number; an exponent where a small one would be shown as 0."""
    assert [column_format(values, significant)(value) for value in values] == texts


def test_intervals_of_a_column_have_one_number_of_digits() -> None:
    """That of the middle width; more only where the sign of an end would be lost."""
    rows = [(0.1, 0.05, 0.15), (0.123456, 0.1, 0.15), (-0.025, -0.05, -0.0002), (0.5, None, None), (None, None, None)]
    texts = ["+0.100 [+0.050, +0.150]", "+0.123 [+0.100, +0.150]", "-0.025 [-0.050, -0.0002]", "+0.500", ""]
    assert interval_texts(rows) == texts
    assert interval_texts([(0.123456, None, None)]) == ["+0.123"]


@pytest.mark.parametrize(
    ("metric", "means", "texts"),
    [
        ("best_epoch", [6.0, 11.0], ["6", "11"]),
        ("epochs_to_val_accuracy_0.9", [6.0, 3.0], ["6", "3"]),
        ("epochs_run", [6.5, 11.0], ["6.50", "11.00"]),
        ("test_accuracy", [1.0, 0.5], ["1.000", "0.500"]),
    ],
)
def test_whole_epochs_have_no_decimals(metric: str, means: list[float], texts: list[str]) -> None:
    """Where there is no interval that asks for some."""
    rows = [{"metric": metric, "mean": mean, "ci_low": None, "ci_high": None} for mean in means]
    assert [number_format(rows)(mean) for mean in means] == texts
