"""Runs that stopped early: their curves go on with the model that they kept, in every table and mean."""

from pathlib import Path

import numpy as np
import pytest
from factories import change_meta, put

from pipeline.analysis.bias_dynamics import bias_trajectories, drift_table, dynamics_table
from pipeline.analysis.curves import learning_curves
from pipeline.analysis.run_warnings import run_warnings
from pipeline.analysis.study import Study, load_study
from pipeline.analysis.summary import summarize
from pipeline.store.runs import RunStore
from pipeline.tracking.records import arm_points

EPOCHS = 5  # asked for
CURVES = {  # of the validation, by seed: one stopped after 2 epochs, one after 4, one trained all 5
    0: [0.2, 0.6, 0.5],
    1: [0.2, 0.3, 0.7, 0.6, 0.5],
    2: [0.2, 0.3, 0.4, 0.5, 0.6, 0.8],
}


def put_stopped(results: Path, arm: str, shift: float = 0.0, **decisive: object) -> None:
    for seed, values in CURVES.items():
        curve = np.array(values) + shift
        best = int(curve.argmax())
        put(
            results, arm, seed, curve[best], history={name: 1 - curve if "loss" in name else curve for name in (
                "loss", "accuracy", "val_loss", "val_accuracy")},
            metrics={"epochs_run": len(curve) - 1, "best_epoch": best},
            training={"epochs": EPOCHS, "stop": {"patience": 1}}, biased=False, **decisive,
        )  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    put_stopped(tmp_path, "no_bias")
    put_stopped(tmp_path, "zeros", 0.1)
    return load_study(RunStore(tmp_path, "s"), "no_bias")


def test_each_epoch_is_the_mean_over_all_seeds(study: Study) -> None:
    """A seed that has stopped counts with the value of its best epoch, so no epoch is a mean over the survivors."""
    curves = learning_curves(study.arms)
    mine = curves[(curves["arm"] == "no_bias") & (curves["metric"] == "val_accuracy")]
    expected = [0.2, (0.6 + 0.3 + 0.3) / 3, (0.5 + 0.7 + 0.4) / 3, (0.6 + 0.6 + 0.5) / 3, (0.6 + 0.5 + 0.6) / 3,
                (0.6 + 0.7 + 0.8) / 3]  # fmt: skip
    assert mine["epoch"].tolist() == list(range(EPOCHS + 1))
    np.testing.assert_allclose(mine["mean"], expected)


def test_curves_are_drawn_no_further_than_some_seed_trained(tmp_path: Path) -> None:
    """Where all stop long before the last epoch, nothing flat follows."""
    for seed in (0, 1, 2):
        put(tmp_path, "no_bias", seed, 0.5, metrics={"epochs_run": 2, "best_epoch": 1}, training={"epochs": 1000})
    curves = learning_curves(load_study(RunStore(tmp_path, "s"), "no_bias").arms)
    assert curves["epoch"].max() == 2


def test_numbers_of_epochs_are_compared_and_curves_measured(study: Study) -> None:
    """epochs_run and best_epoch are metrics; areas and paces are over the epochs asked for, whatever was trained."""
    assert study.block_epochs == {}
    table = summarize(study).set_index(["arm", "metric"])["mean"]
    assert table["no_bias", "epochs_run"] == pytest.approx(11 / 3)
    assert table["zeros", "best_epoch"] == pytest.approx(8 / 3)
    first = np.trapezoid([0.2, 0.6, 0.5, 0.6, 0.6, 0.6]) / EPOCHS
    arm = study.arms[0]
    assert arm.derived[0]["area_under_val_accuracy"] == pytest.approx(first)
    pace = next(name for name in arm.derived[0] if name.startswith("epochs_to_"))
    assert pace == "epochs_to_val_accuracy_0.675"
    assert [arm.derived[seed][pace] for seed in CURVES] == [EPOCHS + 1, 2, 5]
    assert arm.censored(pace) == [0]
    warned = list(run_warnings(load_study(RunStore(arm.runs[0].path.parents[2], "s"), "no_bias", pace)))
    assert any("in 5 epochs, counted as 6: seed 0" in w.sentence for w in warned)


def test_a_margin_of_epochs_is_one(study: Study) -> None:
    """A difference below one epoch does not matter; more epochs are not better."""
    asked = load_study(RunStore(study.arms[0].runs[0].path.parents[2], "s"), "no_bias", "epochs_run")
    assert asked.margin == 1 and not asked.higher_is_better


def test_readers_are_told(tmp_path: Path, study: Study) -> None:
    """How many stopped, and when; seriously where the rows that were trained on decided."""
    (said,) = [w for w in run_warnings(study) if w.kind == "stopped early"]
    assert said.sentence.startswith("4 of 6 runs stopped early, after 2 to 4 epochs") and not said.serious
    for seed in (0, 2):
        change_meta(study.arms[1].runs[seed].path, lambda meta: meta.update(stopped_by_training_rows=True))
    warnings = run_warnings(load_study(RunStore(tmp_path, "s"), "no_bias"))
    (said,) = [w for w in warnings if w.kind == "stopped by training rows"]
    assert said.serious and said.sentence.startswith("2 of 6 runs were stopped by the rows that they trained on")


def test_biases_end_where_the_kept_model_has_them(tmp_path: Path) -> None:
    """The final bias is the best epoch's, and the mean drift stays there after a seed has stopped."""
    put(tmp_path, "zeros", 0, 0.5, metrics={"epochs_run": 2, "best_epoch": 1}, training={"epochs": 9})
    study = load_study(RunStore(tmp_path, "s"), "zeros")
    paths = bias_trajectories(study.arms)
    one = paths["zeros"][0]["dense/bias"]
    np.testing.assert_allclose(one.after, np.float32([-0.1, 0, 0.1, 0.2]))
    distance = np.sqrt(0.01 + 0.01 + 0.04)
    assert dynamics_table(paths)["drift"].item() == pytest.approx(distance, rel=1e-6)
    longer = {"zeros": paths["zeros"] | {1: {"dense/bias": one.__class__(
        np.arange(5), np.arange(5.0), np.zeros((5, 4)), (4,), "", 4)}}}  # fmt: skip
    np.testing.assert_allclose(drift_table(longer)["drift"].tolist()[3:], [(distance + 3) / 2, (distance + 4) / 2])


def test_means_in_mlflow_are_over_all_seeds(study: Study) -> None:
    """At every step, and the numbers of epochs once."""
    points = {(name, step): value for name, value, step in arm_points(study.arms[0].runs)}
    assert points["val_accuracy", 5] == pytest.approx((0.6 + 0.7 + 0.8) / 3)
    assert points["epochs_run", 0] == pytest.approx(11 / 3)
    assert ("epochs_run", 3) not in points and ("test_accuracy", 3) not in points
