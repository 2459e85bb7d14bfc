"""Features that count rows or are made of the target are told from honest ones."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.data.odd_features import SAMPLE, counts_rows, gives_target

RNG, IDS = np.random.default_rng(0), np.random.default_rng(1)
PARTS = np.repeat([0, 2], [300, 290])
GAP = np.where(np.arange(100) == 50, np.nan, np.arange(100.0))

COUNTERS = {
    "anew in each file": (np.r_[np.arange(300.0), np.arange(290.0)], PARTS, "counts rows and starts anew"),
    "shuffled in each file": (
        np.r_[RNG.permutation(300) + 0.0, RNG.permutation(290)],
        PARTS,
        "row of a part (0 to 299)",
    ),
    "two tables joined": (np.tile(np.arange(120.0), 2), None, "counts rows and starts anew (0 to 119)"),
    "tables of other lengths": (np.r_[np.arange(120.0), np.arange(70.0)], None, "starts anew"),
    "a gap": (GAP, None, "like an id"),
    "pairs": (np.repeat(np.arange(60.0), 2)[:-1], None, "each whole number in 2 rows"),
    "shuffled pairs": (RNG.permutation(np.repeat(np.arange(60.0), 2)), None, "each whole number in 2 rows"),
    "sorted ids": (np.cumsum(IDS.integers(1, 90, 200)).astype(float), None, "like an id"),
    "shuffled ids": (IDS.permutation(np.arange(0.0, 600, 3)), None, "like an id"),
    "hashes": (IDS.integers(2**50, 2**62, 100).astype(float), None, "like an id"),
    "account numbers": (IDS.integers(10**7, 10**8, 100).astype(float), None, "like an id"),
    "many rows": (np.arange(3.0 * SAMPLE), None, "counts the rows"),
}
MEASURED = {
    "hours": np.tile(np.arange(24.0), 30),
    "ages": np.sort(RNG.integers(18, 90, 200)).astype(float),
    "counts": RNG.poisson(40, 300).astype(float),
    "levels": np.repeat(np.arange(5.0), 20),
    "halves": np.arange(100) / 2,
    "weights of a census": IDS.choice(10**6, 200, replace=False).astype(float),
    "populations": np.unique(np.round(np.exp(IDS.normal(14, 3, 300))))[IDS.permutation(250)],
    "doses": np.repeat(np.arange(0.0, 240, 10), 3),
    "shuffled doses": IDS.permutation(np.repeat(np.arange(0.0, 240, 10), 3)),
    "clocks of sensors": np.tile(1.7e9 + 60 * np.arange(100), 5),
    "steps of a group": np.tile(np.arange(10.0), 12),
}


@pytest.mark.parametrize(("values", "parts", "words"), COUNTERS.values(), ids=COUNTERS.keys())
def test_counters_are_told(values: np.ndarray, parts: np.ndarray | None, words: str) -> None:
    """Whether they start anew, repeat, have gaps or are shuffled."""
    assert words in (counts_rows(values, parts) or "")


@pytest.mark.parametrize("values", MEASURED.values(), ids=MEASURED.keys())
def test_measured_whole_numbers_are_no_counters(values: np.ndarray) -> None:
    """Numbers that repeat as measured ones do are left alone."""
    assert counts_rows(values, None) is None


MADE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fahrenheit": lambda y: np.round(1.8 * y + 32, 2),
    "exp": np.exp,
    "cube": lambda y: y**3,
    "negative logistic": lambda y: -1 / (1 + np.exp(-y)),
    "square of a positive": lambda y: (y + 9) ** 2,
    "a copy of two digits less": lambda y: np.round(y, 4),
}


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("made", MADE.values(), ids=MADE.keys())
def test_a_feature_made_of_a_number_is_told(made: Callable[[np.ndarray], np.ndarray], ordered: bool) -> None:
    """Rounded or curved, as float32 too; where the file is in its order, a cube may be growth in time."""
    y = np.round(RNG.normal(size=200), 6) * (5 if made is MADE["Fahrenheit"] else 1)
    y = np.sort(y) if ordered else y
    told = gives_target(made(y).astype(np.float32), y, "regression", False)
    assert told == (not ordered or made not in (MADE["cube"], MADE["negative logistic"]))


@pytest.mark.parametrize("noise", [0.1, 0.01, 0.002])
def test_strong_honest_predictors_are_not_named(noise: float) -> None:
    """Noise of a thousandth, coarse rounding, and what grows with time."""
    x = RNG.normal(size=300)
    y = 3 * x + noise * RNG.normal(size=300)
    years = np.arange(1950.0, 2020)
    growth = 2.5e9 * np.exp(0.017 * (years - 1950)) + 1e7 * RNG.normal(size=70).cumsum()
    for values, target in ((x, y), (np.round(x, 1), y), (years, np.maximum.accumulate(growth))):
        assert not gives_target(values, target, "regression", False)
