"""Runs are trained once, stored whole, and found again: in one process, in two, and after a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from factories import compose_config

from pipeline.config.schema import PROJECT
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.run import run_arm
from pipeline.store.runs import RunStore

QUICK = ("data=iris", "model=linear", "training.epochs=2", "tracking=none")


def run(tmp_path, *overrides):
    return run_arm(compose_config(*QUICK, f"results={tmp_path / 'results'}", *overrides))


def files(tmp_path):
    """Content and identity of every stored file."""
    found = sorted((tmp_path / "results").glob("iris-linear/*/seed=*/*"))
    return {str(p.relative_to(tmp_path)): (p.stat().st_ino, p.read_bytes()) for p in found}


def test_only_what_is_missing_is_trained(tmp_path):
    """A finished seed would be trained again, or a new one not at all."""
    assert run(tmp_path, "seeds=2").trained == (0, 1)
    before = files(tmp_path)
    assert run(tmp_path, "seeds=2").trained == ()
    assert run(tmp_path, "seeds=4").trained == (2, 3)
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


def test_more_seeds_later_are_the_same_bytes_as_all_at_once(tmp_path):
    """What a run holds would depend on the order in which seeds were asked for."""
    run(tmp_path / "later", "seeds=2")
    run(tmp_path / "later", "seeds=3")
    run(tmp_path / "once", "seeds=3")
    later, once = files(tmp_path / "later"), files(tmp_path / "once")
    assert {k: v[1] for k, v in later.items()} == {k: v[1] for k, v in once.items()}


def test_a_changed_setting_replaces_the_runs_and_nothing_is_lost(tmp_path):
    """A run of other settings would pass for what is asked now, or its work be lost when they come back."""
    arm = ("data.standardize=true",)  # an override that joins the arm's name, so that settings change below it
    first = run(tmp_path, "seeds=3", *arm)
    config = compose_config(*QUICK, f"results={tmp_path / 'results'}", "seeds=2", *arm)
    longer = replace(config, training=replace(config.training, epochs=3))
    changed = run_arm(longer)
    assert changed.trained == (0, 1)
    stored = RunStore(tmp_path / "results", "iris-linear").runs()
    assert [(r.seed, r.meta["config"]["training"]["epochs"]) for r in stored] == [(0, 3), (1, 3)]
    back = run(tmp_path, "seeds=3", *arm)
    assert back.trained == ()
    assert [r.key for r in back.runs] == [r.key for r in first.runs]


def test_an_arm_under_another_name_is_not_trained_again(tmp_path):
    """The same settings, spelt out, would be trained a second time."""
    run(tmp_path, "seeds=2")
    again = run(tmp_path, "seeds=2", "optimizer.learning_rate=0.001")
    assert again.trained == ()
    assert again.plan.arm == "zeros,optimizer.learning_rate=0.001,training.epochs=2"
    assert [r.arm for r in again.runs] == [again.plan.arm] * 2


@pytest.mark.parametrize("damage", ["run.json", "biases.npz", "half a run.json"])
def test_an_incomplete_run_is_replaced(tmp_path, damage):
    """A run that lacks a file would count as finished."""
    outcome = run(tmp_path, "seeds=2")
    if damage.startswith("half"):
        meta = outcome.runs[1].path / "run.json"
        meta.write_text(meta.read_text()[:100])
    else:
        (outcome.runs[1].path / damage).unlink()
    assert run(tmp_path, "seeds=2").trained == (1,)


def test_a_diverged_run_is_kept_and_labelled(tmp_path):
    """A loss that is not finite would end the sweep, be written as nan, or pass for a result."""
    outcome = run(tmp_path, "seeds=2", "data=diabetes", "optimizer=sgd", "optimizer.learning_rate=1e20")
    assert [r.meta["status"] for r in outcome.runs] == ["diverged", "diverged"]
    text = (outcome.runs[0].path / "run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["metrics"]["test_loss"] is None


def test_the_default_sweep_is_six_jobs_and_four_arms(cli):
    """A redundant job would be trained, or not be named; or a second sweep train anything."""
    sweep = ("-m", "data=iris", "model=linear", "seeds=2", "training.epochs=1")
    first = cli(*sweep, "tracking=none")
    assert first.code == 0
    assert first.out.count("trained once") == 2
    table = {line.split("│")[1].strip(): line.split("│")[3].strip() for line in first.out.splitlines() if "│" in line}
    names = [f"{arm},training.epochs=1" for arm in ("zeros", "ones", "glorot_uniform", "no_bias")]
    assert table == dict.fromkeys(names, "2")
    second = cli(*sweep, "tracking=none")
    table = {line.split("│")[1].strip(): line.split("│")[3].strip() for line in second.out.splitlines() if "│" in line}
    assert table == dict.fromkeys(names, "0")


def test_a_sweep_of_ones_own_is_just_that(cli, tmp_path):
    """`-m optimizer=sgd,adam bias_initializer=zeros,ones` would be more, or fewer, than four arms."""
    said = cli("-m", *QUICK, "seeds=1", "training.epochs=1", "optimizer=sgd,adam", "bias_initializer=zeros,ones")
    assert said.code == 0
    arms = {r.arm for r in RunStore(tmp_path / "results", "iris-linear").runs()}
    assert arms == {
        f"{bias},optimizer={name},training.epochs=1" for bias in ("zeros", "ones") for name in ("sgd", "adam")
    }


def command(tmp_path, *overrides):
    return [sys.executable, "-m", "pipeline.train", *QUICK, f"results={tmp_path / 'results'}",
            f"hydra.run.dir={tmp_path}/outputs/{time.time_ns()}", *overrides]  # fmt: skip


def test_nothing_to_do_needs_no_tensorflow(tmp_path):
    """A finished sweep would wait over ten seconds for TensorFlow only to find that it is finished."""
    assert ablate_studies([run(tmp_path, "seeds=2").plan]) == []
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command(tmp_path, "seeds=2")[1:]],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    logged = done.stderr + "".join(p.read_text() for p in tmp_path.rglob("*.log"))
    imported = {line.rpartition("|")[2].strip() for line in logged.splitlines() if line.startswith("import time:")}
    assert "pipeline.experiment" in imported
    assert not imported & {"tensorflow", "keras", "mlflow", "pandas"}


@pytest.mark.slow
def test_two_processes_and_a_killed_one_make_one_set_of_whole_runs(tmp_path):
    """A process killed in the midst of training leaves no run; of two processes at once, one trains each seed."""

    def start(epochs, stdout, **environment):
        return subprocess.Popen(command(tmp_path, "seeds=3", f"training.epochs={epochs}"), cwd=PROJECT, text=True,
                                env=os.environ | environment, stdout=stdout, stderr=subprocess.PIPE)  # fmt: skip

    progress = tmp_path / "progress"
    with progress.open("w") as screen:
        killed = start(50_000, screen, TTY_COMPATIBLE="1")  # the progress bar is drawn as on a terminal
    wait_for(lambda: re.search(r"epoch [1-9]\d*/50000", progress.read_text()), 120)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    store = RunStore(tmp_path / "results", "iris-linear")
    assert store.runs() == []
    both = [start(3, subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    logs = "".join(path.read_text() for path in (tmp_path / "outputs").rglob("train.log"))
    assert logs.count("training 3 seeds") == 2  # the killed one, and one of the two
    assert [run.seed for run in store.runs()] == [0, 1, 2]


def wait_for(ready, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return ready()
        time.sleep(0.2)
    raise TimeoutError


def test_biases_of_a_run_are_absent_without_a_bias_and_named_with(tmp_path):
    """An arm without a bias would store zeros in its place."""
    with_bias = run(tmp_path, "seeds=1").runs[0].biases()
    assert set(with_bias) == {"before/output/bias", "after/output/bias", "trajectory/output/bias", "epoch"}
    assert with_bias["trajectory/output/bias"].shape == (3, 3)
    without = run(tmp_path, "seeds=1", "use_bias=false").runs[0].biases()
    assert set(without) == {"epoch"}
    np.testing.assert_array_equal(without["epoch"], [0, 1, 2])


def test_every_model_trains_an_epoch(tmp_path):
    """A model file in conf/ would not train on the data it is meant for."""
    for model, data in (
        ("lesson", "trial"),
        ("linear", "wine"),
        ("mlp", "iris"),
        ("cnn", "digits"),
        ("lstm", "digits"),
    ):
        overrides = (f"model={model}", f"data={data}", "seeds=1", "training.epochs=1", "training.xla=false")
        outcome = run(tmp_path, *overrides, "bias_initializer=glorot")
        assert [r.meta["status"] for r in outcome.runs] == ["complete"], model
