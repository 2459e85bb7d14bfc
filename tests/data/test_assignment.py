"""Splits that the data decide: by column, groups, time, and files of their own."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Data
from pipeline.data.columns import as_times
from pipeline.data.dates import refuse_date
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows
from pipeline.errors import ConfigError

FRAME = pd.DataFrame({"v": np.random.default_rng(0).normal(size=40), "label": np.arange(40) % 2})


def cut(folder: Path, by: Any, seed: int = 0, **more: Any) -> Split:
    """The split of a table of 40 rows whose column `by` holds these values."""
    FRAME.assign(by=by).to_csv(folder / "mine.csv", index=False)
    data = Data(**{"name": "mine", "source": "file", "path": str(folder / "mine.csv"), "target": "label",
                   "split_by": "by"} | more)  # fmt: skip
    loaded = load_dataset(data)
    assert loaded.features == ("v",)
    return split_rows(loaded, data, seed)


def test_a_column_names_the_parts(tmp_path: Path) -> None:
    """Each row has the part that its word says, for every seed."""
    words = ["Train"] * 20 + ["val"] * 8 + ["TEST "] * 12
    for seed in (0, 1):
        split = cut(tmp_path, words, seed, split="column")
        assert [sorted(part) for part in (split.train, split.validation, split.test)] == [
            list(range(20)), list(range(20, 28)), list(range(28, 40))]  # fmt: skip
    split = cut(tmp_path, ["training"] * 30 + ["test"] * 10, split="column")
    assert (len(split.train), len(split.validation), len(split.test)) == (24, 6, 10)


def test_groups_stay_together(tmp_path: Path) -> None:
    """No group has rows in two parts, and seeds choose different groups."""
    groups = np.random.default_rng(1).integers(0, 10, 40)
    splits = [cut(tmp_path, [f"person {g}" for g in groups], seed, split="groups") for seed in (0, 1, 2)]
    for split in splits:
        of = [set(groups[part]) for part in (split.train, split.validation, split.test)]
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
        assert sorted([*split.train, *split.validation, *split.test]) == list(range(40))
    assert len({tuple(sorted(split.test)) for split in splits}) > 1


GROUPS = {  # sizes of groups: shares of rows that are tested and validated on, at most
    "one large": ([60, *[2] * 20], (0.2, 0.2)),
    "one large of three": ([96, 2, 2], (0.02, 0.02)),
    "halves": ([50, 30, 20], (0.2, 0.3)),
    "equal": ([10] * 10, (0.2, 0.2)),
    "none small": ([34, 33, 33], (0.34, 0.34)),
}


@pytest.mark.parametrize(("sizes", "shares"), GROUPS.values(), ids=GROUPS.keys())
def test_fractions_of_groups_are_of_rows(sizes: list[int], shares: tuple[float, float], tmp_path: Path) -> None:
    """The tested groups hold as near to the share of rows as whole groups allow, and every part has rows."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    frame = pd.DataFrame({"v": np.arange(100) / 7, "by": groups, "label": np.arange(100) % 2})
    frame.to_csv(tmp_path / "m.csv", index=False)
    data = Data(name="m", source="file", path=str(tmp_path / "m.csv"), target="label", split="groups", split_by="by")
    loaded = load_dataset(data)
    for seed in range(8):
        split = split_rows(loaded, data, seed)
        assert sorted([*split.train, *split.validation, *split.test]) == list(range(100))
        assert min(map(len, (split.train, split.validation, split.test))) > 0
        assert len(split.test) / 100 <= shares[0] + 1e-9
        assert len(split.validation) <= shares[1] * 100
        again = split_rows(loaded, data, seed)
        np.testing.assert_array_equal(again.test, split.test)
    if min(sizes) <= 20 and max(sizes) < 90:
        assert len(split_rows(loaded, data, 0).test) == 20
    tested = {tuple(split_rows(loaded, data, seed).test) for seed in range(8)}
    assert len(tested) > 1 or sizes == [50, 30, 20]


def test_rows_of_one_time_stay_together(tmp_path: Path) -> None:
    """The boundary moves to the nearest change of time, and leaves times to train and to validate on."""
    times = np.repeat([1, 2, 3, 4], [10, 13, 6, 11])
    split = cut(tmp_path, times, split="time")
    assert [set(times[part]) for part in (split.train, split.validation, split.test)] == [{1, 2}, {3}, {4}]
    times = np.repeat([1, 2, 3], [2, 3, 35])
    split = cut(tmp_path, times, split="time")
    assert [set(times[part]) for part in (split.train, split.validation, split.test)] == [{1}, {2}, {3}]
    times = np.repeat([1, 2], [30, 10])
    split = cut(tmp_path, times, split="time", validation_fraction=0)
    assert [set(times[part]) for part in (split.train, split.test)] == [{1}, {2}]


SHUFFLED = np.random.default_rng(2).permutation(40)
TIMES = {
    "numbers": SHUFFLED.tolist(),
    "days": [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in SHUFFLED],
    "unpadded": [f"2024/{1 + i // 28}/{1 + i % 28}" for i in SHUFFLED],
    "times": [f"2024-01-01 {i // 2:02d}:{30 * (i % 2):02d}" for i in SHUFFLED],
    "zones": [f"2024-01-01T{i // 2:02d}:{30 * (i % 2):02d}:00+00:00" for i in SHUFFLED],
    "nanoseconds": [1732500000000000000 + int(i) for i in SHUFFLED],
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_the_latest_rows_are_tested(times: list, tmp_path: Path) -> None:
    """Training rows come before validation rows, and these before test rows."""
    split = cut(tmp_path, times, split="time")
    assert sorted(SHUFFLED[split.test]) == list(range(32, 40))
    assert max(SHUFFLED[split.train]) < min(SHUFFLED[split.validation])


REFUSED = {
    "word": (["train"] * 20 + ["holdout"] * 20, {"split": "column"}, ("data.split_by", "holdout", "train, validation")),
    "no test": (["train"] * 20 + ["val"] * 20, {"split": "column"}, ("data.split_by", "no row for test")),
    "no train": (["test"] * 20 + ["val"] * 20, {"split": "column"}, ("data.split_by", "no row for train")),
    "gaps": (["train"] * 20 + [None] * 20, {"split": "column"}, ("data.split_by", "20 missing")),
    "two groups": ([1, 2] * 20, {"split": "groups"}, ("data.split", "groups given", "2 groups")),
    "one group": ([1] * 40, {"split": "groups"}, ("data.split", "groups given", "1 groups")),
    "one time": ([7] * 40, {"split": "time"}, ("data.split", "time given", "1 times")),
    "two times": ([7, 8] * 20, {"split": "time"}, ("data.split", "time given", "2 times")),
    "day or month first": (["03/04/2024"] * 40, {"split": "time"}, ("data.split_by", "03/04/2024", "2024-12-31")),
    "no times": (["early", "late"] * 20, {"split": "time"}, ("data.split_by", "early", "numbers, or of dates")),
    "nothing to hold out": (list(range(40)), {"split": "time", "test_fraction": 0.01}, ("data.split", "test rows")),
    "target": (list(range(40)), {"split": "time", "split_by": "label"}, ("data.split_by", "label given", "target")),
    "unknown": (list(range(40)), {"split": "time", "split_by": "bye"}, ("data.split_by", "bye", "nearest: by")),
    "as feature": (list(range(40)), {"split": "time", "features": ["by"]}, ("data.features", "by given", "split_by")),
    "with a test file": (["train", "test"] * 20, {"split": "column", "test_path": "x.csv"}, ("data.test_path", "x.c")),
}  # fmt: skip


@pytest.mark.parametrize(("by", "more", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_what_to_do(by: list, more: dict, words: tuple[str, ...], tmp_path: Path) -> None:
    """A part that would be empty, an unknown word and an order that is none are named."""
    with pytest.raises(ConfigError) as error:
        cut(tmp_path, by, **more)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)


def test_tables_for_each_part(tmp_path: Path) -> None:
    """Files of their own may have another form and another order of columns, but the same columns."""
    FRAME[:28].to_csv(tmp_path / "train.csv")
    FRAME[28:][["label", "v"]].to_csv(tmp_path / "test.csv", sep=";", decimal=",")
    data = Data(name="mine", source="file", path=str(tmp_path / "train.csv"), target="label",
                test_path=str(tmp_path / "test.csv"))  # fmt: skip
    loaded = load_dataset(data)
    np.testing.assert_allclose(loaded.x[:, 0], FRAME.v, rtol=1e-6)
    assert sorted(split_rows(loaded, data, 3).test) == list(range(28, 40))
    FRAME[28:].drop(columns="label").to_csv(tmp_path / "test.csv")
    with pytest.raises(ConfigError, match=r"^data\.test_path: test\.csv has no column label, which train\.csv has; "):
        load_dataset(data)
    FRAME[28:].assign(v="text").to_csv(tmp_path / "test.csv")
    with pytest.raises(ConfigError, match=r"^data\.test_path: column v holds numbers in one of"):
        load_dataset(data)


def test_whole_numbers_beyond_64_bits_are_numbers_in_every_file(tmp_path: Path) -> None:
    """pandas keeps such numbers as objects; they are numbers all the same beside a file without them."""
    FRAME[:28].to_csv(tmp_path / "train.csv", index=False)
    FRAME[28:].assign(v=[10**20 + 10**18 * i for i in range(12)]).to_csv(tmp_path / "test.csv", index=False)
    data = Data(name="mine", source="file", path=str(tmp_path / "train.csv"), target="label",
                test_path=str(tmp_path / "test.csv"))  # fmt: skip
    assert load_dataset(data).x[-1, 0] == np.float32(10**20 + 11 * 10**18)


def test_training_on_all_rows_is_said(tmp_path: Path) -> None:
    """`data.test_fraction=0` trains on every row, tests on the same, and says so."""
    FRAME.to_csv(tmp_path / "mine.csv", index=False)
    data = Data(name="mine", source="file", path=str(tmp_path / "mine.csv"), target="label", test_fraction=0)
    loaded = load_dataset(data)
    split = split_rows(loaded, data, 0)
    assert sorted(split.train) == sorted(split.test) == list(range(40))
    assert any("the same rows are tested on" in line for line in loaded.remarks)


@pytest.mark.parametrize(("part", "key"), [("test", "data.test_path"), ("validation", "data.validation_path")])
@pytest.mark.parametrize(("wrong", "nearest"), [("Q", "q"), ("setosa", "setossa")])
def test_a_class_that_no_training_row_has_is_refused(
    part: str, key: str, wrong: str, nearest: str, tmp_path: Path
) -> None:
    """A label that only the test or validation rows have is named, with the file and the nearest training label."""
    frame = FRAME.assign(label=np.where(np.arange(40) % 2, nearest, "r"))
    other = frame[28:].assign(label=np.where(np.arange(12) % 2, wrong, "r"))
    line = rf"has rows of class {wrong}, which no training row has; nearest: {nearest}$"
    frame[:28].to_csv(tmp_path / "train.csv", index=False)
    other.to_csv(tmp_path / "part.csv", index=False)
    more: dict[str, Any] = {f"{part}_path": str(tmp_path / "part.csv")}
    with pytest.raises(ConfigError, match=rf"^{key}: part\.csv {line}"):
        load_dataset(Data(name="m", source="file", path=str(tmp_path / "train.csv"), target="label", **more))
    arrays = {"x": frame[["v"]][:28], "y": frame.label[:28], f"x_{part}": other[["v"]], f"y_{part}": other.label}
    np.savez(tmp_path / "m.npz", **{name: np.array(values.tolist() if values.ndim == 1 else values)
                                    for name, values in arrays.items()})  # fmt: skip
    with pytest.raises(ConfigError, match=rf"^data\.path: the {part} part of m {line}"):
        load_dataset(Data(name="m", source="file", path=str(tmp_path / "m.npz")))
    pd.concat([frame[:28].assign(by="train"), other.assign(by=part), frame[28:].assign(by="test")]).to_csv(
        tmp_path / "column.csv", index=False
    )
    with pytest.raises(ConfigError, match=rf"^data\.split_by: the {part} part of m {line}"):
        load_dataset(Data(name="m", source="file", path=str(tmp_path / "column.csv"), target="label", split="column",
                          split_by="by"))  # fmt: skip


def test_rows_keep_their_numbers_in_the_file(tmp_path: Path) -> None:
    """Where rows are left out or files joined, each row's number in its own file is known; else it is the row's."""
    holes = FRAME.assign(v=np.where(np.isin(np.arange(40), [0, 7]), np.nan, FRAME.v))
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("path", "validation_path", "test_path")}
    for path, rows in zip(paths.values(), (slice(0, 20), slice(20, 30), slice(30, 40)), strict=True):
        holes[rows].to_csv(path, index=False)
    mine: dict[str, Any] = {"name": "m", "source": "file", "missing": "drop"}
    joined = load_dataset(Data(**mine, **paths, target="label"))
    numbers = [*np.delete(np.arange(20), [0, 7]), *range(10), *range(10)]
    assert joined.source_rows is not None and joined.source_rows.tolist() == numbers
    np.savez(tmp_path / "m.npz", x=holes[["v"]], y=holes.label)
    kept = load_dataset(Data(**mine, path=str(tmp_path / "m.npz")))
    assert kept.source_rows is not None and kept.source_rows.tolist() == np.delete(np.arange(40), [0, 7]).tolist()
    np.testing.assert_allclose(kept.x[:, 0], FRAME.v[kept.source_rows], rtol=1e-6)
    FRAME.to_csv(tmp_path / "whole.csv", index=False)
    assert load_dataset(Data(**mine, path=str(tmp_path / "whole.csv"), target="label")).source_rows is None


TIMES = {
    "month": [f"2024-{1 + i % 12:02d}" for i in range(36)],
    "year and month with a slash": [f"2024/{1 + i % 12}" for i in range(36)],
    "quarter": [f"{2020 + i // 4 % 3}Q{1 + i % 4}" for i in range(36)],
    "quarter with a dash": [f"{2020 + i // 4 % 3}-Q{1 + i % 4}" for i in range(36)],
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES.keys())
def test_months_and_quarters_are_in_order(times: list[str]) -> None:
    """What names a part of a year without doubt is read."""
    ranks = as_times(pd.Series(times), "when")
    expected = [tuple(map(int, re.findall(r"\d+", time))) for time in times]
    np.testing.assert_array_equal(np.argsort(ranks, kind="stable"), sorted(range(36), key=lambda i: expected[i]))


NO_TIMES = {
    "2024-02-30": [f"2024-01-{i:02d}" for i in range(1, 31)] + ["2024-02-30"],
    "late": [*map(str, range(40)), "late"],
    "soon": ["2024-01-01", "2024-01-02", "soon"],
    "31.12.2024": ["2024-01-01", "31.12.2024"],
}


@pytest.mark.parametrize(("bad", "values"), NO_TIMES.items(), ids=NO_TIMES.keys())
def test_the_value_that_is_no_time_is_named(bad: str, values: list[str]) -> None:
    """Not the first value, which may be a good one."""
    with pytest.raises(ConfigError, match=rf"^data\.split_by: when given, which holds {re.escape(bad)}; allowed: "):
        as_times(pd.Series(values), "when")


OFFERED = {"2024-01-31": True, "2024-01": True, "2024Q1": True, "01/31/2024": False, "31.1.2024": False, "10:01": False}


@pytest.mark.parametrize(("text", "offered"), OFFERED.items(), ids=OFFERED.keys())
def test_the_split_by_time_is_offered_where_it_is_possible(text: str, offered: bool) -> None:
    """The advice on a column of dates does not lead to another refusal."""
    assert ("data.split=time" in str(refuse_date(pd.Series([text, text]), "when", "data.path"))) == offered
