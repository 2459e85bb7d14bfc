"""`tune` from Python: an answer that speaks of each arm at its best, and errors in the words of arguments."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.api import compare_initializers
from pipeline.errors import PipelineError

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(int)
QUICK = {"epochs": 2, "progress": False, "xla": False, "ablation": False, "arms": ["zeros", "ones"]}


def model() -> keras.Sequential:
    """A small one."""
    return keras.Sequential([keras.layers.Dense(2, activation="softmax")])


def test_the_study_speaks_of_each_arm_at_its_best(tmp_path: Path) -> None:
    """So do headline, verdicts, table and chart; a second call trains nothing, one without `tune` one value at most."""

    def call(**more: Any) -> Any:
        return compare_initializers(model(), (X, Y), seeds=5, results=tmp_path, study="s", **QUICK, **more)

    study = call(tune={"learning_rate": np.array([0.5, 0.001, 0.01])})
    assert study.headline.startswith("With each arm at its best optimizer.learning_rate, ")
    assert study.comparison.tunings[0].points == ((0.001,), (0.01,), (0.5,))
    assert list(study.verdicts) == ["zeros", "ones"] and study.verdicts["ones"].arm == "ones at its best"
    shared = [f"{arm},optimizer.learning_rate=0.001" for arm in ("zeros", "ones")]  # that of Keras' Adam
    assert list(study.table["arm"]) == ["zeros at its best", "ones at its best", *shared]
    assert study.chart("tuning").svg.startswith("<svg")
    assert study.command.endswith(" tune=optimizer.learning_rate")
    (warning,) = [line for line in study.notes if "chose the largest learning_rate, 0.5" in line]
    assert 'tune={"learning_rate": [0.001, 0.01, 0.5, 2.0]}' in warning
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    assert len(times) == 2 * 3 * 5
    assert call(tune={"learning_rate": [0.5, 0.001, 0.01]}).headline == study.headline
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == times


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"tune": {"learning_rate": [0.1]}}, "tune: [0.1] given for learning_rate; allowed: two or more different"),
        ({"tune": {"learning_rate": ["a", "b"]}}, "tune: ['a', 'b'] given for learning_rate; allowed: two or more"),
        ({"tune": {"learning_rate": [0.1, 0.1]}}, "tune: [0.1, 0.1] given for learning_rate; allowed: two or more"),
        ({"tune": {"learning_rate": []}}, "tune: [] given for learning_rate; allowed: two or more different"),
        ({"tune": {"epochs": [1.5, 2]}}, "tune: [1.5, 2] given for epochs; allowed: two or more different whole"),
        ({"tune": {"learning_rate": [-1, 0.1]}}, "learning_rate: -1.0 given; allowed: a positive number"),
        ({"tune": "loss"}, 'tune: loss given; allowed: one or two numbers of optimizer or training, such as tune="'),
        ({"tune": "nix"}, "tune: nix given; allowed: one or two numbers"),
        ({"tune": []}, 'tune: "" given, 0 keys; allowed: one or two numbers'),
        ({"tune": 5}, "tune: 5 given; allowed: one or two numbers"),
        ({"tune": ["learning_rate", "batch_size", "epochs"]}, "tune: learning_rate, batch_size, epochs given, 3 keys"),
        ({"tune": ["learning_rate", "optimizer.learning_rate"]}, "tune: learning_rate, learning_rate given, one of "),
        ({"tune": "optimizer.config.beta_1"}, "tune: optimizer.config.beta_1 is None, around which there are no"),
        ({"tune": "learning_rate", "seeds": 3}, "seeds: 3 given with tune, where half of them choose"),
    ],
)
def test_errors_speak_of_arguments(given: dict[str, Any], line: str) -> None:
    """One line, before anything is trained."""
    with pytest.raises(PipelineError) as caught:
        compare_initializers(model(), (X, Y), **{**QUICK, **given})
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value), str(caught.value)
