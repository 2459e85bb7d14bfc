"""What people write, and what files hold, a little differently: read as meant, or refused with a way on."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.sources import data_identity, load_dataset
from pipeline.errors import ConfigError
from pipeline.experiment.identity import NEUTRAL

ROWS = [(f"{i / 4}", f"{i % 7}", "ab"[i % 2]) for i in range(24)]


def settings(path: Path, **more: Any) -> Data:
    return Data(name="mine", source="file", path=str(path), **{"target": "label"} | more)


def read(folder: Path, content: str, **more: Any) -> Dataset:
    (folder / "mine.csv").write_text(content)
    return load_dataset(settings(folder / "mine.csv", **more))


def refusal(folder: Path, content: str, **more: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read(folder, content, **more)
    assert "\n" not in str(error.value) and "…" not in str(error.value)
    return str(error.value)


def csv(names: str, rows: Any = ROWS, separator: str = ",") -> str:
    return "".join(f"{line}\n" for line in [names, *map(separator.join, rows)])


LEVELS = csv("n,label", [(str(i % 5), ["None", "mild", "NA"][i % 3]) for i in range(30)])


def test_texts_that_count_as_missing_can_be_said(tmp_path: Path) -> None:
    """The refusal names the texts that were taken so; with a list only these, with an empty one none."""
    line = refusal(tmp_path, LEVELS)
    assert "in label (20 of 30 rows)" in line and line.endswith("data.missing_texts=[] to keep NA, None as text")
    assert read(tmp_path, LEVELS, missing_texts=[]).classes == ("NA", "None", "mild")
    kept = read(tmp_path, LEVELS, missing_texts=["NA"], missing="drop")
    assert (kept.classes, len(kept.x)) == (("None", "mild"), 20)
    dropped = read(tmp_path, LEVELS.replace("NA", "severe"), missing="drop")
    said = "mine.csv: taken for missing: None in label; data.missing_texts=[] to keep None as text"
    assert dropped.classes == ("mild", "severe") and said in dropped.remarks
    numbers = csv("n,label", [("-999" if i == 3 else f"{i}.5", "ab"[i % 2]) for i in range(24)])
    assert len(read(tmp_path, numbers, missing_texts=[-999], missing="drop").x) == 23
    spaces = LEVELS.replace("None", " None ").replace("mild", "mild ")
    assert read(tmp_path, spaces, missing_texts=[]).classes == ("NA", "None", "mild")


def test_advice_on_missing_texts_keeps_those_that_are_found(tmp_path: Path) -> None:
    """The setting replaces the usual texts: what a refusal advises reads both columns as numbers."""
    rows = [("0123-"[i % 5], ["0", "1", "2", "NA"][i % 4], "ab"[i % 2]) for i in range(40)]
    line = refusal(tmp_path, csv("c,d,label", rows), missing="impute")
    assert """'data.missing_texts=[NA,"-"]' if a value is missing there""" in line
    assert read(tmp_path, csv("c,d,label", rows), missing="impute", missing_texts=["NA", "-"]).features == (
        "c", "d", "c is missing", "d is missing",
    )  # fmt: skip
    more = csv("c,d,label", [(c, d.replace("2", "*"), label) for c, d, label in rows])
    line = refusal(tmp_path, more, missing="impute", missing_texts=["NA", "-"])
    assert """'data.missing_texts=[NA,"-","*"]'""" in line


def test_only_a_column_of_text_is_offered_to_keep_its_texts(tmp_path: Path) -> None:
    """A number that is missing is no category; where both have gaps, those of the numbers stay."""
    numbers = [(["0", "1", "NA"][i % 3], "ab"[i % 2]) for i in range(24)]
    line = refusal(tmp_path, csv("d,label", numbers))
    assert line.endswith("data.missing=drop or data.missing=impute")
    both = csv("d,e,label", [(d, ["None", "x"][i % 2], label) for i, (d, label) in enumerate(numbers)])
    assert refusal(tmp_path, both).endswith("or data.missing_texts=[NA] to keep None as text")
    assert refusal(tmp_path, both.replace("None", "NA")).endswith("data.missing=drop or data.missing=impute")
    kept = read(tmp_path, both, missing="drop", missing_texts=["NA"])
    assert kept.features == ("d", "e=None", "e=x")
    said = [line for line in read(tmp_path, csv("d,label", numbers), missing="drop").remarks if "taken for" in line]
    assert said == ["mine.csv: taken for missing: NA in d"]


def test_columns_that_are_said_to_be_categories_are(tmp_path: Path) -> None:
    """Whatever they hold: codes with zeros before them, dates, spelled numbers; and the name is checked."""
    rows = [(["01", "1", "2"][i % 3], ["5 %", "7 %"][i % 2], ["2024-01-02", "2024-01-03"][i % 2]) for i in range(24)]
    loaded = read(tmp_path, csv("a,b,label", rows), categories=["a", "b", "label"])
    assert loaded.features == ("a=01", "a=1", "a=2", "b=5 %", "b=7 %")
    assert loaded.classes == ("2024-01-02", "2024-01-03") and "a: 3 categories (data.categories)" in loaded.remarks
    assert "no column d" in refusal(tmp_path, csv("a,b,label", rows), categories=["d"])
    line = refusal(tmp_path, csv("a,b,label", rows), categories=["a"], drop=["a"])
    assert line.startswith("data.categories: a given, which is neither; allowed: features and targets")
    pd.DataFrame(rows, columns=["a", "b", "label"]).assign(a=range(24)).to_parquet(tmp_path / "mine.parquet")
    data = settings(tmp_path / "mine.parquet", categories=["a", "b", "label"])
    assert len(load_dataset(data).features) == 26
    (tmp_path / "mine.csv").write_text(LEVELS)
    assert data_identity(settings(tmp_path / "mine.csv"))["categories"] is NEUTRAL["data"]["categories"] is None
    with pytest.raises(ConfigError, match=r"^data\.categories: "):
        data_identity(settings(tmp_path / "mine.npz", target=None, categories=["a"]))


def test_an_empty_cell_is_missing_whatever_texts_are(tmp_path: Path) -> None:
    """In columns of text and of numbers."""
    content = csv("n,word,label", [("" if i == 3 else "1", "" if i == 5 else "xy"[i % 2], "NA") for i in range(24)])
    content = content.replace("NA", "a", 12)
    assert len(read(tmp_path, content, missing_texts=[], missing="drop").x) == 22


def test_the_setting_of_missing_texts_retires_no_stored_run(tmp_path: Path) -> None:
    """Its neutral value stands for what was done without it; a list is part of what a run is."""
    (tmp_path / "mine.csv").write_text(LEVELS)
    assert data_identity(settings(tmp_path / "mine.csv"))["missing_texts"] is NEUTRAL["data"]["missing_texts"] is None
    with pytest.raises(ConfigError, match=r"^data\.missing_texts: "):
        data_identity(settings(tmp_path / "mine.csv", missing_texts=[True]))
    with pytest.raises(ConfigError, match=r"^data\.missing_texts: "):
        data_identity(settings(tmp_path / "mine.npz", missing_texts=["NA"]))


@pytest.mark.parametrize("n_rows", [5, 12, 24])
def test_a_short_table_of_r_is_read(n_rows: int, tmp_path: Path) -> None:
    """`write.table` names one column fewer than rows have cells, the first being their names."""
    rows = [(f'"{i + 1}"', *row) for i, row in enumerate(ROWS[:n_rows])]
    loaded = read(tmp_path, csv('"first" "second" "label"', rows, " "))
    assert (loaded.features, loaded.x.shape) == (("first", "second"), (n_rows, 2))


def test_drop_is_advised_where_it_helps(tmp_path: Path) -> None:
    """An infinite target is none that it drops; a row without a group is one."""
    infinite = csv("n,label", [(str(i % 5), "inf" if i == 3 else f"{i}.5") for i in range(24)])
    line = refusal(tmp_path, infinite, missing="drop")
    assert "data.missing=drop" not in line and line.startswith("data.target: column label holds 1 infinite values")
    assert """'data.missing_texts=["inf","-inf"]'""" in line
    assert len(read(tmp_path, infinite, missing="drop", missing_texts=["inf", "-inf"]).x) == 23
    line = refusal(tmp_path, infinite.replace("label", "x").replace("n,", "label,"))
    assert line.startswith("data.path: column x holds 1 infinite values; allowed: finite numbers, or 'data.missing_t")
    groups = csv("n,by,label", [(f"{i}.5", "" if i == 3 else f"g{i % 6}", "ab"[i % 2]) for i in range(24)])
    more = {"split": "groups", "split_by": "by"}
    assert refusal(tmp_path, groups, **more).endswith("or data.missing=drop")
    assert len(read(tmp_path, groups, missing="drop", **more).x) == 23
    by = np.where(np.arange(24) == 3, np.nan, np.arange(24) % 6)
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).normal(size=(24, 2)), y=np.arange(24) % 2, by=by)
    arrays = settings(tmp_path / "mine.npz", target=None, missing="drop", **more)
    assert len(load_dataset(arrays).x) == 23


@pytest.mark.parametrize("before", ["", "\n\n", "# comment\n"])
def test_a_ragged_line_is_named_as_an_editor_counts(before: str, tmp_path: Path) -> None:
    """Names, comments and blank lines count."""
    content = before + csv("first,second,label").replace("\n1.0,", "\n1.0,1.0,")
    line = next(i for i, text in enumerate(content.splitlines(), 1) if text.startswith("1.0,1.0"))
    assert f"line {line} of mine.csv has 4 cells, others 3" in refusal(tmp_path, content)


@pytest.mark.parametrize("separator", [",", ";"])
def test_lines_before_a_table_are_named(separator: str, tmp_path: Path) -> None:
    """A title and a date above the names, as exports have them."""
    content = "Export from X\nDate: 2024\n\n" + csv(separator.join(["first", "second", "label"]), separator=separator)
    line = refusal(tmp_path, content)
    assert line.startswith("data.path: mine.csv begins with other lines (Export from X) than those of a table of 3")


def test_two_decimal_signs_are_named_together(tmp_path: Path) -> None:
    """Both columns, and what reads either; a decimal sign that is given and does not fit is named by its key."""
    both = csv("a;b;label", [(f"{i}.5", f"{i},25", "ab"[i % 2]) for i in range(24)], ";")
    line = refusal(tmp_path, both)
    assert "column a of mine.csv holds 0.5, but column b 0,25" in line
    for advice in re.findall(r"data\.decimal='?([.,])'? data\.drop=\[(\w)\]", line):
        assert read(tmp_path, both, decimal=advice[0], drop=[advice[1]]).x[3, 0] in (3.5, 3.25)
    points = csv("a;b;label", [(f"{i}.5", f"{i}", "ab"[i % 2]) for i in range(24)], ";")
    line = refusal(tmp_path, points, decimal=",")
    assert line.startswith("data.decimal: , given, but column a of mine.csv holds 0.5; allowed: data.decimal=. ")


def test_advice_on_decimal_signs_leaves_the_target_in(tmp_path: Path) -> None:
    """And a point that is set names both columns too."""
    target = csv("a;b;label", [(f"{i}", f"{i},25", f"{i}.5") for i in range(24)], ";")
    line = refusal(tmp_path, target)
    assert "drop=[label]" not in line and line.endswith("left out: data.decimal=. data.drop=[b]")
    assert read(tmp_path, target, decimal=".", drop=["b"]).task == "regression"
    both = csv("a;b;label", [(f"{i}.5", f"{i},25", "ab"[i % 2]) for i in range(24)], ";")
    line = refusal(tmp_path, both, decimal=".")
    assert line.startswith("data.decimal: column a of mine.csv holds 0.5, but column b 0,25; allowed: one decimal sign")


def test_a_column_called_null_can_be_the_target(tmp_path: Path) -> None:
    """The advice quotes it for the command line, where null is no name."""
    line = refusal(tmp_path, csv("a,b,null"), target=None)
    assert line.endswith("""perhaps 'data.target="null"'""")
    assert refusal(tmp_path, csv("a,b,label"), target=None).endswith("perhaps data.target=label")


def test_names_that_a_command_line_reads_as_values(tmp_path: Path) -> None:
    """true, 1e3 and 007 are columns where there are such."""
    content = csv("1e3,007,true")
    loaded = read(tmp_path, content, header=True, target=True)
    assert loaded.features == ("1e3", "007") and loaded.classes == ("a", "b")
    assert read(tmp_path, content, header=True, target=True, features=[1000.0]).features == ("1e3",)
    assert read(tmp_path, content, header=True, target=True, drop=[7]).features == ("1e3",)
    assert "no column true" in refusal(tmp_path, csv("a,b,label"), target=True)


def test_advice_on_features_fits_the_settings(tmp_path: Path) -> None:
    """A column that is asked for is left out of that list; a name with a space is quoted for the shell."""
    content = csv(",a,label", [(f"{i}", *row[1:]) for i, row in enumerate(ROWS)])
    (line,) = [line for line in read(tmp_path, content, features=["Unnamed: 0", "a"]).remarks if "counts" in line]
    assert line.endswith("leave it out: data.features without Unnamed: 0")
    (line,) = [line for line in read(tmp_path, content.replace(",a", "my id,a", 1)).remarks if "counts" in line]
    assert line.endswith("""leave it out: 'data.drop=["my id"]'""")


@pytest.mark.parametrize("first", [["yes", "no"], ["0", "1", "2", "3", "4"], ["0.5", "1.5"]])
def test_a_nameless_first_column_that_repeats_is_no_index(first: list[str], tmp_path: Path) -> None:
    """Categories and measured numbers are features, and that is said; two index columns joined are none."""
    content = csv(",a,label", [(first[i % len(first)], *row[1:]) for i, row in enumerate(ROWS)])
    loaded = read(tmp_path, content)
    assert loaded.features[0].startswith("Unnamed: 0")
    assert "mine.csv: column Unnamed: 0 has no name, and is a feature" in loaded.remarks
    joined = csv(",a,label", [(str(i % 60), f"{i % 11}", "ab"[i % 2]) for i in range(120)])
    assert read(tmp_path, joined).features == ("a",)


def test_rows_without_a_target_are_counted_by_file(tmp_path: Path) -> None:
    """Each file has its own number, also where both are called the same."""
    for folder, gaps in (("train", 2), ("test", 3)):
        (tmp_path / folder).mkdir()
        labels = [None] * gaps + ["a", "b"] * 10
        values = np.random.default_rng(gaps).normal(size=len(labels))
        pd.DataFrame({"v": values, "label": labels}).to_csv(tmp_path / folder / "mine.csv")
    path = tmp_path / "train" / "mine.csv"
    loaded = load_dataset(settings(path, test_path=str(tmp_path / "test" / "mine.csv"), missing="impute"))
    assert "train/mine.csv: 2 of 22 rows lack a target and are left out" in loaded.remarks
    assert "test/mine.csv: 3 of 23 rows lack a target and are left out" in loaded.remarks
    assert loaded.features == ("v",)
