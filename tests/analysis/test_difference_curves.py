"""Differences from the baseline, epoch by epoch."""

from pathlib import Path

import numpy as np
import pytest
from factories import put
from scipy import stats

from pipeline.analysis.difference_curves import difference_curves
from pipeline.analysis.study import load_study
from pipeline.store.runs import RunStore


def put_curves(results: Path, arm: str, curves: list[list[float]], **more) -> None:
    for seed, curve in enumerate(curves):
        values = np.array(curve)
        history = {"loss": values, "accuracy": values / 10, "val_loss": values + 1, "val_accuracy": values / 20}
        put(results, arm, seed, 0.5, history=history, **more)


def test_a_curve_is_the_mean_over_pairs_with_students_interval(tmp_path: Path) -> None:
    """By hand, and with SciPy's interval; the baseline itself has no curve."""
    put_curves(tmp_path, "zeros", [[1, 2, 3], [2, 3, 5], [1, 1, 1]])
    put_curves(tmp_path, "ones", [[1, 3, 5], [2, 5, 6], [1, 2, 1]])
    curves = difference_curves(load_study(RunStore(tmp_path, "s"), "zeros"))
    assert set(curves["arm"]) == {"ones"} and set(curves["baseline"]) == {"zeros"}
    loss = curves.loc[curves["metric"] == "loss"]
    assert loss["mean"].tolist() == pytest.approx([0, 4 / 3, 1])
    interval = stats.t.interval(0.95, 2, 1, stats.sem([2, 1, 0]))
    assert loss[["low", "high"]].iloc[2].tolist() == pytest.approx(list(interval))


def test_a_pair_is_compared_as_far_as_both_curves_go(tmp_path: Path) -> None:
    """A shorter run ends the curve; arms that did not start alike have none."""
    put_curves(tmp_path, "zeros", [[1, 2, 3], [2, 3, 5]])
    put_curves(tmp_path, "ones", [[1, 3], [2, 5]])
    put_curves(tmp_path, "he_normal", [[1, 3, 4], [2, 5, 6]], kernels="other")
    curves = difference_curves(load_study(RunStore(tmp_path, "s"), "zeros"))
    assert set(curves["arm"]) == {"ones"}
    assert curves.loc[curves["metric"] == "loss", "epoch"].tolist() == [0, 1]
