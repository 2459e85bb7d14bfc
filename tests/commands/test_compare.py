"""The answer, and the store it is made from: numbers, words and figures of runs whose values are made up here."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from factories import APART, EIGHT, put, put_all
from PIL import Image
from scipy import stats as scipy_stats

from pipeline import compare
from pipeline.analysis.curves import learning_curves
from pipeline.analysis.formatting import number_format, p_value
from pipeline.analysis.study import load_arms
from pipeline.analysis.summary import summarize
from pipeline.analysis.wording import run_remarks, verdict_sentences
from pipeline.config.schema import PROJECT
from pipeline.store.replaced import adopt_runs
from pipeline.store.runs import RunStore

T2 = 4.302652729911275  # Student's t, 97.5 %, 2 degrees of freedom (printed tables: 4.303)


def summary(results: Path, arm: str, metric: str = "test_accuracy", study: str = "s") -> dict[str, Any]:
    """The row of one arm in the table."""
    table = summarize(load_arms(RunStore(results, study)), "zeros").set_index(["arm", "metric"])
    return table.loc[(arm, metric)].to_dict()


def words(results: Path) -> list[str]:
    """All that is said of test accuracy."""
    arms = load_arms(RunStore(results, "s"))
    table = summarize(arms, "zeros", "test_accuracy")
    said = verdict_sentences(table[table["metric"] == "test_accuracy"], "zeros", 0.005)
    return said + run_remarks(arms, "zeros", "test_accuracy")


class Answer(NamedTuple):
    folder: Path
    out: str
    imported: set[str]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """`compare` over three arms in an interpreter of its own."""
    tmp = tmp_path_factory.mktemp("answer")
    put_all(tmp / "results", "zeros", [0.8, 0.9, 0.7])
    put_all(tmp / "results", "ones", [0.9, 0.8, 0.9])
    put_all(tmp / "results", "no_bias", [0.8, 0.9, 0.7], biased=False)
    script = (
        "import json, sys; from pipeline import compare; code = compare.main(sys.argv[1:]);"
        "print(json.dumps([name.split('.')[0] for name in sys.modules]), file=sys.stderr); sys.exit(code)"
    )
    options = [f"results={tmp / 'results'}", f"reports={tmp / 'reports'}"]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Answer(tmp / "reports" / "s", done.stdout, set(json.loads(done.stderr.splitlines()[-1])))


@pytest.fixture
def comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`compare` in this process, on this test's own results: exit code, standard output, standard error."""

    def run(*options: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = compare.main([f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", *options])
        return code, *capsys.readouterr()

    return run


def test_the_table_holds_the_numbers_worked_out_by_hand(answer: Answer) -> None:
    """Mean, sample standard deviation, t interval, and the paired statistics of three seeds, by hand."""
    table = pd.read_csv(answer.folder / "summary.csv").set_index(["arm", "metric"])
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


def test_the_metrics_for_dvc_say_what_the_table_says(answer: Answer) -> None:
    """metrics.json is arm -> metric -> statistic, strict JSON, and leaves out what is not known."""
    text = (answer.folder / "metrics.json").read_text()
    metrics = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert set(metrics) == {"zeros", "ones", "no_bias"}
    assert metrics["ones"]["test_accuracy"]["mean"] == pytest.approx(2.6 / 3)
    assert metrics["ones"]["test_accuracy"]["difference"] == pytest.approx(1 / 15)
    assert "difference" not in metrics["zeros"]["test_accuracy"]


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ("learning_curves", ["zeros", "ones", "no_bias"]),
        ("biases", ["zeros", "ones"]),
        ("intervals", ["ones", "no_bias", "undecided", "identical"]),
        ("paired_differences", ["ones", "no_bias", "baseline"]),
    ],
)
def test_each_figure_is_drawn_as_png_and_svg(answer: Answer, figure: str, words: list[str]) -> None:
    """A figure is missing, cannot be decoded, is blank, or leaves an arm out."""
    with Image.open(answer.folder / "figures" / f"{figure}.png") as image:
        colours = {colour: pixels for pixels, colour in image.convert("RGB").getcolors(2**24)}
    assert len(colours) > 40
    assert 1 - colours[255, 255, 255] / sum(colours.values()) > 0.02
    svg = (answer.folder / "figures" / f"{figure}.svg").read_text()
    assert svg.startswith("<svg") and svg.count("<path") > 10
    assert all(word in svg for word in words)


def test_the_answer_needs_neither_tensorflow_nor_mlflow(answer: Answer) -> None:
    """Comparing stored results waits for a library that it has no use for."""
    assert "altair" in answer.imported
    assert not {"tensorflow", "keras", "mlflow", "sklearn", "statsmodels"} & answer.imported


def test_arms_that_agree_on_every_seed_are_called_identical(answer: Answer) -> None:
    """A difference of zero everywhere is said as `nan`, or as an effect."""
    said = (answer.folder / "answer.md").read_text()
    for text in (answer.out, said):
        assert "no_bias: identical to zeros: on all 3 seeds the same learning curves, bit for bit." in text
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert "ones: undecided against zeros: +0.07 test_accuracy, 95 % interval -0.31 to +0.45, p = 1 after Holm" in said
    assert "so few seeds can never show a difference, 7 are the fewest" in said


@pytest.mark.parametrize("other", [{"kernels": "other"}, {"data": "other"}])
def test_one_seed_that_started_apart_makes_the_comparison_unpaired(tmp_path: Path, other: dict[str, str]) -> None:
    """A run with other initial kernels, or on other data, enters a paired difference, or leaves without a word."""
    put_all(tmp_path, "zeros", [0.5, 0.5, 0.5, 0.5])
    put_all(tmp_path, "ones", [0.6, 0.7])
    put(tmp_path, "ones", 2, 0.0, **other)
    row = summary(tmp_path, "ones")
    assert (row["pairs"], row["seeds"]) == (0, 3)
    assert row["difference"] == pytest.approx(1.3 / 3 - 0.5)
    began = f"seed 2 began with other {next(iter(other))}"
    warning = f"Warning: ones: no seed is paired with zeros, so the arms are compared unpaired: {began}."
    assert warning in words(tmp_path)


def test_seeds_are_paired_by_their_number_not_by_their_place(tmp_path: Path) -> None:
    """An arm that lacks a seed is compared with the baseline's wrong seeds."""
    put_all(tmp_path, "zeros", [0.1, 0.5, 0.9])
    for seed, accuracy in ((1, 0.6), (2, 0.9)):
        put(tmp_path, "ones", seed, accuracy)
    row = summary(tmp_path, "ones")
    assert (row["pairs"], row["difference"]) == (2, pytest.approx(0.05))


def test_a_diverged_run_is_named_and_in_no_mean(tmp_path: Path, comparing: Callable) -> None:
    """A diverged run moves a mean, a curve or a difference, or is not spoken of."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.9])
    put_all(tmp_path / "results", "ones", [0.6, 0.8])
    put(tmp_path / "results", "ones", 2, 0.1, status="diverged")
    code, out, _ = comparing()
    row = summary(tmp_path / "results", "ones")
    assert (code, row["seeds"], row["diverged"], row["mean"]) == (0, 2, 1, pytest.approx(0.7))
    assert (row["pairs"], row["difference"]) == (2, pytest.approx(0.1))
    assert "ones: diverged, and in no mean: seed 2." in out
    assert re.search(r"ones +│ 2 of 3 ", out)
    curves = learning_curves(load_arms(RunStore(tmp_path / "results", "s")))
    last = curves[(curves["arm"] == "ones") & (curves["metric"] == "accuracy") & (curves["epoch"] == 2)]
    assert last["mean"].item() == pytest.approx(0.7)


def test_an_arm_whose_every_seed_diverged_is_still_named(tmp_path: Path, comparing: Callable) -> None:
    """An arm without a complete run disappears from the answer, or breaks it."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    put_all(tmp_path / "results", "ones", [0.1, 0.1], status="diverged")
    code, out, _ = comparing()
    assert code == 0
    assert "ones: diverged, and in no mean: seeds 0, 1." in out
    assert "No arm can be compared with zeros." in out
    assert re.search(r"ones +│ 0 of 2 │ – .* diverged", out)


def test_one_seed_gets_a_mean_and_no_interval(tmp_path: Path, comparing: Callable) -> None:
    """From one seed an uncertainty is claimed, or `nan` stands in the answer."""
    put(tmp_path / "results", "zeros", 0, 0.5)
    put(tmp_path / "results", "ones", 0, 0.6)
    code, out, _ = comparing()
    said = (tmp_path / "reports" / "s" / "answer.md").read_text()
    metrics = (tmp_path / "reports" / "s" / "metrics.json").read_text()
    assert code == 0
    assert (
        "ones: undecided against zeros: +0.1000 test_accuracy, 1 pair of seeds; one seed says nothing of the "
        "uncertainty; a difference takes 6 seeds or more to show." in said
    )
    for text in (out, said, metrics):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    ones = json.loads(metrics)["ones"]["test_accuracy"]
    assert ones["mean"] == 0.6 and ones["difference"] == pytest.approx(0.1)
    assert not {"std", "ci_low", "ci_high", "effect", "difference_ci_low"} & set(ones)


def test_an_arm_is_compared_within_its_own_block(tmp_path: Path) -> None:
    """`ones,optimizer=sgd` is compared with the zeros of another optimizer."""
    put_all(tmp_path, "zeros", [0.9, 0.9])
    put_all(tmp_path, "ones", [0.8, 0.8])
    put_all(tmp_path, "zeros,optimizer=sgd", [0.5, 0.5])
    put_all(tmp_path, "ones,optimizer=sgd", [0.6, 0.6])
    put_all(tmp_path, "constant(value=0.1),optimizer=sgd", [0.8, 0.8], setting="constant(value=0.1)")
    assert summary(tmp_path, "ones")["difference"] == pytest.approx(-0.1)
    assert summary(tmp_path, "ones,optimizer=sgd")["difference"] == pytest.approx(0.1)
    assert summary(tmp_path, "constant(value=0.1),optimizer=sgd")["difference"] == pytest.approx(0.3)
    assert pd.isna(summary(tmp_path, "zeros,optimizer=sgd")["difference"])


def overall(results: Path) -> str:
    """What is said first."""
    return words(results)[0]


def test_each_verdict_is_said(tmp_path: Path) -> None:
    """A sentence says another verdict, direction or number than the runs give."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put_all(tmp_path, "he_normal", [*(EIGHT - APART)])
    put_all(tmp_path, "lecun_normal", [*(EIGHT + APART / 10)])
    put_all(tmp_path, "glorot_normal", [*(EIGHT + APART * [1, -1, 1, -1, 1, -1, 1, 1])])
    rows = {arm: summary(tmp_path, arm) for arm in ("ones", "he_normal", "lecun_normal", "glorot_normal")}
    assert [row["verdict"] for row in rows.values()] == ["better", "worse", "equivalent", "undecided"]
    assert [row["p"] for row in rows.values()] == pytest.approx([2 / 256, 2 / 256, 2 / 256, rows["glorot_normal"]["p"]])
    assert rows["ones"]["p_holm"] == pytest.approx(4 * 2 / 256)
    first, *said = words(tmp_path)
    assert first == (
        "Take ones: it is better than zeros by test_accuracy "
        "(worse: he_normal; equivalent: lecun_normal; undecided: glorot_normal)."
    )
    assert said[0].startswith(
        "ones: better than zeros: +0.020 test_accuracy, 95 % interval +0.014 to +0.026, p = 0.031"
    )
    assert said[2].startswith("he_normal: worse than zeros: -0.020 test_accuracy")
    one_sided = scipy_stats.ttest_1samp(APART / 10, 0.005, alternative="less").pvalue  # the nearer end of the margin
    assert rows["lecun_normal"]["p_equivalent"] == pytest.approx(4 * one_sided)
    assert said[3].startswith("lecun_normal: equivalent to zeros within 0.005: +0.002 test_accuracy")
    assert "two one-sided tests p < 0.001 after Holm" in said[3]
    assert re.search(r"about \d+ seeds would decide \(80 % power", said[1])


def test_the_answer_for_many_arms_stays_a_sentence(tmp_path: Path) -> None:
    """A sweep of thirty arms has an answer, and a heading of its page, of a hundred words."""
    put_all(tmp_path, "zeros", [0.5, 0.6])
    put_all(tmp_path, "ones", [0.5, 0.6])
    for i in range(30):
        put_all(tmp_path, f"constant(value={i})", [0.5 + i / 100, 0.5])
    said = words(tmp_path)
    assert said[0] == "Keep zeros: no arm is shown to be better by test_accuracy (identical: ones; undecided: 30 arms)."
    assert len(said) >= 1 + 31


def test_of_several_better_arms_none_is_the_winner(tmp_path: Path) -> None:
    """Arms that were only held against the baseline are ranked among themselves."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put_all(tmp_path, "he_normal", [*(EIGHT + 2 * APART)])
    assert overall(tmp_path).startswith("Take one of ones, he_normal: each is better than zeros by test_accuracy")


def test_equal_arms_have_no_winner(tmp_path: Path) -> None:
    """A metric that is the same in every run gives a winner, a nan, or calls different trainings identical.

    Of 30 pictures two arms often tell as many right, which is no proof that they are one.
    """
    put_all(tmp_path, "zeros", [0.5] * 6)
    put_all(tmp_path, "ones", [0.5] * 6, bend=0.1)
    put_all(tmp_path, "no_bias", [0.5] * 6)
    assert words(tmp_path) == [
        "Keep zeros: no arm differs from it by more than 0.005 test_accuracy (equivalent: ones; identical: no_bias).",
        "no_bias: identical to zeros: on all 6 seeds the same learning curves, bit for bit.",
        "ones: equivalent to zeros within 0.005: 0.0000 test_accuracy, two one-sided tests p = 0.031 after Holm, "
        "6 pairs of seeds.",
    ]
    assert summary(tmp_path, "ones", "test_loss")["verdict"] == "undecided"  # which has no margin
    assert pd.isna(summary(tmp_path, "ones", "test_loss")["seeds_needed"])


def test_one_seed_on_which_arms_agree_shows_nothing(tmp_path: Path) -> None:
    """Two trainings that tell as many pictures right on one seed are called identical, and the question closed."""
    put(tmp_path, "zeros", 0, 0.5)
    put(tmp_path, "ones", 0, 0.5, bend=0.1)
    first, ones = words(tmp_path)
    assert first == "Undecided: with fewer than 6 seeds no arm can be shown to differ from zeros by test_accuracy."
    assert ones.startswith(
        "ones: undecided against zeros: 0.0000 test_accuracy, 1 pair of seeds; one seed says nothing"
    )


def test_a_difference_within_the_margin_is_not_denied(tmp_path: Path) -> None:
    """An arm that is surely a little better is said not to be shown to be better."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART / 10)])
    put_all(tmp_path, "he_normal", [*(EIGHT - APART)])
    first, *said = words(tmp_path)
    ones = next(sentence for sentence in said if sentence.startswith("ones"))
    assert first == (
        "Keep zeros: no arm is shown to be better by test_accuracy by more than 0.005 "
        "(worse: he_normal; equivalent: ones)."
    )
    assert ones.endswith("8 pairs of seeds; that they differ at all has p = 0.016 after Holm.")


def test_an_arm_that_is_better_when_it_does_not_diverge_is_not_simply_recommended(tmp_path: Path) -> None:
    """The first sentence recommends an arm of which half the runs diverged, and leaves that to the remarks."""
    put_all(tmp_path, "zeros", [*EIGHT, 0.5])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put(tmp_path, "ones", 8, 0.1, status="diverged")
    assert (
        overall(tmp_path) == "Take ones: it is better than zeros by test_accuracy, but ones diverged on 1 of 9 seeds."
    )


def test_too_few_seeds_are_said_to_be_too_few(tmp_path: Path) -> None:
    """Five seeds, which no difference can make significant, are called undecided as if more luck would help."""
    put_all(tmp_path, "zeros", [*EIGHT[:5]])
    put_all(tmp_path, "ones", [*(EIGHT + APART)[:5]])
    first, ones = words(tmp_path)
    assert first == "Undecided: with fewer than 6 seeds no arm can be shown to differ from zeros by test_accuracy."
    assert "p = 0.062 after Holm" in ones  # 2 / 2^5
    assert "so few seeds can never show a difference, 6 are the fewest; about 6 seeds would decide" in ones


def test_seeds_that_tell_nothing_are_said_to_tell_nothing(tmp_path: Path) -> None:
    """Enough seeds without a clear difference lead to a recommendation."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*EIGHT[::-1]])
    assert overall(tmp_path) == "Undecided: these seeds tell no arm from zeros by test_accuracy."


def test_the_only_arm_is_described(tmp_path: Path, comparing: Callable) -> None:
    """A study of one arm breaks the answer, or claims a comparison."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.6])
    code, out, err = comparing()
    assert (code, err) == (0, "")
    assert "No arm can be compared with zeros." in out
    assert re.search(r"zeros │ 3 +│ 0\.60 ± 0\.25", out)  # 4.303 * 0.1 / 3^0.5 = 0.248


def test_a_baseline_that_always_diverged_is_said_so(tmp_path: Path, comparing: Callable) -> None:
    """Arms are compared with nothing, or the reason is not told."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7], status="diverged")
    put_all(tmp_path / "results", "ones", [0.5, 0.7])
    code, out, _ = comparing()
    assert code == 0
    assert "zeros: no complete run has test_accuracy, so nothing is compared with it." in out
    assert "zeros: diverged, and in no mean: seeds 0, 1." in out


def test_a_study_that_always_diverged_is_refused(tmp_path: Path, comparing: Callable) -> None:
    """A study without one complete run ends in a traceback, or does not say what there is."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.6], status="diverged")
    code, out, err = comparing()
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("study: s has no complete run (zeros (diverged: 0 to 2))")


@pytest.mark.parametrize(
    "other",
    [{"kernels": "other"}, {"data": "other"}, {"device": "GPU"}, {"optimizer": "other"}, {"training": {"epochs": 99}}],
)
def test_runs_that_started_apart_are_compared_unpaired_with_a_warning(tmp_path: Path, other: dict[str, str]) -> None:
    """Runs without a common start are paired all the same, or left out without a word."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + 0.2)], **other)
    row = summary(tmp_path, "ones")
    welch = scipy_stats.ttest_ind(EIGHT + 0.2, EIGHT, equal_var=False).confidence_interval()
    assert (row["difference_ci_low"], row["difference_ci_high"]) == pytest.approx((welch.low, welch.high))
    assert (row["pairs"], row["verdict"]) == (0, "better")
    said = words(tmp_path)
    began = f"seeds 0 to 7 began with other {next(iter(other))}"
    assert f"Warning: ones: no seed is paired with zeros, so the arms are compared unpaired: {began}." in said
    assert "no pairs of seeds" in said[1]


def test_arms_without_pairs_are_never_identical(tmp_path: Path) -> None:
    """Two unpaired arms of equal mean are called identical, or their undecided difference nan."""
    put_all(tmp_path, "zeros", [0.5, 0.6, 0.7])
    put_all(tmp_path, "ones", [0.5, 0.7, 0.6], kernels="other")
    assert summary(tmp_path, "ones")["verdict"] == "undecided"
    assert "the same seeds in both arms would tell more" in words(tmp_path)[1]
    assert not any("nan" in sentence for sentence in words(tmp_path))


def test_arms_that_share_no_seed_are_refused(tmp_path: Path, comparing: Callable) -> None:
    """Arms of other seeds are compared, or refused without saying which seeds there are."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.6])
    for seed in (5, 6):
        put(tmp_path / "results", "ones", seed, 0.9)
    code, out, err = comparing()
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err == "seeds: no arm of s shares a complete seed with zeros: zeros has 0 to 2; ones has 5, 6\n"
    put_all(tmp_path / "results", "he_normal", [0.5, 0.7, 0.6])
    code, out, _ = comparing()
    assert code == 0
    assert (
        "Warning: ones: no seed is paired with zeros, so the arms are compared unpaired: zeros lacks seeds 5, 6." in out
    )


def test_a_metric_that_some_runs_lack_is_compared_over_those_that_have_it(tmp_path: Path, comparing: Callable) -> None:
    """A run without the metric breaks the answer, or is left out of it silently."""
    results = tmp_path / "results"
    for seed, auc in enumerate([0.8, 0.9, 0.7]):
        put(results, "zeros", seed, 0.5, metrics={"test_auc": auc})
        put(results, "ones", seed, 0.5, metrics={"test_auc": auc + 0.1} if seed else {})
    put_all(results, "he_normal", [0.5] * 3)
    code, out, _ = comparing("metric=test_auc")
    assert code == 0
    row = summary(results, "ones", "test_auc")
    assert (row["seeds"], row["pairs"], row["difference"]) == (2, 2, pytest.approx(0.1))
    assert "ones: without test_auc, and in no mean of it: seed 0." in out
    assert "he_normal: without test_auc, and in no mean of it: seeds 0 to 2." in out


def test_metric_and_margin_change_the_verdict(
    tmp_path: Path, comparing: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`metric=test_loss` takes more for better, or `margin` is not the difference that does not matter."""
    monkeypatch.setattr("pipeline.report.write._charts", lambda *_: [])
    put_all(tmp_path / "results", "zeros", [*EIGHT])
    put_all(tmp_path / "results", "ones", [*(EIGHT + APART)])  # their loss is 1 - accuracy
    assert "Take ones: it is better than zeros by test_loss." in comparing("metric=test_loss")[1]
    assert (
        "Keep ones: no arm is shown to be better by test_loss (worse: zeros)."
        in comparing("metric=test_loss", "baseline=ones")[1]
    )
    assert "ones: equivalent to zeros within 0.1: -0.020 test_loss" in comparing("metric=test_loss", "margin=0.1")[1]


def test_a_damaged_run_is_named(tmp_path: Path, comparing: Callable) -> None:
    """A run whose files are not what was written vanishes from the answer without a word."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.6])
    (tmp_path / "results" / "s" / "zeros" / "seed=1" / "history.csv").write_text("")
    assert "Warning: zeros/seed=1 is damaged and left out." in comparing()[1]


UNUSABLE: dict[str, Callable[[dict], object]] = {
    "no metrics": lambda meta: meta.pop("metrics"),
    "no digest of kernels": lambda meta: meta.pop("initial_kernels_digest"),
    "no device": lambda meta: meta["environment"].clear(),
    "no setting": lambda meta: meta.update(config={}),
    "a seed in words": lambda meta: meta.update(seed="1"),
    "another run's": lambda meta: meta.update(seed=0),
}


@pytest.mark.parametrize("change", UNUSABLE)
def test_a_run_that_does_not_say_what_is_compared_is_named(tmp_path: Path, comparing: Callable, change: str) -> None:
    """A run.json without what a comparison reads ends in a traceback, or stands for another seed."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7, 0.6])
    file = tmp_path / "results" / "s" / "zeros" / "seed=1" / "run.json"
    meta = json.loads(file.read_text())
    UNUSABLE[change](meta)
    file.write_text(json.dumps(meta))
    code, out, _ = comparing()
    assert code == 0 and "Warning: zeros/seed=1 is damaged and left out." in out
    assert summary(tmp_path / "results", "zeros")["mean"] == pytest.approx(0.55)


def test_a_study_of_damaged_runs_is_refused_with_their_names(tmp_path: Path, comparing: Callable) -> None:
    """A study whose every run is damaged is said to have none."""
    put_all(tmp_path / "results", "zeros", [0.5])
    (tmp_path / "results" / "s" / "zeros" / "seed=0" / "history.csv").write_text("")
    code, out, err = comparing()
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("study: s has no complete run (zeros/seed=0 (damaged)); train one")


def test_a_study_without_test_metrics_is_refused(tmp_path: Path, comparing: Callable) -> None:
    """Runs whose test metrics are all unknown end in a traceback or an empty table."""
    put(tmp_path / "results", "zeros", 0, 0.5, metrics={"test_accuracy": None, "test_loss": None})
    code, out, err = comparing()
    assert (code, out) == (2, "")
    assert err == "metric: no complete run of the study has a test metric that is a number\n"


def test_a_study_can_be_named_with_commas(tmp_path: Path, comparing: Callable) -> None:
    """A study `a,b`, which training allows, is taken for two that do not exist."""
    for study in ("a,b", "c"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
    assert comparing("study=a,b")[0] == 0
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["a,b"]


def test_the_table_fits_100_columns(tmp_path: Path, comparing: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long name of an arm, a small or a large number makes the table wider, or breaks an interval in two."""
    monkeypatch.setattr("pipeline.report.write._charts", lambda *_: [])
    long = "constant(value=0.1),optimizer.learning_rate=0.001,training.batch_size=64"
    rng = np.random.default_rng(0)
    for name in ("zeros", "ones", long, long.replace("constant(value=0.1)", "zeros")):
        for seed in range(12):
            tiny = {"test_tiny": rng.normal(1, 2) * 1e-9, "test_huge": rng.normal(1, 2) * 1e9}
            put(tmp_path / "results", name, seed, rng.normal(0.7, 0.02), setting=name.split(",")[0], metrics=tiny)
    put(tmp_path / "results", "ones", 12, 0.1, status="diverged")
    for metric in ("test_accuracy", "test_tiny", "test_huge"):
        code, out, _ = comparing(f"metric={metric}")
        table = [line for line in out.splitlines() if line[:1] in "┏┃┡│└"]
        assert code == 0 and table and max(map(len, table)) <= 100
        assert len(re.findall(r"│ \S+ \[\S+, \S+\] │", "\n".join(table))) == 2
        assert "12 of 13" in out
        folded = "".join(line.split("│")[1].strip() for line in table if line.startswith("│"))
        assert long in folded


@pytest.mark.parametrize(
    ("values", "half", "text"),
    [
        ([0.97361], 0.0025, "0.9736"),
        ([3012.3], 45.0, "3012"),
        ([0.5], np.nan, "0.5000"),
        ([12.3456], 1.5, "12.3"),
        ([0.0], 0.0, "0.000"),
        ([-0.00001], 0.02, "0.000"),
        ([1.234e-9], 2e-10, "1.23e-09"),
        ([1.234e12], 2e11, "1.23e+12"),
    ],
)
def test_numbers_have_their_metrics_precision(values: list[float], half: float, text: str) -> None:
    """A loss of 3000 is written with four decimals, one of 1e-9 as 0.0000, or zero as -0.000."""
    table = pd.DataFrame({"mean": values, "ci_low": np.array(values) - half, "ci_high": np.array(values) + half})
    assert number_format(table)(values[0]) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0312, "0.031"), (0.0502, "0.0502"), (0.56, "0.56"), (1, "1")]
)
def test_a_p_value_is_never_0_nor_the_level_it_missed(p: float, text: str) -> None:
    """p = 0.0502 is written as 0.05 beside `undecided`."""
    assert p_value(p) == text


def test_each_block_has_its_own_answer(tmp_path: Path) -> None:
    """What was found under one optimizer is said of another, or a block without the baseline is left out silently."""
    for block, sign in (("", 1), (",optimizer=sgd", -1)):
        put_all(tmp_path, f"zeros{block}", [*EIGHT])
        put_all(tmp_path, f"ones{block}", [*(EIGHT + sign * APART)])
    put_all(tmp_path, "ones,optimizer=rmsprop", [*EIGHT])
    said = words(tmp_path)
    assert said[1:3] == [
        "Take ones: it is better than zeros by test_accuracy.",
        "Keep zeros,optimizer=sgd: no arm is shown to be better by test_accuracy (worse: ones,optimizer=sgd).",
    ]
    assert "optimizer=rmsprop: there is no zeros, so nothing is compared." in said


@pytest.mark.parametrize(
    ("option", "key", "there"),
    [
        ("baseline=nosuch", "baseline", ["ones", "zeros"]),
        ("study=nosuch", "study", ["first", "second"]),
        ("", "study", ["first", "second"]),
        ("metric=test_auc", "metric", ["test_accuracy", "test_loss"]),
        ("margin=some", "margin", ["a number"]),
        ("margin=0", "margin", ["positive number"]),
        ("margin=nan", "margin", ["positive number"]),
        ("margin=inf", "margin", ["positive number"]),
        ("colour=red", "colour", ["study", "baseline", "results", "reports"]),
        ("results=nowhere", "results", ["pipeline.train"]),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    tmp_path: Path, comparing: Callable, option: str, key: str, there: list[str]
) -> None:
    """A wrong request ends in a traceback, or is answered without saying what exists, or writes something."""
    for study in ("first", "second"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
        put_all(tmp_path / "results", "ones", [0.5, 0.7], study=study)
    options = [option] if option else []
    options += ["study=first"] if key in ("baseline", "metric") else []
    options = [f"results={tmp_path / 'nowhere'}"] if key == "results" else options
    code, out, err = comparing(*options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith(key)
    assert all(name in err for name in there)
    assert not (tmp_path / "reports").exists()


def test_reports_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path, comparing: Callable) -> None:
    """A folder for the reports that is a file ends in a traceback."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    (tmp_path / "taken").write_text("a file")
    code, _, err = comparing(f"reports={tmp_path / 'taken'}")
    assert code == 2
    assert len(err.splitlines()) == 1 and err.startswith("reports")


def test_several_studies_are_answered_one_by_one(tmp_path: Path, comparing: Callable) -> None:
    """`study=a,b` leaves one of them out."""
    for study in ("first", "second"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
    assert comparing("study=first,second")[0] == 0
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["first", "second"]


@pytest.mark.parametrize("biased", [True, False])
def test_every_picture_that_the_answer_shows_exists(tmp_path: Path, comparing: Callable, biased: bool) -> None:
    """answer.md points to a figure that was not drawn, as when no arm has a bias."""
    put_all(tmp_path / "results", "zeros" if biased else "no_bias", [0.5, 0.7], biased=biased)
    assert comparing(*([] if biased else ["baseline=no_bias"]))[0] == 0
    folder = tmp_path / "reports" / "s"
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (folder / "answer.md").read_text())
    assert links and all((folder / link).is_file() for link in links)


def test_a_name_with_a_bar_keeps_the_columns_of_the_table(tmp_path: Path, comparing: Callable) -> None:
    """The name of an arm adds a column to its row of answer.md or studies.md."""
    for study, arm in product(("first", "second"), ("zeros", "a|b")):
        put_all(tmp_path / "results", arm, [0.5, 0.7], study=study)
    assert comparing("study=first,second")[0] == 0
    for file in ("first/answer.md", "studies.md"):
        rows = [line for line in (tmp_path / "reports" / file).read_text().splitlines() if line.startswith("|")]
        assert any(r"a\|b" in row for row in rows)
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no run.json": lambda run: (run / "run.json").unlink(),
    "half a run.json": lambda run: (run / "run.json").write_text((run / "run.json").read_text()[:200]),
    "run.json of something else": lambda run: (run / "run.json").write_text("[1, 2]"),
    "run.json without a key": lambda run: (run / "run.json").write_text('{"arm": "zeros", "seed": 0}'),
    "no biases.npz": lambda run: (run / "biases.npz").unlink(),
    "no history.csv": lambda run: (run / "history.csv").unlink(),
    "half a biases.npz": lambda run: (run / "biases.npz").write_bytes((run / "biases.npz").read_bytes()[:200]),
    "an empty history.csv": lambda run: (run / "history.csv").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_left_out_and_written_anew(tmp_path: Path, damage: str) -> None:
    """A run that is not whole counts as finished, or stands in the way of the one that replaces it."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    DAMAGE[damage](tmp_path / "s" / "zeros" / "seed=0")
    assert [run.seed for run in RunStore(tmp_path, "s").runs()] == [1]
    put(tmp_path, "zeros", 0, 0.6)
    assert [run.meta["metrics"]["test_accuracy"] for run in RunStore(tmp_path, "s").runs()] == [0.6, 0.7]


def test_a_killed_writer_leaves_whole_runs_only(tmp_path: Path) -> None:
    """A run can be seen before all of it is on disk."""
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from pipeline.store.replaced import write_run\n"
        "for seed in range(10_000):\n"
        "    meta = dict(key=f'k{seed}', recipe='r', arm='zeros', seed=seed, status='complete')\n"
        "    arrays = {'epoch': np.arange(2), 'after/dense/bias': np.random.default_rng(seed).random(200_000)}\n"
        "    write_run(RunStore(Path(sys.argv[1]), 's'), meta, arrays, {'loss': np.ones(2)})\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("s/zeros/seed=*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    runs = RunStore(tmp_path, "s").runs()
    assert len(runs) >= 5
    assert len(runs) == len(list(tmp_path.glob("s/zeros/*")))
    for run in runs:
        expected = np.random.default_rng(run.seed).random(200_000)
        assert np.array_equal(run.biases()["after/dense/bias"], expected)


def test_a_run_that_is_replaced_is_kept_and_comes_back(tmp_path: Path) -> None:
    """Asking for other settings throws the earlier result away, or it cannot be had again."""
    old = put(tmp_path, "zeros", 0, 0.5, key="old")
    content = {path.name: path.read_bytes() for path in old.path.iterdir()}
    put(tmp_path, "zeros", 0, 0.9, key="new")
    assert [run.key for run in RunStore(tmp_path, "s").runs()] == ["new"]
    assert {p.name: p.read_bytes() for p in (tmp_path / ".replaced" / "old").iterdir()} == content

    assert adopt_runs(RunStore(tmp_path, "s"), {0: "old", 1: "never trained"}, {"arm": "zeros"}) == {0}
    assert [run.key for run in RunStore(tmp_path, "s").runs()] == ["old"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "s" / "zeros" / "seed=0").iterdir()} == content


def test_nothing_in_a_stored_run_depends_on_when_and_where(tmp_path: Path) -> None:
    """The same run stored in two places gives other bytes, or its arrays carry the time of day."""
    first = put(tmp_path / "here", "zeros", 0, 0.5)
    second = put(tmp_path / "there" / "deeper", "zeros", 0, 0.5)
    with zipfile.ZipFile(first.path / "biases.npz") as arrays:
        assert {entry.date_time for entry in arrays.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    for path in first.path.iterdir():
        assert path.read_bytes() == (second.path / path.name).read_bytes()
