"""A seed splits the rows of a dataset, and its training rows standardize it."""

from pathlib import Path

import numpy as np
import pytest
from factories import compose_config

from pipeline.config.schema import Data
from pipeline.data.dataset import REST, TEST, VALIDATION, Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows

PARTS = ("train", "validation", "test")


def chosen(*overrides: str) -> Data:
    return compose_config(*overrides).data


@pytest.mark.parametrize("name", ["iris", "digits", "diabetes", "trial"])
def test_split_is_a_partition_of_the_rows(name: str) -> None:
    """Every row is in exactly one of train, validation and test, in the proportions asked for."""
    config = chosen(f"data={name}")
    loaded = load_dataset(config)
    cut = split_rows(loaded, config, 3)
    n = len(loaded.x)
    together = np.concatenate([getattr(cut, part) for part in PARTS])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))
    assert len(cut.test) == pytest.approx(0.2 * n, abs=1)
    assert len(cut.validation) == pytest.approx(0.2 * 0.8 * n, abs=1)


def test_fractions_are_of_all_rows_and_of_what_is_left() -> None:
    """test_fraction counts from all rows, validation_fraction from those left: of 150, 75 and 15, and 60 to train."""
    config = chosen("data=iris", "data.test_fraction=0.5", "data.validation_fraction=0.2")
    cut = split_rows(load_dataset(config), config, 0)
    assert [len(getattr(cut, part)) for part in PARTS] == [60, 15, 75]


def test_split_varies_with_the_seed_alone() -> None:
    """One seed always cuts alike, whatever other code has drawn; another seed cuts every part differently."""
    config = chosen("data=iris")
    loaded = load_dataset(config)
    first, other = split_rows(loaded, config, 0), split_rows(loaded, config, 1)
    np.random.seed(7)
    again = split_rows(loaded, config, 0)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
        assert set(getattr(first, part)) != set(getattr(other, part))


def test_classes_keep_their_proportions() -> None:
    """Each part of iris holds its three species equally often."""
    config = chosen("data=iris")
    loaded = load_dataset(config)
    cut = split_rows(loaded, config, 0)
    assert {part: np.bincount(loaded.y[getattr(cut, part)]).tolist() for part in PARTS} == {
        "train": [32, 32, 32], "validation": [8, 8, 8], "test": [10, 10, 10]
    }  # fmt: skip


def test_rare_class_can_be_cut(tmp_path: Path) -> None:
    """A class with a single row, whose proportion cannot be kept, does not stop the others from being used."""
    path = tmp_path / "rare.csv"
    path.write_text("a,y\n" + "".join(f"{i},{'rare' if i == 0 else 'often' if i % 2 else 'half'}\n" for i in range(30)))
    config = Data(name="rare", source="file", path=str(path), target="y")
    cut = split_rows(load_dataset(config), config, 0)
    assert sorted(np.concatenate([getattr(cut, part) for part in PARTS])) == list(range(30))


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_vectors_are_standardised_feature_by_feature(name: str) -> None:
    """Mean and scale are those of the training rows, and of no other: over features, and the target of a regression."""
    config = chosen(f"data={name}")
    loaded = load_dataset(config)
    cut = split_rows(loaded, config, 0)
    train = loaded.x[cut.train].astype("float64")
    np.testing.assert_allclose(cut.mean, train.sum(0) / len(train), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(cut.scale, np.sqrt(((train - train.mean(0)) ** 2).sum(0) / len(train)), rtol=1e-6)
    assert not np.allclose(cut.mean, loaded.x.mean(0), rtol=1e-4, atol=1e-6)
    target = loaded.y[cut.train].astype("float64")
    expected = (target.mean(), target.std()) if name == "diabetes" else (0.0, 1.0)
    assert (cut.target_mean, cut.target_scale) == pytest.approx(expected, rel=1e-6)


def test_images_are_standardised_channel_by_channel(tmp_path: Path) -> None:
    """A channel has one mean and one scale, over its training rows and all of its pixels."""
    x = np.random.default_rng(0).normal([1.0, 20.0], [0.5, 3.0], (40, 4, 5, 2)).astype("float32")
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(40) % 2)
    config = Data(name="images", source="file", path=str(tmp_path / "images.npz"))
    cut = split_rows(load_dataset(config), config, 0)
    for channel in (0, 1):
        pixels = x[cut.train, :, :, channel].astype("float64").ravel()
        assert cut.mean[channel] == pytest.approx(pixels.mean(), rel=1e-6)
        assert cut.scale[channel] == pytest.approx(pixels.std(), rel=1e-6)
    assert cut.mean.shape == cut.scale.shape == (2,)


def test_constant_feature_is_not_divided_by_zero(tmp_path: Path) -> None:
    """A feature that never varies becomes zero everywhere, not nan."""
    np.savez(tmp_path / "constant.npz", x=np.column_stack([np.full(20, 7.0), np.arange(20)]), y=np.arange(20) % 2)
    config = Data(name="constant", source="file", path=str(tmp_path / "constant.npz"))
    loaded = load_dataset(config)
    cut = split_rows(loaded, config, 0)
    assert (((loaded.x - cut.mean) / cut.scale)[:, 0] == 0).all()


def test_standardisation_can_be_left_out() -> None:
    """`standardize=false` and `standardize_target=false` leave inputs and targets as they are."""
    config = chosen("data=diabetes", "data.standardize=false", "data.standardize_target=false")
    cut = split_rows(load_dataset(config), config, 0)
    assert (float(cut.mean), float(cut.scale), cut.target_mean, cut.target_scale) == (0, 1, 0, 1)


def made(rows: int, **more) -> Dataset:
    x = np.random.default_rng(0).normal(size=(rows, 2))
    return Dataset(np.float32(x), np.int32(np.arange(rows) % 2), "binary", ("a", "b"), **more)


def test_rows_of_a_group_share_a_part() -> None:
    """No group is in two parts, and seeds divide the groups differently."""
    groups = np.int32(np.arange(120) % 17)
    splits = [split_rows(made(120, groups=groups), Data(split="groups"), seed) for seed in range(5)]
    for cut in splits:
        of_part = [set(groups[getattr(cut, part)]) for part in PARTS]
        assert sum(map(len, of_part)) == 17 == len(set.union(*of_part))
        assert sum(len(getattr(cut, part)) for part in PARTS) == 120
    assert len({tuple(cut.test) for cut in splits}) > 1


def test_the_latest_rows_are_tested() -> None:
    """Training rows come before validation rows, and these before test rows, for every seed."""
    ranks = np.int32(np.random.default_rng(1).permutation(100))
    for seed in range(2):
        cut = split_rows(made(100, ranks=ranks), Data(split="time"), seed)
        assert sorted(ranks[cut.test]) == list(range(80, 100))
        assert sorted(ranks[cut.validation]) == list(range(64, 80))
        assert sorted(ranks[cut.train]) == list(range(64))


def test_parts_that_the_data_assign_are_kept() -> None:
    """Rows assigned to validation and test are these for every seed; where there are none, the seed takes some."""
    parts = np.int8([REST] * 50 + [VALIDATION] * 20 + [TEST] * 30)
    cut = split_rows(made(100, parts=parts), Data(), 3)
    assert [getattr(cut, part).tolist() for part in PARTS] == [[*range(50)], [*range(50, 70)], [*range(70, 100)]]
    without_validation = np.where(parts == VALIDATION, REST, parts)
    cut = split_rows(made(100, parts=without_validation), Data(), 3)
    assert cut.test.tolist() == [*range(70, 100)]
    assert (len(cut.train), len(cut.validation)) == (56, 14)


@pytest.mark.parametrize(("test", "validation", "sizes"), [(0, 0.2, [100, 100, 100]), (0.2, 0, [80, 80, 20])])
def test_a_fraction_of_0_uses_the_training_rows(test: float, validation: float, sizes: list[int]) -> None:
    """Without test rows all rows are trained on, and stand in for the test; without validation rows likewise."""
    cut = split_rows(made(100), Data(test_fraction=test, validation_fraction=validation), 0)
    assert [len(getattr(cut, part)) for part in PARTS] == sizes
    assert set(cut.validation) == set(cut.train)
