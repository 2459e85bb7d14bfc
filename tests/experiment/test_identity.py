"""Stored results are found again: by later code, under another Python, and where settings have been added since."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import compose_config

from pipeline.config.schema import PROJECT, Config, Optimizer, Training
from pipeline.experiment.identity import Recipe, identify
from pipeline.experiment.plan import describe_job, plan_job
from pipeline.experiment.retraining import explain_retraining
from pipeline.experiment.run import run_arm
from pipeline.runtime.hashing import digest
from pipeline.store.replaced import adopt_runs, write_run
from pipeline.store.runs import RunStore

QUICK = ("data=iris", "model=linear", "training.epochs=1", "seeds=2", "tracking=none", "ablation=false")
LAYERS: list[dict[str, Any]] = [{"class_name": "Dense", "config": {"name": "output"}}]
DATA = {"source": "iris", "test_fraction": 0.2}
PACKAGES = {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6", "scikit-learn": "1.9.1"}
ADAM, TRAINING = Optimizer("Adam", 0.001), Training(epochs=1, batch_size=32)
# Keys of seed 3 of the default study: as stored under version 1 (any Python), and before there was a version, when the
# source text was part of the key (by Python 3.11, then by 3.12 and 3.13); then that of a portable run.
STORED_KEYS = {
    "bias_initializer=zeros": ("f946773f4a44c955", "09939285abca562f", "9a688636552919d6", "18e5109681370520"),
    "bias_initializer=glorot": ("b8a1a8cd642d7dfc", "d40106e5109666f5", "34a134410bb4e890", "4597ec20c688d928"),
    "use_bias=false": ("e7ecaff709aa1ebb", "3b358fcdaab04764", "edf560ad8da43a36", "bcc3ec7761639341"),
}


@pytest.mark.parametrize("override", STORED_KEYS)
def test_the_keys_of_the_default_study_stay(override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the default study that anybody has stored are found again, whatever their age and Python."""
    monkeypatch.setattr("pipeline.experiment.plan.package_versions", lambda: PACKAGES)
    assert plan_job(compose_config(override, f"results={tmp_path}")).keys[3] == STORED_KEYS[override]


def test_a_setting_at_its_default_is_not_part_of_the_key() -> None:
    """A setting that is added later retires no result, as long as it is left at its neutral value."""
    spelt_out = DATA | {"validation_fraction": 0.2, "standardize": True, "target": None}
    recipe = identify(LAYERS, DATA, ADAM, TRAINING, PACKAGES)
    assert identify(LAYERS, spelt_out, ADAM, TRAINING, PACKAGES).current == recipe.current
    changed = (
        identify(LAYERS, DATA | {"standardize": False}, ADAM, TRAINING, PACKAGES),
        identify(LAYERS, DATA, replace(ADAM, learning_rate=0.01), TRAINING, PACKAGES),
        identify(LAYERS, DATA, ADAM, replace(TRAINING, epochs=2), PACKAGES),
        identify(LAYERS, DATA, ADAM, TRAINING, PACKAGES | {"keras": "3.16.0"}),
        identify([*LAYERS, *LAYERS], DATA, ADAM, TRAINING, PACKAGES),
    )
    assert len({recipe.current, *(one.current for one in changed)}) == 6


def test_a_portable_run_has_a_key_of_its_own_and_serves_who_does_not_ask_for_it(tmp_path: Path) -> None:
    """Portable numbers are numbers that any processor may give; those that are not do not count as portable."""
    any_runs, portable = (
        identify(LAYERS, DATA, ADAM, TRAINING, PACKAGES, portable=portable) for portable in (False, True)
    )
    assert portable.digests == (portable.current,)
    assert portable.current in any_runs.others
    assert any_runs.current not in portable.digests
    config = compose_config(*QUICK, f"results={tmp_path}")
    stored = {key for seed in (0, 1) for key in plan_job(config).keys[seed]}
    assert {plan_job(as_portable(config)).keys[seed] for seed in (0, 1)} < {(key,) for key in stored}


def as_portable(config: Config) -> Config:
    return replace(config, runtime=replace(config.runtime, portable=True))


def test_runs_of_an_earlier_version_count(tmp_path: Path) -> None:
    """A run stored under one of the older keys is neither trained again nor taken out of its arm."""
    config = compose_config(*QUICK, f"results={tmp_path}")
    (first, second) = run_arm(config).runs
    plan = plan_job(config)
    older = first.meta | {"key": plan.keys[0][1], "recipe": plan.recipe.others[0]}
    del older["numerics_version"]
    write_run(plan.store, older, first.biases(), {k: v for k, v in first.history().items() if k != "epoch"})
    assert plan_job(config).missing == ()
    assert run_arm(config).trained == ()
    assert [run.key for run in plan.store.runs()] == [plan.keys[0][1], second.key]
    assert adopt_runs(plan.store, plan_job(config).keys, {"arm": "copy"}) == {0, 1}


def test_results_of_other_numerics_are_said_to_be_so_and_kept(tmp_path: Path) -> None:
    """Runs that code with other numbers stored are named before they are trained again, and move to `.replaced`."""
    config = compose_config(*QUICK, f"results={tmp_path}")
    plan = plan_job(config)
    assert explain_retraining(plan, plan.arm) == []
    for run in run_arm(config).runs:
        history = {k: v for k, v in run.history().items() if k != "epoch"}
        write_run(plan.store, run.meta | {"key": digest(run.seed), "recipe": "unknown"}, run.biases(), history)
    (line,) = explain_retraining(plan, plan.arm)
    assert "2 stored runs were trained by a version of this project that gave other numbers" in line
    assert run_arm(config).trained == ()  # the runs that these replaced come back
    assert {path.name for path in (tmp_path / ".replaced").iterdir()} >= {digest(0), digest(1)}


def other_python() -> str:
    """Another supported Python: the path of one that pyenv has (its shims do not answer uv), else its version."""
    version = "3.11" if sys.version_info >= (3, 12) else "3.13"
    if shutil.which("pyenv"):
        listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True).stdout.split()
        matching = [name for name in listed if name.startswith(f"{version}.")]
        if matching:
            prefix = subprocess.run(["pyenv", "prefix", matching[-1]], capture_output=True, text=True).stdout.strip()
            return f"{prefix}/bin/python"
    return version


@pytest.mark.slow
def test_another_python_finds_the_results(tmp_path: Path) -> None:
    """A study trained under this Python is complete under another one with the same packages."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the path")
    overrides = [*QUICK, f"results={tmp_path / 'results'}"]
    assert run_arm(compose_config(*overrides)).trained == (0, 1)
    command = [uv, "run", "--isolated", "--no-dev", "--python", other_python(), "python", "-m", "pipeline.train"]
    done = subprocess.run(
        [*command, *overrides, f"hydra.run.dir={tmp_path / 'outputs'}"],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    if "pipeline" not in done.stderr and done.returncode == 2 and not done.stdout:
        pytest.skip(f"uv cannot get another Python here: {done.stderr[:300]}")
    assert done.returncode == 0, done.stderr
    (row,) = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│ zeros")]
    assert [cell.strip() for cell in row[2:4]] == ["2", "0"]
    assert [run.environment["python"] for run in RunStore(tmp_path / "results", "iris-linear").runs()] == [
        ".".join(map(str, sys.version_info[:3]))
    ] * 2


@pytest.mark.parametrize(("model", "xla", "is_other"), [
    ("mlp", "auto", False), ("lstm", "auto", True), ("lstm", "false", False), ("cnn", "auto", True),
    ("cnn", "true", False),
])  # fmt: skip
def test_what_is_computed_otherwise_has_keys_of_its_own(model: str, xla: str, is_other: bool) -> None:
    """Of earlier versions' runs those count whose bits are the same."""
    config = compose_config(f"model={model}", "seeds=1", f"training.xla={xla}")
    assert (len(describe_job(config).recipe.others) == 1) == is_other  # the one of portable runs


def test_a_layer_of_the_users_own_may_hold_what_is_computed_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a built model shows the LSTM within it, and a key is known before."""

    def recipe() -> Recipe:
        config = compose_config("seeds=1")
        layers = [{"class_name": "mine>Reader", "config": {"name": "reader"}}]
        return identify(layers, {}, config.optimizer, config.training, {}, code=["1"])

    now = recipe()
    monkeypatch.setattr("pipeline.experiment.identity._computed_otherwise", lambda layers, xla: [])
    assert recipe() != now


def test_outputs_zeroed_backwards_have_keys_of_their_own() -> None:
    """Earlier versions zeroed other steps of a masked Bidirectional; without a mask, or sequences, they were right."""

    def recipe_without_key(*layers: str) -> bool:
        model = ("model.name=m", f"model.layers=[{','.join(layers)},{{class_name: Dense}}]")
        config = compose_config(*model, "seeds=1", "training.xla=false")  # with it there is another reason
        return len(describe_job(config).recipe.others) == 1  # of portable runs; not those of versions before

    steps, mask = "{class_name: Reshape, config: {target_shape: [8, 8]}}", "{class_name: Masking}"
    both = "{{class_name: Bidirectional, config: {{layer: {{class_name: GRU, config: {{units: 2, {}}}}}}}}}"
    last = "{class_name: LSTM, config: {units: 2, go_backwards: true, zero_output_for_mask: true}}"
    assert recipe_without_key(steps, mask, both.format("return_sequences: true"), "{class_name: Flatten}")
    assert recipe_without_key(steps, mask, last)
    assert not recipe_without_key(steps, mask, both.format("return_sequences: false"))
    assert not recipe_without_key(steps, both.format("return_sequences: true"), "{class_name: Flatten}")
    assert not recipe_without_key(steps, last)
