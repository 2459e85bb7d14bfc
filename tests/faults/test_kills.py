"""kill -9 at any moment of a sweep, and crowds of the same sweep: the same command goes on to the same bytes."""

import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from factories import MLflowStore
from faults.forks import Command, Forks, wait_until

from pipeline.store.meta import MACHINE
from pipeline.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.faults]

STUDY, ARMS, SEEDS = "iris-linear", ("zeros", "ones"), (0, 20, 40)
SWEEP = ("-m", "data=iris", "model=linear", "seeds=[0,20,40]", "training.epochs=2", "training.seeds_at_once=1",
         "training.xla=false", "bias_initializer=zeros,ones")  # fmt: skip
N_FOLDERS, N_TRACKED = 15, 3  # each folder's sweep is killed twice


def start(forks: Forks, folder: Path, name: str, *more: str) -> Command:
    """Start the sweep on `folder / "results"`. Each of its arms trains three stacks, one after the other."""
    where = [f"results={folder / 'results'}", f"hydra.sweep.dir={folder / name}"]
    return forks.start(folder / f"{name}.log", *SWEEP, *where, *(more or ["tracking=none"]))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the study, runs and tables, but those that say how long a run took."""
    study = folder / "results" / STUDY
    files = [path for path in sorted(study.rglob("*")) if path.is_file() and path.name != MACHINE]
    return {str(path.relative_to(study)): path.read_bytes() for path in files}


def test_a_sweep_killed_at_any_moment_ends_with_the_bytes_of_an_undisturbed_one(
    forks: Forks, tmp_path: Path, mlflow_store_file: Path, figure: Callable[[str], None]
) -> None:
    """What is there after a kill is whole; the same command adds the rest, one MLflow run per key, and sweeps up."""
    forks.start(tmp_path / "warm.log", "--help").wait()
    begun = time.monotonic()
    both = [start(forks, tmp_path / name, "sweep") for name in ("undisturbed", "beside")]
    assert [command.wait() for command in both] == [0, 0], both[0].lines
    life = time.monotonic() - begun
    expected = contents(tmp_path / "undisturbed")
    assert expected == contents(tmp_path / "beside") and len(expected) == len(ARMS) * len(SEEDS) * 5 + 1

    def kill_and_recover(number: int, moments: Sequence[tuple[int, float]]) -> tuple[int, list[int], float]:
        """How often the sweep was still alive, how many runs it then had, and how long the rest took.

        moments: for each kill, how many runs are waited for, and how many seconds after that it comes.
        """
        folder, tracking, alive, n_runs = tmp_path / f"killed{number}", [], 0, []
        folder.mkdir()
        if number % (N_FOLDERS // N_TRACKED) == 0:
            tracking = [f"tracking.uri=sqlite:///{shutil.copy(mlflow_store_file, folder / 'mlflow.db')}"]
        study = folder / "results" / STUDY
        for i, (wanted, delay) in enumerate(moments):
            killed = start(forks, folder, f"killed{i}", *tracking)
            wait_until(lambda: len(list(study.glob("*/seed=*"))) >= wanted or killed.code is not None)  # noqa: B023
            time.sleep(delay)
            if killed.code is None:
                killed.send(signal.SIGKILL)
            alive += killed.wait() == -signal.SIGKILL
            runs = {name: content for name, content in contents(folder).items() if "seed=" in name}
            assert runs == {name: expected[name] for name in runs}
            assert len(runs) % 5 == 0
            n_runs.append(len(runs) // 5)
        begun = time.monotonic()
        again = start(forks, folder, "again", *tracking)
        assert again.wait() == 0, again.lines
        seconds = time.monotonic() - begun
        assert contents(folder) == expected
        assert list((folder / "results" / ".aside").glob("tmp*")) == []
        if tracking:
            mirrored = MLflowStore(tracking[0].removeprefix("tracking.uri=")).by_name(STUDY)
            assert len(mirrored) == len(ARMS) * (1 + len(SEEDS))
            assert {run.info.status for run in mirrored.values()} == {"FINISHED"}
        return alive, n_runs, seconds

    random = np.random.default_rng(12)
    before = [(0, life * x) for x in random.random(N_FOLDERS)]  # at any moment, most of them before the first run
    during = [(int(random.integers(1, 7)), life / 10 * random.random()) for _ in before]
    with ThreadPoolExecutor(2) as pool:
        alive, n_runs, seconds = zip(
            *pool.map(kill_and_recover, range(N_FOLDERS), zip(before, during, strict=True)), strict=True
        )
    runs = sorted(n for several in n_runs for n in several)
    figure(
        f"{sum(alive)} of {2 * N_FOLDERS} kills over the {life:.1f} s of a sweep, {runs[0]} to {runs[-1]} of 6 runs "
        f"there: none lost or changed; finished in {np.median(seconds):.1f} s, at most {max(seconds):.1f} s"
    )
    assert sum(alive) >= N_FOLDERS
    assert len(set(runs)) > 2  # some before, some after a stack was stored


@pytest.mark.parametrize("n", [2, 8])
def test_a_crowd_trains_each_run_once(forks: Forks, tmp_path: Path, figure: Callable[[str], None], n: int) -> None:
    """Processes with the same sweep at the same time share the work, and all report it done."""
    begun = time.monotonic()
    crowd = [start(forks, tmp_path, f"member{i}", "tracking=none") for i in range(n)]
    assert [command.wait() for command in crowd] == [0] * n, [command.lines for command in crowd]
    logs = "".join(path.read_text() for path in tmp_path.glob("member*/*/train.log"))
    trained = re.findall(r"training (\d+) seeds of (\w+)", logs)
    assert sorted(trained) == sorted((str(len(SEEDS)), arm) for arm in ARMS)
    assert len(RunStore(tmp_path / "results", STUDY).runs()) == len(ARMS) * len(SEEDS)
    figure(f"{n} processes with the same sweep: each run trained once, all done after {time.monotonic() - begun:.1f} s")


@pytest.mark.parametrize("at_once", [20, 40])
def test_a_kill_costs_only_the_stacks_that_were_training(forks: Forks, tmp_path: Path, at_once: int) -> None:
    """Of four stacks of one arm, those that had ended are stored with their models; the same command goes on."""
    arm = ("data=iris", "model=linear", "seeds=80", "training.epochs=150", "training.batch_size=2", "tracking=none",
           "keep_model=true", "training.stop={patience:150}", "ablation=false", f"training.seeds_at_once={at_once}",
           f"results={tmp_path / 'results'}", f"hydra.run.dir={tmp_path / 'out'}")  # fmt: skip
    command = forks.start(tmp_path / "killed", *arm)

    def stored() -> list[Path]:
        return list((tmp_path / "results" / STUDY).glob("*/seed=*"))

    wait_until(lambda: len(stored()) >= 20)
    time.sleep(0.3)
    command.send(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    kept = contents(tmp_path)
    n_kept = len(RunStore(tmp_path / "results", STUDY).runs())
    assert 20 <= n_kept < 80 and len(kept) == 6 * n_kept, "killed too late for this test"
    again = forks.start(tmp_path / "again", *arm)
    assert again.wait() == 0, again.lines
    assert f"training {80 - n_kept} seeds of" in (tmp_path / "out" / "train.log").read_text()
    after = contents(tmp_path)
    assert len(RunStore(tmp_path / "results", STUDY).runs()) == 80
    assert {name: after[name] for name in kept} == kept
