"""`--status` says from the store alone how far a request is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import ARRAYS, CommandResult, TrainedStudy, compose_config, made_meta
from filelock import FileLock

from pipeline.config.schema import PROJECT, Config
from pipeline.experiment.plan import Plan, describe_job
from pipeline.experiment.status import print_status, read_state
from pipeline.installation import module_environment
from pipeline.store.designs import DeclaredArm, DeclaredDesign, Look, declare_design, write_looks
from pipeline.store.failures import Failure, record_failure
from pipeline.store.meta import RUN
from pipeline.store.replaced import write_run


def config_of(results: Path, **changes: Any) -> Config:
    """Three seeds of an arm; composed once for all tests."""
    config = compose_config("data=iris", "model=linear", "tracking=none", "bias_initializer=zeros")
    return replace(config, results=str(results), seeds=(0, 1, 2), **changes)


def store_runs(plan: Plan, seeds: range, keys_of: Plan | None = None) -> None:
    """Runs that a plan asks for, made up."""
    for seed in seeds:
        key = (keys_of or plan).keys[seed][0]
        meta = made_meta(plan.arm, seed, key=key, recipe=plan.recipe.current)
        write_run(plan.store, meta, ARRAYS, {"loss": [2.0, 1.0, 0.5]})  # type: ignore[dict-item]


def shown(*plans: Plan, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = print_status([read_state(plan) for plan in plans])
    return code, capsys.readouterr().out


def test_done_and_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run counts if it has the key and the files that are asked for, and lies where it says; 0 if all is there."""
    plan = describe_job(config_of(tmp_path))
    assert shown(plan, capsys=capsys) == (1, shown(plan, capsys=capsys)[1])
    assert "0 of 3" in shown(plan, capsys=capsys)[1] and not list(tmp_path.iterdir())
    store_runs(plan, range(2))
    code, out = shown(plan, capsys=capsys)
    assert code == 1 and "2 of 3" in out and "1 arm: 1 missing; 2 of 3 runs" in out
    store_runs(plan, range(2, 3))
    code, out = shown(plan, capsys=capsys)
    assert code == 0 and "3 of 3" in out and "1 arm: 1 done; 3 of 3 runs" in out
    assert max(map(len, out.splitlines())) <= 80
    kept = replace(plan, config=replace(plan.config, show_weights=True))
    assert read_state(kept).done == 0
    other = describe_job(config_of(tmp_path, optimizer=replace(plan.config.optimizer, learning_rate=0.5)))
    assert other.arm == plan.arm and read_state(other).done == 0
    (plan.store.run_folder(plan.arm, 0) / RUN).unlink()
    os.mkfifo(plan.store.run_folder(plan.arm, 0) / RUN)
    (plan.store.run_folder(plan.arm, 1) / RUN).write_text("{")
    plan.store.run_folder(plan.arm, 2).rename(plan.store.run_folder(plan.arm, 7))
    assert read_state(plan).done == 0


def test_running_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An arm whose seeds several jobs train runs as long as one of them does."""
    plan = describe_job(config_of(tmp_path))
    with plan.store.lock(plan.arm, "seeds 0 to 0"), plan.store.lock(plan.arm, "seeds 1 to 2"):
        code, out = shown(plan, capsys=capsys)
    assert code == 1 and f"running: process {os.getpid()}" in " ".join(out.split()) and "and 1 more" in out
    assert "missing" in shown(plan, capsys=capsys)[1]


def test_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By whom and since when, as long as the lock is held: the note of a process that is gone says nothing."""
    plan = describe_job(config_of(tmp_path))
    with plan.store.lock(plan.arm):
        code, out = shown(plan, capsys=capsys)
        assert code == 1 and f"running: process {os.getpid()} since " in out and "1 running" in out
        note = Path(f"{plan.store.lock_file(plan.arm)}.holder")
        kept = json.loads(note.read_text())
    assert not note.exists()
    note.write_text(json.dumps(kept | {"host": "elsewhere"}))
    assert read_state(plan).word == "missing"
    with FileLock(plan.store.lock_file(plan.arm)):
        assert f"process {os.getpid()} on elsewhere since" in read_state(plan).text
        note.unlink()
        assert read_state(plan).text == "running"
    assert kept["host"] == socket.gethostname()


def test_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why, and in which log; not where all seeds are there all the same, or somebody trains the arm anew."""
    plan = describe_job(config_of(tmp_path))
    record_failure(plan.store, plan.arm, Failure("bias_initializer=zeros", "MemoryError: too much", "/logs/train.log"))
    code, out = shown(plan, capsys=capsys)
    assert code == 1 and "1 failed" in out
    assert "failed: bias_initializer=zeros: MemoryError: too much (log: /logs/train.log)" in out
    with plan.store.lock(plan.arm):
        assert read_state(plan).word == "running"
    store_runs(plan, range(3))
    code, out = shown(plan, capsys=capsys)
    assert code == 0 and "failed" not in out


def test_many_arms_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that train or have failed have a line."""
    first = describe_job(config_of(tmp_path))
    plans = [replace(first, arm=f"arm{i:02}") for i in range(30)]
    store_runs(plans[3], range(3), first)
    record_failure(plans[4].store, plans[4].arm, Failure("arm04", "E: e", "log"))
    with plans[5].store.lock(plans[5].arm):
        code, out = shown(*plans, capsys=capsys)
    assert code == 1 and "30 arms: 1 done, 1 running, 1 failed, 27 missing; 3 of 90 runs" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("│")] == ["arm04", "arm05"]


def test_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under until=decided: which were taken, what is decided, and how many seeds come next."""
    plan = describe_job(config_of(tmp_path, until="decided"))
    assert "no look yet: the design is not declared" in shown(plan, capsys=capsys)[1]
    arms = (DeclaredArm(plan.arm, "zeros", ""), DeclaredArm("ones", "ones", ""), DeclaredArm("twos", "twos", ""))
    design = DeclaredDesign("test_accuracy", "zeros", 0.005, (3, 6), "pocock", 0.05, arms)
    declare_design(plan.store, design)
    first = Look(3, {"ones": "worse"})
    write_looks(plan.store, design, [first])
    plan = describe_job(config_of(tmp_path, until="decided"))
    store_runs(plan, range(6))
    code, out = shown(plan, capsys=capsys)
    assert code == 1 and out.startswith("1 of 2 looks taken, the next with 6 seeds; ones worse; undecided: twos\n")
    assert "6 of 6" in out
    write_looks(plan.store, design, [first, Look(6, {})])
    code, out = shown(plan, capsys=capsys)
    assert code == 0 and out.startswith("2 of 2 looks taken; ones worse; undecided: twos\n")


@pytest.mark.parametrize("options", [("--plan", "--status"), ("-q", "--status")])
def test_options_that_do_not_go_together(options: tuple[str, ...], cli: Callable[..., CommandResult]) -> None:
    """Are refused in one line."""
    refused = cli(*options)
    assert refused.code == 2 and refused.err.count("\n") == 1 and "allowed: " in refused.err


@pytest.mark.slow
def test_the_command(trained_study: TrainedStudy, cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """Of one arm and of a sweep; it writes nothing, and refuses what training would refuse."""
    overrides = [*TrainedStudy.overrides, f"results={trained_study.results}"]
    before = {path: path.stat().st_mtime_ns for path in trained_study.results.rglob("*")}
    done = cli("--status", *overrides, "bias_initializer=zeros")
    assert (done.code, done.err) == (0, "") and "1 arm: 1 done; 3 of 3 runs" in done.out
    sweep = cli("-m", "--status", *overrides, "seeds=4")
    assert sweep.code == 1 and "4 arms: 4 missing; 9 of 16 runs" in sweep.out
    assert sum("of 4" in line for line in sweep.out.splitlines()) == 4
    refused = cli("-m", "--status", *overrides, "seeds=0")
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert before == {path: path.stat().st_mtime_ns for path in trained_study.results.rglob("*")}
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "multirun").exists()


@pytest.mark.slow
@pytest.mark.faults
def test_a_sweep_that_runs_and_is_killed(tmp_path: Path) -> None:
    """While it trains it is named with its process; after kill -9 it is not, and its seeds are missing."""
    words = [sys.executable, "-m", "pipeline.train"]
    asked = ["data=iris", "model=linear", "seeds=2", "training.epochs=200", "training.batch_size=1", "tracking=none",
             "training.xla=false", f"results={tmp_path / 'results'}"]  # fmt: skip
    where = [f"hydra.run.dir={tmp_path / 'logs'}"]

    def status() -> subprocess.CompletedProcess[str]:
        command = [*words, "--status", *asked]
        return subprocess.run(
            command, cwd=PROJECT, env=module_environment(), capture_output=True, text=True, check=False
        )

    with (tmp_path / "log").open("w") as log:
        train = subprocess.Popen(
            [*words, *asked, *where], cwd=PROJECT, env=module_environment(), stdout=log, stderr=log
        )
    begun = time.monotonic()
    while f"running: process {train.pid} since" not in (told := status()).stdout:
        assert time.monotonic() - begun < 120 and train.poll() is None, (tmp_path / "log").read_text()
    assert told.returncode == 1
    train.send_signal(signal.SIGKILL)
    train.wait()
    told = status()
    assert told.returncode == 1 and "missing" in told.stdout and "running" not in told.stdout
