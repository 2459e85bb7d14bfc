"""A sweep in a process of its own, which tests train under every launcher."""

import os
import subprocess
import sys
from pathlib import Path

from factories import last_of_each

from pipeline.config.schema import PROJECT

SWEEP = ["-m", "data=iris", "model=linear", "training.epochs=3", "seeds=4", "tracking=none", "runtime.device=cpu",
         "bias_initializer=zeros,ones,constant(0.1)"]  # fmt: skip
RESULT_FILES = ("run.json", "biases.npz", "weights.npz", "history.csv", "rows.npz")


def start(folder: Path, *more: str, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start the sweep with its results and logs in a folder."""
    words = last_of_each([*SWEEP[1:], f"results={folder / 'results'}", f"hydra.sweep.dir={folder / 'multirun'}", *more])
    command = [sys.executable, "-m", "pipeline.train", "-m", *words]
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment or os.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def train(folder: Path, *more: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the sweep to its end."""
    process = start(folder, *more, environment=environment)
    out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_files(folder: Path) -> dict[str, bytes]:
    """The bytes of all runs' files, those that no two machines share left out."""
    root = folder / "results"
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.glob("*/*/seed=*/*"))
        if path.name in RESULT_FILES
    }  # fmt: skip
