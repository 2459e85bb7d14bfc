"""Runs are trained once, stored whole, and found again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import CommandResult, TrainedStudy, change_config, compose_config

from pipeline.config.schema import PROJECT
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.store.runs import RunStore

QUICK = ("data=iris", "model=linear", "training.epochs=2", "training.xla=false", "tracking=none")


def run(tmp_path: Path, *overrides: str, **changes: Any) -> Outcome:
    """Run an arm into the test's folder. changes: fields of its config, which do not join the arm's name."""
    return run_arm(change_config(compose_config(*QUICK, *overrides), results=str(tmp_path / "results"), **changes))


def stored_files(tmp_path: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every stored file."""
    paths = sorted((tmp_path / "results").glob("iris-linear/*/seed=*/*"))
    return {str(path.relative_to(tmp_path)): (path.stat().st_ino, path.read_bytes()) for path in paths}


def contents(tmp_path: Path) -> dict[str, bytes]:
    """What a run holds: all its files but machine.json, which has the seconds that it took."""
    files = stored_files(tmp_path).items()
    return {name: content for name, (_, content) in files if not name.endswith("machine.json")}


def test_only_missing_seeds_are_trained(tmp_path: Path) -> None:
    """Re-running trains nothing, asking for more seeds only these; stored files are left alone."""
    assert run(tmp_path, seeds=(0, 1)).trained == (0, 1)
    before = stored_files(tmp_path)
    assert run(tmp_path, seeds=(0, 1)).trained == ()
    assert run(tmp_path, seeds=(0, 1, 2, 3)).trained == (2, 3)
    after = stored_files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


def test_seeds_added_later_are_the_same_bytes_as_all_at_once(tmp_path: Path) -> None:
    """What a run holds does not depend on which seeds were trained with it."""
    run(tmp_path / "later", seeds=(0, 1))
    run(tmp_path / "later", seeds=(0, 1, 2))
    run(tmp_path / "once", seeds=(0, 1, 2))
    assert contents(tmp_path / "later") == contents(tmp_path / "once") != {}


def test_changed_settings_replace_the_runs_of_an_arm(tmp_path: Path) -> None:
    """An arm holds runs of the settings last asked for; replaced runs come back untrained when asked for again."""
    first = run(tmp_path, seeds=(0, 1, 2))
    assert run(tmp_path, seeds=(0, 1), training={"epochs": 3}).trained == (0, 1)
    stored = RunStore(tmp_path / "results", "iris-linear").runs()
    assert [(r.seed, r.meta["config"]["training"]["epochs"]) for r in stored] == [(0, 3), (1, 3)]
    back = run(tmp_path, seeds=(0, 1, 2))
    assert back.trained == ()
    assert [r.key for r in back.runs] == [r.key for r in first.runs]


def test_an_arm_under_another_name_is_not_trained_again(tmp_path: Path) -> None:
    """Spelling out a default makes an arm of another name, which takes over the stored runs."""
    run(tmp_path, seeds=(0, 1))
    again = run(tmp_path, "optimizer.learning_rate=0.001", seeds=(0, 1))
    assert again.trained == ()
    assert again.plan.arm == "zeros,optimizer.learning_rate=0.001,training.epochs=2,training.xla=False"
    assert [r.arm for r in again.runs] == [again.plan.arm] * 2


@pytest.mark.parametrize("damage", ["run.json", "biases.npz", "half a run.json"])
def test_an_incomplete_run_is_replaced(tmp_path: Path, damage: str) -> None:
    """A run with a missing or damaged file is trained again, and no other."""
    outcome = run(tmp_path, seeds=(0, 1))
    if damage.startswith("half"):
        meta = outcome.runs[1].path / "run.json"
        meta.write_text(meta.read_text()[:100])
    else:
        (outcome.runs[1].path / damage).unlink()
    assert run(tmp_path, seeds=(0, 1)).trained == (1,)


def test_a_diverged_run_is_kept_and_labelled(tmp_path: Path) -> None:
    """A loss that is not finite makes the run `diverged`; its metrics are null in run.json, which is valid JSON."""
    overrides = ("data=diabetes", "training.batch_size=94", "optimizer=sgd", "optimizer.learning_rate=1e20")
    outcome = run(tmp_path, *overrides, seeds=(0, 1))
    assert [r.meta["status"] for r in outcome.runs] == ["diverged", "diverged"]
    text = (outcome.runs[0].path / "run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["metrics"]["test_loss"] is None


def test_arms_without_a_bias_store_none(tmp_path: Path) -> None:
    """biases.npz holds each bias before, after and at every epoch; without a bias it holds the epochs alone."""
    with_bias = run(tmp_path, seeds=(0,)).runs[0].biases()
    assert set(with_bias) == {"before/output/bias", "after/output/bias", "trajectory/output/bias", "epoch"}
    assert with_bias["trajectory/output/bias"].shape == (3, 3)
    without = run(tmp_path, seeds=(0,), use_bias=False).runs[0].biases()
    assert set(without) == {"epoch"}
    np.testing.assert_array_equal(without["epoch"], [0, 1, 2])


@pytest.mark.parametrize(("model", "data"), [("lesson", "trial"), ("linear", "iris"), ("mlp", "iris"),
                                             ("mean_field", "iris")])  # fmt: skip
def test_models_of_conf_can_be_trained(tmp_path: Path, model: str, data: str) -> None:
    """Each model file in conf/ trains; cnn and lstm are trained in test_ablation."""
    outcome = run(tmp_path, f"model={model}", f"data={data}", "training.epochs=1", "bias_initializer=glorot", "seeds=1")
    assert [r.meta["status"] for r in outcome.runs] == ["complete"]


def table(printed: str) -> dict[str, list[str]]:
    """Arm -> the other cells of its row, from a table that a command prints."""
    rows = [[cell.strip() for cell in line.split("│")] for line in printed.splitlines() if "│" in line]
    return {row[1]: row[2:-1] for row in rows}


def new_runs(printed: str) -> dict[str, str]:
    """Arm -> number of new runs, from the table that a sweep ends with."""
    return {arm: new for arm, (_, new, *_) in table(printed).items()}


def test_the_default_sweep_is_six_jobs_and_four_arms(cli: Callable[..., CommandResult]) -> None:
    """Its redundant jobs are named in one line; each arm is trained once, and a later sweep finds it done."""
    quick = ("data=iris", "model=linear", "seeds=2", "training.epochs=1", "training.xla=false", "ablation=false")
    first = cli("-m", *quick)
    assert first.code == 0
    assert first.out.count("trained once") == 1
    assert "the same arm of several jobs is trained once: no_bias (3 jobs)\n" in first.out
    assert "4 arms: 8 runs to train; loading TensorFlow takes some seconds\n" in first.out
    assert re.findall(r"^arm (\d) of 4: (\w+).*, 2 seeds(.*)$", first.out, re.MULTILINE)[0] == ("1", "zeros", "")
    timed = re.findall(r"^arm (\d) of 4: .*, 2 seeds, about \d+ s left$", first.out, re.MULTILINE)
    assert timed == ["3", "4"]  # of one epoch, the first arm shows only what compiling takes
    arms = ["zeros", "ones", "glorot_uniform", "no_bias"]
    assert new_runs(first.out) == dict.fromkeys(arms, "2")
    assert new_runs(cli("-m", *quick, "bias_initializer=zeros,ones").out) == dict.fromkeys(arms[:2], "0")


def test_a_sweep_of_ones_own_replaces_the_default_sweep(cli: Callable[..., CommandResult]) -> None:
    """`-m optimizer=sgd,adam bias_initializer=zeros,ones` asks for these four arms and no other."""
    planned = cli("-m", "--plan", "data=iris", "model=linear", "optimizer=sgd,adam", "bias_initializer=zeros,ones").out
    arms = [f"{bias},optimizer={name}" for name in ("sgd", "adam") for bias in ("zeros", "ones")]
    assert table(planned.partition("runs to train")[0]) == {arm: ["10", "0", "10"] for arm in arms}


@pytest.mark.slow
def test_a_swept_key_of_an_experiment_replaces_that_key_alone(cli: Callable[..., CommandResult]) -> None:
    """`experiment=before-batchnorm training.epochs=2,3` keeps the experiment's biases, a sweep of biases its epochs."""
    planned = cli("--plan", "experiment=before-batchnorm", "training.epochs=2,3").out
    arms = {f"{bias},training.epochs={n}" for bias in ("zeros", "constant(1)", "constant(3)") for n in (2, 3)}
    assert set(table(planned.partition("runs to train")[0])) == arms
    planned = cli("--plan", "experiment=before-batchnorm", "bias_initializer=ones,zeros").out
    arms = {f"{bias},training.epochs={n}" for bias in ("zeros", "ones") for n in (1, 5, 20, 120)}
    assert set(table(planned.partition("runs to train")[0])) == arms


def command(tmp_path: Path, *overrides: str) -> list[str]:
    return ["-m", "pipeline.train", "tracking=none", f"results={tmp_path / 'results'}",
            f"hydra.run.dir={tmp_path}/outputs/{time.time_ns()}", *overrides]  # fmt: skip


def test_nothing_to_do_needs_no_tensorflow(trained_study: TrainedStudy, tmp_path: Path) -> None:
    """A finished sweep, its ablation included, ends without importing TensorFlow, Keras, MLflow or pandas."""
    config = compose_config(*trained_study.overrides, "tracking=none")
    assert ablate_studies([plan_job(change_config(config, results=str(trained_study.results)))]) == []
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command(tmp_path, *trained_study.overrides)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert list(new_runs(done.stdout).values()) == ["0"]
    logged = done.stderr + "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    imported = {line.rpartition("|")[2].strip() for line in logged.splitlines() if line.startswith("import time:")}
    assert "pipeline.experiment" in imported
    assert not imported & {"tensorflow", "keras", "mlflow", "pandas"}


@pytest.mark.slow
def test_two_processes_and_a_killed_one_make_one_set_of_whole_runs(tmp_path: Path) -> None:
    """A process killed while it trains leaves no run; of two processes at once, one trains each seed."""

    def start(epochs: int, stdout: Any, **environment: str) -> subprocess.Popen[str]:
        overrides = ("data=iris", "model=linear", "seeds=3", f"training.epochs={epochs}")
        return subprocess.Popen([sys.executable, *command(tmp_path, *overrides)], cwd=PROJECT, text=True,
                                env=os.environ | environment, stdout=stdout, stderr=subprocess.PIPE)  # fmt: skip

    progress = tmp_path / "progress"
    with progress.open("w") as screen:
        killed = start(50_000, screen, TTY_COMPATIBLE="1")  # the progress bar is drawn as on a terminal
    wait_until(lambda: re.search(r", [1-9]\d* %", progress.read_text()) is not None, 120)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    store = RunStore(tmp_path / "results", "iris-linear")
    assert store.runs() == []
    both = [start(3, subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    logs = "".join(path.read_text() for path in (tmp_path / "outputs").rglob("train.log"))
    assert logs.count("training 3 seeds") == 2  # the killed one, and one of the two
    assert [r.seed for r in store.runs()] == [0, 1, 2]


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)
