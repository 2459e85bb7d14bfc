"""The outcome of a sweep is read from the store, under any launcher."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories import CommandResult

from pipeline.config.schema import PROJECT, Config
from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.store.failures import Failure, read_failure, record_failure
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore

SWEEP = ("-m", "data=iris", "model=linear", "seeds=2", "training.epochs=1",
         "bias_initializer=zeros,ones")  # fmt: skip
ARMS = ("zeros,training.epochs=1", "ones,training.epochs=1")


@contextmanager
def blocked_arm(store: RunStore, arm: str) -> Iterator[Path]:
    """Within the context, the job of an arm fails, in this process or another, by what no check can foresee.

    As soon as the job holds the arm's lock, a file takes the place of the arm's folder. Yields its path.
    """
    note, obstacle, is_over = store.lock_file(arm).with_suffix(".lock.holder"), store.folder / arm, threading.Event()

    def block() -> None:
        while not note.exists() and not is_over.is_set():
            time.sleep(0.001)
        obstacle.parent.mkdir(parents=True, exist_ok=True)
        obstacle.touch()

    blocking = threading.Thread(target=block)
    blocking.start()
    try:
        yield obstacle
    finally:
        is_over.set()
        blocking.join()


def test_a_failed_job_is_named_and_the_others_are_kept(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """One arm fails: exit code 1, its command line and error on a line; the other arm is in the table."""
    store = RunStore(tmp_path / "results", "iris-linear")
    with blocked_arm(store, ARMS[1]) as obstacle:
        output = cli(*SWEEP, "tracking=none")
    assert output.code == 1
    (line,) = [line for line in output.err.splitlines() if line.startswith("failed: ")]
    assert "bias_initializer=ones" in line and "Error: " in line and "train.log" in line
    assert [(run.arm, run.seed) for run in store.runs()] == [(ARMS[0], 0), (ARMS[0], 1)]
    counts = {
        row[1].strip(): row[2].strip() for row in (text.split("│") for text in output.out.splitlines() if "│" in text)
    }
    assert counts == {"zeros": "2", "ones": "0"}  # without what both arms share
    assert read_failure(store, ARMS[1]) is not None

    obstacle.unlink()
    again = cli(*SWEEP, "tracking=none")
    assert (again.code, again.err) == (0, "")
    assert len(store.runs()) == 4
    assert read_failure(store, ARMS[1]) is None


@pytest.mark.slow
def test_batches_after_a_failed_job_are_started(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """With jobs in batches of one, the failure of the first stops no other."""
    store = RunStore(tmp_path / "results", "iris-linear")
    with blocked_arm(store, ARMS[0]):
        assert cli(*SWEEP, "tracking=none", "hydra.sweeper.max_batch_size=1").code == 1
    assert {run.arm for run in store.runs()} == {ARMS[1]}


def test_jobs_that_sweep_seeds_are_one_arm(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """`seeds=1,3` is two jobs of one arm: the table counts the seeds of both."""
    result = cli("-m", "data=iris", "model=linear", "training.epochs=1", "seeds=1,3", "use_bias=choice(true)")
    assert (result.code, result.err) == (0, "")
    (row,) = [text.split("│") for text in result.out.splitlines() if text.startswith("│ zeros")]
    assert [cell.strip() for cell in row[2:5]] == ["3", "3", "0"]
    assert len(RunStore(tmp_path / "results", "iris-linear").runs()) == 3


def test_a_failure_after_the_runs_are_stored_is_reported(
    cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that raises is a failed job, even where no run is missing; its log has the traceback."""

    def refuse(*_: object) -> None:
        raise OSError("disk died")

    monkeypatch.setattr("pipeline.experiment.run.retire_run", refuse)
    quick = ("data=iris", "model=linear", "training.epochs=1", "seeds=1")
    store = RunStore(tmp_path / "results", "iris-linear")
    assert cli(*quick).code == 0
    (run,) = store.runs()
    history = {name: values for name, values in run.history().items() if name != "epoch"}
    write_run(store, run.meta | {"seed": 7, "recipe": "of other settings"}, run.biases(), history)
    result = cli(*quick)
    assert result.code == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("failed: ")]
    assert "OSError: disk died" in line
    log = Path(line.rpartition("(log: ")[2].rstrip(")"))
    assert "Traceback" in log.read_text()


def test_the_failure_of_another_sweep_is_not_this_ones(
    cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that has waited for one that failed, and then trained the arm, ends with exit code 0."""
    store = RunStore(tmp_path / "results", "iris-linear")

    def after_another_failed(config: Config, *more: Any) -> Outcome:
        arm = plan_job(config).arm
        record_failure(store, arm, Failure("seeds=1", "killed by SIGKILL", "/elsewhere/train.log"))
        return run_arm(config, *more)

    monkeypatch.setattr("pipeline.experiment.job.run_arm", after_another_failed)
    result = cli("data=iris", "model=linear", "training.epochs=1", "seeds=1")
    assert (result.code, result.err) == (0, "")


@pytest.mark.slow
def test_a_sweep_that_starts_keeps_the_failures_of_others(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """Another sweep, which may be running, has yet to report it: only training what it lacks clears it."""
    quick = ("data=iris", "model=linear", "training.epochs=1")
    store = RunStore(tmp_path / "results", "iris-linear")
    failure = Failure("seeds=[0,7]", "killed by SIGKILL", "/elsewhere/train.log", "of another sweep", (0, 7))
    record_failure(store, ARMS[0], failure)
    assert cli(*quick, "seeds=1", "--plan").code == 0
    done = cli(*quick, "seeds=1")
    assert (done.code, done.err) == (0, "")
    assert read_failure(store, ARMS[0]) == failure
    assert cli(*quick, "seeds=[7]").code == 0
    assert read_failure(store, ARMS[0]) is None


def test_what_failed_before_is_no_reason_for_what_is_missing_now(
    cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of last week is not reported; what another sweep records meanwhile is, where seeds are missing."""
    quick = ("data=iris", "model=linear", "training.epochs=1", "seeds=1")
    store = RunStore(tmp_path / "results", "iris-linear")
    record_failure(store, ARMS[0], Failure("seeds=1", "of last week", "/elsewhere/train.log", "another", (0,)))

    def vanish(*_: object) -> None:
        raise OSError("the data file is gone")

    monkeypatch.setattr("pipeline.experiment.job.describe_job", vanish)
    result = cli(*quick)
    assert "seeds [0] are missing and no error is recorded" in result.err and "last week" not in result.err

    def vanish_for_both(*_: object) -> None:
        record_failure(store, ARMS[0], Failure("seeds=1", "of another sweep", "/elsewhere/train.log", "a third", (0,)))
        vanish()

    monkeypatch.setattr("pipeline.experiment.job.describe_job", vanish_for_both)
    result = cli(*quick)
    assert "failed: seeds=1: of another sweep (log: /elsewhere/train.log)" in result.err


@pytest.mark.slow
def test_what_a_launcher_raises_is_named_with_a_log(tmp_path: Path) -> None:
    """One line an arm, with the path of a file that has the traceback; here of a cluster that cannot start."""
    command = [sys.executable, "-m", "pipeline.train", *SWEEP, "tracking=none", f"results={tmp_path / 'results'}",
               f"hydra.sweep.dir={tmp_path / 'multirun'}", "hydra/launcher=dask",
               "hydra.launcher.cluster=distributed.LocalCluster", "hydra.launcher.options={nope: 1}"]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(lines) == len(list((tmp_path / "multirun").glob("*/train.log"))) > 0
    for line in lines:
        log = Path(line.rpartition("(log: ")[2].rstrip(")"))
        assert "RuntimeError: Nanny failed to start" in line
        assert "Traceback" in log.read_text() and "nope" in log.read_text()


def test_an_error_before_a_job_could_record_it_is_reported(
    cli: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a job fails while it is planned again, its error is printed beside the runs that are missing."""

    def vanish(*_: object) -> None:
        raise OSError("the data file is gone")

    monkeypatch.setattr("pipeline.experiment.job.describe_job", vanish)
    result = cli("data=iris", "model=linear", "training.epochs=1", "seeds=1")
    assert result.code == 1
    assert "seeds [0] are missing" in result.err and "OSError: the data file is gone" in result.err


@pytest.mark.slow
def test_workers_of_another_launcher_report_through_the_store(tmp_path: Path) -> None:
    """Under joblib the table, the ablation, MLflow and the failed arm are those of a serial sweep."""
    store = RunStore(tmp_path / "results", "iris-linear")
    command = [sys.executable, "-m", "pipeline.train", *SWEEP, f"results={store.results}",
               f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}", f"hydra.sweep.dir={tmp_path / 'multirun'}",
               "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]  # fmt: skip
    with blocked_arm(store, ARMS[1]):
        done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    shown = ARMS[0].partition(",")[0]
    (row,) = [text.split("│") for text in done.stdout.splitlines() if text.startswith(f"│ {shown} ")]
    assert [cell.strip() for cell in row[2:5]] == ["2", "2", "0"]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert "bias_initializer=ones" in line and "Error: " in line
    assert [(run.arm, run.seed) for run in store.runs()] == [(ARMS[0], 0), (ARMS[0], 1)]
    assert (store.folder / "ablation.csv").is_file()

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("iris-linear")
    assert experiment is not None
    names = {run.info.run_name for run in client.search_runs([experiment.experiment_id])}
    assert names == {shown, f"{shown}-s0", f"{shown}-s1"}
