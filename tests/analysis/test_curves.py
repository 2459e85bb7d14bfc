"""What learning curves come to: each number is the one worked out by hand, and of the runs that it can be known of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import put, put_all

from pipeline import compare
from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.curves import default_level, epochs_to, higher_is_better, measure_curves, measure_history
from pipeline.errors import ConfigError
from pipeline.store.runs import Run, RunStore

HISTORY = {
    "epoch": [0.0, 1, 2, 3],
    "loss": [2.5, 1.0, 0.6, 0.7],
    "accuracy": [0.1, 0.5, 0.8, 0.9],
    "val_loss": [2.4, 1.2, 0.8, 1.0],
    "val_accuracy": [0.2, 0.6, 0.9, 0.8],
}


def curve(*accuracies: float) -> dict[str, np.ndarray]:
    """A history whose validation accuracy is this, from before training on; its loss is 2 - accuracy."""
    values = np.array(accuracies)
    return {"loss": 2 - values, "accuracy": values, "val_loss": 2 - values, "val_accuracy": values}


def put_curves(results: Path, arm: str, curves: list[tuple[float, ...]], **more: Any) -> None:
    for seed, values in enumerate(curves):
        put(results, arm, seed, values[-1], history=curve(*values), **more)


def compared(results: Path, **options: Any) -> Comparison:
    return compare_study(RunStore(results, "s"), "zeros", **options)


def row(comparison: Comparison, arm: str, metric: str) -> dict[str, Any]:
    return comparison.summary.set_index(["arm", "metric"]).loc[(arm, metric)].to_dict()


def test_each_measure_is_the_one_worked_out_by_hand() -> None:
    """Every measure counts all epochs of the validation curve, and takes a loss's lowest point for its best."""
    assert measure_history(HISTORY) == pytest.approx({
        "best_val_accuracy": 0.9,
        "best_val_loss": 0.8,
        "area_under_val_accuracy": (0.2 / 2 + 0.6 + 0.9 + 0.8 / 2) / 3,
        "area_under_val_loss": (2.4 / 2 + 1.2 + 0.8 + 1.0 / 2) / 3,
        "initial_loss": 2.5,
    })  # fmt: skip
    assert next(iter(measure_history(HISTORY))) == "best_val_accuracy"


def test_the_epochs_to_a_level_count_from_before_training() -> None:
    """Epoch 0 is before training, and reaching the level exactly is enough."""
    accuracy, loss = HISTORY["val_accuracy"], HISTORY["val_loss"]
    assert [epochs_to(accuracy, level, True) for level in (0.1, 0.6, 0.61, 0.9, 0.91)] == [0, 1, 2, 2, 4]
    assert [epochs_to(loss, level, False) for level in (2.4, 1.2, 1.1, 0.8, 0.79)] == [0, 1, 2, 2, 4]


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("test_accuracy", True), ("test_loss", False), ("test_mae", False), ("test_auc", True),
        ("best_val_accuracy", True), ("best_val_loss", False), ("best_val_auc", True), ("best_val_mse", False),
        ("area_under_val_accuracy", True), ("area_under_val_loss", False), ("initial_loss", False),
        ("epochs_to_val_accuracy_0.9", False), ("epochs_to_val_accuracy", False), ("epochs_to_val_loss_0.1", False),
    ],
)  # fmt: skip
def test_the_direction_of_every_metric(metric: str, higher: bool) -> None:
    """Accuracies and areas under a ROC curve are better if higher; losses, errors and epochs if lower."""
    assert higher_is_better(metric) is higher


def test_the_level_is_95_percent_of_the_baselines_way() -> None:
    """The default level has three digits of the way, for accuracies and for losses."""
    up = np.array([[0.1, 0.5, 0.9], [0.1, 0.7, 0.8]])  # means 0.1, 0.6, 0.85
    assert default_level([up], True) == 0.812  # 0.1 + 0.95 * 0.75 = 0.8125
    assert default_level([3 - up], False) == 2.188  # 2.9 - 0.95 * 0.75 = 2.1875
    assert default_level([1000 * up], True) == 812
    assert default_level([up, up + 0.2], True) == 0.912  # of two blocks: from 0.2 to 0.95
    assert default_level([up[:, ::-1]], True) is None  # best before training: no way
    assert default_level([], True) is None


def test_the_measures_are_compared_like_test_metrics(tmp_path: Path) -> None:
    """Measures stand after the test metrics, are paired like them, and have a margin only as the verdict's metric."""
    put_curves(tmp_path, "zeros", [(0.1, 0.5, 0.9), (0.2, 0.6, 0.8)])
    put_curves(tmp_path, "ones", [(0.0, 0.6, 0.9), (0.1, 0.9, 0.7)])
    comparison = compared(tmp_path)
    assert list(dict.fromkeys(comparison.summary["metric"])) == [
        "test_accuracy", "test_loss", "best_val_accuracy", "best_val_loss", "area_under_val_accuracy",
        "area_under_val_loss", "epochs_to_val_accuracy_0.815", "initial_loss",
    ]  # fmt: skip
    assert comparison.study.metric == "test_accuracy"
    best = row(comparison, "ones", "best_val_accuracy")  # 0.9 and 0.9 against 0.9 and 0.8
    assert (best["mean"], best["difference"], best["won"]) == (pytest.approx(0.9), pytest.approx(0.05), 0.75)
    assert np.isnan(best["p_equivalent"])
    area = row(comparison, "ones", "area_under_val_accuracy")
    assert area["mean"] == pytest.approx((0.5 * 0 + 0.6 + 0.5 * 0.9 + 0.5 * 0.1 + 0.9 + 0.5 * 0.7) / 4)
    assert row(comparison, "ones", "initial_loss")["difference"] == pytest.approx(0.1)
    chosen = compared(tmp_path, metric="best_val_accuracy")
    assert not np.isnan(row(chosen, "ones", "best_val_accuracy")["p_equivalent"])
    assert compared(tmp_path, metric="initial_loss").sentences[0].startswith("Undecided: 2 seeds are too few")


def test_a_run_that_never_got_there_is_censored(tmp_path: Path) -> None:
    """A run that never reached the threshold counts as one epoch more, and is named."""
    put_curves(tmp_path, "zeros", [(0.1, 0.5, 0.9), (0.1, 0.5, 0.8)])
    put_curves(tmp_path, "ones", [(0.1, 0.9, 0.9), (0.1, 0.2, 0.3)])
    put(tmp_path, "ones", 2, 0.9, status="diverged")
    name = "epochs_to_val_accuracy_0.8"
    comparison = compared(tmp_path, metric=name)
    ones, zeros = row(comparison, "ones", name), row(comparison, "zeros", name)
    assert (ones["mean"], zeros["mean"], ones["difference"]) == (2, 2, 0)  # 1 and 3 (never in 2) against 2 and 2
    assert (ones["censored"], zeros["censored"], ones["seeds"], ones["diverged"]) == (1, 0, 2, 1)
    assert "ones: did not reach val_accuracy 0.8 in 2 epochs, counted as 3: seed 1." in comparison.sentences
    assert comparison.summary[comparison.summary["metric"] != name]["censored"].isna().all()


def test_the_threshold_is_of_the_metric_that_is_chosen(tmp_path: Path) -> None:
    """`threshold=` is a level of the metric asked for, and a level in the metric's name counts too."""
    put_curves(tmp_path, "zeros", [(0.1, 0.5, 0.9)])
    put_curves(tmp_path, "ones", [(0.1, 0.9, 0.8)])
    assert row(compared(tmp_path, threshold=0.5), "zeros", "epochs_to_val_accuracy_0.5")["mean"] == 1
    assert row(compared(tmp_path, threshold=1.1, metric="test_loss"), "ones", "epochs_to_val_loss_1.1")["mean"] == 1
    assert row(compared(tmp_path, metric="epochs_to_val_loss_1.2"), "zeros", "epochs_to_val_loss_1.2")["mean"] == 2


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["threshold=abc"], "threshold: abc given; allowed: a number"),
        (["threshold=nan"], "threshold: nan given; allowed: a number"),
        (["threshold=0.95"], "threshold: no run of s reaches val_accuracy 0.95; the best is 0.9"),
        (["threshold=0.5", "metric=test_auc"], "threshold: no run of s has val_auc; nearest: val_accuracy"),
        (["metric=epochs_to_val_accuracy_0.95"], "metric: no run of s reaches val_accuracy 0.95; the best is 0.9"),
        (["metric=best_val_acc"], "metric: no run of s has best_val_acc; nearest: best_val_accuracy"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], refused: str
) -> None:
    """A threshold that no run reaches, or of a metric that no run has, is refused in one line."""
    put_curves(tmp_path / "results", "zeros", [(0.1, 0.5, 0.9)], metrics={"test_auc": 0.9})
    put_curves(tmp_path / "results", "ones", [(0.1, 0.5, 0.8)], metrics={"test_auc": 0.9})
    code = compare.main([f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", *options])
    answer = capsys.readouterr()
    assert (code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert answer.err.startswith(refused)
    assert not (tmp_path / "reports").exists()


def test_runs_of_different_lengths_are_not_compared_by_their_curves(tmp_path: Path) -> None:
    """Only the initial loss is measured in a block whose runs differ in length, and a warning says so."""
    put_curves(tmp_path, "zeros", [(0.1, 0.5, 0.6)] * 2)
    put_curves(tmp_path, "ones", [(0.1, 0.5, 0.6, 0.7)] * 2)
    for arm in ("zeros", "ones"):
        put_curves(tmp_path, f"{arm},optimizer=sgd", [(0.1, 0.5, 0.6)] * 2)
    comparison = compared(tmp_path)
    of_block = comparison.summary[comparison.summary["block"] == ""]
    assert set(of_block["metric"]) == {"test_accuracy", "test_loss", "initial_loss"}
    assert len(set(comparison.summary["metric"])) == 8
    assert any(
        "with the defaults: runs of 2 and 3 epochs are compared" in sentence for sentence in comparison.sentences
    )


@pytest.mark.parametrize("block", ["", ",optimizer=sgd"], ids=["all blocks", "one block"])
def test_seeds_of_different_lengths_in_one_arm_are_no_refusal(tmp_path: Path, block: str) -> None:
    """Seeds that were added with more epochs are compared, and the longest curves are drawn."""
    for arm in ("zeros", "ones"):
        put_curves(tmp_path, f"{arm}{block}", [(0.1, 0.5, 0.6), (0.1, 0.5, 0.6)], setting=arm)
        put(tmp_path, arm, 2, 0.7, history=curve(0.1, 0.5, 0.6, 0.7))
        put(tmp_path, arm, 3, 0.6, history=curve(0.1, 0.5, 0.6))
    comparison = compared(tmp_path)
    drawn = comparison.curves[(comparison.curves["arm"] == "zeros") & (comparison.curves["metric"] == "accuracy")]
    assert drawn["mean"].tolist() == [0.1, 0.5, 0.6, 0.7]
    assert sum("runs of 2 and 3 epochs are compared" in sentence for sentence in comparison.sentences) == 1


def test_a_study_without_validation_curves_is_still_compared(tmp_path: Path) -> None:
    """Runs without validation columns are compared by their test metrics and the initial loss."""
    for arm in ("zeros", "ones"):
        put_all(tmp_path, arm, [0.5, 0.6], history={"loss": np.ones(3)})
    assert set(compared(tmp_path).summary["metric"]) == {"test_accuracy", "test_loss", "initial_loss"}


def test_each_history_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing by many metrics reads each history.csv once."""
    put_all(tmp_path, "zeros", [0.5, 0.6])
    put_all(tmp_path, "ones", [0.5, 0.6])
    read, original = [], Run.history
    monkeypatch.setattr(Run, "history", lambda run: read.append(run.path) or original(run))
    compared(tmp_path)
    assert len(read) == 4


def test_a_level_of_what_no_run_has_is_refused() -> None:
    """A threshold for arms without curves is refused."""
    with pytest.raises(ConfigError, match="threshold: no run of s has"):
        measure_curves("s", [Arm("zeros", "zeros", ())], "zeros", "test_accuracy", 0.5)
