"""What a run keeps of the user's rows suffices to find them in the files again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_names_rows_columns_and_classes_of_a_file(tmp_path: Path) -> None:
    """rows.npz leads to the lines of the file whatever was left out, run.json to the columns of x and the classes."""
    frame = pd.DataFrame({"v": np.arange(40) / 8, "c": ["red", "blue"] * 20, "label": list("pqqp") * 10})
    frame.loc[[0, 5], "v"] = np.nan
    frame.to_csv(tmp_path / "n.csv", index=False)
    command = [sys.executable, "-m", "pipeline.train", "data=file", f"data.path={tmp_path / 'n.csv'}",
               "data.target=label", "data.missing=drop", "seeds=1", "training.epochs=1", "tracking=none",
               f"results={tmp_path / 'results'}"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    folder = next((tmp_path / "results" / "n-mlp").glob("*/seed=*"))
    meta = json.loads((folder / "run.json").read_text())
    assert (meta["data_columns"], meta["data_classes"]) == (["v", "c=blue", "c=red"], ["p", "q"])
    with np.load(folder / "rows.npz") as rows:
        numbers, train, mean = rows["source_rows"], rows["train"], rows["mean"]
    assert numbers.tolist() == np.delete(np.arange(40), [0, 5]).tolist()
    assert mean[0] == pytest.approx(frame.v[numbers[train]].mean(), rel=1e-6)


def test_built_in_datasets_keep_no_numbers_of_files() -> None:
    """Where the rows are those of the source, rows.npz names none besides."""

    from pipeline.experiment.run import kept_rows

    dataset = Dataset(np.zeros((9, 2), np.float32), np.arange(9) % 2, "binary", ("a", "b"))
    rows, one = np.arange(9, dtype=np.int32), np.ones((), np.float32)
    split = Split(0, rows[:5], rows[5:7], rows[7:], one, one, None, one, one)
    assert list(kept_rows(split, 2, dataset)) == ["train", "validation", "test", "order", "mean", "scale"]
