"""What a reader is told about the runs: left-out ones, unpaired seeds, missing baselines, damaged files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import ARRAYS, EIGHT, change_meta, made_meta, put, put_all, settings

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.run_warnings import ExcludedRun
from pipeline.errors import ConfigError
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore

CURVES = {name: np.array([0.2, 0.5, 0.6]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}


def compared(results: Path, **options: Any) -> Comparison:
    return compare_study(RunStore(results, "s"), "zeros", **options)


def warnings(results: Path, **options: Any) -> list[str]:
    return [warning.text for warning in compared(results, **options).warnings]


def test_a_diverged_run_is_named(tmp_path: Path) -> None:
    """A diverged run is excluded, and the warning names its seed."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.9])
    put_all(tmp_path, "ones", [0.6, 0.8])
    put(tmp_path, "ones", 2, 0.1, status="diverged")
    comparison = compared(tmp_path)
    assert [w.text for w in comparison.warnings] == ["ones: diverged, left out of all means: seed 2."]
    assert [(w.kind, w.arm, w.serious) for w in comparison.warnings] == [("diverged", "ones", False)]
    assert comparison.excluded_runs == [ExcludedRun("ones", 2, "diverged")]


def test_an_arm_whose_every_seed_diverged_is_still_named(tmp_path: Path) -> None:
    """An arm without a complete run stays in the answer, as diverged."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    put_all(tmp_path, "ones", [0.1, 0.1], status="diverged")
    comparison = compared(tmp_path)
    assert comparison.sentences == [
        "No arm can be compared with zeros.", "ones: diverged, left out of all means: seeds 0, 1.",
    ]  # fmt: skip
    ones = comparison.verdicts[1]
    assert (ones.arm, ones.verdict, ones.seeds, ones.diverged, ones.mean) == ("ones", "diverged", 0, 2, None)


def test_a_baseline_that_always_diverged_is_named(tmp_path: Path) -> None:
    """Where the baseline has no complete run, the warnings say why nothing is compared."""
    put_all(tmp_path, "zeros", [0.5, 0.7], status="diverged")
    put_all(tmp_path, "ones", [0.5, 0.7])
    answer = warnings(tmp_path)
    assert "zeros: no complete run has test_accuracy, so nothing is compared with it." in answer
    assert "zeros: diverged, left out of all means: seeds 0, 1." in answer


def test_a_block_without_the_baseline_is_named(tmp_path: Path) -> None:
    """The warnings name the block in which nothing is compared."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    put_all(tmp_path, "ones,optimizer=rmsprop", [0.5, 0.7])
    comparison = compared(tmp_path)
    assert "optimizer=rmsprop: there is no arm zeros, so nothing is compared." in comparison.sentences
    assert {v.arm: v.verdict for v in comparison.verdicts}["ones,optimizer=rmsprop"] == "not compared"


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
def test_unpaired_arms_are_warned_of(tmp_path: Path, other: dict[str, Any]) -> None:
    """The warning says which seeds started differently, and in what."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + 0.2)], **other)
    (warning,) = compared(tmp_path).warnings
    began = f"seeds 0 to 7 began with other {next(iter(other))}"
    assert warning.text == (f"Warning: ones: no seed is paired with zeros, so the arms are compared unpaired: {began}.")
    assert (warning.kind, warning.arm, warning.serious) == ("unpaired", "ones", True)


def test_one_seed_that_started_differently_is_named(tmp_path: Path) -> None:
    """The warning names the seed that makes the comparison unpaired."""
    put_all(tmp_path, "zeros", [0.5, 0.5, 0.5, 0.5])
    put_all(tmp_path, "ones", [0.6, 0.7])
    put(tmp_path, "ones", 2, 0.0, kernels="other")
    unpaired = "no seed is paired with zeros, so the arms are compared unpaired"
    assert warnings(tmp_path) == [f"Warning: ones: {unpaired}: seed 2 began with other kernels."]


def test_seeds_that_the_baseline_lacks_are_named(tmp_path: Path) -> None:
    """An arm with more seeds than the baseline is compared over the common ones."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    put_all(tmp_path, "ones", [0.5, 0.7, 0.6])
    for seed in (5, 6):
        put(tmp_path, "he_normal", seed, 0.9)
    assert warnings(tmp_path) == [
        "ones: only 2 of its 3 seeds are paired with zeros: zeros lacks seed 2.",
        "Warning: he_normal: no seed is paired with zeros, so the arms are compared unpaired: zeros lacks seeds 5, 6.",
    ]


def test_runs_without_the_metric_are_named(tmp_path: Path) -> None:
    """Runs that lack the metric are excluded, and the warnings name them."""
    for seed, auc in enumerate([0.8, 0.9, 0.7]):
        put(tmp_path, "zeros", seed, 0.5, metrics={"test_auc": auc})
        put(tmp_path, "ones", seed, 0.5, metrics={"test_auc": auc + 0.1} if seed else {})
    put_all(tmp_path, "he_normal", [0.5] * 3)
    comparison = compared(tmp_path, metric="test_auc")
    answer = [warning.text for warning in comparison.warnings]
    assert "ones: without test_auc, left out of its means: seed 0." in answer
    assert "he_normal: without test_auc, left out of its means: seeds 0 to 2." in answer
    assert comparison.excluded_runs == [
        ExcludedRun(arm, seed, "lacks the metric")
        for arm, seed in (("ones", 0), ("he_normal", 0), ("he_normal", 1), ("he_normal", 2))
    ]
    assert {v.arm: (v.verdict, v.seeds) for v in comparison.verdicts}["he_normal"] == ("not compared", 0)


def test_a_damaged_run_is_named(tmp_path: Path) -> None:
    """A run whose files were changed is left out, and the warning names it."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    (tmp_path / "s" / "zeros" / "seed=1" / "history.csv").write_text("")
    comparison = compared(tmp_path)
    reason = "history.csv does not match its digest"
    assert f"Warning: zeros/seed=1 is damaged and left out: {reason}." in comparison.sentences
    assert comparison.excluded_runs == [ExcludedRun("zeros", 1, "damaged")]


def test_an_edited_number_enters_no_mean(tmp_path: Path) -> None:
    """A run whose run.json was edited is left out, and the warning names it."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    file = tmp_path / "s" / "zeros" / "seed=1" / "run.json"
    file.write_text(file.read_text().replace('"test_accuracy": 0.7', '"test_accuracy": 0.999'))
    comparison = compared(tmp_path)
    assert [w.text for w in comparison.warnings] == [
        "Warning: zeros/seed=1 is damaged and left out: run.json was changed after it was written."
    ]
    assert comparison.verdicts[0].mean == pytest.approx(0.55)


def test_a_copied_run_is_no_other_seed(tmp_path: Path) -> None:
    """A copy of a run's folder is left out, and the warning says of which run it is a copy."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    arm = tmp_path / "s" / "zeros"
    shutil.copytree(arm / "seed=0", arm / "seed=0 (copy)")
    shutil.copytree(arm / "seed=0", arm / "seed=5")
    comparison = compared(tmp_path)
    assert [w.text for w in comparison.warnings] == [
        f"Warning: zeros/seed={seed} is a copy and left out: run.json says zeros/seed=0." for seed in ("0 (copy)", "5")
    ]
    assert comparison.excluded_runs == [ExcludedRun("zeros", seed, "damaged") for seed in (None, 5)]
    assert comparison.verdicts[0].mean == pytest.approx(0.6)


def test_runs_without_a_seal_count_and_are_counted(tmp_path: Path) -> None:
    """Runs of earlier versions are compared, and a warning says how many nobody vouches for."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    for seed in (0, 1):
        change_meta(tmp_path / "s" / "zeros" / f"seed={seed}", lambda meta: None)
    comparison = compared(tmp_path)
    assert comparison.verdicts[0].seeds == 3
    assert [(w.kind, w.arm, w.serious) for w in comparison.warnings] == [("unsealed", None, False)]
    assert comparison.warnings[0].text.startswith("2 runs have no seal, so nothing shows whether run.json was changed")


def test_layers_that_keep_their_own_bias_are_named_once(tmp_path: Path) -> None:
    """The answer is not about them, whatever the arms are."""
    remark = "model: out keeps its own bias in every arm: Ones"
    for arm, none in (("zeros", "every"), ("ones", "any")):  # as earlier versions said it, and as this one does
        remarks = [remark, f"model: nb has no bias in {none} arm"]
        write_run(RunStore(tmp_path, "s"), made_meta(arm, 0, model_remarks=remarks), ARRAYS, CURVES)
    warnings = [(w.arm, w.text) for w in compared(tmp_path).warnings if w.kind == "own bias"]
    assert warnings == [(None, f"{remark}."), (None, "model: nb has no bias in any arm.")]


def test_runs_that_were_tested_on_their_training_rows_are_counted(tmp_path: Path) -> None:
    """A verdict from such runs says nothing of new rows, which is a serious warning."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    for seed in (0, 1):
        config = settings(bias_setting="ones", data={"test_fraction": 0})
        write_run(RunStore(tmp_path, "s"), made_meta("ones", seed, config=config), ARRAYS, CURVES)
    (warning,) = [w for w in compared(tmp_path).warnings if w.kind == "tested on training rows"]
    assert warning.serious
    assert warning.sentence.startswith("2 of 4 runs were tested on the rows that they trained on")


UNUSABLE: dict[str, tuple[Callable[[dict], object], str]] = {
    "no metrics": (lambda meta: meta.pop("metrics"), "run.json lacks metrics"),
    "a metric in words": (lambda meta: meta["metrics"].update(test_loss="low"), "an unusable entry metrics.test_loss"),
    "no digest of kernels": (lambda meta: meta.pop("initial_kernels_digest"), "run.json lacks initial_kernels_digest"),
    "no device": (lambda meta: meta["environment"].clear(), "run.json lacks environment.device"),
    "no setting": (lambda meta: meta.update(config={}), "run.json lacks config.bias_setting"),
    "a seed in words": (lambda meta: meta.update(seed="1"), "run.json has an unusable entry seed"),
    "another run's": (lambda meta: meta.update(seed=0), "is a copy and left out: run.json says zeros/seed=0"),
}


@pytest.mark.parametrize("change", UNUSABLE)
def test_a_run_without_what_a_comparison_reads_is_damaged(tmp_path: Path, change: str) -> None:
    """A run.json without a seal that lacks an entry, or belongs to another seed, is left out and named."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    edit, reason = UNUSABLE[change]
    change_meta(tmp_path / "s" / "zeros" / "seed=1", edit)
    comparison = compared(tmp_path)
    (sentence,) = [s for s in comparison.sentences if s.startswith("Warning: zeros/seed=1 is ")]
    assert sentence.endswith(f"{reason}.")
    assert comparison.verdicts[0].mean == pytest.approx(0.55)


def test_a_study_of_damaged_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    """The error names the damaged runs."""
    put_all(tmp_path, "zeros", [0.5])
    (tmp_path / "s" / "zeros" / "seed=0" / "history.csv").write_text("")
    with pytest.raises(ConfigError, match=r"^study: s has no complete run \(zeros/seed=0 \(damaged: history"):
        compared(tmp_path)
