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
