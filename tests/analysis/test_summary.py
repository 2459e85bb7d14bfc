"""The summary table: statistics worked out by hand, pairs, blocks, and runs that are left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import EIGHT, put, put_all
from scipy import stats as scipy_stats

from pipeline.analysis.curves import learning_curves
from pipeline.analysis.study import Study, load_study
from pipeline.analysis.summary import seed_differences, summarize
from pipeline.errors import ConfigError
from pipeline.store.runs import RunStore

T2 = 4.302652729911275  # Student's t, 97.5 %, 2 degrees of freedom (printed tables: 4.303)


def load(results: Path, **options: Any) -> Study:
    return load_study(RunStore(results, "s"), "zeros", **options)


def row(results: Path, arm: str, metric: str = "test_accuracy") -> dict[str, Any]:
    """One row of the table."""
    return summarize(load(results)).set_index(["arm", "metric"]).loc[(arm, metric)].to_dict()


def test_the_statistics_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    """Mean, sample standard deviation, t interval, and the paired statistics of three seeds, by hand."""
    put_all(tmp_path, "zeros", [0.8, 0.9, 0.7])
    put_all(tmp_path, "ones", [0.9, 0.8, 0.9])
    put_all(tmp_path, "no_bias", [0.8, 0.9, 0.7], biased=False)
    table = summarize(load(tmp_path)).set_index(["arm", "metric"])
    zeros = table.loc[("zeros", "test_accuracy")]
    assert zeros[["seeds", "diverged"]].tolist() == [3, 0]
    half = T2 * 0.1 / 3**0.5
    assert zeros[["mean", "std", "ci_low", "ci_high"]].tolist() == pytest.approx([0.8, 0.1, 0.8 - half, 0.8 + half])

    ones = table.loc[("ones", "test_accuracy")]  # differences +0.1 -0.1 +0.2: mean 1/15, variance 0.07/3
    half = T2 * (0.07 / 3) ** 0.5 / 3**0.5
    difference = ones[["difference", "difference_ci_low", "difference_ci_high"]].tolist()
    assert difference == pytest.approx([1 / 15, 1 / 15 - half, 1 / 15 + half])  # the t interval: three seeds, no wider
    assert ones["effect"] == pytest.approx((1 / 15) / (0.07 / 3) ** 0.5)
    assert ones[["p", "p_holm", "p_wilcoxon"]].tolist() == [0.75, 1, 0.75]  # 6 of 8 sign choices; two arms
    assert ones["improvement"] == pytest.approx((2.5 + 1.5 + 2.5) / 9)  # 0.9 beats two and ties one of zeros
    assert ones[["pairs", "family", "won"]].tolist() == pytest.approx([3, 2, 2 / 3])
    assert zeros[["median", "iqm"]].tolist() == pytest.approx([0.8, 0.8])
    assert table.loc[("ones", "test_loss"), "difference"] == pytest.approx(-1 / 15)


def test_the_differences_are_listed_seed_by_seed(tmp_path: Path) -> None:
    """A row per metric, arm and pair holds both values and value minus baseline_value."""
    put_all(tmp_path, "zeros", [0.8, 0.9])
    put_all(tmp_path, "ones", [0.9, 0.8, 0.7])
    table = seed_differences(load(tmp_path)).query("metric == 'test_accuracy'")
    assert table[["arm", "baseline", "seed"]].to_numpy().tolist() == [["ones", "zeros", 0], ["ones", "zeros", 1]]
    assert table["difference"].tolist() == pytest.approx([0.1, -0.1])
    assert (table["value"] - table["baseline_value"] == table["difference"]).all()


def test_seeds_are_paired_by_their_number(tmp_path: Path) -> None:
    """An arm that lacks a seed is compared with the baseline's same seeds, not with its first ones."""
    put_all(tmp_path, "zeros", [0.1, 0.5, 0.9])
    for seed, accuracy in ((1, 0.6), (2, 0.9)):
        put(tmp_path, "ones", seed, accuracy)
    ones = row(tmp_path, "ones")
    assert (ones["pairs"], ones["difference"]) == (2, pytest.approx(0.05))


@pytest.mark.parametrize("other", [{"kernels": "other"}, {"data": "other"}])
def test_one_seed_that_started_differently_makes_the_comparison_unpaired(tmp_path: Path, other: dict) -> None:
    """No seed of an arm is paired if one has other initial kernels or other data than the baseline's."""
    put_all(tmp_path, "zeros", [0.5, 0.5, 0.5, 0.5])
    put_all(tmp_path, "ones", [0.6, 0.7])
    put(tmp_path, "ones", 2, 0.0, **other)
    ones = row(tmp_path, "ones")
    assert (ones["pairs"], ones["seeds"]) == (0, 3)
    assert ones["difference"] == pytest.approx(1.3 / 3 - 0.5)


@pytest.mark.parametrize(
    "other",
    [
        {"kernels": "other"},
        {"data": "other"},
        {"device": "GPU"},
        {"optimizer": {"class_name": "other"}},
        {"training": {"epochs": 99}},
    ],
)
def test_unpaired_arms_have_welchs_interval(tmp_path: Path, other: dict) -> None:
    """Runs that differ in a starting condition are compared unpaired: Welch's interval, and 0 pairs."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + 0.2)], **other)
    ones = row(tmp_path, "ones")
    welch = scipy_stats.ttest_ind(EIGHT + 0.2, EIGHT, equal_var=False).confidence_interval()
    assert (ones["difference_ci_low"], ones["difference_ci_high"]) == pytest.approx((welch.low, welch.high))
    assert (ones["pairs"], ones["verdict"]) == (0, "better")


def test_unpaired_arms_are_never_identical(tmp_path: Path) -> None:
    """Two unpaired arms of equal mean are undecided."""
    put_all(tmp_path, "zeros", [0.5, 0.6, 0.7])
    put_all(tmp_path, "ones", [0.5, 0.7, 0.6], kernels="other")
    assert row(tmp_path, "ones")["verdict"] == "undecided"


def test_a_diverged_run_is_in_no_mean(tmp_path: Path) -> None:
    """Means, differences and learning curves are those of the complete runs."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.9])
    put_all(tmp_path, "ones", [0.6, 0.8])
    put(tmp_path, "ones", 2, 0.1, status="diverged")
    ones = row(tmp_path, "ones")
    assert (ones["seeds"], ones["diverged"], ones["mean"]) == (2, 1, pytest.approx(0.7))
    assert (ones["pairs"], ones["difference"]) == (2, pytest.approx(0.1))
    curves = learning_curves(load(tmp_path).arms)
    last = curves[(curves["arm"] == "ones") & (curves["metric"] == "accuracy") & (curves["epoch"] == 2)]
    assert last["mean"].item() == pytest.approx(0.7)


def test_an_arm_is_compared_within_its_own_block(tmp_path: Path) -> None:
    """`ones,optimizer=sgd` is compared with the zeros of the same optimizer."""
    put_all(tmp_path, "zeros", [0.9, 0.9])
    put_all(tmp_path, "ones", [0.8, 0.8])
    put_all(tmp_path, "zeros,optimizer=sgd", [0.5, 0.5])
    put_all(tmp_path, "ones,optimizer=sgd", [0.6, 0.6])
    put_all(tmp_path, "constant(value=0.1),optimizer=sgd", [0.8, 0.8], setting="constant(value=0.1)")
    assert row(tmp_path, "ones")["difference"] == pytest.approx(-0.1)
    assert row(tmp_path, "ones,optimizer=sgd")["difference"] == pytest.approx(0.1)
    assert row(tmp_path, "constant(value=0.1),optimizer=sgd")["difference"] == pytest.approx(0.3)
    assert pd.isna(row(tmp_path, "zeros,optimizer=sgd")["difference"])


def test_runs_without_the_metric_are_left_out(tmp_path: Path) -> None:
    """A metric that some runs lack is compared over those that have it."""
    for seed, auc in enumerate([0.8, 0.9, 0.7]):
        put(tmp_path, "zeros", seed, 0.5, metrics={"test_auc": auc})
        put(tmp_path, "ones", seed, 0.5, metrics={"test_auc": auc + 0.1} if seed else {})
    put_all(tmp_path, "he_normal", [0.5] * 3)
    ones = row(tmp_path, "ones", "test_auc")
    assert (ones["seeds"], ones["pairs"], ones["difference"]) == (2, 2, pytest.approx(0.1))
    assert "he_normal" not in set(summarize(load(tmp_path)).query("metric == 'test_auc'")["arm"])


def test_only_the_metric_of_the_verdict_has_a_margin(tmp_path: Path) -> None:
    """Arms are tested for equivalence by the metric that the margin belongs to, and by no other."""
    put_all(tmp_path, "zeros", [0.5] * 29)
    put_all(tmp_path, "ones", [0.5] * 29, bend=0.1)
    assert row(tmp_path, "ones")["verdict"] == "equivalent"
    loss = row(tmp_path, "ones", "test_loss")
    assert loss["verdict"] == "undecided" and pd.isna(loss["seeds_needed"]) and np.isnan(loss["p_equivalent"])


UNUSABLE = [
    ([("zeros", {"status": "diverged"})], r"study: s has no complete run \(zeros \(diverged: 0 to 2\)\)"),
    (
        [("zeros", {"metrics": {"test_accuracy": None, "test_loss": None}})],
        "metric: no complete run of the study has a test metric that is a number",
    ),
    ([("ones", {})], "baseline: s has no arm zeros; allowed: ones"),
]


@pytest.mark.parametrize(("arms", "refused"), UNUSABLE)
def test_a_study_that_cannot_be_compared_is_refused(tmp_path: Path, arms: list, refused: str) -> None:
    """The error names what is missing."""
    for arm, options in arms:
        put_all(tmp_path, arm, [0.5, 0.7, 0.6], **options)
    with pytest.raises(ConfigError, match=f"^{refused}"):
        load(tmp_path)


def test_arms_that_share_no_seed_are_refused(tmp_path: Path) -> None:
    """The error names the seeds of each arm; with one arm that shares a seed the study is compared."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    for seed in (5, 6):
        put(tmp_path, "ones", seed, 0.9)
    line = "seeds: no arm of s shares a complete seed with zeros: zeros has 0 to 2; ones has 5, 6"
    with pytest.raises(ConfigError, match=f"^{line}$"):
        load(tmp_path)
    put_all(tmp_path, "he_normal", [0.5, 0.7, 0.6])
    assert row(tmp_path, "ones")["pairs"] == 0
