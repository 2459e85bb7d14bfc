"""Rows of every kind train as with `model.fit`: far from 0, with missing values, unequal groups, several targets."""

from collections.abc import Iterator

import numpy as np
import pytest
from factories import compose_config
from reference import assert_equal, train

from pipeline.data.dataset import INDICATOR, NUMBER, TEST, Dataset, regression
from pipeline.data.sources import SOURCES, load_dataset

RNG = np.random.default_rng(0)
ROWS = 90
NOISE = RNG.normal(size=(ROWS, 3))
CODES = (NOISE[:, 0] > 0).astype(np.int32)
SECONDS = 1.6e9 + 15 * np.argsort(NOISE[:, 1])


def far() -> Dataset:
    """A time in seconds, which float32 cannot hold, and a target that it cannot hold either."""
    return regression(np.column_stack([SECONDS, NOISE]), 1e9 + NOISE[:, 0])


def with_gaps() -> Dataset:
    """A number and a category with missing values, and a category that is not in every seed's training rows."""
    city = np.eye(4)[np.minimum(RNG.integers(0, 40, ROWS) // 13, 3)]
    x = np.column_stack([NOISE, city, np.zeros(ROWS)])
    x[::7, 0], x[::11, 3:7], x[::7, 7] = np.nan, np.nan, 1
    kinds = np.array([NUMBER] * 3 + [1] * 4 + [INDICATOR])
    return Dataset(np.float32(x), CODES, "binary", ("a", "b"), kinds=kinds)


def several_targets() -> Dataset:
    """Three numbers to predict, of different size."""
    return regression(NOISE, NOISE @ RNG.normal(size=(3, 3)) * [1, 100, 1e-4] + [0, 5e8, 0])


def unequal_groups() -> Dataset:
    """Groups of 1 to 24 rows, so that the parts of two seeds differ in size."""
    groups = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 24])
    return Dataset(np.float32(NOISE), CODES, "binary", ("a", "b"), groups=np.int32(groups))


def in_time() -> Dataset:
    """Rows whose order in time is not that of the file."""
    return Dataset(np.float32(NOISE), CODES, "binary", ("a", "b"), ranks=np.int32(RNG.permutation(ROWS)))


def own_test_rows() -> Dataset:
    """Every third row is a test row."""
    return Dataset(np.float32(NOISE), CODES, "binary", ("a", "b"), parts=np.int8(np.arange(ROWS) % 3 == 0) * TEST)


KINDS = {function.__name__: function for function in
         (far, with_gaps, several_targets, unequal_groups, in_time, own_test_rows)}  # fmt: skip


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, function in KINDS.items():
        monkeypatch.setitem(SOURCES, name, lambda data, make=function: make())
    load_dataset.cache_clear()
    yield
    load_dataset.cache_clear()


def config(kind: str, *more: str):
    metrics = ("training.metrics=[mae,mse]",) if KINDS[kind]().task == "regression" else ()
    layers = "model.layers=[{class_name: Dense, config: {units: 4}}, {class_name: Dense}]"
    common = ("data=iris", f"data.source={kind}", layers, "seeds=3", "training.epochs=2")
    return compose_config(*common, *metrics, *more)


@pytest.mark.parametrize(
    "kind", [kind if kind == "with_gaps" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_each_kind_equals_fit(kind: str) -> None:
    """All seeds together give the numbers of `model.fit` on the same rows, with metrics in the unit of the target."""
    assert_equal(config(kind, "training.batch_size=8", "training.xla=false"))


@pytest.mark.slow
def test_testing_on_the_training_rows_equals_fit() -> None:
    """With `test_fraction=0` every row is trained on, validated on and tested on."""
    chosen = config("in_time", "data.test_fraction=0")
    assert_equal(chosen)
    _, trained = train(chosen)
    assert trained[0].history["val_loss"][-1] == pytest.approx(trained[0].test["test_loss"], rel=1e-6)


def test_an_error_is_in_the_unit_of_its_target() -> None:
    """Targets of another unit give the same losses, and errors of that unit: their mean does not blur them."""
    _, trained = train(config("far"))
    recorded = trained[0]
    assert 0.1 < recorded.test["test_mae"] < 3  # the targets lie at 1e9, where float32 counts in steps of 64
    assert recorded.test["test_mse"] >= recorded.test["test_mae"] ** 2
