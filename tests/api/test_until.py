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
    assert counts == {arm.arm: len(progress.seeds(arm.arm)) for arm in progress.design.arms}
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    again = call()
    assert again.headline == study.headline
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == times


def test_a_margin_of_a_metric_in_a_unit_is_to_be_given() -> None:
    """What is a small error depends on the target's unit."""
    with pytest.raises(PipelineError, match=r"^margin: test_mae is in a unit, so say which difference does not matter"):
        regression = keras.Sequential([keras.layers.Dense(1)])
        compare_initializers(regression, (X, X.sum(1)), arms=["zeros", "ones"], **QUICK)
    with pytest.raises(PipelineError, match=r"^margin: 5 given; allowed: a number below 1, since test_accuracy is a"):
        compare_initializers(model(), (X, Y), arms=["zeros", "ones"], margin=5, progress=False)


def test_another_design_than_the_stored_one_is_refused(tmp_path: Path) -> None:
    """One line, and nothing is trained; other data under the same names too."""
    given: dict[str, Any] = {"arms": ["zeros", "ones"], "looks": [6], "results": tmp_path, "study": "s", **QUICK}
    compare_initializers(model(), (X, Y), **given)
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    for other, line in (({"alpha": 0.04}, "alpha: 0.04 given; allowed: 0.05, as s declared before its first run"),
                        ({"looks": [6, 12]}, "looks: [6, 12] given; allowed: [6], as s declared")):  # fmt: skip
        with pytest.raises(PipelineError) as caught:
            compare_initializers(model(), (X, Y), **given | other)
        assert str(caught.value).startswith(line), str(caught.value)
    with pytest.raises(PipelineError, match=r"^until: s took its looks at 6 runs of zeros with other settings, data"):
        compare_initializers(model(), (X + 1, Y), **given)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == runs


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"seeds": 5}, 'seeds: given with until="decided"'),
        ({"looks": [3, 2]}, "looks: [3, 2] given; allowed: a list of numbers of seeds, ascending"),
        ({"looks": [3, 4]}, "looks: [3, 4] given, but so few seeds can never show a difference of an arm from zeros"),
        ({"margin": 5}, "margin: 5 given; allowed: a number below 1, since test_accuracy is a share"),
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
