"""What the plan knows of biases that cannot matter, the answer says too: on really trained runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import CommandResult

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.report.plain import plain_answer
from pipeline.store.runs import RunStore

NORMALISED = (
    "model.name=normalised",
    "model.layers=[{class_name: Dense, config: {units: 6}}, {class_name: BatchNormalization},"
    " {class_name: Activation, config: {activation: relu}}, {class_name: Dense, config: {name: output}}]",
    "bias_layers=hidden",
)
pytestmark = pytest.mark.slow


@pytest.fixture
def trained(cli: Callable[..., CommandResult], tmp_path: Path) -> Callable[..., Comparison]:
    """`trained("bias_initializer=zeros,ones")` is the comparison of what this sweep of iris trains."""

    def trained(*overrides: str) -> Comparison:
        result = cli("-m", "data=iris", "use_bias=true", "training.xla=false", f"results={tmp_path}", *overrides)
        assert result.code == 0, result.err
        (study,) = {path.parents[2].name for path in tmp_path.glob("*/*/*/run.json")}
        return compare_study(RunStore(tmp_path, study), "zeros")

    return trained


def test_arms_that_differ_only_in_a_shift_of_the_logits_are_identical(trained: Callable[..., Comparison]) -> None:
    """They are not undecided until so many seeds; an arm that differs otherwise is judged by its differences."""
    comparison = trained("model=linear", "training.epochs=5", "seeds=3", "bias_initializer=zeros,ones,glorot")
    ones, glorot = (next(v for v in comparison.compared if v.setting == arm) for arm in ("ones", "glorot_uniform"))
    assert (ones.verdict, ones.construction, ones.seeds_needed) == ("identical", "shifts", None)
    assert "identical to zeros by construction: they differ only in biases that add one constant" in ones.sentence
    assert "any difference is rounding" in ones.sentence
    assert (glorot.verdict, glorot.construction) == ("undecided", None)
    assert "The same as zeros by construction, but for rounding: ones." in " ".join(plain_answer(comparison)[1])


def test_arms_that_start_with_the_same_bits_are_identical_by_construction(trained: Callable[..., Comparison]) -> None:
    """A constant of 0 is zeros under another name."""
    overrides = "model=linear", "training.epochs=2", "seeds=2", "bias_initializer=zeros,constant(0)"
    (same,) = trained(*overrides).compared
    assert (same.verdict, same.construction, same.same_curves) == ("identical", "start", True)
    assert "identical to zeros by construction: on all 2 seeds the same initial biases" in same.sentence


def test_a_moving_mean_that_lags_behind_is_said(trained: Callable[..., Comparison]) -> None:
    """Before BatchNormalization zeros and ones train alike and are tested unlike; the answer says why."""
    comparison = trained(*NORMALISED, "training.epochs=20", "seeds=4", "bias_initializer=zeros,ones")
    zeros, ones = comparison.study.arms
    for seed in range(4):
        curves = [np.array(arm.histories[seed]["loss"][1:]) for arm in (zeros, ones)]
        np.testing.assert_allclose(*curves, rtol=1e-3)
    test_losses = [np.array(list(arm.values("test_loss").values())) for arm in (zeros, ones)]
    assert np.all(np.abs(test_losses[1] - test_losses[0]) > 1e-3)
    left = 0.99 ** (20 * int(np.ceil(90 / 32)))
    (warning,) = [warning for warning in comparison.warnings if warning.kind == "moving mean"]
    assert warning.sentence.startswith("ones: training cannot tell dense/bias from that of zeros")
    assert f"its moving mean still lacked {100 * left:.2g} % of the difference" in warning.sentence
