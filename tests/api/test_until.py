"""until="decided" from Python: looks, a design that stays, and errors in the words of arguments."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.api import compare_initializers
from pipeline.errors import PipelineError
from pipeline.store.designs import read_progress

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(int)
QUICK = {"epochs": 2, "progress": False, "xla": False, "ablation": False, "until": "decided", "spending": "pocock"}


def model() -> keras.Sequential:
    """A small one."""
    return keras.Sequential([keras.layers.Dense(2, activation="softmax")])


def test_looks_are_taken_until_every_arm_is_decided(tmp_path: Path) -> None:
    """An arm that is far worse is decided first; a second call trains nothing, and gives the same answer."""

    def call() -> Any:
        return compare_initializers(model(), (X, Y), arms=["zeros", "constant(30)", "ones"], looks=[8, 12],
                                    learning_rate=0.3, results=tmp_path, study="s", **QUICK)  # fmt: skip

    study = call()
    progress = read_progress(study.store)
    assert progress is not None and progress.finished and progress.design.looks == (8, 12)
    assert any(line.startswith("look 1 of 2, 8 seeds: ") for line in study.notes)
    counts = {arm.arm: len(study.store.runs(arm.arm)) for arm in progress.design.arms}
    assert counts == {arm.arm: progress.seeds(arm.arm) for arm in progress.design.arms}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    again = call()
    assert again.headline == study.headline
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == times


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"seeds": 5}, 'seeds: given with until="decided"'),
        ({"looks": [3, 2]}, "looks: [3, 2] given; allowed: a list of numbers of seeds, ascending"),
        ({"spending": "flat"}, "spending: flat given; allowed: one of obrien_fleming, pocock"),
        ({"until": None}, 'spending: given without until="decided"'),
        ({"until": "soon"}, "until: soon given; allowed: decided, or None"),
        (
            {"arms": ["ones"]},
            "arms: ones is the only one; allowed: two or more, of which one is the baseline",
        ),
    ],
)
def test_errors_speak_of_arguments(given: dict[str, Any], line: str) -> None:
    """One line, before anything is trained."""
    with pytest.raises(PipelineError) as caught:
        compare_initializers(model(), (X, Y), **{"arms": ["zeros", "ones"], **QUICK, **given})
    assert str(caught.value).startswith(line), str(caught.value)
