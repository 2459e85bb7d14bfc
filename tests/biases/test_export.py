"""Every format contains what was selected, exactly; files are written whole or not at all."""

import csv
import io
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

from pipeline.biases.export import FORMATS, export_biases, format_table, write_whole
from pipeline.biases.model_files import read_biases
from pipeline.biases.tables import bias_rows
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError

GRU = Bias("gru/bias", "gru", "GRU", "bias", gates="zrh", values=np.arange(12, dtype=np.float32).reshape(2, 6))
DENSE = Bias("[red]dense/bias", "[red]dense", "Dense", "bias", values=np.float32([0.5, -1, 2]))
ABSENT = Bias("out/bias", "out", "Dense", "absent", trainable=False)
BIASES = [GRU, DENSE, ABSENT]


def _export(file_format, biases=BIASES):
    return export_biases(file_format, biases, bias_rows(biases))


def test_the_table_has_every_gate_within_100_columns():
    """Names that look like markup are shown as they are; what is said of a bias stands in its first row only."""
    lines = _export("table").decode().splitlines()
    assert lines[0].split()[:3] == ["variable", "layer_type", "kind"] and max(map(len, lines)) <= 100
    first = next(number for number, line in enumerate(lines) if line.startswith("gru/bias"))
    assert [line.split()[-6] for line in lines[first : first + 6]] == ["z", "r", "h"] * 2
    assert [line.split()[-5] for line in lines[first : first + 6]] == ["(2,)"] * 6
    assert not any("gru/bias" in line for line in lines[first + 1 :])
    assert any(line.split() == ["[red]dense/bias", "Dense", "bias", "(3,)", "0.5", "1.22", "-1", "2"] for line in lines)
    assert any(line.split() == ["out/bias", "Dense", "absent"] for line in lines)


def test_long_names_continue_in_the_next_line():
    """A name is never cut off."""
    long = Bias("a" * 150 + "/bias", "a" * 150, "Dense", "bias", values=np.ones(2))
    text = format_table(bias_rows([long]))
    assert text.count("a") >= 150 and max(map(len, text.splitlines())) <= 100


def test_csv_and_json_have_a_row_per_gate():
    """Both have the same rows; what an absent bias lacks is empty in csv and null in json."""
    from_csv = list(csv.DictReader(io.StringIO(_export("csv").decode())))
    from_json = json.loads(_export("json"))
    assert [row["variable"] for row in from_csv] == [row["variable"] for row in from_json]
    assert [row["variable"] for row in from_csv] == ["gru/bias"] * 6 + ["[red]dense/bias", "out/bias"]
    assert float(from_csv[6]["mean"]) == from_json[6]["mean"] == 0.5
    assert from_csv[7]["mean"] == "" and from_json[7]["mean"] is None


def test_json_has_null_for_what_is_not_finite():
    """nan and infinities are no JSON."""
    (row,) = json.loads(_export("json", [Bias("a/bias", "a", "Dense", "bias", values=np.float32([np.inf, 1]))]))
    assert (row["mean"], row["std"], row["min"], row["max"]) == (None, None, 1, None)


def test_npz_has_the_arrays_and_can_be_read_again(tmp_path):
    """bfloat16 becomes float32 with the same numbers, since npz has no such type."""
    half = Bias("half/bias", "half", "Dense", "bias", values=np.array([1.5, -2], ml_dtypes.bfloat16))
    path = tmp_path / "a.npz"
    path.write_bytes(_export("npz", [*BIASES, half]))
    with np.load(path) as arrays:
        assert {name: (array.tolist(), array.dtype) for name, array in arrays.items()} == {
            "gru/bias": (GRU.values.tolist(), np.float32), "[red]dense/bias": ([0.5, -1, 2], np.float32),
            "half/bias": ([1.5, -2], np.float32),
        }  # fmt: skip
    assert [bias.path for bias in read_biases(path)] == ["gru/bias", "[red]dense/bias", "half/bias"]


def test_parquet_has_a_row_per_number():
    """Each number is named by variable, role, gate and unit."""
    table = pd.read_parquet(io.BytesIO(_export("parquet")))
    assert list(table) == ["variable", "role", "gate", "unit", "value"] and len(table) == 15
    recurrent_r = table[(table["gate"] == "r") & (table["role"] == "recurrent")]
    assert recurrent_r[["unit", "value"]].to_numpy().tolist() == [[0, 8], [1, 9]]


@pytest.mark.parametrize("file_format", ["npz", "parquet"])
def test_files_of_values_need_a_value(file_format):
    """A file without any array is refused; formats with statistics accept absent biases."""
    with pytest.raises(ConfigError, match=f"{file_format} holds values.*allowed: csv, json"):
        _export(file_format, [ABSENT])
    assert all(_export(other, [ABSENT]) for other in FORMATS if other not in ("npz", "parquet"))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """A file is replaced only by a complete one."""
    target = tmp_path / "a.csv"
    write_whole(b"old", target)

    def fail(path, content):
        raise OSError(28, "No space left")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ConfigError, match=r"--output: .*a\.csv cannot be written: No space left"):
        write_whole(b"new", target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
