"""Ctrl-C, SIGTERM and SIGHUP end a command in order: one line, what is finished stored and uploaded."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from factories import MLflowStore, TrainedStudy, made_meta
from faults.forks import Forks, wait_until

from pipeline.config.schema import PROJECT
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.faults]

STACK, EPOCHS = 20, 200  # seeds that train together, and epochs that take a stack some seconds
SWEEP = ("-m", "data=iris", "model=linear", "seeds=100", f"training.epochs={EPOCHS}", "training.seeds_at_once=20",
         "training.batch_size=1", "bias_initializer=zeros,ones", "ablation=false")  # fmt: skip
MESSAGE = "interrupted ({}): finished runs are kept, and the same command goes on from there"


def places(folder: Path) -> list[str]:
    return [f"results={folder / 'results'}", f"hydra.sweep.dir={folder / 'sweep'}"]


def n_runs(folder: Path) -> int:
    return len(list(folder.glob("results/*/*/seed=*/run.json")))


@pytest.mark.parametrize(
    ("name", "setting"),
    [("SIGINT", "tracking=none"), ("SIGINT", "tracking.uri="), ("SIGTERM", "tracking.uri="),
     ("SIGHUP", "runtime.isolate=true"), ("SIGTERM", "hydra/launcher=joblib")],
)  # fmt: skip
def test_a_signal_keeps_the_stacks_that_have_ended(
    forks: Forks, tmp_path: Path, mlflow_store: str, figure: Callable[[str], None], name: str, setting: str
) -> None:
    """Their runs are stored and uploaded, the command says so in one line, and ends with 128 + n."""
    tracked = setting in ("tracking.uri=", "hydra/launcher=joblib")
    tracking = f"tracking.uri={mlflow_store}" if tracked else "tracking=none"
    command = forks.start(
        tmp_path / "log",
        *SWEEP,
        *places(tmp_path),
        *dict.fromkeys([setting.replace("tracking.uri=", tracking), tracking]),
    )
    wait_until(lambda: n_runs(tmp_path) >= STACK)
    begun = time.monotonic()
    command.send(getattr(signal, name))
    said = wait_until(lambda: MESSAGE.format(name) in command.lines, 30)
    assert command.wait(60) == 128 + getattr(signal, name)
    ended = time.monotonic() - begun
    again = "Ctrl-C again" if name == "SIGINT" else "a second signal"
    sending = [f"sending what is finished to MLflow; {again} to leave it"] if tracked else []
    assert command.lines == [MESSAGE.format(name), *sending]
    assert n_runs(tmp_path) < 200
    assert n_runs(tmp_path) % STACK == 0 or setting == "hydra/launcher=joblib"  # which kills its workers
    if tracked:
        mirrored = MLflowStore(mlflow_store).by_name("iris-linear")
        assert {run.info.status for run in mirrored.values()} == {"FINISHED"}
        arms = {path.parts[-3] for path in tmp_path.glob("results/*/*/seed=*/run.json")}
        assert len(mirrored) == n_runs(tmp_path) + len(arms)
    figure(f"{name} while a stack trains ({setting}): answered after {said:.2f} s, ended after {ended:.2f} s")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_second_signal_ends_the_command_at_once(
    forks: Forks, tmp_path: Path, figure: Callable[[str], None], second: signal.Signals
) -> None:
    """Also while it waits for a server that never answers; a shell shows 130 after Ctrl-C, as after one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"tracking.uri=http://127.0.0.1:{silent.getsockname()[1]}"
        command = forks.start(tmp_path / "log", *SWEEP, *places(tmp_path), uri, "tracking.wait=600")
        wait_until(lambda: n_runs(tmp_path) >= STACK)
        command.send(signal.SIGINT)
        wait_until(lambda: MESSAGE.format("SIGINT") in command.lines, 30)
        time.sleep(0.5)
        assert command.code is None  # it waits for the upload
        command.send(second)
        seconds = wait_until(lambda: command.code is not None, 30)
        assert command.code == -second
        assert seconds < 3
    figure(f"a second signal while uploads are waited for: ended after {seconds:.2f} s")


def test_nohup_holds(forks: Forks, tmp_path: Path) -> None:
    """A command that was started with SIGHUP ignored outlives it."""
    quick = [option.replace(str(EPOCHS), "2").replace("seeds=100", "seeds=1") for option in SWEEP]
    command = forks.start(tmp_path / "log", *quick, *places(tmp_path), "tracking=none", ignored=signal.SIGHUP)
    while command.code is None:
        command.send(signal.SIGHUP)
        time.sleep(0.1)
    assert command.code == 0, command.lines
    assert n_runs(tmp_path) == 2


def test_compare_ends_in_order(trained_study: TrainedStudy, tmp_path: Path) -> None:
    """SIGTERM while it renders: one line, exit code 143, its renderer gone, and no file that is half written."""
    options = [f"results={trained_study.results}", f"reports={tmp_path / 'reports'}", "mlflow=false"]
    command = subprocess.Popen(
        [sys.executable, "-m", "pipeline.compare", *options],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: psutil.Process(command.pid).children(recursive=True), 60)
    time.sleep(0.5)
    children = psutil.Process(command.pid).children(recursive=True)
    command.terminate()
    printed, errors = command.communicate(timeout=60)
    assert (command.returncode, printed, errors) == (143, "", "interrupted (SIGTERM)\n")
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert [path for path in tmp_path.glob("reports/**/*") if path.is_file()] == []


def test_extract_ends_in_order(tmp_path: Path) -> None:
    """SIGTERM while nobody reads what it prints: one line and exit code 143."""
    arrays = {f"{moment}/dense_{i}/bias": np.zeros(2) for i in range(2000) for moment in ("before", "after")}
    run = write_run(
        RunStore(tmp_path, "s"), made_meta("zeros", 0), arrays, {"loss": np.zeros(2), "val_loss": np.zeros(2)}
    )
    command = subprocess.Popen(
        [sys.executable, "-m", "pipeline.extract", str(run.path), "--format", "json"],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert command.stdout is not None
    os.read(command.stdout.fileno(), 1)  # it has begun to print, and the pipe is full
    time.sleep(0.5)
    command.terminate()
    time.sleep(1)
    assert command.communicate(timeout=60)[1] == "interrupted (SIGTERM)\n"
    assert command.returncode == 143
