"""Sentences are broken between words on a terminal, and a line each anywhere else."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.wrapping import print_sentences, wrapped

LONG = (
    "training.stop: val_loss is measured on the rows that are trained on, so that nothing holds back overfitting; " * 2
)
PROGRAM = f"""
import sys
from pathlib import Path
from pipeline.runtime.logs import redirect_stderr, tell_once
tell_once("first {LONG}")
with redirect_stderr(Path(sys.argv[1])):
    tell_once("then {LONG}")
"""


def test_a_sentence_is_broken_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its next lines are indented; a command stays in one piece, and so does all that goes to no terminal."""
    lines = wrapped(LONG, 80).split("\n")
    assert len(lines) == 3 and max(map(len, lines)) <= 80 and lines[1].startswith("  ")
    assert " ".join(line.strip() for line in lines) == LONG.strip()
    command = f"To send what is missing: {LONG}"
    assert wrapped(command, 80) == command and wrapped(LONG, 0) == LONG
    monkeypatch.delenv("COLUMNS", raising=False)
    print_sentences([LONG])
    monkeypatch.setenv("COLUMNS", "60")
    print_sentences([LONG], sys.stderr)
    printed = capsys.readouterr()
    assert printed.out == f"{LONG}\n" and max(map(len, printed.err.splitlines())) <= 60


@pytest.mark.slow
def test_what_training_tells_is_broken_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is the terminal, whatever it is redirected to meanwhile."""
    monkeypatch.delenv("COLUMNS", raising=False)
    outer, inner = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "log")], stderr=inner, stdout=inner, check=True)
    os.close(inner)
    text = os.read(outer, 10_000).decode().replace("\r", "")
    os.close(outer)
    assert max(map(len, text.splitlines())) <= 80 and text.count("\n") == 6
    assert text.startswith("first training.stop") and "\nthen training.stop" in text
