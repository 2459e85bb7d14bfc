"""The disk of the results is full: every job that fails is named with its own error and log."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ARMS = ("zeros", "ones", "glorot")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill_when_training(disk: Path, logs: Path) -> None:
    """Take all of the disk as soon as the log of a job says that it trains: it stores its first run seconds later."""
    while not any("training 4 seeds" in log.read_text() for log in logs.glob("*/train.log")):
        time.sleep(0.01)
    with (disk / "rest").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@pytest.mark.parametrize("more", [["runtime.isolate=true"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]])
def test_each_failed_job_is_named(more: list[str], small_disk: Path, tmp_path: Path) -> None:
    """Where the results folder takes no record of a failure, the launching process knows it all the same."""
    results, logs = small_disk / "results", tmp_path / "logs"
    filling = threading.Thread(target=fill_when_training, args=(small_disk, logs), daemon=True)
    filling.start()
    command = [sys.executable, "-m", "pipeline.train", "-m", "data=iris", "model=linear", "training.epochs=300",
               "seeds=4", f"bias_initializer={','.join(ARMS)}", f"results={results}", "tracking=none",
               f"hydra.sweep.dir={logs}", *more]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True)
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert (done.returncode, len(failed)) == (1, len(ARMS)), done.stderr
    for number, (arm, line) in enumerate(zip(ARMS, failed, strict=True)):
        assert f"bias_initializer={arm} " in line and "OSError: [Errno 28] No space left on device" in line
        assert line.endswith(f"log: {logs}/{number}/train.log)")
    assert "Error executing job" not in done.stderr
