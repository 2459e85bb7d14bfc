"""The notebook of the lesson runs, and its stored output is small and of no particular machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

NOTEBOOK = PROJECT / "pipeline" / "examples" / "lesson.ipynb"
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=600).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]


def arms(path: Path) -> list[str]:
    """The arms of the answer's table, as they are shown."""
    texts = ["".join(output["data"]["text/plain"]) for output in outputs(path) if "data" in output]
    (answer,) = [text for text in texts if "verdict" in text]
    return [line.split()[0] for line in answer.partition("─\n")[2].partition("\n\n")[0].splitlines()]


def test_the_stored_output_is_small_and_says_nothing_of_a_machine() -> None:
    """It shows the answer without being run: no path, no address of an object, no error, no line of a log."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 250_000
    assert not re.search(r"/(tmp|root|home|Users)/| at 0x[0-9a-f]+", text)
    kinds = {(output["output_type"], output.get("name")) for output in outputs(NOTEBOOK)}
    assert kinds == {("execute_result", None), ("stream", "stdout")}
    shown = [output["data"] for output in outputs(NOTEBOOK) if output["output_type"] == "execute_result"]
    assert any("test_accuracy" in "".join(data.get("text/html", "")) for data in shown)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """From its first cell to its last, in a kernel of its own; the answer is the stored one, but for last digits."""
    pytest.importorskip("nbclient", reason="nbclient is not installed: uv sync")
    executed = tmp_path / "lesson.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK), str(executed)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    shown = [output["data"] for output in outputs(executed) if output["output_type"] == "execute_result"]
    (answer,) = ["".join(data["text/html"]) for data in shown if "verdict" in "".join(data.get("text/html", ""))]
    assert "no other choice is clearly better" in answer
    assert arms(executed) == arms(NOTEBOOK) and len(arms(NOTEBOOK)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["lesson.ipynb"]
