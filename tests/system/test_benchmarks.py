"""The benchmark starts from the project's folder. What it measures is in tests/README.md."""

import subprocess
import sys

from pipeline.config.schema import PROJECT


def test_the_benchmark_starts() -> None:
    """`python -m tests.benchmarks --help` says what it does, in seconds: all that it imports is there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--help"], cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "uv run python -m tests.benchmarks" in done.stdout
