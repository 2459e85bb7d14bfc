"""Crowds, lost replies and full disks at MLflow's store: every run arrives once, and no result is touched."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from factories import MLflowStore, TrainedStudy, multiply_run
from faults.proxy import Fault, Proxy
from faults.senders import send, start_sending
from servers import MLflowServer, find_postgres, launch_postgres, launch_server

from pipeline.config.schema import Tracking
from pipeline.runtime.hashing import digest
from pipeline.store.runs import RunStore
from pipeline.tracking.runs import mirror_arm

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ARM = "glorot_uniform,training.epochs=2"
CROWD = 8


def assert_each_once(mlflow: MLflowStore, study: str, seeds: int, senders: int = 1) -> None:
    """The arm and its seeds are there once, finished, below the arm, with the tags of all senders."""
    runs = mlflow.by_name(study)
    assert set(runs) == {ARM, *(f"{ARM}-s{seed}" for seed in range(seeds))}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {mlflow.parent(run) for name, run in runs.items() if name != ARM} == {runs[ARM].info.run_id}
    assert {sum(tag.startswith("results_folder/") for tag in run.data.tags) for run in runs.values()} == {senders}
    assert all(len(mlflow.curve(run, "loss")) == 3 for run in runs.values())


def contents(folder: Path) -> dict[str, str]:
    """Digests of the stored runs' files, but those that say how long a run took."""
    files = [path for path in sorted(folder.glob("[!.]*/**/*")) if path.is_file() and path.name != "machine.json"]
    return {str(path): digest(path.read_bytes()) for path in files}


def test_a_crowd_sends_to_a_server_over_postgresql(
    trained_study_files: TrainedStudy, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Eight processes send the same runs from eight folders at once: each run is there once, with eight senders."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: uv sync")
    with launch_postgres(programs) as database, launch_server(tmp_path, database, workers=2) as server:
        first = multiply_run(trained_study_files.results, RunStore(tmp_path / "0", "crowd"), ARM, range(4))
        stores = [first, *(RunStore(tmp_path / str(i), "crowd") for i in range(1, CROWD))]
        for store in stores[1:]:
            shutil.copytree(first.results, store.results)
        uri = server.wait()
        started = time.monotonic()
        senders = [start_sending(store, uri) for store in stores]
        printed = [sender.communicate(timeout=240) for sender in senders]
        took = time.monotonic() - started
        assert [sender.returncode for sender in senders] == [0] * CROWD, printed
        assert_each_once(MLflowStore(uri), "crowd", 4, CROWD)
    figure(f"{CROWD} senders of the same 5 runs at once over PostgreSQL: every run once, {took:.0f} s")


@pytest.fixture(scope="module")
def database(mlflow_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(mlflow_store_file, tmp_path_factory.mktemp("server") / "server.db"))


@pytest.fixture(scope="module")
def launched(database: Path) -> Iterator[MLflowServer]:
    with launch_server(database.parent, f"sqlite:///{database}") as server:
        server.wait()
        yield server


@pytest.mark.parametrize(("path", "skip", "times"), [
    ("experiments/create", 0, 1), ("runs/create", 0, 1), ("runs/create", 2, 1), ("runs/create", 1, 3),
    ("runs/log-batch", 1, 1), ("runs/update", 0, 1), ("runs/update", 1, 3), ("runs/delete", 0, 1),
])  # fmt: skip
def test_a_reply_that_is_lost_leaves_nothing_behind(
    launched: MLflowServer, trained_study_files: TrainedStudy, tmp_path: Path, figure: Callable[[str], None],
    path: str, skip: int, times: int,
) -> None:  # fmt: skip
    """The server did what it was asked for, and the answer was lost, once or as often as MLflow asks: sync succeeds,
    with each run there once and none unfinished.
    """
    study = f"{path} {skip} {times}".replace("/", " ")
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", study), ARM, range(2))
    if path == "runs/delete":  # there is something to delete when an arm gains a seed
        assert send(store, launched.uri) == 0
        multiply_run(trained_study_files.results, store, ARM, [2])
    with Proxy(launched.uri) as proxy:
        proxy.fault = Fault("drop reply", path=path, skip=skip, times=times)
        started = time.monotonic()
        assert send(store, proxy.uri) == 0
        assert proxy.fault.happened
        took = time.monotonic() - started
    assert_each_once(MLflowStore(launched.uri), study, 3 if path == "runs/delete" else 2)
    figure(f"reply to {path} lost {times} times: every run once, {took:.1f} s")


def test_a_slow_server_gets_several_runs_at_once(
    launched: MLflowServer, trained_study_files: TrainedStudy, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """What takes long at a server does so for several runs together, in few requests: none asks for the run anew."""
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", "slow"), ARM, range(8))
    with Proxy(launched.uri) as proxy:
        proxy.fault = Fault("late", path="runs/create", seconds=3)  # 27 s, one after the other
        started = time.monotonic()
        assert send(store, proxy.uri) == 0
        took = time.monotonic() - started
        asked = [line.partition("?")[0] for line in proxy.requests]
    assert_each_once(MLflowStore(launched.uri), "slow", 8)
    assert took < 20
    assert sum("runs/get" in line for line in asked) <= 1  # for the arm's run
    figure(f"8 runs, each created 3 s late: {took:.1f} s, {len(asked) / 9:.1f} requests per run")


def test_runs_that_name_a_new_dataset_at_once_are_sent_once(
    launched: MLflowServer, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """A server that has just got the dataset from another run answers 400: only that request is made again."""
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", "new data"), ARM, range(2))
    with Proxy(launched.uri) as proxy:
        proxy.fault = Fault("status", path="runs/log-inputs", times=1, status=400)
        assert send(store, proxy.uri) == 0
        assert proxy.fault.happened
        assert sum("runs/create" in line for line in proxy.requests) == 3
    assert_each_once(MLflowStore(launched.uri), "new data", 2)


def test_of_two_senders_the_one_that_ends_last_gives_way(
    launched: MLflowServer, trained_study_files: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose word that its run has ended is still under way does not leave a double behind: the other one,
    which saw it unfinished, looks once more.
    """
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "a", "late end"), ARM, [0])
    other = RunStore(tmp_path / "b", "late end")
    shutil.copytree(store.results, other.results)
    with Proxy(launched.uri) as proxy, ThreadPoolExecutor() as pool:
        # The end of the arm's run, which says when it ended, arrives after 3 s.
        proxy.fault = Fault("late request", path="runs/update", skip=1, times=1, seconds=3)
        monkeypatch.setattr("pipeline.tracking.runs.RIVAL_WAIT", 4.0)
        first = pool.submit(mirror_arm, Tracking(True, proxy.uri), store, ARM, store.runs(ARM))
        while not proxy.fault.happened and not first.done():
            time.sleep(0.01)
        assert mirror_arm(Tracking(True, launched.uri), other, ARM, other.runs(ARM)) == ""
        assert first.result() == ""
    assert_each_once(MLflowStore(launched.uri), "late end", 1, senders=2)


def test_a_run_that_another_folder_has_just_claimed_is_not_deleted(
    launched: MLflowServer, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """A folder that supersedes its run looks at its senders again before it deletes it: what it saw may be old."""
    mine, other = RunStore(tmp_path / "a", "just claimed"), RunStore(tmp_path / "b", "just claimed")
    for store in (mine, other):
        multiply_run(trained_study_files.results, store, ARM, [0])
    assert send(mine, launched.uri) == 0
    multiply_run(trained_study_files.results, mine, ARM, [0], version="new")
    with Proxy(launched.uri) as proxy, ThreadPoolExecutor() as pool:
        proxy.fault = Fault("late", path="runs/search", times=1, seconds=3)
        first = pool.submit(mirror_arm, Tracking(True, proxy.uri), mine, ARM, mine.runs(ARM))
        while not proxy.fault.happened and not first.done():
            time.sleep(0.01)
        time.sleep(0.5)  # the server has answered; the answer is on its way
        assert mirror_arm(Tracking(True, launched.uri), other, ARM, other.runs(ARM)) == ""
        assert first.result() == ""
    runs = MLflowStore(launched.uri).active("just claimed")
    shown = ARM.partition(",")[0]  # what all arms share is no part of a name
    assert sorted(run.info.run_name for run in runs) == sorted([shown, f"{shown}-s0"] * 2)
    senders = [[tag for tag in run.data.tags if tag.startswith("results_folder/")] for run in runs]
    assert all(len(tags) == 1 for tags in senders)


def test_a_full_disk_at_the_server_costs_no_result(
    launched: MLflowServer, database: Path, trained_study_files: TrainedStudy, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], figure: Callable[[str], None],
) -> None:  # fmt: skip
    """When the server's database cannot grow, in the midst of an arm, sync says so in one line with exit code 1, and
    the results are as they were. With space again, sync completes the arm, with one run per key.
    """
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", "full disk"), ARM, range(12))
    before = contents(store.results)
    processes = [psutil.Process(launched.process.pid)]
    processes += processes[0].children(recursive=True)
    limits = [resource.prlimit(process.pid, resource.RLIMIT_FSIZE) for process in processes]
    room = database.stat().st_size + 100_000
    for process in processes:  # the kernel refuses writes beyond this size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    started = time.monotonic()
    try:
        assert send(store, launched.uri) == 1
    finally:
        took = time.monotonic() - started
        for process, limit in zip(processes, limits, strict=True):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limit)
    assert capsys.readouterr().err.count("Could not upload to MLflow") == 1
    mlflow = MLflowStore(launched.uri)
    arrived = [run for run in mlflow.active("full disk") if run.info.status == "FINISHED"]
    assert 0 < len(arrived) < 13
    assert contents(store.results) == before
    assert send(store, launched.uri) == 0
    assert_each_once(mlflow, "full disk", 12)
    figure(
        f"full disk at the server after {len(arrived)} of 13 runs: named in {took:.0f} s, completed with space again"
    )


def test_a_store_that_was_being_made_is_removed(trained_study_files: TrainedStudy, tmp_path: Path) -> None:
    """A process that is killed while it makes the SQLite store leaves a file that the next one removes."""
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", "new"), ARM, [0])
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    maker = start_sending(store, uri)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("mlflow.db.*.new")):
        assert time.monotonic() < deadline and maker.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(maker.pid, signal.SIGKILL)
    maker.communicate()
    assert list(tmp_path.glob("mlflow.db.*.new*")) and not (tmp_path / "mlflow.db").exists()
    assert send(store, uri) == 0
    assert not list(tmp_path.glob("mlflow.db.*.new*"))
    assert_each_once(MLflowStore(uri), "new", 1)
