"""A class that is tested without a training row of it is refused, or said."""

import numpy as np
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset, classification
from pipeline.data.splits import split_rows
from pipeline.data.untrained import check_trained_classes
from pipeline.errors import DataError
from pipeline.runtime.logs import forget_told

RNG = np.random.default_rng(0)


def rows(y: np.ndarray, **more) -> Dataset:
    return classification(RNG.normal(size=(len(y), 2)), y, [f"c{i}" for i in range(y.max() + 1)], **more)


def test_a_class_that_comes_too_late_is_refused() -> None:
    """By time, the training rows are the same for every seed; what only validation rows have is said."""
    time = np.arange(100, dtype=np.int32)
    with pytest.raises(DataError, match=r"^data\.split: time given, which tests on class c1 without a training row"):
        list(check_trained_classes(rows((time >= 70).astype(int), ranks=time), Data(split="time")))
    said = list(check_trained_classes(rows(((time >= 64) & (time < 80)).astype(int), ranks=time), Data(split="time")))
    assert said == ["data.split=time: validation rows have class c1, but no training row has it"]
    assert not list(check_trained_classes(rows(time % 2, ranks=time), Data(split="time")))


def test_a_class_that_lies_in_one_group_is_refused() -> None:
    """With a group per class every seed tests what it never saw; where some seeds do, these are named."""
    groups = np.repeat(np.arange(5, dtype=np.int32), 20)
    with pytest.raises(DataError, match=r"^data\.split: groups given, which tests on class c\d without a training row"):
        list(check_trained_classes(rows(groups.astype(int), groups=groups), Data(split="groups")))
    y = np.where(groups == 3, 2, np.arange(100) % 2)
    (line,) = [line for line in check_trained_classes(rows(y, groups=groups), Data(split="groups")) if "tested" in line]
    named = {seed for seed in range(10) if 2 not in y[split_rows(rows(y, groups=groups), Data(), seed).train]
             and 2 in y[split_rows(rows(y, groups=groups), Data(), seed).test]}  # fmt: skip
    assert 0 < len(named) < 10
    assert f"is tested with seed {', '.join(map(str, sorted(named)))} (such as c2; 10 seeds" in line
    many = np.arange(100, dtype=np.int32)
    assert not list(check_trained_classes(rows(many % 2, groups=many), Data(split="groups")))


def test_a_seed_that_tests_an_untrained_class_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever the seed, and once."""
    forget_told()
    groups = np.repeat(np.arange(5, dtype=np.int32), 20)
    for seed in (100, 101, 102):
        split_rows(rows(groups.astype(int), groups=groups), Data(split="groups"), seed)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) > 0
    assert all(line.startswith("some seeds have no training row of class c") for line in lines)
