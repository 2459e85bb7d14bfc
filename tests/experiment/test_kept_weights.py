"""Which runs keep their weights, and that runs are not trained again for lack of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import change_config, compose_config

from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import plan_job, seeds_to_train
from pipeline.experiment.run import run_arm

LIMIT = "pipeline.experiment.run.MAX_KEPT_WEIGHTS"


def configure(tmp_path: Path, **changes: Any) -> Any:
    """The config of one arm, `zeros`, of the linear model, which has 15 weights. changes: fields of it."""
    fields = {"results": str(tmp_path / "results"), "seeds": (0, 1), "training": {"epochs": 1, "xla": False}} | changes
    return change_config(compose_config("data=iris", "model=linear", "tracking=none"), **fields)


def run(tmp_path: Path, **changes: Any) -> Outcome:
    return run_arm(configure(tmp_path, **changes))


OTHER_EPOCHS = {"epochs": 2, "xla": False}  # runs of the same arm that replace those with one epoch


def test_replaced_runs_need_no_training(tmp_path: Path) -> None:
    """Runs that others have replaced count as done in a plan, and come back instead of being trained."""
    assert run(tmp_path).trained == (0, 1)
    assert run(tmp_path, training=OTHER_EPOCHS).trained == (0, 1)
    plan = plan_job(configure(tmp_path))
    assert (plan.missing, seeds_to_train(plan)) == ((0, 1), ())
    assert run(tmp_path).trained == ()


def test_weights_of_a_small_model_are_kept(tmp_path: Path) -> None:
    """weights.npz holds all weights before and after training, in the model's order."""
    weights = run(tmp_path, seeds=(0,)).runs[0].weights()
    assert list(weights) == [f"{moment}/output/{name}" for moment in ("before", "after") for name in ("kernel", "bias")]


def test_runs_without_weights_are_not_trained_again_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where weights are not asked for, runs of an earlier version that kept none are done."""
    with monkeypatch.context() as earlier:
        earlier.setattr(LIMIT, 0)
        assert run(tmp_path, seeds=(0,)).trained == (0,)
    outcome = run(tmp_path)
    assert outcome.trained == (1,)
    assert [r.has("weights.npz") for r in outcome.runs] == [False, True]
    assert [(r.path / "weights.npz").exists() for r in outcome.runs] == [False, True]


def test_weights_of_a_large_model_are_kept_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show_weights=true` trains runs that lack them again, to the same biases; these then serve with or without it."""
    monkeypatch.setattr(LIMIT, 14)
    plain = run(tmp_path).runs[1]
    assert not (plain.path / "weights.npz").exists()
    biases = (plain.path / "biases.npz").read_bytes()
    shown = run(tmp_path, show_weights=True)
    assert shown.trained == (0, 1)
    assert (plain.path / "weights.npz").exists()
    assert (plain.path / "biases.npz").read_bytes() == biases
    after = shown.runs[1].weights()["after/output/bias"]
    np.testing.assert_array_equal(after, shown.runs[1].biases()["after/output/bias"])
    run(tmp_path, training=OTHER_EPOCHS)
    assert run(tmp_path, show_weights=True).trained == ()
    assert run(tmp_path).trained == ()


def test_of_two_replaced_runs_the_one_with_weights_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with weights stays available after a run of the same key without them and others have replaced it."""
    monkeypatch.setattr(LIMIT, 0)
    assert run(tmp_path).trained == (0, 1)
    assert run(tmp_path, show_weights=True).trained == (0, 1)
    assert run(tmp_path, training=OTHER_EPOCHS).trained == (0, 1)
    assert run(tmp_path, show_weights=True).trained == ()
