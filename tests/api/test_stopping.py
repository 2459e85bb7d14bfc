"""Early stopping from Python gives the numbers of the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from factories import CommandResult

from pipeline.api import compare_initializers
from pipeline.store.runs import RunStore

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", ["stop", "callbacks"])
def test_seeds_stop_as_on_the_command_line(cli: Callable[..., CommandResult], tmp_path: Path, how: str) -> None:
    """At the same epochs, with the same weights and metrics: one run by either way."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(90, 3)).astype(np.float32)
    y = (x.sum(1) + draw.normal(size=90) > 0).astype(int)
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    given: dict[str, Any] = {"stop": {"patience": 1, "min_delta": 0.02}}
    if how == "callbacks":
        given = {how: [keras.callbacks.EarlyStopping(min_delta=0.02, patience=1, restore_best_weights=True)]}
    study = compare_initializers(
        model, (x, y), arms=["ones", "zeros"], seeds=3, epochs=9, optimizer=keras.optimizers.Adam(0.02), progress=False,
        results=tmp_path / "mine", ablation=False, xla=False, **given,
    )  # fmt: skip
    (path,) = (tmp_path / "mine" / ".data").iterdir()
    layers = "model.layers=[{class_name: Dense, config: {units: 2, activation: softmax}}]"
    done = cli("data=file", f"data.path={path}", "data.name=arrays", "model.name=sequential", layers, "study=typed",
               "training.epochs=9", "training.stop={patience: 1, min_delta: 0.02}", "optimizer.learning_rate=0.02",
               "bias_initializer=ones", "seeds=3", "ablation=false", "training.xla=false")  # fmt: skip
    assert done.code == 0, done.err
    typed = {run.seed: run for run in RunStore(tmp_path / "results", "typed").runs()}
    ours = [run for run in study.runs if run.arm == "ones"]
    assert len(ours) == len(typed) == 3
    for run in ours:
        assert run.key == typed[run.seed].key and run.meta["metrics"] == typed[run.seed].meta["metrics"]
        biases, theirs = run.biases("after", "trajectory"), typed[run.seed].biases("after", "trajectory")
        assert all(np.array_equal(biases[name], theirs[name]) for name in biases)
    assert min(run.meta["metrics"]["epochs_run"] for run in ours) < 9
