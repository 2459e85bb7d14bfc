"""Several results folders send the same study to one MLflow store: the store ends with the union, each run once.

Nothing that another folder sent is deleted, whatever becomes of the results here.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import MLflowStore, TrainedStudy, multiply_run
from faults.senders import send, start_sending
from servers import launch_server

from pipeline.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ARM = "glorot_uniform,training.epochs=2"
SHOWN = "glorot_uniform"  # in MLflow, since all arms have the rest in common
Folder = Callable[..., RunStore]


@pytest.fixture(scope="module")
def stores(mlflow_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of an SQLite store, and of a server with two processes."""
    tmp = tmp_path_factory.mktemp("stores")
    for name in ("alone.db", "server.db"):
        shutil.copy(mlflow_store_file, tmp / name)
    with launch_server(tmp, f"sqlite:///{tmp / 'server.db'}", workers=2) as server:
        yield {"sqlite": f"sqlite:///{tmp / 'alone.db'}", "server": server.wait()}


@pytest.fixture
def folder(trained_study_files: TrainedStudy, tmp_path: Path) -> Folder:
    """`folder("a", study, range(3))` is a results folder `a` that holds these seeds of the study."""

    def make(name: str, study: str, seeds: Any, version: str = "") -> RunStore:
        return multiply_run(trained_study_files.results, RunStore(tmp_path / name, study), ARM, seeds, version)

    return make


def state(mlflow: MLflowStore, study: str) -> tuple[list[str], int]:
    """The names of the active runs, all of them finished; and how many deleted runs there are."""
    from mlflow.entities import ViewType

    client = mlflow.client
    experiment = client.get_experiment_by_name(study).experiment_id
    active = mlflow.active(study)
    assert {run.info.status for run in active} == {"FINISHED"}
    keys = [run.data.tags["key"] for run in active]
    assert len(set(keys)) == len(keys), "a key is there twice"
    ids = {run.info.run_id for run in active}
    assert all(mlflow.parent(run) in ids for run in active if run.data.tags["role"] == "seed")
    deleted = client.search_runs([experiment], "", ViewType.DELETED_ONLY, max_results=1000)
    return sorted(run.info.run_name for run in active), len(deleted)


def names(*seeds: int, arms: int = 1) -> list[str]:
    return sorted([SHOWN] * arms + [f"{SHOWN}-s{seed}" for seed in seeds])


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_two_folders_end_with_the_union(
    stores: dict[str, str], folder: Folder, kind: str, order: str, figure: Callable[[str], None]
) -> None:
    """12 runs of one folder and 8 of another are 20 in MLflow, in any order, and nothing is deleted; nor later."""
    study, mlflow = f"union {order}", MLflowStore(stores[kind])
    both = {"a": folder("a", study, range(11)), "b": folder("b", study, range(11, 18))}
    for name in order * 2:
        assert send(both[name], mlflow.uri) == 0
    active, deleted = state(mlflow, study)
    assert (active, deleted) == (names(*range(18), arms=2), 0)
    seeds = {run.data.tags["seeds"] for run in mlflow.active(study) if run.info.run_name == SHOWN}
    assert seeds == {"11", "7"}
    figure(f"12 + 8 runs of two folders in one {kind} store, order {order}, twice: {len(active)} active, 0 deleted")


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_damage_here_deletes_nothing_there(
    stores: dict[str, str], folder: Folder, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flipped byte is named, with exit code 1; MLflow's run of that seed and the mean stay, and new seeds arrive.

    When the seed has been trained again, there is one mean over all.
    """
    study, mlflow = "flipped byte", MLflowStore(stores[kind])
    store = folder("a", study, range(4))
    assert send(store, mlflow.uri) == 0
    before = {run.info.run_id: run.data.metrics for run in mlflow.active(study)}
    path = store.run_folder(ARM, 2) / "biases.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store = folder("a", study, [4])
    for _ in range(2):
        capsys.readouterr()
        assert send(store, mlflow.uri) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{ARM}/seed=2 is damaged" in line and "train the arm again if it asks for that seed" in line
    assert state(mlflow, study) == (names(0, 1, 2, 3, 4), 0)
    now = {run.info.run_id: run.data.metrics for run in mlflow.active(study)}
    assert {run_id: now[run_id] for run_id in before} == before
    shutil.rmtree(path.parent)
    repaired = folder("a", study, [2])
    assert send(repaired, mlflow.uri) == 0
    assert state(mlflow, study) == (names(0, 1, 2, 3, 4), 1)  # the mean of four


def test_a_seed_that_is_deleted_here_stays_there(stores: dict[str, str], folder: Folder) -> None:
    """Only the mean over the seeds that are left is made anew, and becomes the parent of all."""
    study, mlflow = "deleted seed", MLflowStore(stores["sqlite"])
    store = folder("a", study, range(3))
    assert send(store, mlflow.uri) == 0
    shutil.rmtree(store.run_folder(ARM, 1))
    assert send(store, mlflow.uri) == 0
    assert state(mlflow, study) == (names(0, 1, 2), 1)


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_a_copied_folder_is_another_sender(stores: dict[str, str], folder: Folder, kind: str) -> None:
    """What a copy supersedes stays for the original, and the other way round; a moved folder supersedes its own."""
    study, mlflow = "copied", MLflowStore(stores[kind])
    original = folder("a", study, range(3))
    assert send(original, mlflow.uri) == 0
    shutil.copytree(original.results, original.results.with_name("copy"))
    copy = folder("copy", study, range(2), version="new")
    assert send(copy, mlflow.uri) == 0
    shutil.move(original.results, original.results.with_name("moved"))
    moved = RunStore(original.results.with_name("moved"), study)
    assert send(moved, mlflow.uri) == 0
    both = sorted([*names(0, 1, 2, arms=2), *names(0, 1, arms=0)])
    assert state(mlflow, study) == (both, 0)
    moved = folder("moved", study, range(3), version="new")
    assert send(moved, mlflow.uri) == 0
    assert send(copy, mlflow.uri) == 0  # which gives its old run of seed 2 a parent: it was below the moved one's mean
    # Of the old runs, 0 and 1 had no other sender. The means: of the copy, of the moved.
    assert state(mlflow, study) == (sorted([*names(0, 1, 2, arms=2), *names(2, arms=0)]), 3)


def test_folders_that_send_at_once_end_with_the_union(
    stores: dict[str, str], folder: Folder, figure: Callable[[str], None]
) -> None:
    """Two processes send overlapping seeds to one server at the same time; one is killed at a chance moment, and sent
    again afterwards. Every key is there once.
    """
    chance, mlflow, rounds = random.Random(7), MLflowStore(stores["server"]), 4
    started = time.monotonic()
    for i in range(rounds):
        study = f"at once {i}"
        both = [folder(f"{name}{i}", study, seeds) for name, seeds in (("a", range(6)), ("b", range(3, 9)))]
        if i == 0:
            both.append(folder(f"c{i}", study, range(6)))  # all that `a` holds: they share the mean
        senders = [start_sending(store, mlflow.uri) for store in both]
        if i >= 2:
            wait_for_runs(mlflow, study)
            time.sleep(chance.uniform(0, 1))
            senders[0].kill()
        printed = [sender.communicate(timeout=180) for sender in senders]
        assert [sender.returncode for sender in senders] == [0 if i < 2 else -9, 0, 0][: len(both)], printed
        if i >= 2:
            assert send(both[0], mlflow.uri) == 0
        active, _ = state(mlflow, study)
        assert active == names(*range(9), arms=2)
    figure(f"{rounds} times two or three folders at once to one server, two of them killed: every run once, "
           f"{time.monotonic() - started:.0f} s")  # fmt: skip


def wait_for_runs(mlflow: MLflowStore, study: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if mlflow.client.get_experiment_by_name(study) is not None and mlflow.active(study):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing arrived of {study}")


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_a_changing_host_name_doubles_and_deletes_nothing(
    stores: dict[str, str], folder: Folder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a container that mounts the folder: every run stays, each seed once, whoever adds seeds to it."""
    study, mlflow = "changing host", MLflowStore(stores[kind])
    for number in range(3):
        store = folder("a", study, [number])
        monkeypatch.setattr("socket.gethostname", lambda number=number: f"container{number}")
        for _ in range(2):
            assert send(store, mlflow.uri) == 0
    active, deleted = state(mlflow, study)
    assert (active, deleted) == (names(0, 1, 2, arms=3), 0)  # of the arm a mean over each set of seeds
    whole = [run for run in mlflow.active(study) if run.info.run_name == SHOWN and run.data.tags["seeds"] == "3"]
    assert len(whole) == 1
