"""Standardized values keep what the data tell apart, however far from 0 they lie."""

import numpy as np
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import INDICATOR, NUMBER, Dataset, classification, regression
from pipeline.data.precision import compact
from pipeline.data.splits import split_rows, standardized_inputs, standardized_targets
from pipeline.data.suspicions import suspicions

FAR = {
    "unix seconds": 1.6e9 + 15 * np.arange(240),
    "ids near 1e12": 10**12 + np.arange(240) * 3,
    "nanoseconds": 1.7e18 + 1e9 * np.arange(240),
    "years": 1950 + np.arange(240) / 4,
    "small numbers": 1e-20 * np.arange(240),
    "large numbers": 1e35 * np.arange(240),
    "the smallest numbers": 1e-300 * np.arange(240),
}


def settings(**more) -> Data:
    return Data(name="d", source="file", **more)


def all_rows(dataset: Dataset) -> np.ndarray:
    return np.arange(len(dataset.x))


@pytest.mark.parametrize("values", FAR.values(), ids=FAR.keys())
def test_neighbours_stay_apart(values: np.ndarray) -> None:
    """Each of 240 different values is another one after standardizing, and is the one that float64 gives."""
    noise = np.random.default_rng(0).normal(size=240)
    dataset = classification(np.column_stack([values, noise]), np.arange(240) % 2, "ab")
    split = split_rows(dataset, settings(), 0)
    x = standardized_inputs(dataset, split, all_rows(dataset))
    assert x.dtype == np.float32
    assert len(np.unique(x[:, 0])) == 240
    in_units = np.float64(values) / np.abs(values).max()
    train = in_units[split.train]
    np.testing.assert_allclose(x[:, 0], (in_units - train.mean()) / train.std(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("values", FAR.values(), ids=FAR.keys())
def test_targets_of_a_regression_stay_apart(values: np.ndarray) -> None:
    """The same holds for what is predicted, alone and beside another target."""
    x = np.random.default_rng(0).normal(size=(240, 2))
    for y in (values, np.column_stack([values, x[:, 0]])):
        dataset = regression(x, y)
        split = split_rows(dataset, settings(), 0)
        targets = standardized_targets(dataset, split, all_rows(dataset)).reshape(240, -1)
        assert targets.dtype == np.float32
        assert len(np.unique(targets[:, 0])) == 240
        train = np.float64(values)[split.train] / np.abs(values).max()
        np.testing.assert_allclose(
            targets[:, 0], (values / np.abs(values).max() - train.mean()) / train.std(), rtol=1e-6, atol=1e-6
        )


def test_ordinary_numbers_take_half_the_memory() -> None:
    """float32 where it is enough, whatever the values come as; pictures of bytes too."""
    ordinary = np.random.default_rng(0).normal(5, 1, (100, 3))
    assert compact(ordinary).dtype == compact(np.float32(ordinary)).dtype == np.float32
    assert compact(np.full((4, 2, 2, 3), 255, np.uint8)).dtype == np.float32
    assert compact(ordinary + 1000).dtype == np.float64
    assert compact(np.full((100, 1), 1e12)).dtype == np.float32  # constant: 0 after standardizing


def table(**more) -> Dataset:
    """Ten rows: a number and a city of three categories, both with a missing value, and its indicator."""
    nan = np.nan
    x = np.array([[0, 1, 2, 3, 4, 5, 6, 7, nan, 100]]).T
    city = np.eye(3)[[0, 0, 0, 0, 0, 1, 1, 2, 2, 1]]
    city[8] = nan
    columns = np.column_stack([x, city, np.isnan(x)])
    kinds = np.array([NUMBER, 1, 1, 1, INDICATOR])
    return Dataset(columns, np.arange(10, dtype=np.int32) % 2, "binary", ("a", "b"), kinds=kinds, **more)


def test_missing_values_are_filled_from_the_training_rows() -> None:
    """The median of a number and the most frequent category of the training rows; numbers are then standardized."""
    dataset = table(parts=np.array([0, 0, 0, 0, 0, 0, 1, 2, 2, 2], np.int8))
    split = split_rows(dataset, settings(), 0)
    assert split.train.tolist() == [0, 1, 2, 3, 4, 5]
    x = standardized_inputs(dataset, split, all_rows(dataset))
    train = np.arange(6)
    assert x[8, 0] == pytest.approx((2.5 - train.mean()) / train.std(), abs=1e-7)
    assert x[8, 1:].tolist() == [1, 0, 0, 0], "that a value is missing was in no training row"
    assert x[9, 0] == pytest.approx((100 - train.mean()) / train.std(), rel=1e-6)


def test_a_category_that_no_training_row_has_is_zero_everywhere() -> None:
    """Its column is 0 in every row, as if the encoder had never seen it; the others stay 0 and 1."""
    dataset = table(parts=np.array([0, 0, 0, 0, 0, 0, 1, 2, 2, 2], np.int8))
    x = standardized_inputs(dataset, split_rows(dataset, settings(), 0), all_rows(dataset))
    assert x[7].tolist()[1:] == [0, 0, 0, 0]
    assert x[6].tolist()[1:] == [0, 1, 0, 0]
    untouched = standardized_inputs(dataset, split_rows(dataset, settings(standardize=False), 0), all_rows(dataset))
    assert untouched[9].tolist() == [100, 0, 1, 0, 0]


def with_gaps() -> np.ndarray:
    """240 different times 15 seconds apart, of which a quarter is 0: near enough to 0 for float32, but not apart."""
    times = 1_700_000_000 + 15 * np.arange(240)
    times[::4] = 0
    return times


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.float64, np.longdouble])
@pytest.mark.parametrize("shape", [(240, 1), (60, 4, 1)])
def test_no_neighbours_are_merged_without_a_word(dtype: type, shape: tuple[int, ...]) -> None:
    """Whatever numbers come as, in tables and in arrays of more axes, they are merged as little as can be, and it is
    said.
    """
    times = with_gaps().reshape(shape).astype(dtype)
    x = np.concatenate([times, np.random.default_rng(0).integers(0, 99, shape).astype(dtype)], axis=-1)
    dataset = classification(x, np.arange(len(x)) % 2, "ab")
    data = settings()
    split = split_rows(dataset, data, 0)
    seen = standardized_inputs(dataset, split, split.train)[..., 0]
    given = np.float64(times[split.train])
    best = np.float32((given - given.mean()) / given.std())
    assert len(np.unique(seen)) == len(np.unique(best)) < len(np.unique(given))
    assert any("column 0 of x: float32 tells only" in line for line in suspicions(dataset, data))


def test_large_arrays_are_searched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of columns with more values than are sorted, a sample tells the same: few of many values, and many."""
    monkeypatch.setattr("pipeline.data.precision.BLOCK", 2**12)
    n = 3 * 2**12 + 1000
    times = np.where(np.arange(n) % 4, 1.7e9 + np.arange(n), 0)
    few = np.where(np.arange(n) % 4, 1.7e9 + np.arange(n) % 7, 0)
    noise = np.random.default_rng(0).normal(size=n)
    assert [compact(column[:, None]).dtype for column in (times, few, noise)] == [np.float64, np.float64, np.float32]


DUST = {
    "moons": np.round(np.cos(np.linspace(0, np.pi, 120)), 15),
    "cosine": np.cos(np.linspace(0, 6.28318530717958, 240)),
    "sums": np.array([i % 40 / 10 + 0.1 * (i % 3) + 0.2 - 0.1 * (i % 3) for i in range(240)]),
    "circles": np.round(np.sin(np.linspace(0, 2 * np.pi, 100)), 16),
    "rolling means": np.convolve(np.round(np.random.default_rng(0).uniform(1, 9, 244), 1), np.ones(5) / 5, "valid"),
}


@pytest.mark.parametrize("values", DUST.values(), ids=DUST.keys())
def test_the_dust_of_rounding_is_no_difference(values: np.ndarray) -> None:
    """Values that only the last digits of float64 set apart take no more memory, and no sentence."""
    x = np.column_stack([np.r_[values, values], np.arange(2.0 * len(values)) % 7])
    dataset = classification(x, np.arange(len(x)) % 2, "ab")
    assert dataset.x.dtype == np.float32
    assert not any("float32 tells only" in line for line in suspicions(dataset, settings()))
