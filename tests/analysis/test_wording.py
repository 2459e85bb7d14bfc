"""The answer in words: headlines and verdicts of runs whose values are made up."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import APART, EIGHT, FAR, MANY, put, put_all
from scipy import stats as scipy_stats

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.wording import known_digits
from pipeline.report.plain import plain_answer
from pipeline.store.runs import RunStore


def compared(results: Path, baseline: str = "zeros", **options: Any) -> Comparison:
    return compare_study(RunStore(results, "s"), baseline, **options)


def sentences(results: Path, **options: Any) -> list[str]:
    """The sentences of the answer but the one on the correction of p, for which see test_correction.py."""
    comparison = compared(results, **options)
    return [sentence for sentence in comparison.sentences if sentence != comparison.correction.sentence]


def test_each_verdict_is_said(tmp_path: Path) -> None:
    """The headline sorts the arms by their verdicts; each sentence gives the verdict, its numbers and its p."""
    put_all(tmp_path, "zeros", [*MANY])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put_all(tmp_path, "he_normal", [*(EIGHT - APART)])
    put_all(tmp_path, "lecun_normal", [*(MANY + FAR / 10)])
    put_all(tmp_path, "glorot_normal", [*(EIGHT + APART * [1, -1, 1, -1, 1, -1, 1, 1])])
    comparison = compared(tmp_path)
    verdicts = {verdict.arm: verdict for verdict in comparison.verdicts}
    assert {arm: verdict.verdict for arm, verdict in verdicts.items()} == {
        "zeros": "baseline", "ones": "better", "glorot_normal": "undecided", "he_normal": "worse",
        "lecun_normal": "equivalent",
    }  # fmt: skip
    assert [verdicts[arm].p for arm in ("ones", "he_normal")] == pytest.approx([2 / 256] * 2)
    assert verdicts["ones"].p_holm == pytest.approx(3 * 2 / 256)
    assert comparison.answer == [
        "Take ones: it is better than zeros in test_accuracy "
        "(worse: he_normal; equivalent: lecun_normal; undecided: glorot_normal)."
    ]
    texts = {arm: verdict.sentence for arm, verdict in verdicts.items()}
    assert texts["ones"].startswith(
        "ones: better than zeros: +0.020 test_accuracy, 95 % interval +0.014 to +0.026, p = 0.023"
    )
    assert texts["he_normal"].startswith("he_normal: worse than zeros: -0.020 test_accuracy")
    one_sided = scipy_stats.ttest_1samp(FAR / 10, 0.005, alternative="less").pvalue  # the nearer end of the margin
    assert verdicts["lecun_normal"].p_equivalent == pytest.approx(4 * one_sided)
    assert texts["lecun_normal"].startswith("lecun_normal: equivalent to zeros within 0.005: +0.002 test_accuracy")
    assert "two one-sided tests p < 0.001 after Holm" in texts["lecun_normal"]
    assert re.search(r"; \d+ to \d+ seeds would decide \(80 % power", texts["glorot_normal"])
    assert texts["glorot_normal"].endswith("and until=decided trains what it takes.")


def test_a_headline_names_what_it_decides(tmp_path: Path) -> None:
    """`decision` and `arms` say the same as the sentence."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    (take,) = compared(tmp_path).headlines
    (keep,) = compared(tmp_path, "ones").headlines
    assert (take.decision, take.arms, take.baseline) == ("take", ("ones",), "zeros")
    assert (keep.decision, keep.arms, keep.baseline) == ("keep", (), "ones")


def test_the_answer_for_many_arms_stays_a_sentence(tmp_path: Path) -> None:
    """The headline counts the arms of a verdict where it would have to name more than eight."""
    put_all(tmp_path, "zeros", [0.5, 0.6])
    put_all(tmp_path, "ones", [0.5, 0.6])
    for i in range(9):
        put_all(tmp_path, f"constant(value={i})", [0.5 + i / 100, 0.5])
    texts = sentences(tmp_path)
    assert (
        texts[0]
        == "Keep zeros: no other choice is clearly better in test_accuracy (identical: ones; undecided: 9 arms)."
    )
    assert len(texts) >= 1 + 10


def test_of_several_better_arms_none_is_the_winner(tmp_path: Path) -> None:
    """Arms that were compared with the baseline alone are not ranked among themselves."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put_all(tmp_path, "he_normal", [*(EIGHT + 2 * APART)])
    first = sentences(tmp_path)[0]
    assert first.startswith("Take one of ones, he_normal: each is better than zeros in test_accuracy")


def test_equal_arms_have_no_winner(tmp_path: Path) -> None:
    """Equal metrics are called identical only if the learning curves are the same too.

    Out of 30 pictures two arms often get as many right, which does not prove that they are the same.
    """
    put_all(tmp_path, "zeros", [0.5] * 29)
    put_all(tmp_path, "ones", [0.5] * 29, bend=0.1)
    put_all(tmp_path, "no_bias", [0.5] * 6)
    assert sentences(tmp_path) == [
        "Keep zeros: no other choice differs from it by more than 0.005 test_accuracy "
        "(equivalent: ones; identical: no_bias).",
        "no_bias: identical to zeros by construction: on all 6 seeds the same initial biases and learning curves, bit "
        "for bit.",
        "ones: equivalent to zeros within 0.005: 0.0000 test_accuracy, two one-sided tests p < 0.001 after Holm's "
        "correction for 2 arms, 29 pairs of seeds.",
    ]


def test_one_seed_on_which_arms_agree_shows_nothing(tmp_path: Path) -> None:
    """Two trainings that get as many pictures right on one seed are undecided."""
    put(tmp_path, "zeros", 0, 0.5)
    put(tmp_path, "ones", 0, 0.5, bend=0.1)
    first, ones = sentences(tmp_path)
    assert first == (
        "Undecided: one seed is too little to call any choice better or worse than zeros in test_accuracy; it takes 6 "
        "or more."
    )
    assert ones.startswith("ones: undecided against zeros: 0.0000 test_accuracy, 1 pair of seeds; one seed says")


def test_one_seed_gets_a_mean_and_no_interval(tmp_path: Path) -> None:
    """From one seed no uncertainty is claimed."""
    put(tmp_path, "zeros", 0, 0.5)
    put(tmp_path, "ones", 0, 0.6)
    comparison = compared(tmp_path)
    assert comparison.compared[0].sentence == (
        "ones: undecided against zeros: +0.1000 test_accuracy, 1 pair of seeds; one seed says nothing about the "
        "uncertainty; a difference takes 6 seeds or more to show."
    )
    (ones,) = comparison.compared
    assert ones.mean == 0.6 and ones.difference == pytest.approx(0.1)
    assert {ones.std, ones.ci_low, ones.ci_high, ones.difference_ci_low} == {None}


def test_a_difference_within_the_margin_is_not_denied(tmp_path: Path) -> None:
    """An arm that is surely a little better is texts not to be better by more than the margin."""
    put_all(tmp_path, "zeros", [*MANY])
    put_all(tmp_path, "ones", [*(MANY + FAR / 10)])
    put_all(tmp_path, "he_normal", [*(EIGHT - APART)])
    first, *texts = sentences(tmp_path)
    ones = next(sentence for sentence in texts if sentence.startswith("ones"))
    assert first == (
        "Keep zeros: no other choice is clearly better by more than 0.005 test_accuracy "
        "(worse: he_normal; equivalent: ones)."
    )
    assert ones.endswith("pairs of seeds; that they differ at all has p < 0.001 after Holm's correction for 2 arms.")


def test_an_arm_within_the_margin_that_may_fail_is_undecided(tmp_path: Path) -> None:
    """With few seeds a rare failure is not excluded, and a single one shows; both are said, in the page's words too."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART / 10)])
    comparison = compared(tmp_path)
    (ones,) = comparison.compared
    assert (ones.verdict, ones.seeds_needed, ones.may_fail) == ("undecided", 29, True)
    assert comparison.sentences[:-1] == [
        "Undecided: after 8 seeds no choice differs from zeros by more than 0.005 test_accuracy on average, but rare "
        "failures are not excluded.",
        "ones: undecided against zeros: +0.002 test_accuracy, 95 % interval +0.001 to +0.003, p = 0.0078, 8 pairs "
        "of seeds; within 0.005 so far (two one-sided tests p < 0.001), but with 8 seeds a failure on one seed in ten "
        "is not excluded; 29 seeds would exclude it.",
    ]
    put_all(tmp_path, "he_normal", [*(EIGHT - APART)])
    headline, others = plain_answer(compared(tmp_path))
    assert headline == "Keep zeros: no other choice is clearly better by more than 0.005 test accuracy."
    assert others == [
        "Worse than zeros: he_normal. As good as zeros on average, to within 0.005, but after 8 seeds rare failures "
        "are not excluded: ones."
    ]


def test_one_failure_among_many_seeds_is_named(tmp_path: Path) -> None:
    """More seeds would make the mean more certain, and the failure no less real."""
    put_all(tmp_path, "zeros", [*MANY])
    put_all(tmp_path, "ones", [*(MANY - 0.15 * (np.arange(32) == 5))])
    (ones,) = compared(tmp_path, margin=0.0145).compared
    assert (ones.verdict, ones.may_fail, ones.seeds_needed) == ("undecided", True, None)
    assert ones.sentence.endswith("but one seed differs by 0.150, more than 10 margins.")


def test_the_headline_says_that_a_better_arm_diverged(tmp_path: Path) -> None:
    """An arm that is better when it does not diverge is not recommended without saying so."""
    put_all(tmp_path, "zeros", [*EIGHT, 0.5])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put(tmp_path, "ones", 8, 0.1, status="diverged")
    first = sentences(tmp_path)[0]
    assert first == "Take ones: it is better than zeros in test_accuracy, but ones diverged on 1 of 9 seeds."


def test_arms_that_are_the_same_are_not_said_to_differ_by_little(tmp_path: Path) -> None:
    """Where no arm was tested for equivalence, the headline speaks of no margin; beside an equivalent one it does."""
    put_all(tmp_path, "zeros", [*MANY])
    put_all(tmp_path, "he_normal", [*MANY])
    assert compared(tmp_path).answer[0] == (
        "Keep zeros: every other choice is the same as it, seed by seed, in test_accuracy (identical: he_normal)."
    )
    put_all(tmp_path, "ones", [*(MANY + FAR / 10)])
    assert compared(tmp_path).answer[0].startswith("Keep zeros: no other choice differs from it by more than 0.005")


def test_too_few_seeds_are_said_to_be_too_few(tmp_path: Path) -> None:
    """With five seeds no difference can be significant, and the sentences say so."""
    put_all(tmp_path, "zeros", [*EIGHT[:5]])
    put_all(tmp_path, "ones", [*(EIGHT + APART)[:5]])
    first, ones, _ = sentences(tmp_path)
    assert first == (
        "Undecided: 5 seeds are too few to call any choice better or worse than zeros in test_accuracy; it takes 6 or "
        "more."
    )
    assert "p = 0.062, 5 pairs" in ones  # 2 / 2^5
    assert "can never show" not in ones  # the headline has said it
    assert "6 to 7 seeds would decide" in ones


def test_too_few_seeds_are_said_of_an_arm_where_the_headline_does_not(tmp_path: Path) -> None:
    """Beside an identical arm, which the headline speaks of, the other's sentence says how many seeds it takes."""
    put_all(tmp_path, "zeros", [*EIGHT[:3]])
    put_all(tmp_path, "same", [*EIGHT[:3]])
    put_all(tmp_path, "ones", [*(EIGHT + APART)[:3]])
    (ones,) = [text for text in sentences(tmp_path) if text.startswith("ones: ")]
    assert "so few seeds can never show a difference, 7 are the fewest; 7 to 20 seeds would decide" in ones


def test_a_needed_number_is_as_exact_as_the_pairs_allow() -> None:
    """Two pairs tell its order of magnitude; no number is below the fewest."""
    cases = [(4347, 2), (18, 2), (4347, 7), (57, 7), (11, 3), (100_000, 3)]
    assert [known_digits(needed, pairs, 12) for needed, pairs in cases] == [4000, 20, 4300, 57, 12, 100_000]


def test_enough_seeds_without_a_difference_are_undecided(tmp_path: Path) -> None:
    """No arm is recommended where none is decided."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*EIGHT[::-1]])
    assert (
        sentences(tmp_path)[0]
        == "Undecided: after 8 seeds no choice is clearly better or worse than zeros in test_accuracy."
    )


def test_nothing_is_compared_with_a_single_arm(tmp_path: Path) -> None:
    """A study of one arm has no verdict, and says so."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    comparison = compared(tmp_path)
    assert comparison.sentences == ["No arm can be compared with zeros."]
    assert [(v.arm, v.verdict, v.seeds) for v in comparison.verdicts] == [("zeros", "not compared", 3)]
    assert comparison.headlines[0].decision == "nothing compared"


def test_unpaired_arms_say_that_common_seeds_would_help(tmp_path: Path) -> None:
    """The sentence on an undecided unpaired arm says what is missing, and holds no nan."""
    put_all(tmp_path, "zeros", [0.5, 0.6, 0.7])
    put_all(tmp_path, "ones", [0.5, 0.7, 0.6], kernels="other")
    texts = sentences(tmp_path)
    assert "no pairs of seeds; the same seeds in both arms would tell more" in texts[1]
    assert not any("nan" in sentence for sentence in texts)


def test_each_block_has_its_own_answer(tmp_path: Path) -> None:
    """What holds under one optimizer is not texts of another."""
    for block, sign in (("", 1), (",optimizer=sgd", -1)):
        put_all(tmp_path, f"zeros{block}", [*EIGHT])
        put_all(tmp_path, f"ones{block}", [*(EIGHT + sign * APART)])
    comparison = compared(tmp_path)
    assert comparison.headlines[0].sentence.startswith(
        "Undecided on average over both blocks, which differ in optimizer: after 8 seeds "
    )
    assert [headline.sentence for headline in comparison.headlines[1:]] == [
        "Take ones: it is better than zeros in test_accuracy.",
        "Keep zeros,optimizer=sgd: no other choice is clearly better in test_accuracy (worse: ones,optimizer=sgd).",
    ]
    assert [headline.block for headline in comparison.headlines] == ["both blocks", "", "optimizer=sgd"]


def test_metric_and_margin_change_the_verdict(tmp_path: Path) -> None:
    """`metric` decides what is better, and `margin` which differences do not matter."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])  # their loss is 1 - accuracy
    assert sentences(tmp_path, metric="test_loss")[0] == "Take ones: it is better than zeros in test_loss."
    assert compared(tmp_path, "ones", metric="test_loss").answer == [
        "Keep ones: no other choice is clearly better in test_loss (worse: zeros)."
    ]
    wide = sentences(tmp_path, metric="test_loss", margin=0.1)
    assert wide[1].startswith("ones: undecided against zeros: -0.020 test_loss") and "within 0.1 so far" in wide[1]


def test_the_same_start_is_identical_whatever_comes_of_it(tmp_path: Path) -> None:
    """Arms whose loss before training is the same on every seed are identical by it, however they went on."""
    for seed in range(3):
        put(tmp_path, "no_bias", seed, 0.5, history={"loss": [1.5, 1, 0.5 + seed], "accuracy": [0.2, 0.3, 0.5]})
        put(tmp_path, "zeros", seed, 0.5, history={"loss": [1.5, 1, 0.5], "accuracy": [0.2, 0.3, 0.5]})
    (no_bias,) = compared(tmp_path, metric="initial_loss").compared
    assert no_bias.verdict == "identical"
    assert no_bias.sentence == "no_bias: identical to zeros: on all 3 seeds the same initial_loss."


def test_a_verdict_holds_every_number_of_its_row(tmp_path: Path) -> None:
    """The numbers of a verdict are those of the summary's row."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    comparison = compared(tmp_path, margin=0.01)
    (ones,) = comparison.compared
    row = comparison.chosen.set_index("arm").loc["ones"]
    names = ["mean", "std", "ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high", "p", "p_holm"]
    names += ["p_equivalent", "seeds", "diverged", "pairs", "family"]
    assert [getattr(ones, name) for name in names] == [row[name] for name in names]
    assert (ones.block, ones.baseline, ones.metric, ones.margin) == ("", "zeros", "test_accuracy", 0.01)
    assert ones.same_curves is False and ones.seeds_needed is None and np.isfinite(ones.p_holm or np.nan)


def test_an_undecided_arm_whose_interval_leaves_out_0_says_why(tmp_path: Path) -> None:
    """The interval is of one arm, p is corrected for all of them; of a single arm the test alone is what differs."""
    put_all(tmp_path, "zeros", [*EIGHT])
    shifted = EIGHT + APART * np.array([1, 1, 1, 1, 1, 1, 1, -0.2])
    for arm in ("ones", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform"):
        put_all(tmp_path, arm, [*shifted])
    verdict = next(verdict for verdict in compared(tmp_path).verdicts if verdict.arm == "ones")
    assert verdict.verdict == "undecided" and (verdict.difference_ci_low or 0) > 0
    assert "the interval leaves out 0 because it is for this arm alone, whereas p allows for all 5 arms" in (
        verdict.sentence
    )


def test_a_decided_arm_whose_interval_holds_0_says_why(tmp_path: Path) -> None:
    """All eight differences are positive, which is no chance; one of them is so large that the interval holds 0."""
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + np.array([1, 2, 1, 2, 1, 2, 1, 100]) / 1000)])
    (verdict,) = compared(tmp_path).compared
    assert verdict.verdict == "better" and (verdict.difference_ci_low or 0) < 0
    assert verdict.sentence.endswith(
        "; the interval holds 0 because few or uneven seeds make it wide, but the test of p, which decides, rules out "
        "chance."
    )


def test_an_equivalent_arm_whose_interval_passes_the_margin_says_why(tmp_path: Path) -> None:
    """Two one-sided tests at 5 % are an interval of 90 %, and the one that is shown is of 95 %."""
    differences = np.array([1, -1] * 16) * 0.01
    margin = 1.9 * differences.std(ddof=1) / np.sqrt(32)  # between the quantiles of t with 31 degrees, 1.70 and 2.04
    put_all(tmp_path, "zeros", [*MANY])
    put_all(tmp_path, "ones", [*(MANY + differences)])
    (verdict,) = compared(tmp_path, margin=float(margin)).compared
    assert verdict.verdict == "equivalent" and (verdict.difference_ci_high or 0) > margin
    assert "the interval reaches beyond the margin because it leaves out 2.5 % at each end" in verdict.sentence
    inner = next(v for v in compared(tmp_path, margin=0.05).compared)
    assert inner.verdict == "equivalent" and "reaches beyond" not in inner.sentence


def test_an_undecided_average_over_blocks_says_so_first(tmp_path: Path) -> None:
    """It reads like the headline of one block."""
    for block in ("", ",optimizer=sgd"):
        put_all(tmp_path, f"zeros{block}", [*EIGHT])
        put_all(tmp_path, f"ones{block}", [*EIGHT[::-1]])
    assert sentences(tmp_path)[0] == (
        "Undecided on average over both blocks, which differ in optimizer: "
        "after 8 seeds no choice is clearly better or worse than zeros in "
        "test_accuracy."
    )
