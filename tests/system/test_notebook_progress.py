"""What a Jupyter kernel shows of a comparison while it runs, and what is left of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

pytestmark = pytest.mark.slow
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient
updates = []
class Watching(NotebookClient):
    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "update_display_data":
            updates.append(msg["content"]["data"].get("text/html"))
        return super().process_message(msg, cell, cell_index)
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in json.load(sys.stdin)])
Watching(notebook, timeout=400, allow_errors=True).execute()
json.dump([updates, [cell.outputs for cell in notebook.cells]], open(sys.argv[1], "w"))
"""
SETUP = """
import keras
import numpy as np
from pipeline.api import compare_initializers
x = np.random.default_rng(0).normal(size=(400, 3))
model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
"""
COMPARE = """
study = compare_initializers(model, (x, (x[:, 0] > 0).astype(int)), arms=["zeros", "ones"], seeds=2, epochs=40,
                             ablation=False, xla=False)
"""


def test_one_bar_changes_and_is_gone(tmp_path: Path) -> None:
    """One display, empty at the end; nothing on stderr; a refusal is a line of the library's own, without the bar."""
    pytest.importorskip("nbclient", reason="nbclient is not installed: uv sync")
    cells = [SETUP, COMPARE, "study", COMPARE.replace('"ones"]', '"onez"]')]
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(tmp_path / "out.json")], cwd=tmp_path, input=json.dumps(cells),
        env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    updates, (setup, compared, shown, refused) = json.loads((tmp_path / "out.json").read_text())
    assert setup == []
    (bar,) = compared  # no stream beside it
    assert (bar["output_type"], bar["data"]["text/html"]) == ("display_data", "")
    assert any("arm 2 of 2, ones" in update for update in updates) and any("<progress value=" in u for u in updates)
    assert "" in updates and 5 < len(updates) < 400
    assert [output["output_type"] for output in shown] == ["execute_result"]
    assert [output["output_type"] for output in refused] == ["display_data", "error"]
    assert refused[0]["data"]["text/html"] == "" and refused[1]["ename"] == "ConfigError"
    assert refused[1]["evalue"].startswith("arms: onez given; nearest: ones")
