"""The figure of tuned values holds the numbers of its frame, on an axis that fits the values."""

from itertools import product

import pandas as pd
import pytest
from factories import found

from pipeline.report.figures.tuning import is_geometric, tuned_values

RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01)


def curve(arms: list[str], seconds: tuple[float, ...] = ()) -> pd.DataFrame:
    """An arm chooses its own place in the grid, the first one twice."""
    points = list(product(RATES, seconds)) if seconds else [(rate,) for rate in RATES]
    rows = [
        {"arm": arm, "rest": "", "points": point, "chosen": 2 * (k == i), "mean": 0.9 + 0.01 * i - 0.001 * k}
        for (i, arm), (k, point) in product(enumerate(arms), enumerate(points))
    ]
    return pd.DataFrame(rows).assign(low=lambda frame: frame["mean"] - 0.01, high=lambda frame: frame["mean"] + 0.01)


@pytest.mark.parametrize("seconds", [(), pytest.param((16.0, 32.0), marks=pytest.mark.slow)])
def test_it_can_be_drawn(arms, check_picture, seconds):
    """The figure is valid and shows something, of one key and of two."""
    keys = ("optimizer.learning_rate", "training.batch_size")[: 1 + bool(seconds)]
    check_picture(tuned_values(curve(arms, seconds), arms, keys, {"": 0.001}, "test_accuracy", "val_accuracy"))


def test_it_holds_the_numbers_of_its_frame(data_of, colour_domains):
    """A row per arm and value, a panel per value of the second key, one order of colours; chosen values are told."""
    arms = ["zeros", "ones"]
    chart = tuned_values(curve(arms, (16.0, 32.0)), arms, ("a", "b"), {"": 0.001}, "test_loss", "val_loss")
    data = data_of(chart)
    assert len(data) == 20 and set(data["panel"]) == {"b=16", "b=32"}
    assert data["value"].nunique() == 5 and (data["halves"] == "both halves").sum() == 2
    assert all(domain == arms for domain in colour_domains(chart)) and len(chart.to_dict()["concat"]) == 2


def test_the_axis_fits_the_values():
    """A geometric series has a log scale, an arithmetic one a linear scale."""
    assert is_geometric(RATES) and is_geometric([3, 10, 32, 100]) and is_geometric([0.001, 0.01])
    assert not is_geometric([10, 20, 30, 40, 50]) and not is_geometric([0.8, 0.9]) and not is_geometric([0, 1, 10])
    spec = tuned_values(curve(["zeros"]), ["zeros"], ("a",), {"": 0.001}, "test_loss", "val_loss").to_dict()
    assert {scale["type"] for scale in found(spec, "scale") if "type" in scale} == {"log"}
