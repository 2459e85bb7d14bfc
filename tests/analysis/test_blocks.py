"""A study that swept other settings too: each bias setting over all blocks, and where the answer depends on them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import APART, EIGHT, put, put_all

from pipeline import compare
from pipeline.analysis.arms import load_arms
from pipeline.analysis.blocks import block_factors, pool_arms
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.study import load_study
from pipeline.errors import ConfigError
from pipeline.report.figures.theme import COLOURS
from pipeline.report.write import make_charts
from pipeline.stats.paired import compare_paired
from pipeline.stats.permutation import block_interaction_p, sign_flip
from pipeline.store.runs import RunStore

RATES = ("optimizer.learning_rate=0.001", "optimizer.learning_rate=0.01", "optimizer.learning_rate=0.1")


def put_blocks(results: Path, arms: dict[str, list[np.ndarray]]) -> None:
    """Each arm's accuracies, block by block of `RATES`."""
    for arm, each in arms.items():
        for block, accuracies in zip(RATES, each, strict=False):
            put_all(results, f"{arm},{block}", [*accuracies], setting=arm)


def compared(results: Path, metric: str = "") -> Comparison:
    return compare_study(RunStore(results, "s"), "zeros", metric)


def row(comparison: Comparison, arm: str) -> dict:
    return comparison.chosen.set_index("arm").loc[arm].to_dict()


def test_over_all_blocks_a_seed_counts_once(tmp_path: Path) -> None:
    """The pooled p is that of eight seeds, not of their 24 runs."""
    noise = [np.roll(EIGHT, shift) / 50 for shift in range(3)]
    put_blocks(tmp_path, {
        "zeros": [EIGHT - 0.1, EIGHT, EIGHT + 0.1],
        "ones": [EIGHT - 0.1 + noise[0], EIGHT + noise[1] + 0.02, EIGHT + 0.1 + noise[2]],
        "he_normal": [EIGHT - 0.1 - APART, EIGHT - APART, EIGHT + 0.1 - APART],
    })  # fmt: skip
    comparison = compared(tmp_path)
    ones, differences = row(comparison, "ones over all 3 blocks"), np.mean(noise, axis=0) + 0.02 / 3
    expected = compare_paired(EIGHT + differences, EIGHT, True)
    assert (ones["block"], ones["baseline"], ones["pairs"]) == ("all 3 blocks", "zeros over all 3 blocks", 8)
    assert ones["difference"] == pytest.approx(differences.mean())
    assert (ones["p"], ones["difference_ci_low"]) == (2 / 2**8, pytest.approx(expected["low"]))
    assert (ones["family"], ones["p_holm"]) == (2, 2 * 2 / 2**8)  # of the two overall comparisons, not of all eight
    assert row(comparison, "zeros over all 3 blocks")["mean"] == pytest.approx(EIGHT.mean())
    assert comparison.sentences[0] == (
        "On average over all 3 blocks, which differ in optimizer.learning_rate, "
        "take ones: it is better than zeros in test_accuracy (worse: he_normal)."
    )
    sentence = "ones over all 3 blocks: better than zeros: +0.017 test_accuracy"
    assert any(answer.startswith(sentence) for answer in comparison.sentences)
    assert list(comparison.chosen["arm"][:3]) == [f"{a} over all 3 blocks" for a in ("zeros", "ones", "he_normal")]
    assert sorted(set(comparison.chosen["block"])) == ["all 3 blocks", *RATES]


def test_the_comparison_over_all_blocks_is_drawn_first(tmp_path: Path) -> None:
    """Its row has a mark in its setting's colour, above the rows of the blocks."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT], "ones": [EIGHT + APART, EIGHT + APART[::-1]]})
    comparison = compared(tmp_path)
    spec = dict(make_charts(comparison))["intervals"].to_dict()
    (mark,) = [layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"]]
    assert mark["y"]["sort"] == ["ones over both blocks", *(f"ones,{rate}" for rate in RATES[:2])]
    scale = mark["color"]["scale"]
    colours = dict(zip(scale["domain"], scale["range"], strict=True))
    assert colours.keys() >= {*comparison.study.arm_names, "ones over both blocks"}
    assert {colours[arm] for arm in mark["y"]["sort"]} == {COLOURS[1]}


def test_an_answer_that_depends_on_the_block_says_so(tmp_path: Path) -> None:
    """An arm that is better with one learning rate and worse with another is said to depend on it."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT], "ones": [EIGHT + APART, EIGHT - APART]})
    answer = compared(tmp_path).sentences
    assert answer[0].startswith(
        "Undecided on average over both blocks, which differ in optimizer.learning_rate: "
        "after 8 seeds no choice differs from zeros by more than 0.005"
    )
    assert answer[1] == (
        f"The answer for ones depends on optimizer.learning_rate (p = 0.0078): better with {RATES[0]} (+0.020); "
        f"worse with {RATES[1]} (-0.020)."
    )


def test_one_block_that_decides_and_one_that_does_not_are_no_interaction(tmp_path: Path) -> None:
    """`better` in one block and `undecided` in another is no dependence where the differences are alike."""
    noisy = APART * [3, -1, 2, -1, 3, -1, 2, 1]
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT], "ones": [EIGHT + APART, EIGHT + noisy]})
    comparison = compared(tmp_path)
    p = sign_flip(APART - noisy)
    assert [row(comparison, f"ones,{block}")["verdict"] for block in RATES[:2]] == ["better", "undecided"] and p > 0.05
    (dependence,) = comparison.block_dependences
    sentence = dependence.sentence
    assert not dependence.shown and dependence.factors == ("optimizer.learning_rate",)
    assert sentence.startswith(f"ones by block: better with {RATES[0]} (+0.020); undecided with {RATES[1]}")
    assert sentence.endswith(f"that its difference depends on optimizer.learning_rate is not shown (p = {p:.2g}).")


def test_blocks_that_agree_are_not_spoken_of(tmp_path: Path) -> None:
    """No dependence is mentioned where every block says the same."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT + 0.1], "ones": [EIGHT + APART, EIGHT + 0.1 + APART[::-1]]})
    assert not any("depend" in sentence for sentence in compared(tmp_path).sentences)


def test_the_interaction_of_several_blocks_is_found_and_rarely_where_there_is_none() -> None:
    """Three blocks with one mean are told apart in less than 7.5 % of studies, and three with different ones are."""
    rng = np.random.default_rng(0)
    rejected = [block_interaction_p(rng.normal(size=(8, 1)) + rng.normal(size=(8, 3))) <= 0.05 for _ in range(300)]
    assert np.mean(rejected) < 0.075
    assert block_interaction_p(rng.normal(size=(8, 3)) + np.array([0, 0, 3])) < 0.01
    assert block_interaction_p(np.tile(APART[:, None], 3)) == 1
    assert block_interaction_p(np.stack([APART, 0 * APART], 1)) == sign_flip(APART)
    assert np.isnan(block_interaction_p(np.empty((0, 3))))


def test_a_seed_that_one_block_lacks_is_in_no_overall_mean(tmp_path: Path) -> None:
    """The pooled comparison covers the seeds that every block has, and a warning names the others."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT + 0.1], "ones": [EIGHT + APART, EIGHT[:6] + 0.1 + APART[:6]]})
    put(tmp_path, f"ones,{RATES[1]}", 6, 0.1, status="diverged", setting="ones")
    comparison = compared(tmp_path)
    ones = row(comparison, "ones over both blocks")
    assert (ones["seeds"], ones["pairs"], ones["diverged"]) == (6, 6, 1)
    assert ones["difference"] == pytest.approx(APART[:6].mean())
    answer = "ones over both blocks: not every block has seeds 6, 7, which are left out of means over blocks."
    assert answer in comparison.sentences


def test_a_mismatch_in_one_block_makes_the_overall_comparison_unpaired(tmp_path: Path) -> None:
    """Seeds that started differently in one block make the pooled comparison unpaired, not the other block's."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT], "ones": [EIGHT + APART, EIGHT + APART]})
    put(tmp_path, f"ones,{RATES[1]}", 3, 0.6, kernels="other", setting="ones")
    comparison = compared(tmp_path)
    assert [row(comparison, arm)["pairs"] for arm in ("ones over both blocks", *(f"ones,{r}" for r in RATES[:2]))] == [
        0, 8, 0,
    ]  # fmt: skip


def test_a_setting_in_some_of_the_blocks_is_compared_over_those(tmp_path: Path) -> None:
    """The baseline is pooled over the same blocks as the arm it is compared with."""
    put_blocks(tmp_path, {"zeros": [EIGHT, EIGHT + 0.1, EIGHT + 0.4], "ones": [EIGHT + APART, EIGHT + 0.1 + APART]})
    put_blocks(tmp_path, {"he_normal": [EIGHT, EIGHT + 0.1, EIGHT + 0.4], "no_bias": [EIGHT]})
    comparison = compared(tmp_path)
    some = f"{RATES[0]} and {RATES[1]}"
    assert row(comparison, f"ones over {some}")["difference"] == pytest.approx(APART.mean())
    assert row(comparison, f"zeros over {some}")["mean"] == pytest.approx(EIGHT.mean() + 0.05)
    assert row(comparison, "he_normal over all 3 blocks")["difference"] == 0
    assert {row(comparison, a)["family"] for a in (f"ones over {some}", "he_normal over all 3 blocks")} == {2}
    assert not any(arm.startswith("no_bias over") for arm in comparison.chosen["arm"])


def test_the_same_runs_under_two_names_are_one_block(tmp_path: Path) -> None:
    """The default learning rate, also swept by its value, counts once."""
    for arm, accuracies in (("zeros", EIGHT), ("ones", EIGHT + APART)):
        for block, shift in (("", 0), (f",{RATES[0]}", 0), (f",{RATES[1]}", 0.1)):
            for seed, accuracy in enumerate(accuracies + shift):
                put(tmp_path, f"{arm}{block}", seed, accuracy, setting=arm, key=f"{arm}-{shift}-{seed}")
    pooled = pool_arms(load_arms(RunStore(tmp_path, "s"))[0], "zeros")
    assert [arm.name for arm in pooled] == ["zeros over both blocks", "ones over both blocks"]


def test_the_names_of_what_differs_between_blocks() -> None:
    """Settings that all blocks share are not named, and a value may hold a comma."""
    assert block_factors(["a.b=1,c=[x,y]", "a.b=2,c=[x,y]"]) == ["a.b"]
    assert block_factors(["", "optimizer=sgd"]) == ["optimizer"]
    assert block_factors(["a=1,b=2", "a=2,b=3"]) == ["a", "b"]


def test_the_table_of_blocks_fits_100_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pooled rows are printed first, and keep the table within its width."""
    put_blocks(tmp_path / "results", {"zeros": [EIGHT, EIGHT], "ones": [EIGHT + APART, EIGHT - APART]})
    put_blocks(tmp_path / "results", {"constant(value=0.1)": [EIGHT + APART[::-1], EIGHT + APART]})
    assert compare.main([f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", "figures=false"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line[:1] in "┏┃┡│└"]
    assert max(map(len, table)) <= 100
    folded = re.sub(r"\s+", " ", "".join(line.split("│")[1].strip() + " " for line in table if line.startswith("│")))
    assert folded.startswith("zeros over both blocks ones over both blocks constant(value=0.1) over both blocks")
    written = pd.read_csv(tmp_path / "reports" / "s" / "summary.csv")
    assert set(written["block"].dropna()) == {"both blocks", *RATES[:2]}


def test_names_leave_out_what_all_arms_share(tmp_path: Path) -> None:
    """Arms and blocks are shown without the overrides of all arms; the baseline may be given by any of its names."""
    shared = ",data.target=y,training.epochs=3"
    for arm in ("zeros", "ones"):
        put_all(tmp_path, f"{arm}{shared}", [*EIGHT])
    for baseline in ("zeros", f"zeros{shared}"):
        study = load_study(RunStore(tmp_path, "s"), baseline)
        assert (study.arm_names, study.baseline) == (["zeros", "ones"], "zeros")
    assert study.shared == ["data.target=y", "training.epochs=3"]
    assert [(arm.folder, arm.block) for arm in study.arms] == [(f"zeros{shared}", ""), (f"ones{shared}", "")]

    for arm in ("zeros", "ones"):  # a later sweep makes a setting differ
        put_all(tmp_path, f"{arm},data.target=y,training.epochs=4", [*EIGHT])
    study = load_study(RunStore(tmp_path, "s"), "zeros")
    assert study.arm_names == [f"{arm},training.epochs={n}" for n in (3, 4) for arm in ("zeros", "ones")]
    assert {arm.block for arm in study.arms} == {"training.epochs=3", "training.epochs=4"}
    for baseline in ("zeros,training.epochs=3", f"zeros{shared}"):
        with pytest.raises(ConfigError, match=r"is the arm of one block.*: baseline=zeros$"):
            load_study(RunStore(tmp_path, "s"), baseline)
