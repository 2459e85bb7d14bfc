"""The separator, the decimal sign and the line of names of text tables, where more than one reading is possible."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.errors import ConfigError


def read(folder: Path, content: str, name: str = "mine.csv", **more: Any) -> Dataset:
    """The dataset of a file with this content."""
    (folder / name).write_text(content)
    return load_dataset(Data(name="mine", source="file", path=str(folder / name), **{"target": "2"} | more))


HALVES = "".join(f"{i % 4},5;{i % 3},25;{i % 2}\n" for i in range(24))
EXPECTED = [[i % 4 + 0.5, i % 3 + 0.25] for i in range(24)]
COMMAS = {
    "semicolon": (HALVES, {}),
    "tab": (HALVES.replace(";", "\t"), {}),
    "pipe": (HALVES.replace(";", "|"), {}),
    "space": (HALVES.replace(";", " "), {}),
    "aligned": (HALVES.replace(";", "   "), {}),
    "decimal given": (HALVES, {"decimal": ","}),
    "separator given": (HALVES, {"separator": ";"}),
    "commas in names": (f"temp, C;hum, %;label\n{HALVES}", {"target": "label"}),
    "commas in fewer names": (f"temp, C;hum;label\n{HALVES}", {"target": "label"}),
    "names of rows": ("a, b;c, d;label\n" + "".join(f"r{i};{line}\n" for i, line in enumerate(HALVES.split())),
                      {"target": "label", "drop": "Unnamed: 0"}),
    "text": (HALVES.replace(";0\n", ";no\n").replace(";1\n", ";yes\n"), {}),
    "decimal given, in quotes": ("".join('"' + line.replace(";", '","') + '"\n' for line in HALVES.split()),
                                 {"decimal": ","}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "more"), COMMAS.values(), ids=COMMAS.keys())
def test_a_decimal_comma_is_no_separator(content: str, more: dict, tmp_path: Path) -> None:
    """Lines that both characters split into as many cells are split where the cells are numbers."""
    loaded = read(tmp_path, content, **more)
    np.testing.assert_array_equal(loaded.x, np.array(EXPECTED, np.float32))
    assert loaded.y.tolist() == [0, 1] * 12


def test_other_separators_within_cells(tmp_path: Path) -> None:
    """Text of a column may hold what separates columns elsewhere, and numbers may have their thousands apart."""
    content = "".join(f"{i}.5,{'a|b' if i % 3 else 'c|d'},{i % 2}\n" for i in range(24))
    assert read(tmp_path, content).features == ("0", "1=a|b", "1=c|d")
    content = "".join(f"{i % 3}.5;hello, {'ab'[i % 2]};{i % 2}\n" for i in range(24))
    assert read(tmp_path, content).features == ("0", "1=hello, a", "1=hello, b")
    content = "".join(f"{i}, {i % 5}, {i % 2}\n" for i in range(24))
    assert read(tmp_path, content).x[:, 1].tolist() == [i % 5 for i in range(24)]


def test_two_readings_that_are_equally_good_are_refused(tmp_path: Path) -> None:
    """Commas are no decimal sign by the settings, and either character could separate."""
    with pytest.raises(ConfigError, match=r"^data\.path: .*comma and by semicolon.*data\.separator=comma or semicolon"):
        read(tmp_path, HALVES, decimal=".")


ROWS = "".join(f"{i / 4},{i % 5},{('x', 'y')[i % 2]},{i % 2}\n" for i in range(3, 27))
GAPS = ("", "NA", "nan", "NaN", "?", "null", "None")


@pytest.mark.parametrize("where", ["first line", "below"])
@pytest.mark.parametrize("gap", GAPS)
def test_a_gap_makes_no_line_of_names(gap: str, where: str, tmp_path: Path) -> None:
    """Files without names keep their first row where a number is missing in it, or below it."""
    first, *rest = ROWS.splitlines()
    lines = [f"{gap}{first[4:]}", *rest] if where == "first line" else [first, f"{gap}{rest[0][3:]}", *rest[1:]]
    loaded = read(tmp_path, "\n".join(lines) + "\n", target="3", missing="impute")
    assert loaded.features == ("0", "1", "2=x", "2=y", "0 is missing")
    assert loaded.y.tolist() == [1, 0] * 12
    assert [int(np.isnan(loaded.x[i, 0])) for i in (0, 1)] == ([1, 0] if where == "first line" else [0, 1])


def test_what_numpy_writes_of_gaps_and_infinite_values(tmp_path: Path) -> None:
    """numpy.savetxt writes nan and inf."""
    values = np.column_stack([np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2])
    values[3, 0] = np.nan
    np.savetxt(tmp_path / "mine.csv", values, delimiter=",")
    loaded = read(tmp_path, (tmp_path / "mine.csv").read_text(), missing="impute")
    np.testing.assert_array_equal(loaded.x[:, :2], values[:, :2].astype(np.float32))
    with pytest.raises(ConfigError, match="1 infinite values"):
        read(tmp_path, (tmp_path / "mine.csv").read_text().replace("nan", "inf"))


@pytest.mark.parametrize(
    ("first", "is_row"),
    [
        ("18.0,8,a name,1", True),  # as UCI's auto-mpg: no other row has this text
        ("7,3,a name,1", True),
        ("400.5,410.5,kind,label", False),
        ("400.5,410.5,kind,500.5", False),  # wavelengths
        ("1990,2000,kind,2010", False),
        (",0,kind,1", False),
        ("NA,MG,kind,label", False),
    ],
)
def test_numbers_in_the_first_line(first: str, is_row: bool, tmp_path: Path) -> None:
    """Numbers that rise and lie outside those of the rows are names; others are a row."""
    loaded = read(tmp_path, f"{first}\n{ROWS}", target=3 if is_row else first.split(",")[-1], missing="impute")
    assert len(loaded.x) == 24 + is_row
    numeric = first.split(",")[-1].replace(".", "").isdigit()
    assert any("data.header=false" in line for line in loaded.remarks) == (not is_row and numeric)


def test_text_alone_may_be_names_or_a_row(tmp_path: Path) -> None:
    """A first line of values that its columns have below is refused until `data.header` says what it is."""
    rows = "".join(
        f"{('low', 'high')[i % 2]},{('big', 'small')[i % 3 // 2]},{('no', 'yes')[i % 2]}\n" for i in range(24)
    )
    with pytest.raises(ConfigError, match=r"^data\.path: .* \(low, big, no\) .*data\.header=true.*data\.header=false"):
        read(tmp_path, rows)
    assert len(read(tmp_path, rows, header=False).x) == 24
    assert len(read(tmp_path, rows, header=True, target="no").x) == 23
    loaded = read(tmp_path, f"risk,size,label\n{rows}", target="label")
    assert (len(loaded.x), [line for line in loaded.remarks if "data.header" in line]) == (24, [])
    said = read(tmp_path, f"low,size,label\n{rows}", target="label").remarks
    assert "mine.csv: its first line gives the names (low, size, label); data.header=false if not" in said


def test_a_line_of_names_can_be_told(tmp_path: Path) -> None:
    """The setting holds against what is detected, in both directions."""
    assert len(read(tmp_path, ROWS, header=True, target="1").x) == 23
    assert read(tmp_path, f"0,1,2,3\n{ROWS}", header=False, target="3").x.shape[0] == 25


IDS = {
    "a gap": [None, *(2**60 + i for i in range(29))],
    "twenty digits": [10**19 + 9 * 10**18 + i for i in range(30)],
    "more digits": [-(10**22) - i for i in range(30)],
    "more digits and a gap": [None, *(10**22 + i for i in range(29))],
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS.keys())
def test_whole_numbers_that_floats_merge_are_named(ids: list, tmp_path: Path) -> None:
    """Large ids with a gap, or of more digits than any integer type holds, as a feature and as a target."""
    content = "id,n,label\n" + "".join(f"{'' if n is None else n},{i % 7},{i % 2}\n" for i, n in enumerate(ids))
    said = read(tmp_path, content, target="label", missing="impute").remarks
    assert sum("column id: floats cannot tell its whole numbers apart" in line for line in said) == 1
    with pytest.raises(ConfigError, match=r"^data\.target: floats cannot tell the numbers of column id apart"):
        read(tmp_path, content, target="id", missing="drop")
    assert not any("apart" in line for line in read(tmp_path, content, target="label", drop="id").remarks)


def test_classes_that_floats_would_merge_stay_apart(tmp_path: Path) -> None:
    """Three ids of 20 digits, or of 17 beside a gap, are three classes."""
    for first, gap in ((10**20, False), (2**60, True)):
        content = "n,id\n" + "".join(f"{i % 7},{first + i % 3}\n" for i in range(30)) + ("5,\n" if gap else "")
        loaded = read(tmp_path, content, target="id", missing="drop")
        assert loaded.classes == tuple(str(first + i) for i in range(3))
        assert loaded.y.tolist() == [0, 1, 2] * 10
