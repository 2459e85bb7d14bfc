"""Under hydra/launcher=dask a sweep survives its workers: a scheduler and workers in processes of their own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sweeps import run_files, start, train

from pipeline.config.schema import PROJECT

pytestmark = pytest.mark.slow
pytest.importorskip("distributed", reason="distributed is not installed: uv sync --extra dask")


@contextmanager
def dask(folder: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of Dask's command line."""
    with (folder / f"{words[0]}.log").open("a") as log:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--no-dashboard"]
        process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """A scheduler on loopback: the file by which others find it, and its process."""
    file = folder / "scheduler.json"
    words = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    with dask(folder, *words) as process:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield file, process


def worker(folder: Path, file: Path) -> "contextmanager[subprocess.Popen[bytes]]":
    """A worker of one thread, alone in its process."""
    return dask(folder, "worker", "--scheduler-file", str(file), "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny")


def test_a_killed_worker_and_a_late_one(serial: dict[str, bytes], tmp_path: Path) -> None:
    """The jobs of a worker that is killed while it trains are given to others; all runs are there."""
    more = ["hydra/launcher=dask", f"hydra.launcher.scheduler_file={tmp_path / 'scheduler.json'}", "seeds_per_job=2"]
    with scheduler(tmp_path) as (file, _), worker(tmp_path, file) as first, worker(tmp_path, file):
        process = start(tmp_path, *more)
        trainer = None
        while trainer is None and process.poll() is None:
            children = psutil.Process(first.pid).children(recursive=True)
            trainer = next((one for one in children if "pipeline.experiment.isolation" in one.cmdline()), None)
            time.sleep(0.1)
        assert trainer is not None
        time.sleep(2)
        first.kill()
        with worker(tmp_path, file):
            _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        trainer.wait(10)  # it does not outlive its worker
        assert run_files(tmp_path) == serial
        written = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*/*/seed=*/run.json")}
        assert train(tmp_path, *more).returncode == 0
        assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_scheduler_that_dies_is_said(tmp_path: Path) -> None:
    """In a line per arm, without a traceback; its worker stops too."""
    more = ["hydra/launcher=dask", f"hydra.launcher.scheduler_file={tmp_path / 'scheduler.json'}"]
    with scheduler(tmp_path) as (file, process), worker(tmp_path, file) as first:
        sweep = start(tmp_path, *more, "training.epochs=200000")
        while not psutil.Process(first.pid).children() and sweep.poll() is None:
            time.sleep(0.1)
        time.sleep(2)
        process.kill()
        _, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 1 and "Traceback" not in err, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 3 and all(
        "Dask's scheduler no longer answers; a worker may still train it" in x for x in failed
    )


CRASHING = """
import os
import sys
import keras

@keras.saving.register_keras_serializable("mine")
class Crash(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        if "pipeline.experiment.isolation" in sys.orig_argv:  # where jobs train
            os._exit(7)
        return keras.ops.zeros(shape, dtype)
"""


def test_a_job_that_dies_three_times_is_named(tmp_path: Path) -> None:
    """In processes of this machine, where no cluster is named; the other arm is trained."""
    (tmp_path / "mine.py").write_text(CRASHING)
    own = ["bias_initializer=zeros,mine>Crash", f"code=[{tmp_path / 'mine.py'}]"]
    done = train(tmp_path, "hydra/launcher=dask", "hydra.launcher.workers=1", "seeds=1", *own)
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert "mine>Crash" in line and "its process ended with exit code 7" in line
    log = (tmp_path / "multirun/1/train.log").read_text()
    assert "2 more tries" in log and "1 more tries" in log and "0 more tries" not in log
    assert [path.parent.name for path in (tmp_path / "results").glob("*/*/seed=0/run.json")] == ["seed=0"]


def test_no_scheduler_or_no_worker_is_said(tmp_path: Path) -> None:
    """In one line, before anything is trained."""
    done = train(tmp_path, "hydra/launcher=dask", "hydra.launcher.address=tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr == (
        "hydra.launcher.address: tcp://127.0.0.1:1 given, where no scheduler answers; "
        "allowed: that of a running one: dask scheduler\n"
    )
    with scheduler(tmp_path) as (file, _):
        done = train(tmp_path, "hydra/launcher=dask", f"hydra.launcher.scheduler_file={file}", "hydra.launcher.wait=1")
    assert done.returncode == 1
    assert "hydra.launcher.wait: 1 given, but no worker came; allowed: a longer time, or workers" in done.stderr
