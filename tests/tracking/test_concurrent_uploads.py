"""Several processes upload to one MLflow store, or are killed while they do."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from factories import MLflowStore, TrainedStudy, copy_runs, multiply_run

from pipeline import sync
from pipeline.config.schema import PROJECT, Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.runs import mirror_arm

pytestmark = pytest.mark.slow

ARM = "glorot_uniform,training.epochs=2"
ARMS = (ARM, "no_bias,training.epochs=2")

# `pipeline.sync`, which then prints what MLFLOW_DISABLE_TELEMETRY was when MLflow was imported.
SYNC = """
import os, sys
values = []
sys.addaudithook(lambda event, args: values.append(os.environ.get("MLFLOW_DISABLE_TELEMETRY"))
                 if event == "import" and args[0] == "mlflow" else None)
from pipeline import sync
code = sync.main(sys.argv[1:])
from mlflow.telemetry.client import get_telemetry_client
print("telemetry", values[0], get_telemetry_client())
sys.exit(code)
"""


def start_sync(*options: str) -> subprocess.Popen[str]:
    """`pipeline.sync` in another process, without the variables that would silence MLflow's telemetry anyway."""
    silencing = ("MLFLOW_", "DO_NOT_TRACK", "PYTEST_", "CI", "GITHUB_ACTIONS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(silencing)}
    environment["HTTPS_PROXY"] = "http://127.0.0.1:9"  # should telemetry be on, it still gets nowhere
    return subprocess.Popen(
        [sys.executable, "-c", SYNC, *options], cwd=PROJECT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_until_uploading(uri: str, study: str, process: subprocess.Popen[str]) -> None:
    """Return while the process is in the midst of it: a run is finished, and another is not."""
    query = """SELECT count(*) FILTER (WHERE status = 'FINISHED'), count(*) FILTER (WHERE status = 'RUNNING')
               FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ?"""
    database = uri.removeprefix("sqlite:///")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            finished, running = connection.execute(query, [study]).fetchone()
        if finished and running:
            return
        time.sleep(0.02)
    raise TimeoutError(f"never seen uploading: {process.communicate(timeout=5)}")


def mirror(store: RunStore, uri: str) -> str:
    return mirror_arm(Tracking(True, uri), store, ARM, store.runs(ARM))


def assert_complete(mlflow: MLflowStore, study: str, count: int) -> None:
    """The arm and its seeds are there once, finished, and the seeds below the arm."""
    runs = mlflow.by_name(study)
    assert set(runs) == {ARM} | {f"{ARM}-s{seed}" for seed in range(count)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {mlflow.parent(run) for name, run in runs.items() if name != ARM} == {runs[ARM].info.run_id}


def test_two_uploads_of_one_arm_at_once_make_each_run_once(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """While another process uploads an arm, uploading it here waits, and leaves each run once and finished."""
    store = RunStore(tmp_path, "both")
    multiply_run(trained_study_files.results, store, ARM, range(12))
    other = start_sync(f"results={tmp_path}", f"uri={uploaded.uri}", "study=both")
    wait_until_uploading(uploaded.uri, "both", other)
    assert mirror(store, uploaded.uri) == ""
    printed = other.communicate(timeout=120)
    assert other.returncode == 0, printed
    assert_complete(uploaded, "both", 12)


def test_what_a_killed_process_left_half_uploaded_is_uploaded_again(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """After a process was killed in the midst of it, the next upload completes the arm, with one run per seed."""
    store = RunStore(tmp_path, "killed")
    multiply_run(trained_study_files.results, store, ARM, range(25))
    killed = start_sync(f"results={tmp_path}", f"uri={uploaded.uri}", "study=killed")
    wait_until_uploading(uploaded.uri, "killed", killed)
    killed.kill()
    killed.communicate()
    left = uploaded.active("killed")
    assert {run.info.status for run in left} == {"FINISHED", "RUNNING"} and len(left) < 26
    assert mirror(store, uploaded.uri) == ""
    assert_complete(uploaded, "killed", 25)
    assert all(len(uploaded.curve(run, "loss")) == 3 for run in uploaded.by_name("killed").values())


def test_a_killed_uploader_leaves_nothing_for_ever(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was sending lies beside the results, and goes with its note at the next start, though nothing is sent."""
    store, temporary = RunStore(tmp_path / "results", "left"), tmp_path / "tmp"
    temporary.mkdir()
    multiply_run(trained_study_files.results, store, ARM, range(25))
    monkeypatch.setenv("TMPDIR", str(temporary))
    killed = start_sync(f"results={store.results}", f"uri={uploaded.uri}", "study=left")
    wait_until_uploading(uploaded.uri, "left", killed)
    aside, note = store.results / ".aside", Path(f"{uploaded.uri.removeprefix('sqlite:///')}.lock.holder")
    while not any([*temporary.glob("tmp*"), *aside.glob("tmp*")]):
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    assert list(temporary.iterdir()) == []
    assert note.is_file()
    shutil.rmtree(store.folder)  # nothing to send
    assert sync.main([f"results={store.results}", f"uri={uploaded.uri}"]) == 0
    assert list(aside.glob("tmp*")) == [] and not note.exists()


class Race(NamedTuple):
    """Exit codes, standard outputs and errors of two processes that uploaded to a store that neither had made yet."""

    mlflow: MLflowStore
    ended: list[tuple[int, str, str]]


@pytest.fixture(scope="module")
def race(trained_study_files: TrainedStudy, tmp_path_factory: pytest.TempPathFactory) -> Race:
    tmp = tmp_path_factory.mktemp("race")
    mlflow = MLflowStore(f"sqlite:///{tmp / 'new.db'}")
    for arm in ARMS:
        copy_runs(trained_study_files.results, RunStore(tmp / arm, "race"), arm, [0, 1])
    processes = [start_sync(f"results={tmp / arm}", f"uri={mlflow.uri}") for arm in ARMS]
    printed: list[Any] = [process.communicate(timeout=180) for process in processes]
    return Race(mlflow, [(process.returncode, *texts) for process, texts in zip(processes, printed, strict=True)])


def test_two_processes_that_make_one_store_at_once_lose_nothing(race: Race) -> None:
    """Store and experiment are made once, and hold what both processes uploaded."""
    assert [code for code, _, _ in race.ended] == [0, 0], race.ended
    assert {experiment.name for experiment in race.mlflow.client.search_experiments()} == {"Default", "race"}
    assert set(race.mlflow.by_name("race")) == {f"{arm}{seed}" for arm in ARMS for seed in ("", "-s0", "-s1")}


def test_telemetry_is_off_before_mlflow_is_imported(race: Race) -> None:
    """MLflow reports to nobody: its telemetry is disabled before its import, and has no client."""
    for _, out, _ in race.ended:
        assert out.splitlines()[-1] == "telemetry true None"
